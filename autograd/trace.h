// Trace: a record of the differentiable functions that a network calls, with their options and tensors, for
// those who want to write the network down in another form.
#pragma once

#include <variant>
#include <vector>

#include "tensor/op_types.h"

namespace la {

using CallOptions = std::variant<std::monostate, ConvGeometry, PoolGeometry, BatchNormOptions, float>;

struct TracedCall {
  const char* function;        // as in functions.h
  std::vector<Tensor> inputs;  // in the order of its parameters; undefined where an optional one is left out
  Tensor output;
  CallOptions options;
};

/// While one is in scope, the calls on this thread are kept, with all their tensors.
class Trace {
 public:
  Trace();
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  std::vector<TracedCall> calls;

  /// The innermost one on this thread; null if there is none.
  static Trace* current();

 private:
  Trace* outer_;
};

}  // namespace la
