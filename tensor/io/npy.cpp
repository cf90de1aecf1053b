#include "tensor/io/npy.h"

#include <charconv>
#include <limits>
#include <string_view>

#include "tensor/format.h"

namespace la {
namespace {

constexpr std::string_view magic("\x93NUMPY\x01\x00", 8);
constexpr size_t header_bytes = 128;  // all of it; room for any shape, as numpy's files have
constexpr std::string_view type_of_f32 = "'<f4'";

/// What stands behind `key` in the header, up to `end`.
std::string_view value_of(std::string_view header, std::string_view key, std::string_view end,
                          const std::string& path) {
  const size_t at = header.find(key);
  check(at != std::string_view::npos, "{}: its header has no {}", path, key);
  std::string_view rest = header.substr(at + key.size());
  const size_t colon = rest.find_first_not_of(" :");
  check(colon != std::string_view::npos, "{}: its header ends after {}", path, key);
  rest = rest.substr(colon);
  const size_t stop = rest.find(end);
  check(stop != std::string_view::npos, "{}: its header ends after {}", path, key);
  return rest.substr(0, stop);
}

/// "(3, 4" as extents.
Shape parse_shape(std::string_view text, const std::string& path) {
  check(text.starts_with('('), "{}: its shape is {}), expected numbers in brackets", path, text);
  text.remove_prefix(1);
  Shape shape;
  int64_t elements = 1;
  while (!text.empty()) {
    int64_t extent = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), extent);
    constexpr int64_t most = std::numeric_limits<int64_t>::max() / static_cast<int64_t>(sizeof(float));
    check(error == std::errc() && extent >= 0 && shape.rank() < Shape::max_rank &&
              (extent == 0 || elements <= most / extent),
          "{}: its shape has \"{}\", expected up to {} numbers", path, text, Shape::max_rank);
    elements *= extent;
    shape.append(extent);
    text.remove_prefix(static_cast<size_t>(stop - text.data()));
    while (text.starts_with(',') || text.starts_with(' ')) text.remove_prefix(1);
  }
  return shape;
}

}  // namespace

NpyWriter::NpyWriter(const std::string& path, Shape row) : file_(path), row_(row) { file_.write(header()); }

std::string NpyWriter::header() const {
  std::string shape = formatted("({},", rows_);
  for (int d = 0; d < row_.rank(); ++d) shape += formatted("{}{}", d == 0 ? " " : ", ", row_[d]);
  std::string text = formatted("{{'descr': {}, 'fortran_order': False, 'shape': {}), }}", type_of_f32, shape);
  const size_t room = header_bytes - magic.size() - 2;
  check(text.size() < room, "the shape {} is too long for a header", shape);
  text.resize(room - 1, ' ');
  text += '\n';
  const char length[2] = {static_cast<char>(room & 255), static_cast<char>(room >> 8)};
  return std::string(magic) + std::string(length, 2) + text;
}

void NpyWriter::append(const Tensor& rows) {
  const Shape row = rows.shape().row();
  check(row == row_, "rows of shape {} in an array whose rows are {}", row, row_);
  const std::vector<float> values = rows.to_vector<float>();
  file_.write(values.data(), values.size() * sizeof(float));
  rows_ += rows.size(0);
}

void NpyWriter::finish() {
  const std::string text = header();
  file_.write_at(0, text.data(), text.size());
  file_.commit();
}

Tensor read_npy(const std::string& path) {
  const std::string bytes = read_file(path);
  check(bytes.size() >= magic.size() + 2 && bytes.starts_with(magic), "{}: is no .npy file of version 1.0",
        path);
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(bytes[i])); };
  const size_t start = magic.size() + 2, data = start + byte(magic.size()) + (byte(magic.size() + 1) << 8);
  check(data <= bytes.size(), "{}: ends within its header", path);
  const std::string_view header = std::string_view(bytes).substr(start, data - start);
  check(value_of(header, "'descr'", ",", path) == type_of_f32, "{}: has type {}, expected {}", path,
        value_of(header, "'descr'", ",", path), type_of_f32);
  check(value_of(header, "'fortran_order'", ",", path) == "False",
        "{}: lies in Fortran's order, expected C's", path);
  const Shape shape = parse_shape(value_of(header, "'shape'", ")", path), path);
  check(bytes.size() - data == static_cast<size_t>(shape.numel()) * sizeof(float),
        "{}: has {} bytes of data, its shape {} means {}", path, bytes.size() - data, shape,
        static_cast<size_t>(shape.numel()) * sizeof(float));
  Tensor tensor(shape);
  tensor.copy_from_host(bytes.data() + data);
  return tensor;
}

}  // namespace la
