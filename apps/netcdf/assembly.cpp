#include "apps/netcdf/assembly.h"

#include <dlfcn.h>
#include <netcdf.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <optional>
#include <type_traits>

#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tensor/text.h"

namespace la {
namespace {

/// When a program ends, HDF5, in which netCDF-4 is written, closes what is open; after a write that failed, on a full disk,
/// it crashes there. Files are closed here. netCDF has no word for this, and its HDF5 is not ours to link.
void keep_hdf5_from_exits() {
  if (void* const function = dlsym(RTLD_DEFAULT, "H5dont_atexit"); function != nullptr)
    reinterpret_cast<int (*)()>(function)();
}

/// Closes an open file of netCDF.
struct NetcdfId {
  int id = 0;
  bool open = false;

  NetcdfId() = default;
  NetcdfId(const NetcdfId&) = delete;
  NetcdfId& operator=(const NetcdfId&) = delete;
  ~NetcdfId() {
    if (open) nc_close(id);
  }
};

/// A new file of netCDF-4, under its name when it is finished.
class NetcdfFile {
 public:
  explicit NetcdfFile(const std::string& path) : path_(path), file_(path) {
    check(!file_.temporary_path().empty(), "{}: is a device or a pipe, an assembly needs a file", path);
    keep_hdf5_from_exits();
    call(nc_create, file_.temporary_path().c_str(), NC_NETCDF4 | NC_CLOBBER, &id_.id);
    id_.open = true;
    call(nc_set_fill, id_.id, NC_NOFILL, nullptr);  // all is written, so not twice
  }

  int dimension(const std::string& name, int64_t size) {
    int dimension = 0;
    call(nc_def_dim, id_.id, name.c_str(), static_cast<size_t>(size), &dimension);
    return dimension;
  }
  int variable(const std::string& name, nc_type type, const std::vector<int>& dimensions) {
    int variable = 0;
    call(nc_def_var, id_.id, name.c_str(), type, static_cast<int>(dimensions.size()), dimensions.data(),
         &variable);
    return variable;
  }
  /// Coordinates repeat themselves; those of a million neuroids become small.
  void compress(int variable) { call(nc_def_var_deflate, id_.id, variable, 0, 1, 1); }
  void attribute(int variable, const std::string& name, const std::string& text) {
    call(nc_put_att_text, id_.id, variable, name.c_str(), text.size(), text.c_str());
  }
  /// Uncompressed, at one place of the file.
  void contiguous(int variable) { call(nc_def_var_chunking, id_.id, variable, NC_CONTIGUOUS, nullptr); }
  /// A part of a variable, whose values have its type.
  void write(int variable, const std::vector<int64_t>& start, const std::vector<int64_t>& count,
             const void* values) {
    const std::vector<size_t> from(start.begin(), start.end()), extent(count.begin(), count.end());
    call(nc_put_vara, id_.id, variable, from.data(), extent.data(), values);
  }
  void commit() {
    id_.open = false;
    call(nc_close, id_.id);
    file_.commit();
  }

 private:
  template <class Function, class... Arguments>
  void call(Function function, const Arguments&... arguments) const {
    errno = 0;
    const int status = function(arguments...);
    // HDF5 tells that something went wrong, and the system why.
    const char* const reason =
        status == NC_EHDFERR && errno != 0 ? std::strerror(errno) : nc_strerror(status);
    check(status == NC_NOERR, "cannot write '{}': {}", path_, reason);
  }

  std::string path_;
  AtomicFile file_;
  NetcdfId id_;
};

constexpr const char *activations_name = "activations", *presentation_name = "presentation",
                     *neuroid_name = "neuroid";

/// The name of the coordinate of a column: ASCII letters, digits and underscores, for xarray splits lists of names at any blank of
/// Unicode; and none that the file has for something else.
std::string coordinate_name(const CsvTable& table, int64_t column) {
  std::string name = table.columns[static_cast<size_t>(column)];
  if (name.empty()) name = formatted("column_{}", column + 1);  // pandas writes an index without a name
  for (char& c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || std::isalnum(byte) == 0) c = '_';
  }
  for (const char* taken : {activations_name, presentation_name, neuroid_name, "stimulus_id", "neuroid_id",
                            "layer", "channel", "y", "x"})
    if (name == taken) return "stimulus_" + name;
  return name;
}

/// One number of an output: of which layer, and where in it.
struct Neuroid {
  size_t layer;
  int64_t number, channel, y, x;  // y and x are -1 of a vector
};

/// The numbers of all outputs, one after another.
class Neuroids {
 public:
  explicit Neuroids(const std::vector<Tensor>& outputs) {
    for (const Tensor& output : outputs) {
      rows_.push_back(output.shape().row());
      ends_.push_back(size() + rows_.back().numel());
    }
  }

  int64_t size() const { return ends_.empty() ? 0 : ends_.back(); }
  /// Of a layer's output.
  const Shape& row(size_t layer) const { return rows_[layer]; }
  bool has_maps() const {
    return std::any_of(rows_.begin(), rows_.end(), [](const Shape& row) { return row.rank() == 3; });
  }
  Neuroid operator[](int64_t i) const {
    const auto layer = static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), i) - ends_.begin());
    const Shape& row = rows_[layer];
    const int64_t number = i - (ends_[layer] - row.numel());
    if (row.rank() != 3) return {layer, number, number, -1, -1};
    const int64_t place = number / row[2];  // [H, W, C]
    return {layer, number, number % row[2], place / row[1], place % row[1]};
  }

 private:
  std::vector<Shape> rows_;
  std::vector<int64_t> ends_;
};

/// The coordinates of a file along a dimension of so many. `value(i)` is that of place i.
class Coordinates {
 public:
  Coordinates(NetcdfFile& file, const std::string& dimension, int64_t size)
      : file_(file), size_(size), dimension_(file.dimension(dimension, size)) {}

  int dimension() const { return dimension_; }
  const std::vector<std::string>& names() const { return names_; }

  template <class Value>
  void write_numbers(const std::string& name, const Value& value) {
    using Number = decltype(value(0));
    constexpr nc_type type = std::is_same_v<Number, double> ? NC_DOUBLE : NC_INT64;
    const int variable = define(name, type, {dimension_});
    write_pieces(sizeof(Number), [&](int64_t begin, int64_t count) {
      std::vector<Number> numbers;
      for (int64_t i = begin; i < begin + count; ++i) numbers.push_back(value(i));
      file_.write(variable, {begin}, {count}, numbers.data());
    });
  }

  /// Arrays of characters, which xarray takes for texts: a million of netCDF's own strings take ten seconds.
  template <class Value>
  void write_texts(const std::string& name, const Value& value) {
    int64_t length = 1;  // in bytes
    for (int64_t i = 0; i < size_; ++i) length = std::max(length, std::ssize(value(i)));
    // No column's coordinate has a '-' in its name, so that none has this name.
    const int variable = define(name, NC_CHAR, {dimension_, file_.dimension(name + "-bytes", length)});
    file_.attribute(variable, "_Encoding", "utf-8");
    write_pieces(length, [&](int64_t begin, int64_t count) {
      std::string texts;
      for (int64_t i = 0; i < count; ++i) {
        texts += value(begin + i);
        texts.resize(static_cast<size_t>((i + 1) * length), '\0');
      }
      file_.write(variable, {begin, 0}, {count, length}, texts.data());
    });
  }

 private:
  int define(const std::string& name, nc_type type, const std::vector<int>& dimensions) {
    names_.push_back(name);
    const int variable = file_.variable(name, type, dimensions);
    file_.compress(variable);
    return variable;
  }

  /// Calls write(begin, count) for places that take some 16 MiB.
  template <class Write>
  void write_pieces(int64_t bytes_of_each, const Write& write) const {
    const int64_t most = std::max<int64_t>((1 << 24) / bytes_of_each, 1);
    for (int64_t begin = 0; begin < size_; begin += most) write(begin, std::min(most, size_ - begin));
  }

  NetcdfFile& file_;
  int64_t size_;
  int dimension_;
  std::vector<std::string> names_;
};

void write_column(Coordinates& presentations, const StimulusSet& stimuli, int64_t column) {
  const CsvTable& table = stimuli.table;
  const bool is_name = column == stimuli.id || column == stimuli.file;
  const std::string name = column == stimuli.id ? "stimulus_id" : coordinate_name(table, column);
  const auto& names = presentations.names();
  check(std::find(names.begin(), names.end(), name) == names.end(),
        "{}: two of its columns would be the coordinate {}", table.path, name);
  const auto place = [](int64_t i) { return static_cast<size_t>(i); };
  const ColumnValues values = is_name ? table.texts(column) : table.values(column);
  if (const auto* texts = std::get_if<std::vector<std::string>>(&values))
    presentations.write_texts(name, [&](int64_t i) -> const std::string& { return (*texts)[place(i)]; });
  if (const auto* integers = std::get_if<std::vector<int64_t>>(&values))
    presentations.write_numbers(name, [&](int64_t i) { return (*integers)[place(i)]; });
  if (const auto* numbers = std::get_if<std::vector<double>>(&values))
    presentations.write_numbers(name, [&](int64_t i) { return (*numbers)[place(i)]; });
}

class NetcdfAssemblyWriter final : public AssemblyWriter {
 public:
  NetcdfAssemblyWriter(const std::string& path, AssemblyDescription description)
      : path_(path),
        about_(std::move(description)),
        file_(path),
        presentations_(file_, presentation_name, about_.stimuli.size()) {
    for (int64_t c = 0; c < std::ssize(about_.stimuli.table.columns); ++c)
      write_column(presentations_, about_.stimuli, c);
  }

  void append(const std::vector<Tensor>& outputs) override {
    if (!neuroids_) begin(outputs);
    const int64_t rows = outputs.front().size(0);
    check(row_ + rows <= about_.stimuli.size(), "{}: got more than {}", path_,
          counted(about_.stimuli.size(), "presentation"));
    int64_t first = 0;
    for (size_t i = 0; i < outputs.size(); ++i) {
      const Shape& row = neuroids_->row(i);
      check(outputs[i].shape().row() == row, "{}: the layer {} gives {} after {}", path_, about_.layers[i],
            outputs[i].shape().row(), row);
      const std::vector<float> values = outputs[i].to_vector<float>();
      file_.write(activations_, {row_, first}, {rows, row.numel()}, values.data());
      first += row.numel();
    }
    row_ += rows;
  }

  void finish() override {
    check(row_ == about_.stimuli.size(), "{}: got {}, expected {}", path_, counted(row_, "presentation"),
          about_.stimuli.size());
    file_.commit();
    print("{}: {}, {}\n", path_, counted(row_, "presentation"), counted(neuroids_->size(), "neuroid"));
  }

 private:
  /// Writes all but the numbers: now it is known how many there are.
  void begin(const std::vector<Tensor>& outputs) {
    neuroids_.emplace(outputs);
    const Neuroids& all = *neuroids_;
    const auto& layers = about_.layers;
    Coordinates coordinates(file_, neuroid_name, all.size());
    coordinates.write_texts("neuroid_id", [&](int64_t i) {
      const Neuroid n = all[i];
      return formatted("{}.{}.{}", about_.model, layers[n.layer], n.number);
    });
    coordinates.write_texts("layer", [&](int64_t i) -> const std::string& { return layers[all[i].layer]; });
    coordinates.write_numbers("channel", [&](int64_t i) { return all[i].channel; });
    if (all.has_maps()) {
      coordinates.write_numbers("y", [&](int64_t i) { return all[i].y; });
      coordinates.write_numbers("x", [&](int64_t i) { return all[i].x; });
    }
    // In one piece, for all of it is written once, row by row, and nothing is kept back.
    activations_ =
        file_.variable(activations_name, NC_FLOAT, {presentations_.dimension(), coordinates.dimension()});
    file_.contiguous(activations_);
    file_.attribute(activations_, "coordinates",
                    joined(presentations_.names(), " ") + " " + joined(coordinates.names(), " "));
    // Of the file, and of the variable, for that is all that open_dataarray shows.
    for (const int target : {NC_GLOBAL, activations_})
      for (const auto& [name, text] : about_.attributes) file_.attribute(target, name, printable(text));
  }

  std::string path_;
  AssemblyDescription about_;
  NetcdfFile file_;
  Coordinates presentations_;
  std::optional<Neuroids> neuroids_;  // known from the first outputs on
  int activations_ = 0;               // the variable
  int64_t row_ = 0;
};

}  // namespace

bool has_netcdf() { return true; }

std::unique_ptr<AssemblyWriter> make_assembly_writer(const std::string& path,
                                                     AssemblyDescription description) {
  return std::make_unique<NetcdfAssemblyWriter>(path, std::move(description));
}

}  // namespace la
