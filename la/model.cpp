#include "la/model.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>

#include "la/checkpoint.h"
#include "layers/networks.h"
#include "layers/state_dict.h"

namespace la {
namespace {

const std::string& entry(const SafetensorsFile& file, const std::string& name) {
  const auto found = file.metadata.find(name);
  check(found != file.metadata.end(), "{}: the metadata lacks \"{}\"; is it a checkpoint of la_train?",
        file.path, name);
  return found->second;
}

template <class T>
T parse(const SafetensorsFile& file, const std::string& name, std::string_view text) {
  T number{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  check(error == std::errc() && stop == end, "{}: \"{}\" is \"{}\"; expected a number", file.path, name,
        text);
  return number;
}

std::vector<float> numbers(const SafetensorsFile& file, const std::string& name, int64_t count) {
  std::vector<float> values;
  std::istringstream text(entry(file, name));
  for (std::string part; text >> part;) values.push_back(parse<float>(file, name, part));
  check(static_cast<int64_t>(values.size()) == count, "{}: \"{}\" has {} numbers, expected {}", file.path,
        name, values.size(), count);
  return values;
}

template <class E>
E named(const SafetensorsFile& file, const std::string& name) {
  const auto& names = enum_names<E>;
  const auto found = std::find(names.begin(), names.end(), entry(file, name));
  check(found != names.end(), "{}: \"{}\" is \"{}\"; expected one of {}", file.path, name, entry(file, name),
        fmt::join(names, ", "));
  return static_cast<E>(found - names.begin());
}

SafetensorsFile read_checkpoint(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    SafetensorsFile file = read_safetensors(path);
    check_finite(path, file.tensors);
    return file;
  }
  const auto warn = [](const std::string& line) { fmt::print(stderr, "warning: {}\n", line); };
  const std::optional<Checkpoint> newest = newest_checkpoint(path, warn);
  check(newest.has_value(), "{}: has no checkpoint", path);
  return newest->file;
}

}  // namespace

template <class T>
T metadata_number(const SafetensorsFile& file, const std::string& name) {
  return parse<T>(file, name, entry(file, name));
}
template int metadata_number<int>(const SafetensorsFile&, const std::string&);
template int64_t metadata_number<int64_t>(const SafetensorsFile&, const std::string&);
template double metadata_number<double>(const SafetensorsFile&, const std::string&);

Metadata describe_model(const Config& config, int64_t channels, const AugmentationOptions& view) {
  return {{"network", config.network},
          {"head", std::string(name_of(config.head))},
          {"dim", fmt::format("{}", config.dim)},
          {"channels", fmt::format("{}", channels)},
          {"image_size", fmt::format("{}", view.size)},
          {"background_color", config.background_color},
          {"mean", fmt::format("{}", fmt::join(view.mean, " "))},
          {"stddev", fmt::format("{}", fmt::join(view.stddev, " "))},
          {"precision", std::string(name_of(config.precision))}};
}

Model load_model(const std::string& run_or_checkpoint, Device device) {
  const SafetensorsFile file = read_checkpoint(run_or_checkpoint);
  Model model;
  model.checkpoint = file.path;
  model.network = entry(file, "network");
  model.channels = metadata_number<int64_t>(file, "channels");
  model.dim = metadata_number<int64_t>(file, "dim");
  model.precision = named<Precision>(file, "precision");
  if (const auto found = file.metadata.find("background_color"); found != file.metadata.end())
    model.background_color = found->second;  // not in checkpoints of earlier versions
  model.view.size = metadata_number<int>(file, "image_size");
  model.view.mean = numbers(file, "mean", model.channels);
  model.view.stddev = numbers(file, "stddev", model.channels);

  model.module = make_network(model.network, {.channels = model.channels,
                                              .image_size = model.view.size,
                                              .dim = model.dim,
                                              .head = named<HeadKind>(file, "head")});
  std::map<std::string, Tensor> state;
  for (const NamedTensor& t : file.tensors) state.emplace(t.name, t.tensor);
  try {
    load_state_dict(*model.module, state);
  } catch (const Error& error) {
    fail("{}: {}", file.path, error.what());
  }
  model.module->to(device);
  model.module->set_training(false);
  return model;
}

}  // namespace la
