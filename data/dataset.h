// Data sets: pictures by number, with labels where there are any. A new format is one file that makes a
// Dataset, and one line in the table of dataset.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensor/picture.h"
#include "tensor/tensor.h"

namespace la {

constexpr int unlabeled = -1;

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  /// Of every picture: 1 (grey) or 3 (red, green, blue).
  virtual int channels() const = 0;
  /// Picture i; may be called from several threads at once.
  virtual Picture picture(int64_t i) const = 0;
  virtual bool has_labels() const = 0;
  /// A number from 0, or `unlabeled`.
  virtual int label(int64_t i) const = 0;
  /// "60000 pictures, 28x28x1".
  virtual std::string description() const = 0;
  /// What the data set holds in memory.
  virtual size_t memory_bytes() const = 0;
};

/// A data set in memory, all of whose pictures have the same size.
class PictureArray : public Dataset {
 public:
  /// pictures: u8 [N, H, W, C]; labels: N of them, or none.
  PictureArray(Tensor pictures, std::vector<int> labels);

  int64_t size() const override { return pictures_.size(0); }
  int channels() const override { return static_cast<int>(pictures_.size(3)); }
  Picture picture(int64_t i) const override;
  bool has_labels() const override { return !labels_.empty(); }
  int label(int64_t i) const override;
  std::string description() const override;
  size_t memory_bytes() const override { return pictures_.bytes(); }
  const Tensor& pictures() const { return pictures_; }  // u8 [N, H, W, C]

 private:
  Tensor pictures_;
  std::vector<int> labels_;
};

struct DataSource {
  std::string name;
  std::unique_ptr<Dataset> train;
  std::unique_ptr<Dataset> test;  // may be null
};

/// Opens the data in the folder `path`. format: "idx", "cifar10", "cifar100", "stl10", or "auto", which looks
/// at the files. limit: use only the first so many training pictures; 0 is all. A file that is missing,
/// truncated or contradicts itself is an Error that names it.
DataSource open_data(const std::string& path, const std::string& format, int64_t limit);

}  // namespace la
