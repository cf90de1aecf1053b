// A loss of one's own: SimCLR's (Chen, Kornblith, Norouzi, Hinton 2020), which draws two views of a picture
// together, and both away from all other pictures of the batch.
#include <la/la.h>

using namespace la;

namespace {

constexpr int64_t batch = 128;

/// -1e9 on the diagonal: no view is compared with itself.
Variable without_itself(int64_t n) {
  std::vector<float> values(static_cast<size_t>(n * n), 0.0f);
  for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i * n + i)] = -1e9f;
  return Variable(Tensor::from(values, {n, n}));
}

/// i32 [2 B]: the row of the other view of the same picture.
Tensor partners() {
  std::vector<int32_t> rows;
  for (int32_t i = 0; i < 2 * batch; ++i) rows.push_back((i + batch) % (2 * batch));
  return Tensor::from(rows, {2 * batch});
}

/// a, b [B, D]: the embeddings of two views of each picture, on the unit sphere. NT-Xent, equation 1.
Variable nt_xent(const Variable& a, const Variable& b, float temperature) {
  static const Variable mask = without_itself(2 * batch);
  static const Tensor others = partners();
  const Variable v = concatenate({a, b}, 0);
  const Variable similarity = matmul(v, v, {.transpose_b = true, .alpha = 1 / temperature});
  return cross_entropy(similarity + mask, others);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : "/usr/share/datasets/fashion-mnist";
  const DataSource data = open_data({.path = folder, .limit = 10000});
  const ChannelStatistics pixels = channel_statistics(*data.train);
  const AugmentationOptions view{
      .size = 28, .crop_min_area = 0.5f, .mean = pixels.mean, .stddev = pixels.stddev};
  const auto network =
      make_network({.name = "resnet8-wide", .channels = 1, .image_size = 28, .head = HeadKind::linear_bn});
  network->initialize(0);
  Sgd sgd(network->parameters(), {.momentum = 0.9f, .weight_decay = 1e-4f});

  // The same pictures in the same order, each in two views.
  LoaderOptions options{.batch = batch, .threads = 1, .seed = 0};
  const auto first = make_device_loader(*data.train, view, options);
  options.view = 1;
  const auto second = make_device_loader(*data.train, view, options);

  constexpr int epochs = 3;
  const Schedule rate{.kind = Schedule::Kind::cosine, .base = 0.1f, .epochs = epochs};
  for (int epoch = 0; epoch < epochs; ++epoch) {
    first->start_epoch(epoch, 0);
    second->start_epoch(epoch, 0);
    const auto steps = static_cast<double>(first->steps_per_epoch());
    double sum = 0;
    for (int step = 0; step < steps; ++step) {
      first->next();
      second->next();
      const Variable a = l2_normalize((*network)(Variable(first->images())));
      const Variable b = l2_normalize((*network)(Variable(second->images())));
      const Variable loss = nt_xent(a, b, 0.2f);
      backward(loss);
      sgd.set_learning_rate(rate.at(epoch + step / steps));
      sgd.step();
      sum += loss.value().item();
    }
    print("epoch {}: loss {:.4f}\n", epoch + 1, sum / steps);
  }

  const auto embedded = [&](const Dataset& pictures) {
    return LabeledVectors{embed(*network, pictures, view, DType::f32, {}), labels_of(pictures)};
  };
  print("accuracy {:.1f} %\n", 100 * knn_accuracy(embedded(*data.train), embedded(*data.test), {}));
}
