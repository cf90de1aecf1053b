#include "la/model.h"

#include <algorithm>
#include <filesystem>

#include "la/checkpoint.h"
#include "layers/networks.h"
#include "layers/state_dict.h"
#include "tensor/format.h"

namespace la {
namespace {

template <class E>
E named(const SafetensorsFile& file, const std::string& name) {
  const auto& names = enum_names<E>;
  const auto found = std::find(names.begin(), names.end(), file.text(name));
  check(found != names.end(), "{}: \"{}\" is \"{}\"; expected one of {}", file.path, name, file.text(name),
        joined(names, ", "));
  return static_cast<E>(found - names.begin());
}

}  // namespace

Metadata describe_model(const Config& config, int64_t channels, const AugmentationOptions& view) {
  return {{"network", config.network.name},
          {"head", std::string(name_of(config.network.head))},
          {"dim", formatted("{}", config.network.dim)},
          {"channels", formatted("{}", channels)},
          {"image_size", formatted("{}", view.size)},
          {"background_color", color_text(config.data.decode.background)},
          {"mean", joined(view.mean, " ")},
          {"stddev", joined(view.stddev, " ")},
          {"precision", std::string(name_of(config.run.precision))}};
}

SafetensorsFile read_checkpoint(const std::string& path, const KeepTensor& keep) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    SafetensorsFile file = read_safetensors(path, Checksum::optional, keep);
    check_finite(path, file.tensors);
    return file;
  }
  const auto warn = [](const std::string& line) { print(stderr, "warning: {}\n", line); };
  const std::optional<Checkpoint> newest = newest_checkpoint(path, warn, keep);
  check(newest.has_value(), "{}: has no checkpoint", path);
  return newest->file;
}

Model load_model(const std::string& run_or_checkpoint, Device device) {
  const auto of_network = [](const std::string& name) { return !name.starts_with("la."); };
  return load_model(read_checkpoint(run_or_checkpoint, of_network), device);
}

Model load_model(const SafetensorsFile& file, Device device) {
  Model model;
  model.checkpoint = file.path;
  model.network = file.text("network");
  model.channels = file.number<int64_t>("channels");
  model.dim = file.number<int64_t>("dim");
  model.dtype = activation_type(named<Precision>(file, "precision"));
  if (const auto found = file.metadata.find("background_color"); found != file.metadata.end())
    model.background_color = found->second;  // not in checkpoints of earlier versions
  model.view.size = file.number<int>("image_size");
  model.view.mean = file.numbers("mean", model.channels);
  model.view.stddev = file.numbers("stddev", model.channels);

  model.module = make_network({.name = model.network,
                               .channels = model.channels,
                               .image_size = model.view.size,
                               .dim = model.dim,
                               .head = named<HeadKind>(file, "head")});
  try {
    load_state_dict(*model.module, file.by_name());
  } catch (const Error& error) {
    fail("{}: {}", file.path, error.what());
  }
  model.module->to(device);
  model.module->set_training(false);
  return model;
}

ShardedRows load_bank(const std::string& checkpoint, const Shards& shards) {
  const auto none = [](const std::string&) { return false; };
  const SafetensorsFile file = read_safetensors(checkpoint, Checksum::unread, none);
  const auto found = file.shapes.find(bank_name);
  check(found != file.shapes.end() && found->second.rank() == 2, "{}: has no memory bank", checkpoint);
  const RowRange rows = shards.own_rows(found->second[0]);
  const Tensor own({rows.size(), found->second[1]});
  read_elements(checkpoint, bank_name, rows.begin * own.size(1), own);
  check_finite(checkpoint, {{bank_name, own}});
  return {own, found->second[0], shards};
}

}  // namespace la
