#include "tensor/io/torch_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "tensor/error.h"
#include "tensor/format.h"
#include "tensor/io/elements.h"
#include "tensor/io/pickle.h"
#include "tensor/io/placed_bytes.h"

namespace la {
namespace {

using Value = Pickle::Value;
using Kind = Value::Kind;

constexpr uint64_t most_pickle = 1 << 28;  // bytes; the largest networks' have some hundred thousand

/// An element type of PyTorch's storages, and what becomes of it.
struct StorageType {
  std::string_view name;
  int64_t bytes;
  DType dtype;
  ToFloats convert = nullptr;  // none: as they are
};

constexpr StorageType storage_types[] = {{"Float", 4, DType::f32},
                                         {"Half", 2, DType::f32, to_floats<Half>},
                                         {"BFloat16", 2, DType::f32, to_floats<bf16>},
                                         {"Double", 8, DType::f32, to_floats<double>},
                                         {"Int", 4, DType::i32},
                                         {"Long", 8, DType::i64},
                                         {"Byte", 1, DType::u8},
                                         {"Bool", 1, DType::u8}};

const StorageType* find_type(std::string_view name) {
  for (const StorageType& type : storage_types)
    if (type.name == name) return &type;
  return nullptr;
}

struct Part {
  uint64_t at = 0, bytes = 0;
};

/// The files in a zip archive that are stored as they are, by their names (APPNOTE.TXT of PKWARE).
std::map<std::string, Part> parts_of_zip(const std::string& path, const PlacedBytes& file) {
  constexpr uint32_t end_record = 0x06054b50, end_record64 = 0x06064b50, locator64 = 0x07064b50,
                     directory_entry = 0x02014b50, local_entry = 0x04034b50;
  constexpr uint64_t end_bytes = 22, locator_bytes = 20, longest_comment = 65535;
  const uint64_t searched = std::min(file.size(), end_bytes + longest_comment);
  const std::string tail = file.text(file.size() - searched, searched);
  const size_t found = tail.rfind("PK\5\6");
  check(found != tail.npos && tail.size() - found >= end_bytes, "{}: is a zip archive that is cut off", path);
  const uint64_t end = file.size() - searched + found;
  uint64_t count = file.number<uint16_t>(end + 10), directory = file.number<uint32_t>(end + 16);
  if (end >= locator_bytes && file.number<uint32_t>(end - locator_bytes) == locator64) {
    const auto end64 = file.number<uint64_t>(end - locator_bytes + 8);
    check(file.number<uint32_t>(end64) == end_record64, "{}: is a damaged zip archive", path);
    count = file.number<uint64_t>(end64 + 32);
    directory = file.number<uint64_t>(end64 + 48);
  }
  check(file.number<uint32_t>(end) == end_record, "{}: is a damaged zip archive", path);

  std::map<std::string, Part> parts;
  uint64_t at = directory;
  for (uint64_t i = 0; i < count; ++i) {
    check(file.number<uint32_t>(at) == directory_entry, "{}: is a damaged zip archive", path);
    const auto method = file.number<uint16_t>(at + 10);
    uint64_t bytes = file.number<uint32_t>(at + 24), local = file.number<uint32_t>(at + 42);
    const uint64_t packed = file.number<uint32_t>(at + 20);
    const uint64_t name_bytes = file.number<uint16_t>(at + 28), extra_bytes = file.number<uint16_t>(at + 30),
                   comment_bytes = file.number<uint16_t>(at + 32);
    const std::string name = file.text(at + 46, name_bytes);
    // Sizes and places above 4 GiB stand in an extra field, in that order, those that are needed.
    constexpr uint64_t elsewhere = 0xffffffff;
    for (uint64_t e = at + 46 + name_bytes, last = e + extra_bytes; e + 4 <= last;) {
      const auto kind = file.number<uint16_t>(e), length = file.number<uint16_t>(e + 2);
      if (kind == 1) {
        uint64_t field = e + 4;
        const auto next = [&] {
          const auto value = file.number<uint64_t>(field);
          field += 8;
          return value;
        };
        if (bytes == elsewhere) bytes = next();
        if (packed == elsewhere) next();
        if (local == elsewhere) local = next();
      }
      e += 4 + uint64_t{length};
    }
    check(method == 0, "{}: '{}' in it is compressed; expected an archive of torch.save", path, name);
    check(file.number<uint32_t>(local) == local_entry, "{}: is a damaged zip archive", path);
    const uint64_t data = local + 30 + file.number<uint16_t>(local + 26) + file.number<uint16_t>(local + 28);
    check(data <= file.size() && bytes <= file.size() - data, "{}: is cut off within '{}'", path, name);
    parts[name] = {data, bytes};
    at += 46 + name_bytes + extra_bytes + comment_bytes;
  }
  return parts;
}

/// Collects the tensors among the values of a pickle.
class Collector {
 public:
  Collector(const Pickle& pickle, std::vector<TorchFile::Entry>& entries)
      : pickle_(pickle), entries_(entries) {}

  void collect(Pickle::Id id, const std::string& name, int depth) {
    constexpr int deepest = 16;
    const Value& value = pickle_[id];
    if (const auto entry = tensor_of(value, 0)) {
      names_ += name.size();
      check(names_ <= most_names, "the names of its tensors have more than {} bytes", most_names);
      entries_.push_back(*entry);
      entries_.back().name = name;
      return;
    }
    const bool container =
        value.kind == Kind::list || value.kind == Kind::dictionary || value.kind == Kind::call;
    if (!container || depth >= deepest || !seen_.insert(id).second) return;
    const auto below = [&](const std::string& key) { return name.empty() ? key : name + "/" + key; };
    if (value.kind == Kind::dictionary) {
      for (size_t i = 0; i + 1 < value.items.size(); i += 2)
        if (const Value& key = pickle_[value.items[i]]; key.kind == Kind::text)
          collect(value.items[i + 1], below(key.text), depth + 1);
        else if (key.kind == Kind::integer)
          collect(value.items[i + 1], below(formatted("{}", key.integer)), depth + 1);
      return;
    }
    if (value.kind == Kind::call) {  // an object of any class: what it was given as its state
      for (size_t i = 2; i < value.items.size(); ++i) collect(value.items[i], name, depth + 1);
      return;
    }
    for (size_t i = 0; i < value.items.size(); ++i)
      collect(value.items[i], below(formatted("{}", i)), depth + 1);
  }

 private:
  /// The tensor that a call makes, if it makes one.
  std::optional<TorchFile::Entry> tensor_of(const Value& value, int depth) const {
    if (value.kind != Kind::call || depth > 3) return {};
    const Value& arguments = pickle_[value.items[1]];
    if (arguments.kind != Kind::list || arguments.items.empty()) return {};
    const auto argument = [&](size_t i) -> const Value& { return pickle_[arguments.items[i]]; };
    if (pickle_.is_call_of(value, "torch._utils._rebuild_parameter") ||
        pickle_.is_call_of(value, "torch._utils._rebuild_parameter_with_state"))
      return tensor_of(argument(0), depth + 1);
    const bool is_tensor = pickle_.is_call_of(value, "torch._utils._rebuild_tensor_v2") ||
                           pickle_.is_call_of(value, "torch._utils._rebuild_tensor");
    if (!is_tensor || arguments.items.size() < 4 || argument(0).kind != Kind::persistent) return {};
    const Value& storage = pickle_[argument(0).items[0]];  // ("storage", type, key, location, elements, ...)
    check(storage.kind == Kind::list && storage.items.size() >= 5, "a tensor has no storage");
    std::string type = pickle_[storage.items[1]].text;
    const size_t dot = type.rfind('.'), suffix = type.rfind("Storage");
    if (suffix != type.npos && suffix > dot) type = type.substr(dot + 1, suffix - dot - 1);
    TorchFile::Entry entry{.name = {},
                           .shape = {},
                           .type = type,
                           .storage = pickle_[storage.items[2]].text,
                           .strides = numbers_in(argument(3)),
                           .offset = argument(1).integer};
    const std::vector<int64_t> extents = numbers_in(argument(2));
    check(extents.size() <= Shape::max_rank, "a tensor has {} dimensions, expected at most {}",
          extents.size(), Shape::max_rank);
    double elements = 1;  // without the zeros that hide how large the others are
    for (const int64_t extent : extents) elements *= static_cast<double>(std::max<int64_t>(extent, 1));
    check(elements < 0x1p40, "a tensor has {:g} elements", elements);
    for (const int64_t extent : extents) entry.shape.append(extent);
    if (extents.empty()) {  // a number by itself
      entry.shape.append(1);
      entry.strides = {1};
    }
    check(entry.strides.size() == static_cast<size_t>(entry.shape.rank()),
          "a tensor of shape {} has {} strides", entry.shape, entry.strides.size());
    return entry;
  }

  std::vector<int64_t> numbers_in(const Value& list) const {
    std::vector<int64_t> numbers;
    for (const Pickle::Id id : list.items) {
      check(pickle_[id].kind == Kind::integer && pickle_[id].integer >= 0,
            "a tensor's extents are no numbers");
      numbers.push_back(pickle_[id].integer);
    }
    return numbers;
  }

  // Bytes: two bytes of a pickle say a tensor again, which then has all the names that it lies in.
  static constexpr size_t most_names = 1 << 26;

  const Pickle& pickle_;
  std::vector<TorchFile::Entry>& entries_;
  std::set<Pickle::Id> seen_;
  size_t names_ = 0;
};

}  // namespace

struct TorchFile::Archive {
  explicit Archive(const std::string& path) : file(path) {}

  PlacedBytes file;
  std::map<std::string, Part> storages;

  void open_zip(const std::string& path, std::vector<Entry>& entries) {
    const std::map<std::string, Part> parts = parts_of_zip(path, file);
    constexpr std::string_view pickle_name = "data.pkl";
    const auto found = std::find_if(parts.begin(), parts.end(),
                                    [&](const auto& part) { return part.first.ends_with(pickle_name); });
    check(found != parts.end(), "{}: is a zip archive without a data.pkl, and not by torch.save", path);
    const std::string folder = found->first.substr(0, found->first.size() - pickle_name.size());
    if (const auto order = parts.find(folder + "byteorder"); order != parts.end())
      check(file.text(order->second.at, std::min<uint64_t>(order->second.bytes, 16)) == "little",
            "{}: its numbers are big-endian", path);
    for (const auto& [name, part] : parts)
      if (name.starts_with(folder + "data/")) storages[name.substr(folder.size() + 5)] = part;
    check(found->second.bytes <= most_pickle, "{}: its data.pkl has {} bytes", path, found->second.bytes);
    const Pickle pickle(file.text(found->second.at, found->second.bytes));
    Collector(pickle, entries).collect(pickle.root_id(), "", 0);
  }

  /// Five pickles: a magic number, a version, facts of the machine, the object, and the keys of the storages, whose
  /// numbers follow, each with their count before them.
  void open_row_of_pickles(std::vector<Entry>& entries) {
    const std::string bytes = file.text(0, std::min(file.size(), most_pickle));
    size_t at = 0;
    const auto next = [&] {
      Pickle pickle(std::string_view(bytes).substr(at));
      at += pickle.size();
      return pickle;
    };
    next();
    const Pickle version = next();
    check(version.root().integer == 1001, "is of version {} of the format, expected 1001",
          version.root().integer);
    next();
    const Pickle object = next();
    Collector(object, entries).collect(object.root_id(), "", 0);
    std::map<std::string, const StorageType*> types;
    for (const Entry& entry : entries) types[entry.storage] = find_type(entry.type);
    const Pickle keys = next();
    uint64_t place = at;
    for (const Pickle::Id id : keys.root().items) {
      const std::string& key = keys[id].text;
      const auto count = file.number<uint64_t>(place);
      const auto type = types.find(key);
      const bool known = type != types.end() && type->second != nullptr;
      check(known, "the storage {} is of a type that is not read, and what follows it is not found", key);
      const auto element = static_cast<uint64_t>(type->second->bytes);
      check(count <= file.size() / element, "a storage of {} numbers is larger than the file", count);
      storages[key] = {place + 8, count * element};
      place += 8 + count * element;
      check(place <= file.size(), "is cut off within storage {}", key);
    }
  }
};

TorchFile::TorchFile(const std::string& path) : path_(path), archive_(std::make_unique<Archive>(path)) {
  const PlacedBytes& file = archive_->file;
  const std::string begin = file.text(0, std::min<uint64_t>(file.size(), 4));
  try {
    if (begin == "PK\3\4") {
      archive_->open_zip(path, entries_);
    } else {
      check(begin.starts_with("\x80\2"), "is no file of torch.save");
      archive_->open_row_of_pickles(entries_);
    }
  } catch (const Error& error) {
    const std::string what = error.what();
    if (what.starts_with(path)) throw;
    fail("{}: {}", path, what);
  }
}

TorchFile::~TorchFile() = default;

Tensor TorchFile::read(const Entry& entry) const {
  const StorageType* const type = find_type(entry.type);
  check(type != nullptr, "{}: tensor '{}' is of {}, which is not read", path_, entry.name, entry.type);
  const auto found = archive_->storages.find(entry.storage);
  check(found != archive_->storages.end(), "{}: there is no data of tensor '{}'", path_, entry.name);
  const int64_t count = entry.shape.numel();
  if (count == 0) return Tensor(entry.shape, type->dtype);
  const auto elements = static_cast<int64_t>(found->second.bytes) / type->bytes;
  check(entry.offset >= 0 && entry.offset <= elements, "{}: tensor '{}' lies outside of its data", path_,
        entry.name);
  int64_t last = entry.offset;  // the farthest element
  bool contiguous = true;
  int64_t stride = 1;
  for (int d = entry.shape.rank() - 1; d >= 0; --d) {
    const int64_t own = entry.strides[static_cast<size_t>(d)],
                  steps = std::max<int64_t>(entry.shape[d] - 1, 0);
    check(own <= elements && (own == 0 || steps <= elements / own),
          "{}: tensor '{}' lies outside of its data", path_, entry.name);
    last += steps * own;
    contiguous = contiguous && (entry.shape[d] == 1 || own == stride);
    stride *= entry.shape[d];
  }
  check(last < elements && count <= elements, "{}: tensor '{}' lies outside of its data", path_, entry.name);

  const Tensor tensor(entry.shape, type->dtype);
  const uint64_t begin = found->second.at + static_cast<uint64_t>(entry.offset * type->bytes);
  if (contiguous && type->convert == nullptr) {
    archive_->file.read(begin, tensor.raw(), tensor.bytes());
    return tensor;
  }
  const std::string bytes =
      archive_->file.text(begin, static_cast<uint64_t>((last - entry.offset + 1) * type->bytes));
  if (contiguous) {
    type->convert(bytes.data(), static_cast<size_t>(count), tensor.data<float>());
    return tensor;
  }
  auto* const to = static_cast<char*>(tensor.raw());
  const auto size = static_cast<int64_t>(size_of(type->dtype));
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, from = 0;
    for (int d = entry.shape.rank() - 1; d >= 0; --d) {
      from += rest % entry.shape[d] * entry.strides[static_cast<size_t>(d)];
      rest /= entry.shape[d];
    }
    const char* const element = bytes.data() + from * type->bytes;
    if (type->convert != nullptr)
      type->convert(element, 1, tensor.data<float>() + i);
    else
      std::memcpy(to + i * size, element, static_cast<size_t>(size));
  }
  return tensor;
}

}  // namespace la
