// Layers, losses and ten steps of training against PyTorch: tests/make_fixtures.py wrote what it computes, in
// double precision, and how far its own f32 is from that. The order of a sum is free, so an f32 computation
// of ours may differ by a few times as much.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "autograd/functions.h"
#include "autograd/sgd.h"
#include "la/losses.h"
#include "la/memory_bank.h"
#include "layers/resnet.h"
#include "layers/state_dict.h"
#include "tensor/format.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops.h"
#include "tests/op_case.h"
#include "tests/with_threads.h"

using namespace la;

namespace {

struct Fixture {
  SafetensorsFile file;

  explicit Fixture(const std::string& name)
      : file(read_safetensors(formatted("tests/fixtures/{}.safetensors", name))) {}

  const Tensor& operator[](const std::string& name) const { return file.at(name); }
  bool contains(const std::string& name) const { return file.contains(name); }

  /// The tensors whose names begin with `prefix`, without it.
  StateDict starting_with(const std::string& prefix) const {
    StateDict found;
    for (const NamedTensor& t : file.tensors)
      if (t.name.starts_with(prefix)) found[t.name.substr(prefix.size())] = t.tensor;
    return found;
  }

  /// Compares with the tensor of that name. The tolerance is eight times the error of PyTorch's f32, and at
  /// least four roundings of the largest element, for an error of zero was luck.
  void check_equal(const std::string& name, const Tensor& got) const {
    CAPTURE(file.path);
    CAPTURE(name);
    REQUIRE(got.shape() == (*this)[name].shape());
    const auto expected = (*this)[name].to_vector<float>(), values = got.to_vector<float>();
    double largest = 0, worst = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
      const double difference = std::abs(static_cast<double>(values[i]) - expected[i]);
      if (!(difference <= worst)) worst = difference;
    }
    const double error = std::stod(file.metadata.at("error." + name));
    CHECK(worst <= std::max(8 * error, 4 * 0x1p-24 * largest));
  }
};

struct SigmoidLayer : Module {
  Variable forward(const Variable& x) override { return sigmoid(x); }
};

/// Sets the module's state, runs it forward and backward, and compares everything that the fixture has.
void check_module(const std::string& name, Module& module, Device device) {
  const WithThreads one(1);  // the tensors are small, and the calls many
  const Fixture fixture(name);
  load_state_dict(module, fixture.starting_with("state."));
  module.to(device);
  const Variable x(fixture["x"].to(device), true);
  const Variable y = module(x);
  const auto elements = static_cast<float>(y.shape().numel());
  fixture.check_equal("y", y.value());
  // mean(dy * y) * elements is dy . y, whose gradient with respect to y is dy.
  const Variable dy(fixture["dy"].reshape(y.shape()).to(device));
  backward(scale(mean(multiply(y, dy)), elements));
  fixture.check_equal("dx", x.grad());

  const auto parameters = module.parameters();
  CHECK(parameters.size() == fixture.starting_with("grad.").size());
  for (const Module::Parameter& p : parameters)
    fixture.check_equal("grad." + p.name, to_torch_layout(p, p.variable->grad()));
  for (const Module::Buffer& b : module.buffers()) fixture.check_equal("after." + b.name, *b.tensor);

  if (!fixture.contains("y_eval")) return;
  module.set_training(false);
  const NoGrad no_grad;
  fixture.check_equal("y_eval", module(Variable(fixture["x"].to(device))).value());
}

template <class M, class... Args>
void check_module_of(const std::string& name, const Args&... args) {
  for (Device device : available_devices()) {
    CAPTURE(device.str());
    M module(args...);
    check_module(name, module, device);
  }
}

/// The losses and their gradients for the fixture's embeddings, bank and neighbors.
void check_losses(Device device) {
  constexpr float tau = 0.07f;
  const Fixture fixture("losses");
  const auto on_device = [&](const char* name) { return fixture[name].to(device); };
  MemoryBank bank(fixture["bank"].size(0), fixture["bank"].size(1), 0.5f, 0, device);
  bank.assign_all(on_device("bank"));
  const Background background{{on_device("similarities"), on_device("background")}};

  const auto check = [&](const std::string& name, const std::function<Variable(const Variable&)>& loss) {
    const Variable v(on_device("v"), true);
    const Variable value = loss(v);
    fixture.check_equal(name, value.value());
    backward(value);
    fixture.check_equal(name + ".dv", v.grad());
  };
  check("local_aggregation", [&](const Variable& v) {
    return local_aggregation_loss(v, bank, background, {on_device("close")}, tau);
  });
  check("instance_softmax",
        [&](const Variable& v) { return instance_softmax_loss(v, bank, on_device("pictures"), tau); });
  check("instance_nce",
        [&](const Variable& v) { return instance_nce_loss(v, bank, on_device("candidates"), 5000.0, tau); });
}

/// Ten steps from the fixture's start; compares the losses and all that is there afterwards.
void check_training(Device device) {
  const WithThreads one(1);
  const KeptValueCheck kept_values;
  const Fixture fixture("training");
  ResNet net({.blocks = {1, 1, 1}, .width = 2, .stem = Stem::small, .dim = 8});
  load_state_dict(net, fixture.starting_with("state."));
  net.to(device);
  MemoryBank bank(16, 8, 0.5f, 0, device);
  bank.assign_all(fixture["bank"].to(device));
  Sgd sgd(net.parameters(), {.momentum = 0.9f, .weight_decay = 1e-4f});
  sgd.set_learning_rate(0.03f);

  constexpr int steps = 10, batch = 8;
  std::vector<float> losses;
  for (int step = 0; step < steps; ++step) {
    std::vector<int32_t> rows;
    std::vector<float> values;
    for (int i = 0; i < batch; ++i) rows.push_back(i + step % 2 * batch);
    for (uint8_t level : fixture["pictures"].rows(rows.front(), rows.back() + 1).to_vector<uint8_t>())
      values.push_back((static_cast<float>(level) - 128) / 64);
    const Tensor pictures = Tensor::from(rows, {batch}, device);
    const Variable v = l2_normalize(net(Variable(Tensor::from(values, {batch, 12, 12, 3}, device))));
    const Variable loss = instance_softmax_loss(v, bank, pictures, 0.2f);
    losses.push_back(loss.value().item());
    backward(loss);
    sgd.step();
    bank.update(pictures, v.value());
  }
  fixture.check_equal("losses", Tensor::from(losses, {steps}));
  fixture.check_equal("bank_after", bank.vectors());
  for (const auto& [name, tensor] : state_dict(net)) fixture.check_equal("after." + name, tensor);
}

}  // namespace

TEST_SUITE_BEGIN("devices");

TEST_CASE("layers agree with PyTorch") {
  check_module_of<Conv2d>("conv2d", 3, 5, Conv2d::Options{.kernel = 3, .stride = 2, .padding = 1});
  check_module_of<Conv2d>("conv2d_dilated", 3, 4,
                          Conv2d::Options{.kernel = 3, .padding = 2, .dilation = 2, .bias = false});
  check_module_of<Linear>("linear", 7, 5);
  check_module_of<BatchNorm2d>("batch_norm", 3);
  check_module_of<ReLU>("relu");
  check_module_of<SigmoidLayer>("sigmoid");
  check_module_of<MaxPool2d>("max_pool2d", PoolGeometry{.kernel = 3, .stride = 2, .padding = 1});
  check_module_of<AvgPool2d>("avg_pool2d", PoolGeometry{.kernel = 3, .stride = 2, .padding = 1});
  check_module_of<GlobalAvgPool>("global_avg_pool");
}

TEST_CASE("residual blocks agree with PyTorch") {
  const BlockOptions basic{.in = 3, .width = 3}, basic_stride{.in = 3, .width = 4, .stride = 2};
  const BlockOptions bottleneck{.in = 8, .width = 2}, bottleneck_stride{.in = 3, .width = 2, .stride = 2};
  check_module_of<BasicBlock>("basic_block", basic);
  check_module_of<BasicBlock>("basic_block_stride", basic_stride);
  check_module_of<Bottleneck>("bottleneck", bottleneck);
  check_module_of<Bottleneck>("bottleneck_stride", bottleneck_stride);
  check_module_of<PreActivationBasicBlock>("pre_activation_basic_block", basic);
  check_module_of<PreActivationBasicBlock>("pre_activation_basic_block_stride", basic_stride);
  check_module_of<PreActivationBottleneck>("pre_activation_bottleneck", bottleneck);
  check_module_of<PreActivationBottleneck>("pre_activation_bottleneck_stride", bottleneck_stride);
}

TEST_CASE("residual networks agree with PyTorch") {
  check_module_of<ResNet>("resnet_bottleneck",
                          ResNetOptions{.blocks = {1}, .width = 2, .block = BlockKind::bottleneck, .dim = 5});
  check_module_of<ResNet>(
      "resnet_pre_activation",
      ResNetOptions{.blocks = {1, 1}, .width = 2, .stem = Stem::small, .pre_activation = true, .dim = 5});
}

TEST_CASE("the losses agree with the paper's equations in PyTorch") {
  for (Device device : available_devices()) check_losses(device);
}

TEST_CASE("ten steps of training agree with PyTorch") {
  for (Device device : available_devices()) check_training(device);
}

TEST_SUITE_END();
