// Writing safetensors: by one process, or by several, each its own pieces.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "tensor/format.h"
#include "tensor/io/checksum.h"
#include "tensor/io/files.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/safetensors_format.h"

namespace la {
namespace {

using namespace safetensors;
using nlohmann::ordered_json;

/// A tensor of the file, which one process has as a whole, or several have in pieces.
struct Stored {
  std::string name;
  Shape shape;
  DType dtype;
  std::vector<TensorPieces::Piece> pieces;  // of this process

  size_t bytes() const { return static_cast<size_t>(shape.numel()) * size_of(dtype); }
};

/// Large elements first, then by name: keeps every tensor aligned to its element, and the
/// bytes deterministic.
std::vector<Stored> in_file_order(const std::string& path, const std::vector<NamedTensor>& tensors,
                                  const std::vector<TensorPieces>& pieces, bool has_tensors) {
  std::vector<Stored> all;
  for (const NamedTensor& t : tensors) {
    check(t.tensor.defined(), "cannot write '{}': tensor '{}' is undefined", path, t.name);
    all.push_back({t.name, t.tensor.shape(), t.tensor.dtype(), {}});
    if (has_tensors) all.back().pieces = {{0, t.tensor}};
  }
  for (const TensorPieces& t : pieces) all.push_back({t.name, t.shape, t.dtype, t.pieces});
  for (const Stored& t : all)
    check(t.name != "__metadata__", "cannot write '{}': a tensor must not be called __metadata__", path);
  const auto key = [](const Stored& t) {
    return std::tuple(-static_cast<int>(size_of(t.dtype)), std::string_view(t.name));
  };
  std::sort(all.begin(), all.end(), [&](const Stored& a, const Stored& b) { return key(a) < key(b); });
  std::set<std::string_view> names;
  for (const Stored& t : all)
    check(names.insert(t.name).second, "cannot write '{}': two tensors are called '{}'", path, t.name);
  return all;
}

/// The header, with zeros for the checksum, filled up with spaces so that the data begin at a multiple of 8.
std::string header_text(const std::string& path, const std::vector<Stored>& tensors, Metadata metadata) {
  check(metadata.emplace(checksum_key, checksum_zeros).second, "cannot write '{}': '{}' is a reserved key",
        path, checksum_key);
  ordered_json header = {{"__metadata__", metadata}};
  uint64_t begin = 0;
  for (const Stored& t : tensors) {
    const uint64_t end = begin + t.bytes();
    header[t.name] = {{"dtype", text_of(t.dtype)},
                      {"shape", std::vector<int64_t>(t.shape.begin(), t.shape.end())},
                      {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const ordered_json::exception&) {
    fail("cannot write '{}': a name or a text of the metadata is not valid UTF-8", path);
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  check(text.size() <= max_header,
        "cannot write '{}': its header would have {} bytes, at most {} are allowed", path, text.size(),
        max_header);
  return text;
}

/// Bytes that one of the processes has written.
struct Written {
  int64_t offset, bytes;
  uint32_t crc;
};

/// Writes the pieces that this process has, by write(offset, bytes, count); the data begin at `begin`.
template <class Write>
std::vector<Written> write_pieces(const std::vector<Stored>& tensors, int64_t begin, Write write) {
  std::vector<Written> written;
  for (const Stored& t : tensors) {
    for (const auto& [first, values] : t.pieces) {
      const Tensor host = values.to(Device::cpu());
      const int64_t offset = begin + first * static_cast<int64_t>(size_of(t.dtype));
      write(offset, host.raw(), host.bytes());
      written.push_back({offset, static_cast<int64_t>(host.bytes()), crc32_of(host.raw(), host.bytes())});
    }
    begin += static_cast<int64_t>(t.bytes());
  }
  return written;
}

/// The checksum of the whole file from those of its parts, which must follow one another.
uint32_t joined_crc(const std::string& path, std::vector<Written> parts, int64_t begin, int64_t end,
                    uint32_t crc) {
  std::sort(parts.begin(), parts.end(), [](const Written& a, const Written& b) {
    return std::tie(a.offset, a.bytes) < std::tie(b.offset, b.bytes);
  });
  for (const Written& part : parts) {
    check(part.offset == begin, "cannot write '{}': nobody has bytes {} to {}, or two have them", path, begin,
          part.offset);
    crc = static_cast<uint32_t>(crc32_combine(crc, part.crc, part.bytes));
    begin += part.bytes;
  }
  check(begin == end, "cannot write '{}': nobody has bytes {} to {}", path, begin, end);
  return crc;
}

/// The parts of all processes, told to all.
std::vector<Written> gather(Collectives& ranks, const std::vector<Written>& own) {
  std::vector<Written> all;
  const std::string bytes(reinterpret_cast<const char*>(own.data()), own.size() * sizeof(Written));
  for (const std::string& of_rank : ranks.all_gather("checksums", bytes)) {
    all.resize(all.size() + of_rank.size() / sizeof(Written));
    std::memcpy(all.data() + (all.size() - of_rank.size() / sizeof(Written)), of_rank.data(), of_rank.size());
  }
  return all;
}

/// Does the work of this process; what goes wrong in one is an Error of all.
template <class Work>
void together(Collectives& ranks, Work work) {
  std::string problem;
  try {
    work();
  } catch (const Error& error) {
    problem = error.what();
  }
  ranks.agree("problems with a file", problem);
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const Metadata& metadata) {
  write_safetensors(path, tensors, {}, metadata, alone());
}

// Offsets are known beforehand: rank 0 makes the file with its header, and when that is there, each writes its pieces.
void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const std::vector<TensorPieces>& pieces, const Metadata& metadata,
                       Collectives& ranks) {
  const bool first = ranks.rank() == 0;
  std::vector<Stored> ordered;
  std::string header;
  std::unique_ptr<AtomicFile> file;
  together(ranks, [&] {
    ordered = in_file_order(path, tensors, pieces, first);
    header = header_text(path, ordered, metadata);
    if (!first) return;
    file = std::make_unique<AtomicFile>(path);
    const uint64_t length = header.size();
    file->write_at(0, &length, length_bytes);
    file->write_at(length_bytes, header.data(), header.size());
  });
  header = ranks.broadcast("header of a file", header, 0);
  const std::string temporary = ranks.broadcast("name of a file", first ? file->temporary_path() : "", 0);
  const auto begin = static_cast<int64_t>(length_bytes + header.size());

  std::vector<Written> written;
  together(ranks, [&] {
    if (first) {
      written = write_pieces(ordered, begin, [&](int64_t offset, const void* bytes, size_t count) {
        file->write_at(offset, bytes, count);
      });
      return;
    }
    check(!temporary.empty(), "cannot write '{}': several processes need a file, not a device or a pipe",
          path);
    const OpenFile shared(temporary, O_WRONLY);
    written = write_pieces(ordered, begin, [&](int64_t offset, const void* bytes, size_t count) {
      write_at(shared, path, offset, bytes, count);
    });
    check(::fsync(shared.descriptor()) == 0, "cannot write '{}': {}", path, std::strerror(errno));
  });

  const std::vector<Written> parts = gather(ranks, written);
  together(ranks, [&] {
    if (!first) return;
    int64_t end = begin;
    for (const Stored& t : ordered) end += static_cast<int64_t>(t.bytes());
    const uint32_t crc = joined_crc(path, parts, begin, end, header_crc(header.size(), header));
    const std::string digits = formatted("{:08x}", crc);
    file->write_at(static_cast<int64_t>(length_bytes + checksum_position(header)), digits.data(),
                   digits.size());
    file->commit();
  });
}

}  // namespace la
