#include "apps/options/option_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "apps/options/arguments.h"
#include "data/decode.h"
#include "layers/networks.h"
#include "tensor/error.h"

namespace la {
namespace {

// --- Values as text ---

template <class T>
T parse_number(const std::string& text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  constexpr bool whole = std::is_integral_v<T>;
  check(error != std::errc::result_out_of_range, "'{}' is too large or too small", text);
  check(error == std::errc() && stop == end, "expected a {}, got '{}'",
        !whole                ? "number"
        : std::is_signed_v<T> ? "whole number"
                              : "whole number of at least 0",
        text);
  if constexpr (!whole) check(std::isfinite(value), "expected a finite number, got '{}'", text);
  return value;
}

template <class E>
std::vector<std::string> names_of() {
  return {enum_names<E>.begin(), enum_names<E>.end()};
}

std::string trimmed(std::string text) {
  constexpr const char* blanks = " \t";
  text.erase(0, std::min(text.find_first_not_of(blanks), text.size()));
  text.erase(text.find_last_not_of(blanks) + 1);
  return text;
}

void parse(const std::string& text, std::string& value) { value = text; }

void parse(const std::string& text, bool& value) {
  check(text == "true" || text == "false", "expected true or false, got '{}'", text);
  value = text == "true";
}

template <class T>
requires(std::is_arithmetic_v<T>) void parse(const std::string& text, T& value) {
  value = parse_number<T>(text);
}

template <class E>
requires(std::is_enum_v<E>) void parse(const std::string& text, E& value) {
  const auto& names = enum_names<E>;
  const auto found = std::find(names.begin(), names.end(), text);
  check(found != names.end(), "expected one of {}, got '{}'{}", joined(names_of<E>(), ", "), text,
        did_you_mean(text, names_of<E>()));
  value = static_cast<E>(found - names.begin());
}

/// "120, 160"; an empty text is the empty list.
void parse(const std::string& text, std::vector<int>& value) {
  value.clear();
  if (trimmed(text).empty()) return;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    value.push_back(parse_number<int>(trimmed(text.substr(begin, end - begin))));
    begin = end + 1;
  }
}

std::string to_text(const std::string& value) { return value; }
std::string to_text(bool value) { return value ? "true" : "false"; }
template <class T>
requires(std::is_arithmetic_v<T>) std::string to_text(T value) { return formatted("{}", value); }
template <class E>
requires(std::is_enum_v<E>) std::string to_text(E value) { return std::string(name_of(value)); }
std::string to_text(const std::vector<int>& value) { return joined(value, ", "); }

// --- Ranges ---

struct Range {
  double low, high;
  bool low_included = true, high_included = true;

  bool contains(double x) const {
    return (low_included ? x >= low : x > low) && (high_included ? x <= high : x < high);
  }
  std::string text() const {
    const std::string above = formatted("{} {}", low_included ? "at least" : "greater than", low);
    if (std::isinf(high)) return above;
    return formatted("{} and {} {}", above, high_included ? "at most" : "less than", high);
  }
};

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Range at_least(double low) { return {low, infinity}; }
constexpr Range above(double low) { return {low, infinity, false}; }
constexpr Range above(double low, double at_most) { return {low, at_most, false}; }
constexpr Range between(double low, double high) { return {low, high}; }
constexpr Range share{0, 1};
constexpr Range below_one{0, 1, true, false};

template <class T>
void check_range(const T& value, const Range& range) {
  check(range.contains(static_cast<double>(value)), "must be {}, got {}", range.text(), value);
}
void check_range(const std::vector<int>& values, const Range& range) {
  for (int value : values) check_range(value, range);
}

// --- The table ---

class Table {
 public:
  void group(const char* name) { group_ = name; }

  /// A flag, or a value that is free or one of an enum.
  template <class T>
  Option& add(const char* name, T& field, const char* help) {
    return append(
        name, field, help, type_of<T>(), [](const T&) {}, "");
  }
  template <class T>
  Option& add(const char* name, T& field, const Range& range, const char* help) {
    return append(
        name, field, help, type_of<T>(), [range](const T& v) { check_range(v, range); }, range.text());
  }
  /// A text that `parse_value` takes.
  template <class F>
  requires(std::is_invocable_v<F, std::string>) Option& add(const char* name, std::string& field,
                                                            F parse_value, const char* help) {
    return append(
        name, field, help, type_of<std::string>(), [parse_value](const std::string& v) { parse_value(v); },
        "");
  }
  /// A text that is one of `values`.
  Option& add(const char* name, std::string& field, const std::vector<std::string>& values,
              const char* help) {
    const auto known = [values](const std::string& v) {
      check(std::find(values.begin(), values.end(), v) != values.end(), "expected one of {}, got '{}'{}",
            joined(values, ", "), v, did_you_mean(v, values));
    };
    return append(name, field, help, joined(values, "|"), known, "");
  }

  std::vector<Option> take() { return std::move(options_); }

 private:
  template <class T>
  static std::string type_of() {
    if constexpr (std::is_enum_v<T>) return joined(names_of<T>(), "|");
    if constexpr (std::is_same_v<T, std::string>) return "TEXT";
    if constexpr (std::is_same_v<T, std::vector<int>>) return "INT,INT,...";
    return std::is_floating_point_v<T> ? "FLOAT" : "INT";
  }

  template <class T>
  static constexpr Option::Kind kind_of() {
    if (std::is_same_v<T, bool>) return Option::Kind::flag;
    if (std::is_same_v<T, std::vector<int>>) return Option::Kind::list;
    return std::is_arithmetic_v<T> ? Option::Kind::number : Option::Kind::text;
  }

  template <class T, class Check>
  Option& append(const char* name, T& field, const char* help, std::string type, Check check_value,
                 std::string range) {
    const auto set = [&field, check_value](const std::string& text) {
      T value{};
      parse(text, value);
      check_value(value);
      field = value;
    };
    return options_.emplace_back(Option{.group = group_,
                                        .name = name,
                                        .help = help,
                                        .type = std::move(type),
                                        .range = std::move(range),
                                        .kind = kind_of<T>(),
                                        .get = [&field] { return to_text(field); },
                                        .set = set});
  }

  std::string group_;
  std::vector<Option> options_;
};

void add_data_and_network(Table& t, Config& c) {
  t.group("Data");
  t.add("data", c.data, "the pictures: a file or folder").on_resume = Option::OnResume::free;
  t.add(
      "format", c.format,
      "idx, cifar10, cifar100, stl10, places205 or folder (picture files at any depth); auto recognizes it");
  t.add("limit", c.limit, at_least(0),
        "use only so many training pictures: the first, or files spread over the folder; 0: all");
  t.add("val", c.val, "folder of test pictures, for picture folders that have no val/ beside train/")
      .on_resume = Option::OnResume::free;
  t.add("val-split", c.val_split, between(0, 0.9),
        "share of each class to be set apart for testing, where a picture folder has no test pictures");
  t.add("image-size", c.image_size, between(0, 4096),
        "height and width of what the network sees; 0: the pictures' own up to 224, for picture files 224");
  t.add("max-bad", c.max_bad, share,
        "share of the picture files that may be damaged or gone; 5 always may, unless it is 0")
      .on_resume = Option::OnResume::free;
  t.add("max-pixels", c.max_pixels, between(1, 500e6),
        "pixels of a picture file, up to 12 bytes of memory each, of AVIF 24; larger ones are bad");
  t.add("background-color", c.background_color, parse_color,
        "what shows where a picture is transparent: white, gray, black or #rrggbb");

  t.group("Augmentation");
  t.add("crop-min-area", c.crop_min_area, above(0, 1), "random crop: smallest share of the picture's area");
  t.add("crop-max-aspect", c.crop_max_aspect, at_least(1),
        "random crop: largest ratio of its sides before resizing");
  t.add("flip", c.flip, share, "probability of a horizontal flip");
  t.add("jitter", c.jitter, share, "strength of the change of brightness, contrast, saturation and hue");
  t.add("grayscale", c.grayscale, share, "probability of losing the colors");

  t.group("Network");
  t.add("network", c.network, network_names(), "the network f of the embedding");
  t.add("head", c.head, "what stands between its features and the embedding");
  t.add("dim", c.dim, between(1, 65536), "D, dimensions of the embedding");
  t.add("init", c.init,
        "begin with the weights of a .safetensors file: torchvision's names, or a checkpoint of ours");
  t.add("init-without", c.init_without,
        "leave out tensors of --init whose names begin so, such as fc.,layer4.");
  t.add("precision", c.precision,
        "arithmetic of the network; bank, loss and parameters stay f32; auto: bf16 where the device "
        "multiplies it");
  t.add("device", c.device, {"auto", "cpu", "cuda"}, "where to compute; auto takes a GPU if there is one")
      .on_resume = Option::OnResume::free;
  t.add("tf32", c.tf32, "GPU: multiply f32 on tensor cores, with 10 bits of fraction");
  t.add("autotune", c.autotune, "GPU: time several plans for each convolution and product, keep the fastest")
      .on_resume = Option::OnResume::free;
  t.add("no-graph", c.no_graph, "GPU: launch each kernel by itself instead of a recorded step").on_resume =
      Option::OnResume::free;
}

void add_training(Table& t, Config& c) {
  t.group("Optimization");
  t.add("epochs", c.epochs, between(1, 1000000),
        "passes over the pictures, those of the warm start included");
  t.add("warm-start-epochs", c.warm_start_epochs, at_least(0), "first epochs, of instance recognition");
  t.add("batch", c.batch, at_least(1), "pictures per step");
  t.add("learning-rate", c.learning_rate, above(0), "learning rate of SGD, before any drop");
  t.add("schedule", c.schedule, "how the learning rate falls");
  t.add("learning-rate-drops", c.learning_rate_drops, at_least(1),
        "step schedule: epochs after which the rate is divided by 10; empty: 60 % and 80 % of them");
  t.add("learning-rate-warm-up", c.learning_rate_warm_up, at_least(0), "epochs of linear increase from 0");
  t.add("momentum", c.momentum, below_one, "momentum of SGD");
  t.add("weight-decay", c.weight_decay, at_least(0), "weight decay; not for biases and batch norm");

  t.group("Local Aggregation");
  t.add("temperature", c.temperature, above(0), "tau of the softmax P(i | v)");
  t.add("bank-momentum", c.bank_momentum, below_one, "t, share of the old vector when the bank is updated");
  t.add("bank-init", c.bank_init, "the bank at the start: random vectors, or the untrained network's");
  t.add("bank-refresh", c.bank_refresh,
        "recompute the whole bank, without augmentation, before each clustering");
  t.add("background", c.background, at_least(0),
        "k, background neighbors of each picture; 0: chosen from the data");
  t.add("clusterings", c.clusterings, between(0, 1000),
        "H, k-means clusterings of the bank; 0: chosen from the data");
  t.add("clusters", c.clusters, at_least(0), "m, clusters of each clustering; 0: chosen from the data");
  t.add("cluster-every", c.cluster_every, at_least(1), "epochs from one clustering to the next");
  t.add("cluster-iterations", c.cluster_iterations, between(1, 100000), "iterations of k-means");
  t.add("spherical", c.spherical, "k-means with centroids on the unit sphere");
  t.add("close-neighbors", c.close_neighbors,
        "close neighbors: members of a picture's clusters, or the nearest");
  t.add("close-count", c.close_count, at_least(0),
        "how many close neighbors with knn; 0: chosen from the data");
  t.add("ir-loss", c.ir_loss, "instance recognition: noise-contrastive estimation, or the full softmax");
  t.add("noise", c.noise, at_least(0), "noise samples a picture with nce; 0: chosen from the data");
  t.add("nce-constant", c.nce_constant,
        "Z of nce: the original program's, or estimated from the first batch");
}

void add_run(Table& t, Config& c) {
  t.group("Run");
  t.add("seed", c.seed, "of all random numbers; the same seed repeats a run");
  t.add("threads", c.threads, between(0, 1024), "threads that compute; 0: one a core").on_resume =
      Option::OnResume::free;
  t.add("loader-threads", c.loader_threads, between(1, 1024), "threads that prepare batches ahead")
      .on_resume = Option::OnResume::free;
  t.add("eval-every", c.eval_every, at_least(0),
        "epochs from one kNN evaluation to the next; 0: at the start, after the warm start and at the end")
      .on_resume = Option::OnResume::free;
  t.add("run", c.run, "the run's folder; empty: runs/<data>-<network>-<number>").stored = Option::Stored::no;
  t.add("resume", c.resume, "continue the run in the folder --run").stored = Option::Stored::no;
  t.add("dry-run", c.dry_run, "print the plan, time a few steps, and end").stored = Option::Stored::no;
}

}  // namespace

std::vector<Option> option_table(Config& config) {
  Table table;
  add_data_and_network(table, config);
  add_training(table, config);
  add_run(table, config);
  return table.take();
}

}  // namespace la
