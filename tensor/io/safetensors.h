// Safetensors: the file format of checkpoints (https://github.com/huggingface/safetensors). A file is an
// 8-byte little-endian length, a JSON header of that length with names, types, shapes and offsets, and the
// data. Any program that reads safetensors reads ours; ours also carry a checksum in the header's metadata.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tensor/collectives.h"

namespace la {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

using Metadata = std::map<std::string, std::string>;
using StateDict = std::map<std::string, Tensor>;  // tensors by their names

struct SafetensorsFile {
  std::string path;
  std::vector<NamedTensor> tensors;     // on the CPU, in the file's order
  std::map<std::string, Shape> shapes;  // of all, also of those that were not kept
  Metadata metadata;                    // without the checksum

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

/// Whether a file must carry our checksum, which is then verified; `unread` trusts the file, as of a process beside one that
/// has verified it.
enum class Checksum { optional, required, unread };

/// Writes the file at once or not at all (tensor/io/files.h). The same names, tensors and metadata give the
/// same bytes, in whatever order the tensors come. Throws an Error for a repeated or reserved name, an
/// undefined tensor, text that is not UTF-8, or when the file cannot be written.
void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const Metadata& metadata = {});

/// What a process has of a tensor that several processes write together.
struct TensorPieces {
  struct Piece {
    int64_t first;  // which element of the tensor its first is
    Tensor values;
  };
  std::string name;
  Shape shape;  // of the whole
  DType dtype = DType::f32;
  std::vector<Piece> pieces;
};

/// Several processes write one file, each its own pieces in their places: `tensors` and `metadata` are those of rank 0, and the
/// pieces of all ranks cover their tensors. The bytes are those that one process would write. An Error of one rank is one of
/// all, and then there is no file.
void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const std::vector<TensorPieces>& pieces, const Metadata& metadata, Collectives& ranks);

/// Which tensors of a file are to be kept in memory; all of them, if it is empty.
using KeepTensor = std::function<bool(const std::string& name)>;

/// Reads and verifies a whole file; F16 and F64 become f32. Whatever the bytes are, the result is correct or
/// an Error that names the file.
SafetensorsFile read_safetensors(const std::string& path, Checksum checksum = Checksum::optional,
                                 const KeepTensor& keep = {});
/// Elements first, first + 1, ... of the tensor of that name, into `to`, in host memory; nothing else is read, or verified. An
/// Error that names the file if it has no such elements of that type.
void read_elements(const std::string& path, const std::string& name, int64_t first, const Tensor& to);

}  // namespace la
