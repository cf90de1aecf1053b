#include "evaluation/embedder.h"

#include <algorithm>
#include <cstring>

#include "autograd/functions.h"
#include "data/loader.h"
#include "evaluation/features.h"
#include "tensor/ops.h"

namespace la {
namespace {

constexpr int64_t block = 64;  // pictures at once

Tensor chosen_rows(const Tensor& x, const std::vector<int32_t>& rows) {
  const auto count = static_cast<int64_t>(rows.size());
  if (count == x.size(0)) return x;
  return ops::gather_rows(x.reshape({x.size(0), -1}), rows).reshape(x.shape().with_rows(count));
}

/// Numbers of a process, on all.
std::vector<int64_t> shared_numbers(Collectives& ranks, int rank, const std::vector<int64_t>& own) {
  const std::string bytes = ranks.broadcast(
      "shapes", {reinterpret_cast<const char*>(own.data()), own.size() * sizeof(int64_t)}, rank);
  std::vector<int64_t> numbers(bytes.size() / sizeof(int64_t));
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

/// What a process has made, on all.
EmbeddedPictures shared(Collectives& ranks, int rank, const EmbeddedPictures& own) {
  std::vector<int64_t> numbers(own.numbers.begin(), own.numbers.end()), dimensions;
  for (const Tensor& output : own.outputs) {
    dimensions.push_back(output.rank());
    for (int d = 0; d < output.rank(); ++d) dimensions.push_back(output.size(d));
  }
  EmbeddedPictures result;
  for (const int64_t number : shared_numbers(ranks, rank, numbers))
    result.numbers.push_back(static_cast<int32_t>(number));
  dimensions = shared_numbers(ranks, rank, dimensions);
  for (auto next = dimensions.begin(); next != dimensions.end();) {
    Shape shape;
    for (int64_t d = *next++; d > 0; --d) shape.append(*next++);
    const bool mine = rank == ranks.rank();
    const Tensor output = mine ? own.outputs[result.outputs.size()].to(Device::cpu()) : Tensor(shape);
    // In pieces that MPI can send.
    const int64_t rows = output.size(0),
                  few = std::max<int64_t>((int64_t{1} << 28) * rows / output.numel(), 1);
    for (int64_t begin = 0; begin < rows; begin += few)
      ranks.broadcast("outputs", output.rows(begin, std::min(begin + few, rows)), rank);
    result.outputs.push_back(output);
  }
  return result;
}

}  // namespace

Embedder::Embedder(Model& model, EmbedderOptions options) : model_(model), options_(std::move(options)) {
  for (const std::string& layer : options_.layers) {
    modules_.push_back(&find_module(*model.module, layer));
    if (!options_.project.empty()) components_.push_back(load_components(options_.components_of(layer)));
  }
  modules_.push_back(model.module.get());
}

std::vector<Tensor> Embedder::outputs_of_views(const Tensor& views) const {
  NoGrad no_grad;
  const Variable images = cast(Variable(views.to(model_.device())), model_.dtype);
  std::vector<Tensor> outputs = outputs_of(*model_.module, modules_, images);
  const Tensor embeddings = ops::l2_normalize(outputs.back()).y;
  outputs.pop_back();
  for (Tensor& output : outputs)
    if (!options_.whole && output.rank() == 4) output = ops::global_avg_pool(output);
  outputs.insert(outputs.begin(), embeddings);
  return outputs;
}

/// The activations become coordinates along the components of their layers.
void Embedder::project(std::vector<Tensor>& outputs) const {
  for (size_t layer = 0; layer < components_.size(); ++layer) {
    Tensor& output = outputs[layer + 1];  // behind the embeddings
    const Tensor flat = output.reshape({output.size(0), -1});
    const int64_t expected = components_[layer].mean.numel();
    check(flat.size(1) == expected, "{}: is of {} numbers a picture, the layer gives {}",
          options_.components_of(options_.layers[layer]), expected, flat.size(1));
    output = components_[layer].project(flat);
  }
}

EmbeddedPictures Embedder::pictures(const Dataset& data, int64_t begin, int64_t end) const {
  const auto whole = [](int64_t, int height, int width) { return plan_whole_view(height, width); };
  const Tensor shown = options_.no_crop ? views(data, model_.view, begin, end, whole)
                                        : plain_views(data, model_.view, begin, end);
  EmbeddedPictures result;
  std::vector<int32_t> rows;
  for (int64_t i = begin; i < end; ++i) {
    check(options_.list.empty() || !data.is_bad(i), "{}: {} cannot be read", options_.list, data.name(i));
    if (data.is_bad(i)) continue;
    rows.push_back(static_cast<int32_t>(i - begin));
    result.numbers.push_back(static_cast<int32_t>(i));
  }
  if (rows.empty()) return result;
  result.outputs = outputs_of_views(shown);
  for (Tensor& output : result.outputs) output = chosen_rows(output, rows);
  check(is_finite(result.outputs.front()), "the network gives embeddings that are not finite, such as of {}",
        data.name(result.numbers.front()));
  project(result.outputs);
  return result;
}

/// An Error of one process is one of all.
EmbeddedPictures Embedder::agreed_pictures(const Dataset& data, int64_t begin, int64_t end,
                                           Collectives& ranks) const {
  if (ranks.alone()) return pictures(data, begin, end);
  EmbeddedPictures own;
  std::string problem;
  try {
    if (begin < end) own = pictures(data, begin, end);
  } catch (const Error& error) {
    problem = error.what();
  }
  ranks.agree("problems with pictures", problem);
  return own;
}

void Embedder::all_pictures(const Dataset& data, Collectives& ranks,
                            const std::function<void(const EmbeddedPictures&)>& take,
                            const ProgressCallback& progress) const {
  const int64_t n = data.size();
  for (int64_t first = 0; first < n; first += ranks.size() * block) {
    const auto begin_of = [&](int64_t rank) { return std::min(first + rank * block, n); };
    const int64_t begin = begin_of(ranks.rank()), end = begin_of(ranks.rank() + 1);
    const EmbeddedPictures own = agreed_pictures(data, begin, end, ranks);
    for (int rank = 0; rank < ranks.size(); ++rank) {
      // Those of the first are there already.
      const EmbeddedPictures some = rank == 0 ? own : shared(ranks, rank, own);
      if (ranks.rank() == 0 && !some.numbers.empty()) take(some);
    }
    progress("pictures embedded", begin_of(ranks.size()), n);
  }
}

}  // namespace la
