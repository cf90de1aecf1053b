#include "autograd/variable.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "tensor/format.h"
#include "tensor/io/checksum.h"
#include "tensor/ops.h"

namespace la {
namespace {

thread_local bool recording = true;
thread_local Trace* current_trace = nullptr;
thread_local KeptValueCheck::Values* kept_values = nullptr;  // null: they are not checked

uint32_t checksum_of(const Tensor& x) {
  const Tensor host = x.to(Device::cpu());
  return crc32_of(host.raw(), host.bytes());
}

}  // namespace

struct KeptValueCheck::Values {
  struct Kept {
    std::weak_ptr<const void> node;  // which keeps the value, until it has run or is gone
    const char* function;
    Tensor value;
    uint32_t checksum;
  };
  std::vector<Kept> all;

  void add(const std::shared_ptr<const void>& node, const char* function, const Tensor& value) {
    if (value.defined()) all.push_back({node, function, value, checksum_of(value)});
  }
  void remove(const void* node) {
    std::erase_if(all, [=](const Kept& kept) { return kept.node.lock().get() == node; });
  }
  /// An Error, which blames `who`, if a value has changed.
  void verify(std::string_view who) {
    remove(nullptr);  // those that are gone
    for (const Kept& kept : all)
      check(checksum_of(kept.value) == kept.checksum,
            "{} has changed a value of shape {} that {} may keep for its backward pass", who,
            kept.value.shape(), kept.function);
  }
};

struct Variable::Node {
  const char* name = "leaf";
  Shape shape;                                // of its value
  Tensor gradient, more;                      // its gradient is their sum; `more` only for those that take it
  std::vector<std::shared_ptr<Node>> inputs;  // null where an input requires no gradient
  BackwardFunction function;                  // empty for a leaf
  std::function<void()> observer;             // of a leaf
  bool has_run = false, reached = false;      // reached: something has been accumulated in this pass

  bool has_function() const {
    return std::visit([](const auto& f) { return f != nullptr; }, function);
  }
  bool takes_more() const { return has_function() && function.index() == 1; }

  void accumulate(const Tensor& g) {
    reached = true;
    if (!gradient.defined())
      gradient = g;
    else if (takes_more() && !more.defined())
      more = g;
    else if (gradient.unique())
      ops::add_in_place(gradient, g);
    else
      gradient = ops::add(gradient, g);
  }

  // All that depends on this entry has run.
  void visit() {
    if (has_function() && gradient.defined())
      run();
    else if (reached && observer)
      observer();
  }

  // Runs the closure, hands the gradients on and frees all that this entry holds.
  void run() {
    const Tensor dy = std::exchange(gradient, {}), second = std::exchange(more, {});
    const BackwardFunction backward = std::exchange(function, {});
    const Gradients gradients =
        backward.index() == 0 ? std::get<0>(backward)(dy) : std::get<1>(backward)(dy, second);
    check(gradients.size() == inputs.size(), "{}: {} gradients for {} inputs", name, gradients.size(),
          inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!inputs[i] || !gradients[i].defined()) continue;
      check(gradients[i].shape() == inputs[i]->shape, "{}: a gradient of shape {} for input {} of shape {}",
            name, gradients[i].shape(), i, inputs[i]->shape);
      inputs[i]->accumulate(gradients[i]);
    }
    inputs.clear();
    has_run = true;
    if (kept_values) {
      kept_values->remove(this);
      kept_values->verify(formatted("{}, in its backward pass,", name));
    }
  }

  // The entries that `root` depends on, each after all of its inputs.
  static std::vector<std::shared_ptr<Node>> topological_order(const std::shared_ptr<Node>& root) {
    std::vector<std::shared_ptr<Node>> order;
    std::unordered_set<Node*> seen{root.get()};
    std::vector<std::pair<std::shared_ptr<Node>, size_t>> stack{{root, 0}};  // entry, next input to visit
    while (!stack.empty()) {
      auto& [node, next] = stack.back();
      if (next == node->inputs.size()) {
        order.push_back(std::move(node));
        stack.pop_back();
      } else if (const auto input = node->inputs[next++]; input && seen.insert(input.get()).second) {
        stack.emplace_back(input, 0);
      }
    }
    return order;
  }
};

Variable::Variable(Tensor value, bool requires_grad)
    : value_(std::move(value)), node_(requires_grad ? std::make_shared<Node>() : nullptr) {
  if (!node_) return;
  check(value_.dtype() == DType::f32 || value_.dtype() == DType::bf16,
        "a variable of {} cannot have a gradient, expected f32 or bf16", value_.dtype());
  node_->shape = value_.shape();
}

const Tensor& Variable::grad() const {
  check(requires_grad(), "grad: this variable of shape {} requires no gradient", shape());
  return node_->gradient;
}

void Variable::set_grad(const Tensor& gradient) {
  check(requires_grad() && gradient.shape() == shape(),
        "set_grad: a gradient of shape {} for a variable of shape {}{}", gradient.shape(), shape(),
        requires_grad() ? "" : ", which requires none");
  node_->gradient = gradient;
}

void Variable::clear_grad() {
  if (node_) node_->gradient = {};
}

void Variable::observe_gradient(std::function<void()> observer) {
  check(requires_grad() && !node_->has_function() && !node_->has_run,
        "observe_gradient: this variable of shape {} is not a leaf that requires a gradient", shape());
  check(!observer || !node_->observer, "observe_gradient: this leaf of shape {} is observed already",
        shape());
  node_->observer = std::move(observer);
}

Variable record(const char* name, Tensor y, std::vector<Variable> inputs, BackwardFunction function,
                CallOptions options) {
  if (Trace* trace = Trace::current()) {
    TracedCall call{.function = name, .inputs = {}, .output = y, .options = options};
    for (const Variable& x : inputs) call.inputs.push_back(x.value());
    trace->calls.push_back(std::move(call));
  }
  if (kept_values) kept_values->verify(name);
  const bool needed =
      std::any_of(inputs.begin(), inputs.end(), [](const Variable& x) { return x.requires_grad(); });
  Variable result(std::move(y), recording && needed);
  if (!result.requires_grad()) return result;
  result.node_->name = name;
  result.node_->function = std::move(function);
  for (const Variable& x : inputs) result.node_->inputs.push_back(x.node_);
  if (kept_values) {
    for (const Variable& x : inputs) kept_values->add(result.node_, name, x.value());
    kept_values->add(result.node_, name, result.value());
  }
  return result;
}

void backward(const Variable& loss) {
  check(loss.value().numel() == 1, "backward: the loss must have one element, its shape is {}", loss.shape());
  backward(loss, Tensor::full(loss.shape(), 1.0f, loss.dtype(), loss.value().device()));
}

void backward(const Variable& loss, const Tensor& dy) {
  check(loss.requires_grad(), "backward: the loss does not depend on anything that requires a gradient");
  check(dy.shape() == loss.shape() && dy.dtype() == loss.dtype(),
        "backward: a gradient of shape {} for a result of shape {}", dy.shape(), loss.shape());
  check(loss.node_->has_function(), "backward: the loss has been differentiated before, or is a leaf");

  if (kept_values) kept_values->verify("something before backward()");
  auto order = Variable::Node::topological_order(loss.node_);
  for (const auto& node : order)
    check(!node->has_run,
          "backward: what {} gave has been differentiated before, by another loss; add the losses, and call "
          "backward once",
          node->name);
  for (const auto& node : order) node->reached = false;
  loss.node_->accumulate(dy);
  for (; !order.empty(); order.pop_back()) order.back()->visit();
}

Trace::Trace() : outer_(std::exchange(current_trace, this)) {}
Trace::~Trace() { current_trace = outer_; }
Trace* Trace::current() { return current_trace; }

KeptValueCheck::KeptValueCheck()
    : values_(std::make_unique<Values>()), outer_(std::exchange(kept_values, values_.get())) {}
KeptValueCheck::~KeptValueCheck() { kept_values = outer_; }

NoGrad::NoGrad() : previous_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() { recording = previous_; }

}  // namespace la
