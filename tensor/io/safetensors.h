// Safetensors: the file format of checkpoints (https://github.com/huggingface/safetensors). A file is an
// 8-byte little-endian length, a JSON header of that length with names, types, shapes and offsets, and the
// data. Any program that reads safetensors reads ours; ours also carry a checksum in the header's metadata.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace la {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

using Metadata = std::map<std::string, std::string>;
using StateDict = std::map<std::string, Tensor>;  // tensors by their names

struct SafetensorsFile {
  std::string path;
  std::vector<NamedTensor> tensors;  // on the CPU, in the file's order
  Metadata metadata;                 // without the checksum

  /// The tensor of that name; an Error that names the file if there is none.
  const Tensor& at(const std::string& name) const;
  bool contains(const std::string& name) const;
  StateDict by_name() const;

  /// The text that the metadata has under a name; an Error that names the file if there is none.
  const std::string& text(const std::string& name) const;
  /// The same as a number; an Error that names file and text if it is none.
  template <class T>
  T number(const std::string& name) const;
  /// The same as `count` numbers with spaces between them.
  std::vector<float> numbers(const std::string& name, int64_t count) const;
};

/// Whether a file must carry our checksum. A checksum that is there is always verified.
enum class Checksum { optional, required };

/// Writes the file at once or not at all (tensor/io/files.h). The same names, tensors and metadata give the
/// same bytes, in whatever order the tensors come. Throws an Error for a repeated or reserved name, an
/// undefined tensor, text that is not UTF-8, or when the file cannot be written.
void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const Metadata& metadata = {});

/// Reads and verifies a whole file; F16 and F64 become f32. Whatever the bytes are, the result is correct or
/// an Error that names the file.
SafetensorsFile read_safetensors(const std::string& path, Checksum checksum = Checksum::optional);

}  // namespace la
