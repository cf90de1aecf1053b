// oneDNN in a small wrapping: one engine and stream, tensors as memory, scratch space from our allocator,
// errors as la::Error. Primitives are made once for each shape and kept by their users.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "tensor/tensor.h"

namespace la::onednn {

dnnl::engine& engine();

dnnl::memory::data_type data_type(DType dtype);
/// The type in which oneDNN multiplies numbers of that type: bf16 is f32 on a CPU for which it has no
/// arithmetic of bf16, as those without AVX-512.
DType arithmetic_type(DType dtype);
/// A dense array of a tensor's type and the given logical extents, laid out as `tag` says.
dnnl::memory::desc desc(const dnnl::memory::dims& extents, DType dtype, dnnl::memory::format_tag tag);
/// A tensor's array as oneDNN memory.
dnnl::memory wrap(const dnnl::memory::desc& desc, const Tensor& tensor);

/// Attributes that leave scratch space to the caller (run).
dnnl::primitive_attr attributes();

/// Calls f() and turns an exception of oneDNN into an Error that names `what`.
template <class F>
decltype(auto) guarded(const char* what, F&& f) {
  try {
    return f();
  } catch (const dnnl::error& error) {
    fail("oneDNN refused {}: {}", what, error.what());
  }
}

/// Runs a primitive and waits for it, with scratch space from the CPU's allocator.
void run(const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad,
         std::unordered_map<int, dnnl::memory> arguments);

/// Copies an array from one layout to another.
void reorder(const dnnl::memory::desc& from, const Tensor& source, const dnnl::memory::desc& to,
             const Tensor& destination);

/// `tensor`, which is laid out as `from`, as memory laid out as `to`: the tensor's own array if the layouts
/// are equal, else a copy, for which `storage` is made to hold the array.
dnnl::memory reordered(const Tensor& tensor, const dnnl::memory::desc& from, const dnnl::memory::desc& to,
                       Tensor& storage);

}  // namespace la::onednn
