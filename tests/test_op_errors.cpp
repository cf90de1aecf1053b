// What ops say of wrong operands: a wrong shape, type or option is an error that names the op, and what was given and
// expected.
#include <doctest/doctest.h>

#include <functional>
#include <limits>

#include "tensor/ops.h"

using namespace la;

namespace {

/// A wrong call, and what its message must contain: the op, and what was given and expected.
struct WrongCall {
  std::vector<std::string> message;
  std::function<void()> call;
};

Tensor f32(Shape shape) { return Tensor::zeros(shape); }
Tensor half(Shape shape) { return Tensor::zeros(shape, DType::bf16); }
Tensor i32(Shape shape) { return Tensor::zeros(shape, DType::i32); }

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

void check_messages(const std::vector<WrongCall>& calls) {
  for (const WrongCall& wrong : calls) {
    const std::string message = message_of(wrong.call);
    CAPTURE(message);
    for (const std::string& part : wrong.message)
      CHECK_MESSAGE(message.find(part) != std::string::npos, "expected: ", part);
  }
}

}  // namespace

TEST_CASE("a wrong shape or type is an error that names the op and both shapes: pointwise, rows") {
  check_messages({
      {{"add:", "[2, 3]", "[3, 2]"},
       [] {
         ops::add(f32({2, 3}), f32({3, 2}));
       }},
      {{"add:", "f32", "bf16"},
       [] {
         ops::add(f32({2, 3}), half({2, 3}));
       }},
      {{"multiply:", "[4]", "[5]"}, [] { ops::multiply(f32({4}), f32({5})); }},
      {{"add_in_place:", "[4]", "[5]"}, [] { ops::add_in_place(f32({4}), f32({5})); }},
      {{"relu:", "i32"}, [] { ops::relu(i32({4})); }},
      {{"relu:", "undefined"}, [] { ops::relu(Tensor()); }},
      {{"sigmoid:", "i32"}, [] { ops::sigmoid(i32({4})); }},
      {{"relu_backward:", "[4]", "[4, 1]"},
       [] {
         ops::relu_backward(f32({4}), f32({4, 1}));
       }},
      {{"sigmoid_backward:", "[4]", "[3]"}, [] { ops::sigmoid_backward(f32({4}), f32({3})); }},
      {{"copy_into:", "[4]", "[2, 2]"},
       [] {
         ops::copy_into(f32({4}), f32({2, 2}));
       }},
      {{"cast:", "i32"}, [] { ops::cast(i32({4}), DType::f32); }},
      {{"scale:", "i32"}, [] { ops::scale(i32({4}), 2); }},
      {{"scale_by:", "[2]"}, [] { ops::scale_by(f32({4}), f32({2})); }},
      {{"dropout:", "1.5"}, [] { ops::dropout(f32({4}), 1.5f, {}); }},
      {{"random_below:", "0"}, [] { ops::random_below({4}, 0, {}); }},
      {{"add_bias:", "[3]", "[2]"},
       [] {
         ops::add_bias(f32({2, 3}), f32({2}));
       }},
      {{"mean:", "bf16"}, [] { ops::mean(half({4})); }},
      {{"exp:", "i32"}, [] { ops::exp(i32({4})); }},
      {{"log:", "i32"}, [] { ops::log(i32({4})); }},
      {{"sqrt:", "i32"}, [] { ops::sqrt(i32({4})); }},
      {{"tanh:", "i32"}, [] { ops::tanh(i32({4})); }},
      {{"gelu:", "i32"}, [] { ops::gelu(i32({4})); }},
      {{"tanh_backward:", "[4]", "[3]"}, [] { ops::tanh_backward(f32({4}), f32({3})); }},
      {{"gelu_backward:", "[4]", "[3]"}, [] { ops::gelu_backward(f32({4}), f32({3})); }},
      {{"subtract:", "[4]", "[5]"}, [] { ops::subtract(f32({4}), f32({5})); }},
      {{"divide:", "f32", "bf16"}, [] { ops::divide(f32({4}), half({4})); }},
      {{"shift:", "i32"}, [] { ops::shift(i32({4}), 2); }},
      {{"scale_channels:", "[2, 4]", "[2, 3]"},
       [] {
         ops::scale_channels(f32({2, 3, 3, 4}), f32({2, 3}));
       }},
      {{"sum_product_spatial:", "[2, 3, 3, 4]", "[2, 3, 4, 3]"},
       [] {
         ops::sum_product_spatial(f32({2, 3, 3, 4}), f32({2, 3, 4, 3}));
       }},
      {{"l2_normalize:", "bf16"},
       [] {
         ops::l2_normalize(half({2, 3}));
       }},
      {{"l2_normalize:", "[2, 3, 4]"},
       [] {
         ops::l2_normalize(f32({2, 3, 4}));
       }},
      {{"l2_normalize_backward:", "[2, 3]", "[2, 4]"},
       [] {
         ops::l2_normalize_backward(f32({2, 4}), ops::l2_normalize(f32({2, 3})));
       }},
      {{"matmul:", "[2, 3]", "[4, 5]"},
       [] {
         ops::matmul(f32({2, 3}), f32({4, 5}));
       }},
      {{"matmul:", "[2, 3]", "[4, 5]"},
       [] {
         ops::matmul(f32({2, 3}), f32({4, 5}), {.transpose_b = true});
       }},
      {{"matmul_into:", "[2, 5]", "[5, 2]"},
       [] {
         ops::matmul_into(f32({5, 2}), f32({2, 3}), f32({3, 5}));
       }},
  });
}

TEST_CASE("a wrong shape or type is an error that names the op and both shapes: one dimension") {
  check_messages({
      {{"sum:", "i32"}, [] { ops::sum(i32({4})); }},
      {{"sum:", "dimension 2", "[2, 3]", "-2 to 1"},
       [] {
         ops::sum(f32({2, 3}), 2);
       }},
      {{"mean:", "dimension -3", "[2, 3]"},
       [] {
         ops::mean(f32({2, 3}), -3);
       }},
      {{"mean:", "[2, 0]", "no elements"},
       [] {
         ops::mean(f32({2, 0}), 1);
       }},
      {{"max:", "[2, 0]", "1 to"},
       [] {
         ops::max(f32({2, 0}), 1);
       }},
      {{"broadcast:", "dimension 2", "[3]"}, [] { ops::broadcast(f32({3}), 2, 4); }},
      {{"broadcast:", "-1 times"}, [] { ops::broadcast(f32({3}), 0, -1); }},
      {{"pick:", "indices", "f32", "i32"},
       [] {
         ops::pick(f32({2, 3}), 1, f32({2}));
       }},
      {{"pick:", "indices", "[3]", "[2]"},
       [] {
         ops::pick(f32({2, 3}), 1, i32({3}));
       }},
      {{"pick: index 3", "0 to 2"},
       [] {
         ops::pick(f32({2, 3}), 1, Tensor::full({2}, 3, DType::i32));
       }},
      {{"pick_backward:", "dy", "[3]", "[2]"},
       [] {
         ops::pick_backward(f32({3}), 1, i32({2}), {2, 3});
       }},
      {{"pick_backward: index -1", "0 to 2"},
       [] {
         ops::pick_backward(f32({2}), 1, Tensor::full({2}, -1, DType::i32), {2, 3});
       }},
      {{"concatenate:", "no tensors"}, [] { ops::concatenate({}, 0); }},
      {{"concatenate:", "[2, 3]", "[2, 4]"},
       [] {
         const Tensor parts[] = {f32({2, 3}), f32({2, 4})};
         ops::concatenate(parts, 0);
       }},
      {{"concatenate:", "f32", "bf16"},
       [] {
         const Tensor parts[] = {f32({2}), half({2})};
         ops::concatenate(parts, 0);
       }},
      {{"slice:", "2 to 4", "dimension 1", "[2, 3]"},
       [] {
         ops::slice(f32({2, 3}), 1, 2, 4);
       }},
      {{"transpose:", "[2, 3, 4]"},
       [] {
         ops::transpose(f32({2, 3, 4}));
       }},
      {{"softmax:", "i32"},
       [] {
         ops::softmax(i32({2, 3}));
       }},
      {{"log_softmax:", "i32"},
       [] {
         ops::log_softmax(i32({2, 3}));
       }},
      {{"softmax_backward:", "[2, 3]", "[3, 2]"},
       [] {
         ops::softmax_backward(f32({2, 3}), f32({3, 2}));
       }},
      {{"log_softmax_backward:", "[2, 3]", "[3, 2]"},
       [] {
         ops::log_softmax_backward(f32({2, 3}), f32({3, 2}));
       }},
      {{"layer_norm:", "weight", "[4]", "[3]"},
       [] {
         ops::layer_norm(f32({2, 3}), f32({4}), f32({3}));
       }},
      {{"layer_norm:", "[2, 0]", "no columns"},
       [] {
         ops::layer_norm(f32({2, 0}), f32({0}), f32({0}));
       }},
      {{"layer_norm_backward:", "[2, 3]", "[2, 4]"},
       [] {
         const Tensor weight = f32({3}), x = f32({2, 3});
         ops::layer_norm_backward(f32({2, 4}), x, ops::layer_norm(x, weight, weight), weight);
       }},
  });
}

TEST_CASE("a wrong shape or type is an error that names the op and both shapes: optimizers") {
  const Tensor three = f32({3}), rate = f32({1}), steps = Tensor::zeros({1}, DType::i64);
  const auto slots = [=](const Tensor& gradient, const Tensor& first, const Tensor& second) {
    return std::vector<OptimizerSlot>{{three, gradient, first, second}};
  };
  check_messages({
      {{"gradient_norm:", "no gradient"}, [] { ops::gradient_norm({}); }},
      {{"gradient_norm:", "bf16"}, [=] { ops::gradient_norm(slots(half({3}), three, three)); }},
      {{"sgd_step:", "[3]", "[2]"}, [=] { ops::sgd_step(slots(f32({2}), three, {}), rate, {}); }},
      {{"sgd_step:", "learning rate", "[3]"}, [=] { ops::sgd_step(slots(three, three, {}), three, {}); }},
      {{"sgd_step:", "norm of 0"},
       [=] {
         ops::sgd_step(slots(three, three, {}), rate, {}, {rate, 0});
       }},
      {{"adamw_step:", "undefined"}, [=] { ops::adamw_step(slots(three, three, {}), rate, steps, {}); }},
      {{"adamw_step:", "steps", "f32"}, [=] { ops::adamw_step(slots(three, three, three), rate, rate, {}); }},
      {{"adamw_step:", "beta", "1.5"},
       [=] { ops::adamw_step(slots(three, three, three), rate, steps, {.beta1 = 1.5}); }},
      {{"lars_step:", "[3]", "[4]"}, [=] { ops::lars_step(slots(three, f32({4}), {}), rate, {}); }},
  });
}

TEST_CASE("a wrong shape or type is an error that names the op and both shapes: convolution, pooling, norm") {
  const ConvGeometry plain;
  const PoolGeometry halves;
  const BatchNormState state{f32({3}), f32({3}), f32({3}), f32({3})};
  check_messages({
      {{"conv2d:", "[1, 5, 5, 3]", "[4, 3, 3, 2]"},
       [=] {
         ops::conv2d(f32({1, 5, 5, 3}), f32({4, 3, 3, 2}), plain);
       }},
      {{"conv2d:", "f32", "bf16"},
       [=] {
         ops::conv2d(f32({1, 5, 5, 3}), half({4, 3, 3, 3}), plain);
       }},
      {{"conv2d:", "[1, 2, 5, 3]", "[4, 3, 3, 3]"},
       [=] {
         ops::conv2d(f32({1, 2, 5, 3}), f32({4, 3, 3, 3}), plain);
       }},
      {{"conv2d:", "stride", "0"},
       [=] {
         ops::conv2d(f32({1, 5, 5, 3}), f32({4, 3, 3, 3}), {.stride = 0});
       }},
      {{"conv2d_backward_data:", "[1, 4, 4, 4]", "[1, 3, 3, 4]"},
       [=] {
         ops::conv2d_backward_data(f32({1, 4, 4, 4}), f32({4, 3, 3, 3}), {1, 5, 5, 3}, plain);
       }},
      {{"conv2d_backward_weight:", "[1, 4, 4, 4]", "[1, 3, 3, 4]"},
       [=] {
         ops::conv2d_backward_weight(f32({1, 4, 4, 4}), f32({1, 5, 5, 3}), {4, 3, 3, 3}, plain);
       }},
      {{"max_pool2d:", "[5, 5, 3]"},
       [=] {
         ops::max_pool2d(f32({5, 5, 3}), halves);
       }},
      {{"max_pool2d:", "[1, 1, 4, 3]", "2"},
       [=] {
         ops::max_pool2d(f32({1, 1, 4, 3}), halves);
       }},
      {{"max_pool2d_backward:", "[1, 3, 2, 3]", "[1, 2, 2, 3]"},
       [=] {
         ops::max_pool2d_backward(f32({1, 3, 2, 3}), Tensor::zeros({1, 3, 2, 3}, DType::u8), {1, 4, 4, 3},
                                  halves);
       }},
      {{"avg_pool2d:", "[5, 5, 3]"},
       [=] {
         ops::avg_pool2d(f32({5, 5, 3}), halves);
       }},
      {{"avg_pool2d_backward:", "[1, 3, 2, 3]", "[1, 2, 2, 3]"},
       [=] {
         ops::avg_pool2d_backward(f32({1, 3, 2, 3}), {1, 4, 4, 3}, halves);
       }},
      {{"global_avg_pool:", "[5, 3]"},
       [=] {
         ops::global_avg_pool(f32({5, 3}));
       }},
      {{"global_avg_pool_backward:", "[2, 3]", "[2, 5]"},
       [=] {
         ops::global_avg_pool_backward(f32({2, 3}), {2, 4, 4, 5});
       }},
      {{"batch_norm:", "[5]", "[3]"},
       [=] {
         ops::batch_norm(f32({4, 5}), state, {}, {});
       }},
      {{"batch_norm:", "[4, 3]", "[3, 3]"},
       [=] {
         ops::batch_norm(f32({4, 3}), state, f32({3, 3}), {});
       }},
      {{"batch_norm:", "[1, 3]", "at least 2"},
       [=] {
         ops::batch_norm(f32({1, 3}), state, {}, {});
       }},
      {{"batch_norm_inference:", "[5]", "[3]"},
       [=] {
         ops::batch_norm_inference(f32({4, 5}), state, {}, {});
       }},
      {{"batch_norm_backward:", "[4, 3]", "[5, 3]"},
       [=] {
         const Tensor x = f32({4, 3});
         ops::batch_norm_backward(f32({5, 3}), x, ops::batch_norm(x, state, {}, {}), state, false, {});
       }},
      {{"batch_moments:", "[0, 3]", "at least 1"},
       [=] {
         ops::batch_moments(f32({0, 3}));
       }},
      {{"combine_moments:", "[2, 6]", "[2, 7]"},
       [=] {
         ops::combine_moments(f32({2, 6}), f32({3}), f32({3}), 0.1f);
       }},
      {{"add_moments_gradient:", "[6]", "[7]"},
       [=] {
         ops::add_moments_gradient(f32({4, 3}), f32({4, 3}), f32({3}), f32({6}), f32({6}), 1e-5f);
       }},
      {{"add_moments_gradient:", "[5, 3]", "[4, 3]"},
       [=] {
         ops::add_moments_gradient(f32({5, 3}), f32({4, 3}), f32({3}), f32({7}), f32({6}), 1e-5f);
       }},
  });
}

TEST_CASE("a wrong shape or type is an error that names the op and both shapes: tables, selection, losses") {
  const Tensor table = f32({10, 4}), scores = f32({2, 5});
  check_messages({
      {{"gather_rows:", "rows", "f32", "i32"}, [=] { ops::gather_rows(table, f32({2})); }},
      {{"scatter_rows:", "[3, 4]", "[2, 4]"},
       [=] {
         ops::scatter_rows(table, i32({2}), f32({3, 4}));
       }},
      {{"ema_update_rows:", "[2, 5]", "[2, 4]"},
       [=] {
         ops::ema_update_rows(table, i32({2}), f32({2, 5}), 0.5f);
       }},
      {{"gather_dot:", "[2, 5]", "4]"},
       [=] {
         ops::gather_dot(f32({2, 5}), table, i32({2, 3}));
       }},
      {{"gather_sum:", "[2, 4]", "[2, 3]"},
       [=] {
         ops::gather_sum(f32({2, 3}), i32({2, 4}), table);
       }},
      {{"top_k:", "k is 6", "5"}, [=] { ops::top_k(scores, 6); }},
      {{"nearest_rows:", "[2, 5]", "4]"},
       [=] {
         ops::nearest_rows(f32({2, 5}), table, 3);
       }},
      {{"nearest_rows:", "no elements"},
       [=] {
         ops::nearest_rows(f32({2, 0}), f32({3, 0}), 3);
       }},
      {{"nearest_rows:", "[3]", "[2]"},
       [=] {
         ops::nearest_rows(f32({2, 4}), table, 3, i32({3}));
       }},
      {{"make_views:", "[4, 5, 5, 2]", "1 or 3 channels"},
       [=] {
         ops::make_views(Tensor({4, 5, 5, 2}, DType::u8), i32({2}), Tensor({2, 40}, DType::u8), {});
       }},
      {{"make_views:", "[3, 40]", "[2, 40]"},
       [=] {
         ops::make_views(Tensor({4, 5, 5, 3}, DType::u8), i32({2}), Tensor({3, 40}, DType::u8), {});
       }},
      {{"same_cluster_mask:", "[3, 9]", "[2, 9]"},
       [=] {
         ops::same_cluster_mask(i32({1, 9}), i32({3, 9}), i32({2, 4}));
       }},
      {{"same_cluster_mask:", "256 labelings", "at most 255"},
       [=] {
         ops::same_cluster_mask(i32({2, 256}), i32({1, 256}), i32({1, 2}), SharedClusters::count);
       }},
      {{"log_sums:", "[2, 4]", "[2, 5]"},
       [=] {
         ops::log_sums(scores, Tensor::zeros({2, 4}, DType::u8), 1);
       }},
      {{"log_sums_gradient:", "[3]", "[2]"},
       [=] {
         ops::log_sums_gradient(scores, {}, 1, {f32({3}), {}});
       }},
      {{"rows_of_part:", "f32", "i32"}, [=] { ops::rows_of_part(scores, 0, 1); }},
      {{"count_digits:", "[2, 4]", "[2, 5]"},
       [=] {
         ops::count_digits(i32({2, 256}), {scores, i32({2, 4})}, {}, 0, i32({2, 2}));
       }},
      {{"count_digits:", "place 5"},
       [=] {
         ops::count_digits(i32({2, 256}), {scores, i32({2, 5})}, {}, 5, i32({2, 2}));
       }},
      {{"choose_digit:", "[2, 255]", "[2, 256]"},
       [=] {
         ops::choose_digit(i32({2, 255}), 0, 1, i32({2, 2}));
       }},
      {{"mark_largest:", "part 3 of 2"},
       [=] {
         ops::mark_largest({scores, i32({2, 5})}, {}, i32({2, 2}), i32({2, 2}), 3);
       }},
      {{"keep_marked:", "[2, 4]", "[2, 5]"},
       [=] {
         ops::keep_marked(scores, Tensor::zeros({2, 4}, DType::u8));
       }},
      {{"count_labels:", "f32", "i32"}, [=] { ops::count_labels(f32({2}), 3); }},
      {{"softmax_cross_entropy:", "[3]", "[2]"}, [=] { ops::softmax_cross_entropy(scores, i32({3}), 1); }},
      {{"logistic_loss:", "bf16", "f32"},
       [=] {
         ops::logistic_loss(half({2, 5}), 1, 0);
       }},
      {{"nearest_centroid:", "[3, 5]", "4]"},
       [=] {
         ops::nearest_centroid(table, f32({3, 5}));
       }},
      {{"sum_by_label:", "[9]", "[10]"}, [=] { ops::sum_by_label(table, i32({9}), 3); }},
  });
}

TEST_CASE("a wrong shape, type or option is an error that names the op: detection") {
  const Tensor x = f32({2, 5, 5, 3}), boxes = f32({4, 4}), pictures = i32({4});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  check_messages({
      {{"sample_regions:", "[4, 5]", "[R, 4]"},
       [&] {
         ops::sample_regions(x, f32({4, 5}), pictures, {});
       }},
      {{"sample_regions:", "pictures", "[3]", "[4]"}, [&] { ops::sample_regions(x, boxes, i32({3}), {}); }},
      {{"sample_regions:", "0 x 2 cells"},
       [&] {
         ops::sample_regions(x, boxes, pictures, {0, 2});
       }},
      {{"sample_regions_backward:", "[4, 2, 2, 3]", "[4, 7, 7, 3]"},
       [&] {
         ops::sample_regions_backward(f32({4, 2, 2, 3}), boxes, pictures, x.shape(), {});
       }},
      {{"sample_regions: index 2 at position 2 is not in 0 to 1"},
       [&] {
         ops::sample_regions(x, boxes, Tensor::from(std::vector<int32_t>{0, 1, 2, 0}, {4}), {});
       }},
      {{"nms:", "scores", "[3]", "[4]"}, [&] { ops::nms(boxes, f32({3})); }},
      {{"nms:", "iou_threshold is 1.5"}, [&] { ops::nms(boxes, f32({4}), {.iou_threshold = 1.5f}); }},
      {{"nms:", "NaN"}, [&] { ops::nms(boxes, Tensor::full({4}, nan)); }},
      {{"encode_boxes:", "[3, 4]", "[4, 4]"},
       [&] {
         ops::encode_boxes(boxes, f32({3, 4}));
       }},
      {{"decode_boxes:", "[4, 6]", "multiple of 4"},
       [&] {
         ops::decode_boxes(boxes, f32({4, 6}));
       }},
      {{"decode_boxes:", "[3, 8]", "as many rows"},
       [&] {
         ops::decode_boxes(boxes, f32({3, 8}));
       }},
      {{"clip_boxes:", "-1"}, [&] { ops::clip_boxes(boxes, -1, 5); }},
      {{"box_iou:", "bf16", "f32"},
       [&] {
         ops::box_iou(boxes, half({2, 4}));
       }},
      {{"smooth_l1:", "sigma is 0"}, [&] { ops::smooth_l1(boxes, {}, {}, 0); }},
      {{"smooth_l1_backward:", "[4, 4]", "[4]"},
       [&] { ops::smooth_l1_backward(f32({4}), boxes, {}, {}, 1); }},
  });
}
