// NPY: numpy's format of one array in a file (numpy.lib.format, version 1.0): a header that says type and
// shape, then the elements.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/io/files.h"
#include "tensor/tensor.h"

namespace la {

/// Writes an f32 array row by row. The file appears when it is finished, or not at all.
class NpyWriter {
 public:
  /// row: the shape of one row; empty for a number.
  NpyWriter(const std::string& path, Shape row);

  /// Appends rows: f32 [R, row...], on any device.
  void append(const Tensor& rows);
  int64_t rows() const { return rows_; }
  /// Completes the file: f32 [rows(), row...].
  void finish();

 private:
  std::string header() const;

  AtomicFile file_;
  Shape row_;
  int64_t rows_ = 0;
};

/// Reads an f32 array in C order. Whatever the bytes are, the result is correct or an Error
/// that names the file.
Tensor read_npy(const std::string& path);

}  // namespace la
