// The ops on pictures: checks, outputs, calls.
#include "tensor/backend.h"
#include "tensor/ops.h"
#include "tensor/ops_checks.h"

namespace la::ops {

Tensor make_views(const Tensor& pictures, const Tensor& rows, const Tensor& plans, const ViewFormat& format) {
  constexpr const char* op = "make_views";
  check_dtype(op, "pictures", pictures, DType::u8);
  check_rank(op, "pictures", pictures, 4);
  check(pictures.size(3) == 1 || pictures.size(3) == 3, "{}: pictures has shape {}, expected 1 or 3 channels",
        op, pictures.shape());
  check_dtype(op, "rows", rows, DType::i32);
  check_rank(op, "rows", rows, 1);
  check_dtype(op, "plans", plans, DType::u8);
  check_shape(op, "plans", plans, {rows.size(0), static_cast<int64_t>(sizeof(ViewPlan))});
  check_same_device(op, rows, pictures);
  check_same_device(op, plans, pictures);
  check(format.size >= 1, "{}: views of size {}, expected at least 1", op, format.size);
  Tensor views({rows.size(0), format.size, format.size, pictures.size(3)}, DType::f32, pictures.device());
  backend(pictures.device()).make_views(pictures, rows, plans, format, views);
  return views;
}

}  // namespace la::ops
