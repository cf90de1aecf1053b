// Variable: a tensor that remembers how it was made, so that backward() can compute gradients
// (reverse-mode automatic differentiation). A differentiable function computes its result, and records it
// together with a closure that maps the gradient of the result to the gradients of the inputs; see
// functions.cpp for the pattern.
#pragma once

#include <functional>
#include <memory>
#include <variant>
#include <vector>

#include "autograd/trace.h"
#include "tensor/tensor.h"

namespace la {

/// One gradient for each input, in order; an undefined tensor where an input needs none.
using Gradients = std::vector<Tensor>;
/// Of the gradient dy of the result; a function that can read the sum of two as fast as one may take them as
/// they came from two users of the result: dy + more, or dy where `more` is undefined.
using BackwardFunction = std::variant<std::function<Gradients(const Tensor& dy)>,
                                      std::function<Gradients(const Tensor& dy, const Tensor& more)>>;

class Variable {
 public:
  Variable() = default;
  /// A leaf: a constant, or, with requires_grad, something to be learnt.
  explicit Variable(Tensor value, bool requires_grad = false);

  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  DType dtype() const { return value_.dtype(); }
  bool defined() const { return value_.defined(); }

  bool requires_grad() const { return node_ != nullptr; }
  /// What backward() has accumulated in this leaf; undefined before, and after clear_grad().
  const Tensor& grad() const;
  void clear_grad();
  /// Puts another gradient in place of it, such as the sum over several processes.
  void set_grad(const Tensor& gradient);
  /// Calls `observer` whenever a pass of backward() has completed the gradient of this leaf, while the pass goes on: once for each
  /// pass that reaches it, and about as soon as it can be known. It may read and clear the gradient. An empty one ends that.
  void observe_gradient(std::function<void()> observer);

 private:
  struct Node;  // an entry of the tape
  Tensor value_;
  std::shared_ptr<Node> node_;

  friend Variable record(const char*, Tensor, std::vector<Variable>, BackwardFunction, CallOptions);
  friend void backward(const Variable&, const Tensor&);
};

/// The result `y` of a function of `inputs` whose gradients `function` computes. Nothing is remembered if no
/// input requires a gradient or a NoGrad is in scope. `name` is for error messages, and with the options for
/// a Trace.
Variable record(const char* name, Tensor y, std::vector<Variable> inputs, BackwardFunction function,
                CallOptions options = {});

/// Adds the gradient of `loss` (one element) to every leaf that it depends on. The tape is walked once, and
/// each closure is freed, with the activations that it holds, as soon as it has run: a loss can be
/// differentiated once, and losses that share what they were made from must be added first.
void backward(const Variable& loss);
/// The same of any result y: the gradient of the sum of dy * y, where dy has the shape and type of y.
void backward(const Variable& y, const Tensor& dy);

/// For tests: while one is in scope on this thread, a function that changes a value which another, recorded
/// in that time, was given or has given, and may keep for its backward pass, is an Error that names both.
/// Every function then reads all such values.
class KeptValueCheck {
 public:
  KeptValueCheck();
  ~KeptValueCheck();
  KeptValueCheck(const KeptValueCheck&) = delete;
  KeptValueCheck& operator=(const KeptValueCheck&) = delete;

  struct Values;

 private:
  std::unique_ptr<Values> values_;
  Values* outer_;
};

/// While one is in scope, nothing is recorded on this thread.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool previous_;
};

}  // namespace la
