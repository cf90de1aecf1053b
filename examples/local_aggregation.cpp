// Local Aggregation (Zhuang, Zhai, Yamins 2019) from beginning to end, without the library's trainer:
//
//   local_aggregation [FOLDER of pictures]
//
// A network f maps picture i to v_i = f(x_i) / ||f(x_i)|| on the unit sphere. A bank keeps a running average
// of every v_i. First the network learns to recognize each picture (instance recognition); then, epoch by
// epoch, k-means clusters the bank H times, and v_i is drawn to its close neighbors C_i, which share a
// cluster with it, among its background neighbors B_i, the k nearest.
#include <la/la.h>

using namespace la;

namespace {

constexpr int warm_start_epochs = 1, epochs = 3, batch = 64;
constexpr int64_t k = 64, clusterings = 3, clusters = 500;  // k, H, m
constexpr float temperature = 0.1f, bank_momentum = 0.5f;
constexpr uint64_t seed = 0;

/// The views: those of training are random, those of evaluation plain.
AugmentationOptions view_of(const Dataset& pictures) {
  const ChannelStatistics pixels = channel_statistics(pictures);
  return {.size = 28, .crop_min_area = 0.75f, .mean = pixels.mean, .stddev = pixels.stddev};
}

/// The share of the test pictures whose label their nearest training pictures predict, in percent.
double knn_percent(Module& network, const DataSource& data, const AugmentationOptions& view) {
  const auto embedded = [&](const Dataset& pictures) {
    return LabeledVectors{embed(network, pictures, view, DType::f32, {}), labels_of(pictures)};
  };
  return 100 * knn_accuracy(embedded(*data.train), embedded(*data.test), {.neighbors = 200});
}

/// The bank begins with what the untrained network makes of the pictures.
void fill(MemoryBank& bank, Module& network, DeviceLoader& loader) {
  NoGrad no_grad;
  loader.start_epoch(0, 0);
  for (int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
    loader.next();
    bank.assign(loader.indices(), l2_normalize(network(Variable(loader.images()))).value());
  }
}

/// Labels i32 [N, H]: in which cluster of each clustering every vector of the bank is.
Tensor cluster(const MemoryBank& bank, int epoch) {
  Tensor labels({bank.size(), clusterings}, DType::i32);
  for (int64_t h = 0; h < clusterings; ++h) {
    const auto number = static_cast<uint64_t>(epoch * clusterings + h);
    const KMeansOptions options{
        .clusters = clusters, .iterations = 20, .key = {seed, RandomStream::clustering, number}};
    ops::set_column(labels, h, kmeans(bank.vectors(), options).labels);
  }
  return labels;
}

/// The warm start: L = -log P(i | v_i).
Variable instance_recognition(const Variable& v, const MemoryBank& bank, const Tensor& indices) {
  return instance_softmax_loss(v, bank, indices, temperature);
}

/// L = -log( P(C_i and B_i | v_i) / P(B_i | v_i) ).
Variable local_aggregation(const Variable& v, const MemoryBank& bank, const Tensor& indices,
                           const Tensor& labels) {
  const Background background = background_neighbors(bank, v.value(), indices, k);
  const CloseMasks close = close_by_clusters(bank, labels, indices, background);
  return local_aggregation_loss(v, bank, background, close, temperature);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : "/usr/share/datasets/fashion-mnist";
  const DataSource data = open_data({.path = folder, .limit = 10000});
  const AugmentationOptions view = view_of(*data.train);

  const auto network = make_network({.name = "resnet8-wide",
                                     .channels = data.train->channels(),
                                     .image_size = view.size,
                                     .head = HeadKind::linear_bn});
  network->initialize(seed);
  Sgd sgd(network->parameters(), {.momentum = 0.9f, .weight_decay = 1e-4f});
  const Schedule rate{.kind = Schedule::Kind::cosine, .base = 0.06f, .epochs = epochs};
  MemoryBank bank(data.train->size(), 128, bank_momentum, seed);
  const auto loader = make_device_loader(*data.train, view, {.batch = batch, .threads = 1, .seed = seed});
  if (data.test) print("untrained {:.1f} %\n", knn_percent(*network, data, view));
  fill(bank, *network, *loader);

  for (int epoch = 0; epoch < epochs; ++epoch) {
    const bool warm_start = epoch < warm_start_epochs;
    if (!warm_start) bank.assign_all(embed(*network, *data.train, view, DType::f32, {}));
    const Tensor labels = warm_start ? Tensor() : cluster(bank, epoch);
    loader->start_epoch(epoch, 0);
    const auto steps = static_cast<double>(loader->steps_per_epoch());
    double sum = 0;
    for (int step = 0; step < steps; ++step) {
      loader->next();
      const Tensor indices = loader->indices();
      const Variable v = l2_normalize((*network)(Variable(loader->images())));
      const Variable loss =
          warm_start ? instance_recognition(v, bank, indices) : local_aggregation(v, bank, indices, labels);
      bank.update(indices, v.value());
      backward(loss);
      sgd.set_learning_rate(rate.at(epoch + step / steps));
      sgd.step();
      sum += loss.value().item();
    }
    print("epoch {} ({}): loss {:.4f}\n", epoch + 1, warm_start ? "IR" : "LA", sum / steps);
  }
  if (data.test) print("accuracy {:.1f} %\n", knn_percent(*network, data, view));
}
