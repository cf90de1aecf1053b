// What the program chooses for a number of pictures, and which values do not fit it.
#include "la/config.h"

#include <doctest/doctest.h>

namespace la {

TEST_CASE("config: what depends on the data is chosen from the number of pictures") {
  Config config;
  const auto lines = choose_defaults(config, 60'000);
  CHECK(config.background == 192);  // 4096 of 1,281,167
  CHECK(config.clusters == 1405);   // 30,000
  CHECK(lines[0] == "background k = 192: the paper's 4096 for ImageNet, in proportion to 60000 pictures");
  CHECK(config.clusterings == 3);
  CHECK(config.noise == 4096);
  CHECK(config.learning_rate_drops == std::vector<int>{120, 160});
  CHECK(lines.size() == 5);
  CHECK_NOTHROW(validate(config, 60'000));
  CHECK(choose_defaults(config, 60'000).empty());  // nothing is left to choose
  CHECK(choose_for_device(config, Device::cpu()).empty());
  config.precision = Precision::automatic;
  CHECK(choose_for_device(config, Device::cpu()).size() == 1);
  CHECK((config.precision == Precision::bf16) == multiplies_bf16(Device::cpu()));

  Config imagenet;
  imagenet.network = "resnet18";
  CHECK(choose_defaults(imagenet, 1'281'167)[0] == "background k = 4096: the paper's");
  CHECK(imagenet.background == 4096);
  CHECK(imagenet.clusters == 30'000);
  CHECK(imagenet.clusterings == 10);
}

TEST_CASE("config: what is chosen is valid for every number of pictures") {
  for (int64_t pictures :
       {2, 3, 10, 19, 99, 100, 101, 1000, 40'959, 999'999, 1'000'000, 1'281'167, 100'000'000})
    for (CloseNeighborKind kind : {CloseNeighborKind::kmeans, CloseNeighborKind::knn})
      for (int epochs : {1, 2, 3, 10}) {
        Config config;
        config.close_neighbors = kind;
        config.epochs = epochs;
        config.warm_start_epochs = 1;
        config.batch = 2;
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
  CHECK(message([](Config& c) { c.background = 501; }) ==
        "--background 501 is more than the 500 training pictures; 0 chooses it from their number");
  CHECK(message([](Config& c) { c.clusters = 501; }) ==
        "--clusters 501 is more than the 500 training pictures; 0 chooses it from their number");
  CHECK(message([](Config& c) { c.batch = 501; }) == "--batch 501 is more than the 500 training pictures");
  CHECK(message([](Config& c) { c.noise = 500; }).find("--noise 500") != std::string::npos);
  CHECK(message([](Config& c) {
          c.noise = 500;
          c.ir_loss = IrLoss::softmax;
        }) == "");
  CHECK(message([](Config& c) {
          c.close_neighbors = CloseNeighborKind::knn;
          c.background = c.close_count = 20;
        }).find("--close-count 20") != std::string::npos);
}

TEST_CASE("config: few pictures have more background neighbors than a cluster has members") {
  Config config;
  const auto lines = choose_defaults(config, 2000);
  CHECK(config.background == 128);
  CHECK(lines[0] ==
        "background k = 128: the paper's 4096 for ImageNet, in proportion to 2000 pictures, would be 6");
  CHECK(config.clusters == 47);
}

}  // namespace la
