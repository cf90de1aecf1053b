// The code of docs/tour.md, compiled and run by the tests.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/functions.h"
#include "autograd/sgd.h"
#include "la/kmeans.h"
#include "la/losses.h"
#include "la/neighbors.h"
#include "layers/layers.h"
#include "tensor/ops.h"

using namespace la;

// One step of Local Aggregation by hand, without the trainer. pictures: i32 [B], the numbers of the images.
float aggregation_step(Module& network, Sgd& sgd, MemoryBank& bank, const Tensor& labels,
                       const Tensor& images, const Tensor& pictures, int64_t k, float tau) {
  const Variable v = l2_normalize(network(Variable(images)));
  const Background background = background_neighbors(bank, v.value(), pictures, k);
  const CloseMasks close = close_by_clusters(bank, labels, pictures, background);
  const Variable loss = local_aggregation_loss(v, bank, background, close, tau);
  backward(loss);
  sgd.step();
  bank.update(pictures, v.value());
  return loss.value().item();
}

// Labels of H clusterings of the bank: i32 [N, H].
Tensor cluster_bank(const MemoryBank& bank, int64_t clusterings, int64_t clusters) {
  const Tensor labels({bank.size(), clusterings}, DType::i32);
  for (int64_t h = 0; h < clusterings; ++h) {
    const RandomKey key{.stream = RandomStream::clustering, .index = static_cast<uint64_t>(h)};
    ops::set_column(labels, h, kmeans(bank.vectors(), {.clusters = clusters, .key = key}).labels);
  }
  return labels;
}

// dL/dv of equation (3) for one picture: similarities s [k] of its background neighbors, their mask, and the
// neighbors themselves, [k][dim].
std::vector<double> gradient_by_hand(const std::vector<float>& s, const std::vector<uint8_t>& close,
                                     const std::vector<float>& neighbors, float tau) {
  double background_sum = 0, close_sum = 0;
  for (size_t j = 0; j < s.size(); ++j) {
    background_sum += std::exp(s[j] / tau);
    if (close[j]) close_sum += std::exp(s[j] / tau);
  }
  const size_t dim = neighbors.size() / s.size();
  std::vector<double> gradient(dim, 0.0);
  for (size_t j = 0; j < s.size(); ++j) {
    const double p = std::exp(s[j] / tau) / background_sum;
    const double q = close[j] ? std::exp(s[j] / tau) / close_sum : 0.0;
    for (size_t d = 0; d < dim; ++d) gradient[d] += (p - q) / tau * neighbors[j * dim + d];
  }
  return gradient;
}

TEST_CASE("the tour's gradient is what backward() computes") {
  const MemoryBank bank(50, 8, 0.5f, 1);
  const Tensor picture = Tensor::from(std::vector<int32_t>{7}, {1});
  const Variable v(ops::l2_normalize(ops::random_normal({1, 8}, {.seed = 2})).y, true);
  const Background background = background_neighbors(bank, v.value(), picture, 20);
  const CloseMasks close = close_by_clusters(bank, cluster_bank(bank, 2, 5), picture, background);
  backward(local_aggregation_loss(v, bank, background, close, 0.2f));

  const Tensor neighbors = ops::gather_rows(bank.vectors(), background[0].indices.reshape({20}));
  const auto expected = gradient_by_hand(background[0].values.to_vector<float>(),
                                         close[0].to_vector<uint8_t>(), neighbors.to_vector<float>(), 0.2f);
  const auto found = v.grad().to_vector<float>();
  for (size_t d = 0; d < expected.size(); ++d) CHECK(std::abs(found[d] - expected[d]) < 1e-5);
}

TEST_CASE("the tour's step lowers the loss") {
  const int64_t pictures = 64, inputs = 12, dim = 8;
  const Tensor images = ops::random_normal({pictures, inputs}, {.seed = 3});
  std::vector<int32_t> numbers;
  for (int32_t i = 0; i < pictures; ++i) numbers.push_back(i);
  const Tensor all = Tensor::from(numbers, {pictures});

  Linear network(inputs, dim);
  network.initialize(4);
  Sgd sgd(network.parameters(), {.momentum = 0.9f});
  sgd.set_learning_rate(0.03f);
  MemoryBank bank(pictures, dim, 0.5f, 5);
  bank.assign(all, l2_normalize(network(Variable(images))).value());

  const Tensor labels = cluster_bank(bank, 3, 8);
  const float first = aggregation_step(network, sgd, bank, labels, images, all, 32, 0.07f);
  float last = first;
  for (int step = 0; step < 20; ++step)
    last = aggregation_step(network, sgd, bank, labels, images, all, 32, 0.07f);
  CHECK(last < first);
}
