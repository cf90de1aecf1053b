// TensorflowCheckpoint: the variables in a checkpoint of TensorFlow (format V2), read without TensorFlow: an index,
// which is a table of LevelDB's format, and files with the data.
#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace la {

class TensorflowCheckpoint {
 public:
  struct Entry {
    std::string name;
    Shape shape;
    int type = 0;   // of TensorFlow's DataType
    int shard = 0;  // the number of its data file
    uint64_t offset = 0, bytes = 0;
    uint32_t checksum = 0;  // CRC-32C, masked
  };

  /// path: model.ckpt-100.index, beside which lie model.ckpt-100.data-00000-of-00001 and the like. Every failure, also in what
  /// follows, is an Error that names the file: one that is damaged, cut off or compressed.
  explicit TensorflowCheckpoint(std::string path);

  const std::vector<Entry>& entries() const { return entries_; }
  /// Floating-point numbers of any size become f32; int32, int64 and uint8 stay; others are an Error.
  Tensor read(const Entry& entry) const;

 private:
  std::string path_;
  uint64_t shards_ = 1;
  std::vector<Entry> entries_;  // by name
};

}  // namespace la
