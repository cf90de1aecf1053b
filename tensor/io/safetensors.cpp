#include "tensor/io/safetensors.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "tensor/format.h"
#include "tensor/io/checksum.h"
#include "tensor/io/elements.h"
#include "tensor/io/safetensors_format.h"

namespace la {
namespace {

using namespace safetensors;
using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian, and so are we");

/// What a type of the format becomes. Those that no tensor has are converted when they are read.
struct TypeName {
  DType dtype;
  std::string_view text;
  size_t bytes;  // of an element in the file
  ToFloats convert = nullptr;
};

constexpr std::array type_names = {TypeName{DType::f32, "F32", 4},
                                   TypeName{DType::bf16, "BF16", 2},
                                   TypeName{DType::i32, "I32", 4},
                                   TypeName{DType::i64, "I64", 8},
                                   TypeName{DType::u8, "U8", 1},
                                   TypeName{DType::f32, "F16", 2, to_floats<Half>},
                                   TypeName{DType::f32, "F64", 8, to_floats<double>}};

struct Entry {
  std::string name;
  TypeName type;
  Shape shape;
  uint64_t begin, end;  // bytes, from the start of the data
};

/// Reads a file from front to back and keeps its checksum.
class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "rb"), std::fclose) {
    check(file_ != nullptr, "{}", std::strerror(errno));
    struct stat status;
    check(fstat(fileno(file_.get()), &status) == 0, "{}", std::strerror(errno));
    check(S_ISREG(status.st_mode), "it is not a regular file");
    left_ = static_cast<uint64_t>(status.st_size);
  }

  const std::string& path() const { return path_; }
  /// Bytes that are not read yet.
  uint64_t left() const { return left_; }

  void skip(size_t count) {
    check(fseeko(file_.get(), static_cast<off_t>(count), SEEK_CUR) == 0, "{}", std::strerror(errno));
    left_ -= count;
  }

  void read(void* bytes, size_t count) {
    if (count == 0) return;
    errno = 0;
    check(std::fread(bytes, 1, count, file_.get()) == count, "{}",
          errno != 0 ? std::strerror(errno) : "it has become shorter meanwhile");
    left_ -= count;
  }

 private:
  std::string path_;
  std::unique_ptr<FILE, int (*)(FILE*)> file_;
  uint64_t left_ = 0;
};

/// JSON allows a key to stand twice in an object, and the parser would take the last.
json parse_without_repeated_keys(const std::string& text) {
  constexpr int max_depth = 4;
  std::array<std::set<std::string>, max_depth + 1> keys;
  return json::parse(text, [&](int depth, json::parse_event_t event, json& value) {
    check(depth <= max_depth, "its header is nested too deeply");
    if (event == json::parse_event_t::object_start && depth < max_depth) keys[depth + 1].clear();
    if (event == json::parse_event_t::key) {
      const auto& name = value.get_ref<const std::string&>();
      check(keys[depth].insert(name).second, "'{}' stands twice in its header", name);
    }
    return true;
  });
}

uint64_t whole_number(const json& value, const std::string& of) {
  check(value.is_number_unsigned(), "{} is not a whole number of at least 0", of);
  return value.get<uint64_t>();
}

const TypeName& parse_type(const std::string& name, const json& value) {
  check(value.is_string(), "the dtype of '{}' is not a text", name);
  for (const TypeName& t : type_names)
    if (value.get_ref<const std::string&>() == t.text) return t;
  fail("the dtype of '{}' is {}; only F32, F64, F16, BF16, I32, I64 and U8 can be read", name,
       value.get_ref<const std::string&>());
}

Entry parse_entry(const std::string& name, const json& value, uint64_t data_bytes) {
  check(value.is_object() && value.size() == 3 && value.contains("dtype") && value.contains("shape") &&
            value.contains("data_offsets"),
        "'{}' does not consist of dtype, shape and data_offsets", name);
  Entry entry{name, parse_type(name, value["dtype"]), {}, 0, 0};

  const json& shape = value["shape"];
  check(shape.is_array() && shape.size() <= Shape::max_rank,
        "the shape of '{}' is not a list of at most {} extents", name, Shape::max_rank);
  uint64_t bytes = entry.type.bytes;
  for (const json& item : shape) {
    const uint64_t extent = whole_number(item, formatted("an extent of '{}'", name));
    check(extent <= INT64_MAX && !__builtin_mul_overflow(bytes, extent, &bytes), "'{}' is impossibly large",
          name);
    entry.shape.append(static_cast<int64_t>(extent));
  }

  const json& offsets = value["data_offsets"];
  check(offsets.is_array() && offsets.size() == 2, "the data_offsets of '{}' are not two numbers", name);
  entry.begin = whole_number(offsets[0], formatted("a data offset of '{}'", name));
  entry.end = whole_number(offsets[1], formatted("a data offset of '{}'", name));
  check(entry.begin <= entry.end && entry.end <= data_bytes,
        "the data of '{}' (bytes {} to {}) lie outside the {} bytes that follow the header", name,
        entry.begin, entry.end, data_bytes);
  check(entry.end - entry.begin == bytes, "'{}' of shape {} and dtype {} needs {} bytes, but has {}", name,
        entry.shape, entry.type.text, bytes, entry.end - entry.begin);
  return entry;
}

Metadata parse_metadata(const json& value) {
  check(value.is_object(), "its __metadata__ is not an object");
  Metadata metadata;
  for (const auto& [key, text] : value.items()) {
    check(text.is_string(), "the metadata '{}' is not a text", key);
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

/// The entries in the order of their data, which must follow one another without gap or overlap.
std::vector<Entry> parse_entries(const json& header, uint64_t data_bytes) {
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items())
    if (name != "__metadata__") entries.push_back(parse_entry(name, value, data_bytes));
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t end = 0;
  for (const Entry& entry : entries) {
    check(entry.begin == end, "the data of '{}' begin at byte {}, but the data before end at {}", entry.name,
          entry.begin, end);
    end = entry.end;
  }
  check(end == data_bytes, "its tensors cover {} of the {} bytes of data", end, data_bytes);
  return entries;
}

std::string read_header(Reader& reader, uint64_t& length) {
  check(reader.left() >= length_bytes, "it has only {} bytes", reader.left());
  reader.read(&length, length_bytes);
  const std::string_view first(reinterpret_cast<const char*>(&length), length_bytes);
  const bool pickle =
      first.starts_with("PK\x03\x04") || first.starts_with("\x80\x02") || first.starts_with("\x80\x04");
  check(!pickle,
        "it is a PyTorch pickle, which can run any program when it is read; convert it where it is trusted, "
        "with Python's "
        "torch and safetensors: safetensors.torch.save_file(torch.load(\"{}\", \"cpu\", weights_only=True), "
        "\"weights.safetensors\")",
        reader.path());
  check(length <= max_header && length <= reader.left(),
        "it is cut off, or no safetensors file: its header should have {} bytes, but only {} follow (and at "
        "most {} are allowed)",
        length, reader.left(), max_header);
  std::string text(length, '\0');
  reader.read(text.data(), text.size());
  check(text.starts_with('{'), "its header is not a JSON object");
  return text;
}

/// The header of a file, and where the data of its tensors lie.
struct Header {
  Metadata metadata;
  std::string checksum;  // as it is stated; empty if it is not
  std::vector<Entry> entries;
  uint64_t begin;  // of the data
  uint32_t crc;    // up to there
};

Header parse_header(Reader& reader) {
  uint64_t length = 0;
  const std::string text = read_header(reader, length);
  const json header = parse_without_repeated_keys(text);
  Header result;
  if (header.contains("__metadata__")) result.metadata = parse_metadata(header["__metadata__"]);
  if (const auto stated = result.metadata.extract(std::string(checksum_key)); !stated.empty())
    result.checksum = stated.mapped();
  result.entries = parse_entries(header, reader.left());
  result.begin = length_bytes + length;
  result.crc = header_crc(length, text);
  return result;
}

/// Reads bytes for their checksum alone.
uint32_t read_through(Reader& reader, uint64_t bytes, uint32_t crc) {
  std::vector<char> some(1 << 20);
  while (bytes > 0) {
    const size_t count = std::min<uint64_t>(bytes, some.size());
    reader.read(some.data(), count);
    crc = crc32_of(some.data(), count, crc);
    bytes -= count;
  }
  return crc;
}

SafetensorsFile read_verified(const std::string& path, Checksum checksum, const KeepTensor& keep) {
  Reader reader(path);
  Header header = parse_header(reader);
  check(!header.checksum.empty() || checksum != Checksum::required, "it carries no checksum");
  const bool verify = !header.checksum.empty() && checksum != Checksum::unread;

  SafetensorsFile file{path, {}, {}, std::move(header.metadata)};
  uint32_t crc = header.crc;
  for (const Entry& entry : header.entries) {
    const uint64_t bytes = entry.end - entry.begin;
    file.shapes.emplace(entry.name, entry.shape);
    if (keep && !keep(entry.name)) {
      if (verify)
        crc = read_through(reader, bytes, crc);
      else
        reader.skip(bytes);
      continue;
    }
    const Tensor tensor(entry.shape, entry.type.dtype);
    const bool as_stored = entry.type.convert == nullptr;
    const Tensor stored = as_stored ? tensor : Tensor({static_cast<int64_t>(bytes)}, DType::u8);
    reader.read(stored.raw(), stored.bytes());
    crc = verify ? crc32_of(stored.raw(), stored.bytes(), crc) : 0;
    if (!as_stored)
      entry.type.convert(stored.raw(), static_cast<size_t>(tensor.numel()), tensor.data<float>());
    file.tensors.push_back({entry.name, tensor});
  }
  if (verify) {
    const std::string computed = formatted("{:08x}", crc);
    check(header.checksum == computed, "its checksum is {}, but {} was written", computed, header.checksum);
  }
  return file;
}

void read_elements_of(const std::string& path, const std::string& name, int64_t first, const Tensor& to) {
  Reader reader(path);
  const Header header = parse_header(reader);
  for (const Entry& entry : header.entries) {
    if (entry.name != name) continue;
    check(entry.type.convert == nullptr && entry.type.dtype == to.dtype(), "'{}' is {}, expected {}", name,
          entry.type.text, text_of(to.dtype()));
    check(first >= 0 && first + to.numel() <= entry.shape.numel(),
          "'{}' of shape {} has no elements {} to {}", name, entry.shape, first, first + to.numel());
    reader.skip(entry.begin + static_cast<uint64_t>(first) * entry.type.bytes);
    reader.read(to.raw(), to.bytes());
    return;
  }
  fail("it has no tensor '{}'", name);
}

template <class T>
T parse_number(const SafetensorsFile& file, const std::string& name, std::string_view text) {
  T number{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  check(error == std::errc() && stop == end, "{}: \"{}\" is \"{}\"; expected a number", file.path, name,
        text);
  return number;
}

}  // namespace

std::string_view safetensors::text_of(DType dtype) {
  return std::find_if(type_names.begin(), type_names.end(),
                      [&](const TypeName& t) { return t.dtype == dtype; })
      ->text;
}

size_t safetensors::checksum_position(std::string_view header) {
  const std::string before = formatted("\"{}\":\"", checksum_key);
  const size_t found = header.find(before);
  return found == header.npos || found + before.size() + checksum_zeros.size() > header.size()
             ? header.npos
             : found + before.size();
}

uint32_t safetensors::header_crc(uint64_t length, std::string header) {
  const size_t position = checksum_position(header);
  if (position != header.npos) header.replace(position, checksum_zeros.size(), checksum_zeros);
  const uint32_t crc = crc32_of(&length, length_bytes);
  return crc32_of(header.data(), header.size(), crc);
}

StateDict SafetensorsFile::by_name() const {
  StateDict result;
  for (const NamedTensor& t : tensors) result.emplace(t.name, t.tensor);
  return result;
}

const std::string& SafetensorsFile::text(const std::string& name) const {
  const auto found = metadata.find(name);
  check(found != metadata.end(), "{}: the metadata lacks \"{}\"; is it a checkpoint of la_train?", path,
        name);
  return found->second;
}

template <class T>
T SafetensorsFile::number(const std::string& name) const {
  return parse_number<T>(*this, name, text(name));
}
template int SafetensorsFile::number<int>(const std::string&) const;
template int64_t SafetensorsFile::number<int64_t>(const std::string&) const;
template double SafetensorsFile::number<double>(const std::string&) const;

std::vector<float> SafetensorsFile::numbers(const std::string& name, int64_t count) const {
  std::vector<float> values;
  std::istringstream words(text(name));
  for (std::string word; words >> word;) values.push_back(parse_number<float>(*this, name, word));
  check(static_cast<int64_t>(values.size()) == count, "{}: \"{}\" has {} numbers, expected {}", path, name,
        values.size(), count);
  return values;
}

const Tensor& SafetensorsFile::at(const std::string& name) const {
  for (const NamedTensor& t : tensors)
    if (t.name == name) return t.tensor;
  fail("'{}' has no tensor '{}'", path, name);
}

bool SafetensorsFile::contains(const std::string& name) const {
  return std::any_of(tensors.begin(), tensors.end(), [&](const NamedTensor& t) { return t.name == name; });
}

SafetensorsFile read_safetensors(const std::string& path, Checksum checksum, const KeepTensor& keep) {
  try {
    return read_verified(path, checksum, keep);
  } catch (const json::exception&) {
    fail("cannot read '{}': its header is not valid JSON", path);
  } catch (const Error& error) {
    fail("cannot read '{}': {}", path, error.what());
  }
}

void read_elements(const std::string& path, const std::string& name, int64_t first, const Tensor& to) {
  try {
    read_elements_of(path, name, first, to);
  } catch (const json::exception&) {
    fail("cannot read '{}': its header is not valid JSON", path);
  } catch (const Error& error) {
    fail("cannot read '{}': {}", path, error.what());
  }
}

}  // namespace la
