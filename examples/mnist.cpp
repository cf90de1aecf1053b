// A classifier with a training loop of one's own: mnist [FOLDER with MNIST's or Fashion-MNIST's files]
#include <la/la.h>

using namespace la;

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : "/usr/share/datasets/fashion-mnist";
  const DataSource data = open_data({.path = folder, .limit = 20000});
  const ChannelStatistics pixels = channel_statistics(*data.train);
  const AugmentationOptions view{
      .size = 28, .crop_min_area = 0.9f, .jitter = 0, .mean = pixels.mean, .stddev = pixels.stddev};

  Sequential network;
  network.append<Conv2d>(1, 32, Conv2d::Options{.kernel = 5, .stride = 2, .padding = 2, .bias = false})
      .append<BatchNorm2d>(32, BatchNorm2d::Options{.relu = true})
      .append<Conv2d>(32, 64, Conv2d::Options{.kernel = 3, .stride = 2, .padding = 1, .bias = false})
      .append<BatchNorm2d>(64, BatchNorm2d::Options{.relu = true})
      .append<Flatten>()
      .append<Linear>(7 * 7 * 64, 10);
  network.initialize(0);
  Sgd sgd(network.parameters(), {.momentum = 0.9f, .weight_decay = 1e-4f});
  const auto loader = make_device_loader(*data.train, view, {.batch = 100, .threads = 1, .seed = 0});

  constexpr int epochs = 2;
  const Schedule rate{.kind = Schedule::Kind::cosine, .base = 0.1f, .epochs = epochs};
  for (int epoch = 0; epoch < epochs; ++epoch) {
    loader->start_epoch(epoch, 0);
    const auto steps = static_cast<double>(loader->steps_per_epoch());
    for (int step = 0; step < steps; ++step) {
      loader->next();
      const Variable loss = cross_entropy(network(Variable(loader->images())), loader->labels());
      backward(loss);
      sgd.set_learning_rate(rate.at(epoch + step / steps));
      sgd.step();
      if (step % 50 == 0) print("epoch {} step {} loss {:.4f}\n", epoch + 1, step, loss.value().item());
    }
  }

  network.set_training(false);
  NoGrad no_grad;
  int64_t correct = 0;
  for (int64_t i = 0; i < data.test->size(); i += 100) {
    const Variable scores = network(Variable(plain_views(*data.test, view, i, i + 100)));
    const std::vector<int32_t> guess = ops::top_k(scores.value(), 1).indices.to_vector<int32_t>();
    for (int64_t j = 0; j < 100; ++j) correct += guess[j] == data.test->label(i + j);
  }
  print("accuracy {:.1f} %\n", 100.0 * correct / data.test->size());
}
