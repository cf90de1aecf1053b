#include "tensor/io/tensorflow_checkpoint.h"

#include <algorithm>

#include "tensor/format.h"
#include "tensor/io/crc32c.h"
#include "tensor/io/elements.h"
#include "tensor/io/placed_bytes.h"

namespace la {
namespace {

constexpr std::string_view index_ending = ".index";

/// Reads numbers of varying length, and what has one before it, from the front.
class Front {
 public:
  explicit Front(std::string_view bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  std::string_view take(uint64_t count) {
    check(count <= rest_.size(), "is damaged: an entry reaches beyond its end");
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= uint64_t{byte & 127u} << shift;
      if (byte < 128) return value;
    }
    fail("is damaged: a number has no end");
  }
  template <class T>
  T fixed() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

 private:
  std::string_view rest_;
};

/// Calls number(field, value) and bytes(field, content) for the fields of a message of Protocol Buffers.
template <class Number, class Content>
void for_each_field(std::string_view message, Number number, Content content) {
  for (Front front(message); !front.empty();) {
    const uint64_t key = front.varint(), field = key >> 3;
    switch (key & 7) {
      case 0:
        number(field, front.varint());
        break;
      case 1:
        number(field, front.fixed<uint64_t>());
        break;
      case 2:
        content(field, front.take(front.varint()));
        break;
      case 5:
        number(field, front.fixed<uint32_t>());
        break;
      default:
        fail("is damaged: a field of type {}", key & 7);
    }
  }
}
constexpr auto no_number = [](uint64_t, uint64_t) {};
constexpr auto no_content = [](uint64_t, std::string_view) {};

// ---- The table (LevelDB's doc/table_format.md) ----

struct Handle {
  uint64_t offset, size;
  explicit Handle(Front& front) : offset(front.varint()), size(front.varint()) {}
};

std::string read_block(const PlacedBytes& file, const Handle& handle) {
  constexpr uint64_t trailer = 5, largest = 1 << 28;  // a type and a checksum
  check(handle.size <= largest, "is damaged: a block of {} bytes", handle.size);
  std::string block = file.text(handle.offset, handle.size + trailer);
  uint32_t stored;
  std::memcpy(&stored, block.data() + handle.size + 1, sizeof stored);
  check(masked_crc32c(block.data(), handle.size + 1) == stored,
        "is damaged: a block has another checksum than it says");
  check(block[handle.size] == 0, "is compressed, which is not read");
  block.resize(handle.size);
  return block;
}

/// Calls f(key, value) for the entries of a block: each key shares its beginning with the one before.
template <class F>
void for_each_entry(std::string_view block, F f) {
  check(block.size() >= 4, "is damaged: a block without an end");
  uint32_t restarts;
  std::memcpy(&restarts, block.data() + block.size() - 4, sizeof restarts);
  check(restarts <= (block.size() - 4) / 4, "is damaged: {} restarts", restarts);
  std::string key;
  for (Front front(block.substr(0, block.size() - 4 - 4 * uint64_t{restarts})); !front.empty();) {
    const uint64_t shared = front.varint(), own = front.varint(), length = front.varint();
    check(shared <= key.size(), "is damaged: a key shares more than there is");
    key.resize(shared);
    key += front.take(own);
    f(key, front.take(length));
  }
}

template <class F>
void for_each_row(const PlacedBytes& file, F f) {
  constexpr uint64_t footer_bytes = 48, magic = 0xdb4775248b80fb57;
  check(file.size() >= footer_bytes && file.number<uint64_t>(file.size() - 8) == magic,
        "is no index of a checkpoint of TensorFlow, or is cut off");
  const std::string footer = file.text(file.size() - footer_bytes, footer_bytes);
  Front front(footer);
  const Handle about_the_table(front), index(front);
  read_block(file, about_the_table);  // which shows that it is whole
  uint64_t end = 0;                   // of the block before; one that came again and again would take hours
  for_each_entry(read_block(file, index), [&](const std::string&, std::string_view value) {
    Front place(value);
    const Handle handle(place);
    check(handle.offset >= end, "is damaged: a block at byte {}, within the one before", handle.offset);
    const std::string block = read_block(file, handle);
    end = handle.offset + handle.size;
    for_each_entry(block, f);
  });
}

// ---- What the rows say (tensorflow/core/protobuf/tensor_bundle.proto) ----

Shape shape_of(std::string_view message) {
  std::vector<int64_t> extents;
  for_each_field(message, no_number, [&](uint64_t field, std::string_view dimension) {
    if (field != 2) return;
    uint64_t extent = 0;
    for_each_field(
        dimension, [&](uint64_t f, uint64_t value) { extent = f == 1 ? value : extent; }, no_content);
    check(extent < uint64_t{1} << 40, "is damaged: an extent of {}", extent);
    extents.push_back(static_cast<int64_t>(extent));
  });
  check(extents.size() <= Shape::max_rank, "has a variable of {} dimensions, expected at most {}",
        extents.size(), Shape::max_rank);
  double elements = 1;
  Shape shape;
  for (const int64_t extent : extents) {
    elements *= static_cast<double>(std::max<int64_t>(extent, 1));
    shape.append(extent);
  }
  check(elements < 0x1p40, "is damaged: a variable of {:g} numbers", elements);
  if (extents.empty()) shape.append(1);  // a number by itself
  return shape;
}

TensorflowCheckpoint::Entry entry_of(const std::string& name, std::string_view message) {
  TensorflowCheckpoint::Entry entry{.name = name, .shape = Shape{1}};
  for_each_field(
      message,
      [&](uint64_t field, uint64_t value) {
        if (field == 1) entry.type = static_cast<int>(value);
        if (field == 3) entry.shard = static_cast<int>(value);
        if (field == 4) entry.offset = value;
        if (field == 5) entry.bytes = value;
        if (field == 6) entry.checksum = static_cast<uint32_t>(value);
      },
      [&](uint64_t field, std::string_view content) {
        if (field == 2) entry.shape = shape_of(content);
        check(field != 7, "has a variable in slices, {}, which is not read", name);
      });
  return entry;
}

/// A type of TensorFlow's, and what becomes of it.
struct Type {
  int number;
  uint64_t bytes;
  DType dtype;
  ToFloats convert = nullptr;  // none: as they are
};

constexpr Type types[] = {{1, 4, DType::f32},
                          {2, 8, DType::f32, to_floats<double>},
                          {3, 4, DType::i32},
                          {4, 1, DType::u8},
                          {9, 8, DType::i64},
                          {14, 2, DType::f32, to_floats<bf16>},
                          {19, 2, DType::f32, to_floats<Half>}};

}  // namespace

TensorflowCheckpoint::TensorflowCheckpoint(std::string path) : path_(std::move(path)) {
  check(path_.ends_with(index_ending), "{}: the checkpoint's .index is expected", path_);
  const PlacedBytes file(path_);
  constexpr size_t most_names =
      1 << 26;  // bytes: keys that share their beginnings cost a file almost nothing
  size_t names = 0;
  try {
    for_each_row(file, [&](const std::string& name, std::string_view message) {
      names += name.size();
      check(names <= most_names, "is damaged: its names have more than {} bytes", most_names);
      if (!name.empty()) {
        entries_.push_back(entry_of(name, message));
        return;
      }
      for_each_field(
          message,
          [&](uint64_t field, uint64_t value) {
            if (field == 1) shards_ = value;
            check(field != 2 || value == 0, "has big-endian numbers, which are not read");
          },
          no_content);
    });
  } catch (const Error& error) {
    const std::string what = error.what();
    if (what.starts_with(path_)) throw;
    fail("{}: {}", path_, what);
  }
}

Tensor TensorflowCheckpoint::read(const Entry& entry) const {
  const auto type =
      std::find_if(std::begin(types), std::end(types), [&](const Type& t) { return t.number == entry.type; });
  check(type != std::end(types), "{}: variable {} is of type {}, which is not read", path_, entry.name,
        entry.type);
  const std::string file = formatted(
      "{}.data-{:05}-of-{:05}", path_.substr(0, path_.size() - index_ending.size()), entry.shard, shards_);
  const auto count = static_cast<uint64_t>(entry.shape.numel());
  check(entry.bytes == count * type->bytes, "{}: variable {} of shape {} has {} bytes", path_, entry.name,
        entry.shape, entry.bytes);
  const PlacedBytes data(file);
  const auto verify = [&](const void* bytes) {
    check(masked_crc32c(bytes, entry.bytes) == entry.checksum,
          "{}: is damaged: variable {} has another checksum than {} says", file, entry.name, path_);
  };
  if (type->convert == nullptr) {
    check(entry.bytes <= data.size(), "{}: is cut off", file);
    const Tensor tensor(entry.shape, type->dtype);
    data.read(entry.offset, tensor.raw(), entry.bytes);
    verify(tensor.raw());
    return tensor;
  }
  const std::string bytes = data.text(entry.offset, entry.bytes);
  verify(bytes.data());
  const Tensor tensor(entry.shape, type->dtype);
  type->convert(bytes.data(), count, tensor.data<float>());
  return tensor;
}

}  // namespace la
