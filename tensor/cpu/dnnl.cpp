#include "tensor/cpu/dnnl.h"

namespace la::onednn {
namespace {

dnnl::stream& stream() {
  static dnnl::stream s(engine());
  return s;
}

/// Whether it makes a product of bf16 is what tells.
bool multiplies_bf16() {
  const auto matrix = desc({1, 1}, DType::bf16, dnnl::memory::format_tag::ab);
  try {
    dnnl::matmul::primitive_desc({matrix, matrix, matrix}, engine());
    return true;
  } catch (const dnnl::error& error) {
    check(error.status == dnnl_unimplemented,
          "oneDNN cannot tell whether this CPU multiplies bf16: {} (status {})", error.what(),
          static_cast<int>(error.status));
    return false;
  }
}

}  // namespace

dnnl::engine& engine() {
  static dnnl::engine e(dnnl::engine::kind::cpu, 0);
  return e;
}

dnnl::memory::data_type data_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return dnnl::memory::data_type::f32;
    case DType::bf16:
      return dnnl::memory::data_type::bf16;
    case DType::i32:
      return dnnl::memory::data_type::s32;
    case DType::u8:
      return dnnl::memory::data_type::u8;
    case DType::i64:
      break;
  }
  fail("oneDNN has no type for {}", dtype);
}

DType arithmetic_type(DType dtype) {
  static const bool has_bf16 = multiplies_bf16();
  return dtype == DType::bf16 && !has_bf16 ? DType::f32 : dtype;
}

dnnl::memory::desc desc(const dnnl::memory::dims& extents, DType dtype, dnnl::memory::format_tag tag) {
  return {extents, data_type(dtype), tag};
}

dnnl::memory wrap(const dnnl::memory::desc& desc, const Tensor& tensor) {
  return {desc, engine(), tensor.raw()};
}

dnnl::primitive_attr attributes() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

void run(const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad,
         std::unordered_map<int, dnnl::memory> arguments) {
  const Tensor scratch({static_cast<int64_t>(scratchpad.get_size())}, DType::u8);
  arguments.emplace(DNNL_ARG_SCRATCHPAD, wrap(scratchpad, scratch));
  primitive.execute(stream(), arguments);
  stream().wait();
}

void reorder(const dnnl::memory::desc& from, const Tensor& source, const dnnl::memory::desc& to,
             const Tensor& destination) {
  dnnl::memory input = wrap(from, source), output = wrap(to, destination);
  dnnl::reorder(input, output).execute(stream(), input, output);
  stream().wait();
}

dnnl::memory reordered(const Tensor& tensor, const dnnl::memory::desc& from, const dnnl::memory::desc& to,
                       Tensor& storage) {
  if (from == to) return wrap(from, tensor);
  storage = Tensor({static_cast<int64_t>(to.get_size())}, DType::u8);
  reorder(from, tensor, to, storage);
  return wrap(to, storage);
}

}  // namespace la::onednn
