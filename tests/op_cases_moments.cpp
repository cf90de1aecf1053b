// Cases of batch normalization whose rows are cut into parts.
#include "tensor/format.h"
#include "tensor/ops.h"
#include "tests/op_case.h"

namespace la {
namespace {

constexpr DType float_types[] = {DType::f32, DType::bf16};

/// Moments of that many parts, of C columns: means around `mean`, numbers of rows from 1 to `most`.
Input moments(int64_t parts, int64_t channels, float mean, uint32_t most) {
  const int64_t width = 2 * channels + 1;
  return {{parts, width}, DType::f32, [=](int64_t i, RandomGenerator& random) -> double {
            if (i % width == width - 1) return 1 + random.below(most);
            return i % width < channels ? mean + random.normal() : random.uniform(0.1f, 4);
          }};
}

OpCase batch_moments_case(const Input& x) {
  return {.op = "batch_moments",
          .inputs = {x},
          .run = [](const Tensors& in) -> Tensors { return {ops::batch_moments(in[0])}; },
          .reference = [](const Arrays& in) -> Arrays { return {reference::batch_moments(in[0])}; }};
}

OpCase combine_moments_case(const Input& parts, float momentum) {
  const Shape channels{parts.shape[1] / 2};
  return {.op = "combine_moments",
          .options = formatted("momentum={}", momentum),
          .inputs = {parts, normal(channels), uniform(channels, 0.1f, 4)},
          .run = [=](const Tensors& in) -> Tensors {
            const Tensor all = ops::combine_moments(in[0], in[1], in[2], momentum);
            return {all, in[1], in[2]};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            const Array all = reference::combine_moments(in[0]);
            const Bounded keep = Bounded(1) - Bounded(momentum), rows = all[2 * channels[0]];
            Array mean(channels), variance(channels);
            for (int64_t c = 0; c < channels[0]; ++c) {
              const Bounded unbiased = all[channels[0] + c] * (rows / (rows - Bounded(1)));
              mean[c] = keep * in[1][c] + Bounded(momentum) * all[c];
              variance[c] = keep * in[2][c] + Bounded(momentum) * unbiased;
            }
            return {all, mean, variance};
          }};
}

/// Inputs: dx, x, weight, moments, sums.
OpCase add_moments_gradient_case(const Input& x, float epsilon) {
  const int64_t channels = x.shape[-1];
  Input all = moments(1, channels, 3, 50);
  all.shape = {2 * channels + 1};
  return {.op = "add_moments_gradient",
          .options = formatted("epsilon={}", epsilon),
          .inputs = {normal(x.shape, x.dtype), x, normal({channels}), all, normal({2 * channels})},
          .run = [=](const Tensors& in) -> Tensors {
            ops::add_moments_gradient(in[0], in[1], in[2], in[3], in[4], epsilon);
            return {in[0]};
          },
          .reference = [=](const Arrays& in) -> Arrays {
            Array dx = in[0];
            const Bounded rows = in[3][2 * channels];
            for (int64_t c = 0; c < channels; ++c) {
              const Bounded inverse_std = Bounded(1) / sqrt(in[3][channels + c] + Bounded(epsilon));
              const Bounded share = in[2][c] * inverse_std / rows;
              for (int64_t r = 0; r < dx.rows(); ++r) {
                const Bounded xhat = (in[1].at(r, c) - in[3][c]) * inverse_std;
                dx.at(r, c) = dx.at(r, c) - share * (in[4][channels + c] + xhat * in[4][c]);
              }
            }
            return {dx};
          }};
}

/// Batch norm, by all the ops that it takes, of rows that are cut into parts before those numbers.
struct InParts {
  Input x;
  std::vector<int64_t> cuts;
  bool residual = false;
  BatchNormOptions options = {};

  Tensors parts_of(const Tensor& whole) const {
    Tensors parts;
    int64_t begin = 0;
    for (size_t p = 0; p <= cuts.size(); ++p) {
      const int64_t end = p < cuts.size() ? cuts[p] : whole.size(0);
      parts.push_back(whole.rows(begin, end));
      begin = end;
    }
    return parts;
  }
};

/// y, running mean and variance, dx, dweight, dbias, dresidual.
Tensors run_in_parts(const InParts& b, const Tensors& in) {
  const Tensors x = b.parts_of(in[0]), dy = b.parts_of(in[5]),
                residual = b.residual ? b.parts_of(in[6]) : Tensors(x.size());
  const int64_t channels = in[1].numel();
  Tensors rows;
  for (const Tensor& part : x) rows.push_back(ops::batch_moments(part).reshape({1, 2 * channels + 1}));
  const Tensor moments = ops::combine_moments(ops::concatenate(rows, 0), in[3], in[4], b.options.momentum);
  const BatchNormState state{in[1], in[2], moments.rows(0, channels), moments.rows(channels, 2 * channels)};
  Tensors y, dx, dresidual;
  Tensor sums;
  for (size_t p = 0; p < x.size(); ++p) {
    y.push_back(ops::batch_norm_inference(x[p], state, residual[p], b.options));
    const BatchNormGradients g =
        ops::batch_norm_inference_backward(dy[p], x[p], y[p], state, b.residual, b.options);
    const Tensor own[] = {g.dweight, g.dbias}, of_part = ops::concatenate(own, 0);
    sums = sums.defined() ? ops::add(sums, of_part) : of_part;
    dx.push_back(g.dx);
    dresidual.push_back(g.dresidual);
  }
  for (size_t p = 0; p < x.size(); ++p)
    ops::add_moments_gradient(dx[p], x[p], in[1], moments, sums, b.options.epsilon);
  Tensors out{ops::concatenate(y, 0),
              in[3],
              in[4],
              ops::concatenate(dx, 0),
              ops::slice(sums, 0, 0, channels),
              ops::slice(sums, 0, channels, 2 * channels)};
  if (b.residual) out.push_back(ops::concatenate(dresidual, 0));
  return out;
}

OpCase in_parts_case(const InParts& b) {
  return {.op = "combine_moments",
          .options = formatted("of {} parts, relu={} epsilon={}", b.cuts.size() + 1, b.options.relu,
                               b.options.epsilon),
          .inputs = batch_norm_inputs(b.x, b.residual),
          .run = [=](const Tensors& in) { return run_in_parts(b, in); },
          .reference =
              [=](const Arrays& in) {
                const Arrays forward = reference::batch_norm(in, b.options);
                Arrays out{forward[0], forward[3], forward[4]};
                for (const Array& gradient : reference::batch_norm_backward(
                         in[5], in[0], in[1], in[2], b.residual ? in[6] : Array(), b.options, true))
                  out.push_back(gradient);
                return out;
              }};
}

}  // namespace

void add_moment_cases(OpCases& cases) {
  for (DType dtype : float_types) {
    for (const Shape& shape :
         {Shape{1, 1}, Shape{1, 5}, Shape{2, 3, 5, 16}, Shape{3, 7, 5, 17}, Shape{131, 64}, Shape{1031, 65}})
      for (const float mean : {0.0f, 1000.0f})
        cases.push_back(batch_moments_case(normal(shape, dtype, 1, mean)));
    cases.push_back(batch_moments_case(with_nan({7, 13}, dtype)));
    cases.push_back(batch_moments_case(constant({3, 5, 5, 3}, 7, dtype)));
    for (const Shape& shape :
         {Shape{1, 1}, Shape{5, 3}, Shape{2, 3, 5, 16}, Shape{3, 7, 5, 17}, Shape{131, 64}, Shape{1031, 65}})
      for (const float epsilon : {1e-5f, 0.1f})
        cases.push_back(add_moments_gradient_case(normal(shape, dtype, 1, 3), epsilon));
    for (const bool residual : {false, true})
      for (const bool relu : {false, true}) {
        const BatchNormOptions options{.momentum = 0.3f, .relu = relu};
        cases.push_back(in_parts_case({normal({2, 1}, dtype), {1}, residual, options}));
        cases.push_back(in_parts_case({normal({11, 17}, dtype, 2, 3), {1, 8}, residual, options}));
        cases.push_back(in_parts_case({normal({7, 3, 3, 16}, dtype, 0.5f, 3), {2, 3}, residual, options}));
        cases.push_back(in_parts_case({normal({60, 9}, dtype), {1, 2, 40}, residual, options}));
      }
    cases.push_back(batch_moments_case(normal({64, 56, 56, 64}, dtype)));
    cases.back().only_timed = true;
    cases.push_back(add_moments_gradient_case(normal({64, 56, 56, 64}, dtype), 1e-5f));
    cases.back().only_timed = true;
  }
  for (const int64_t parts : {1, 2, 3, 8})
    for (const int64_t channels : {1, 3, 16, 65, 300})
      for (const float mean : {0.0f, 1000.0f})
        cases.push_back(combine_moments_case(moments(parts, channels, mean, 1000), 0.1f));
  cases.push_back(combine_moments_case(moments(5, 7, 0, 1), 0.5f));  // of a row each
}

}  // namespace la
