// What the program chooses for a number of pictures, and which values do not fit it.
#include "la/config.h"

#include <doctest/doctest.h>

namespace la {

TEST_CASE("config: what depends on the data is chosen from the number of pictures") {
  Config config;
  const auto lines = choose_defaults(config, 60'000);
  CHECK(config.la.background == 192);                   // 4096 of 1,281,167
  CHECK(config.la.clusters == std::vector<int>{1405});  // 30,000
  CHECK(lines[0] == "background k = 192: the paper's 4096 for ImageNet, in proportion to 60000 pictures");
  CHECK(config.la.clusterings == 3);
  CHECK(config.la.noise == 4096);
  CHECK(config.optimizer.drops == std::vector<TrainingTime>{{120}, {160}});
  CHECK(lines.size() == 5);
  CHECK_NOTHROW(validate(config, 60'000));
  CHECK(choose_defaults(config, 60'000).empty());  // nothing is left to choose
  CHECK(choose_for_device(config, Device::cpu()).empty());
  config.run.precision = Precision::automatic;
  CHECK(choose_for_device(config, Device::cpu()).size() == 1);
  CHECK((config.run.precision == Precision::bf16) == multiplies_bf16(Device::cpu()));

  Config imagenet;
  imagenet.network.name = "resnet18";
  CHECK(choose_defaults(imagenet, 1'281'167)[0] == "background k = 4096: the paper's");
  CHECK(imagenet.la.background == 4096);
  CHECK(imagenet.la.clusters == std::vector<int>{30'000});
  CHECK(imagenet.la.clusterings == 10);
}

TEST_CASE("config: what is chosen is valid for every number of pictures") {
  for (int64_t pictures :
       {2, 3, 10, 19, 99, 100, 101, 1000, 40'959, 999'999, 1'000'000, 1'281'167, 100'000'000})
    for (CloseNeighborKind kind : {CloseNeighborKind::kmeans, CloseNeighborKind::knn})
      for (int epochs : {1, 2, 3, 10}) {
        Config config;
        config.la.close_neighbors = kind;
        config.optimizer.epochs = epochs;
        config.optimizer.warm_start_epochs = 1;
        config.optimizer.batch = 2;
        choose_defaults(config, pictures);
        CAPTURE(pictures);
        CAPTURE(epochs);
        CHECK_NOTHROW(validate(config, pictures));
      }
}

TEST_CASE("config: values that do not fit the data name option, value and bound") {
  const auto message = [](auto change) {
    Config config;
    change(config);
    choose_defaults(config, 500);
    try {
      validate(config, 500);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(message([](Config&) {}) == "");
  CHECK(message([](Config& c) { c.la.background = 501; }) ==
        "`background` 501 is more than the 500 training pictures; 0 chooses it from their number");
  CHECK(message([](Config& c) { c.la.clusters = {501}; }) ==
        "`clusters` 501 is more than the 500 training pictures; 0 chooses it from their number");
  CHECK(message([](Config& c) { c.optimizer.batch = 501; }) ==
        "`batch` 501 is more than the 500 training pictures");
  CHECK(message([](Config& c) { c.la.noise = 500; }).find("`noise` 500") != std::string::npos);
  CHECK(message([](Config& c) {
          c.la.noise = 500;
          c.la.ir_loss = IrLoss::softmax;
        }) == "");
  CHECK(message([](Config& c) {
          c.la.close_neighbors = CloseNeighborKind::knn;
          c.la.background = c.la.close_count = 20;
        }).find("`close_count` 20") != std::string::npos);
}

TEST_CASE("config: few pictures have more background neighbors than a cluster has members") {
  Config config;
  const auto lines = choose_defaults(config, 2000);
  CHECK(config.la.background == 128);
  CHECK(lines[0] ==
        "background k = 128: the paper's 4096 for ImageNet, in proportion to 2000 pictures, would be 6");
  CHECK(config.la.clusters == std::vector<int>{47});
}

}  // namespace la
