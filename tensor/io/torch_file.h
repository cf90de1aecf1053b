// TorchFile: the tensors of a file that torch.save has written (.pth, .pt, .pth.tar), read without Python and without
// executing anything. Both formats: the zip archive of PyTorch 1.6 and later, and the older row of pickles.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace la {

class TorchFile {
 public:
  struct Entry {
    std::string name;  // keys of the dictionaries and places in the lists around it, with "/" between
    Shape shape;
    std::string type;  // "Float", "Half", "BFloat16", "Long" ... as PyTorch's storages are called
    std::string storage;
    std::vector<int64_t> strides;  // in elements
    int64_t offset = 0;            // in elements
  };

  /// Every failure, also in what follows, is an Error that names the file: one that is damaged, cut off, compressed,
  /// or has operations that no tensors need.
  explicit TorchFile(const std::string& path);
  ~TorchFile();

  /// In the order of the file; of a tensor that is there twice, both. Values that are no tensors are passed over.
  const std::vector<Entry>& entries() const { return entries_; }
  /// Floating-point numbers of any size become f32, Int i32, Long i64, Byte and Bool u8; others are an Error.
  Tensor read(const Entry& entry) const;

 private:
  struct Archive;  // where the storages lie

  std::string path_;
  std::unique_ptr<Archive> archive_;
  std::vector<Entry> entries_;
};

}  // namespace la
