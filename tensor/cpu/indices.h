// Checking indices: the one kind of wrong input that only the values show.
#pragma once

#include "tensor/tensor.h"

namespace la {

/// An Error that names the op and the value unless all of `indices` (i32) are in {0, ..., n - 1}.
void check_indices(const char* op, const Tensor& indices, int64_t n);
/// The same, but some may be absent_row; returns whether there are any.
bool check_part_rows(const char* op, const Tensor& rows, int64_t n);

}  // namespace la
