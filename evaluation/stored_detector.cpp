#include "evaluation/stored_detector.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "layers/networks.h"
#include "layers/state_dict.h"
#include "tensor/format.h"

namespace la {
namespace {

constexpr const char* categories_key = "categories";

std::vector<float> list(const SafetensorsFile& file, const char* name) {
  const std::string& text = file.text(name);
  return file.numbers(name, 1 + std::count(text.begin(), text.end(), ' '));
}

/// The names in order.
std::vector<std::string> categories_in(const SafetensorsFile& file) {
  const auto json = nlohmann::json::parse(file.text(categories_key), nullptr, false);
  check(json.is_array() && !json.empty() &&
            std::all_of(json.begin(), json.end(), [](const auto& name) { return name.is_string(); }),
        "{}: \"{}\" is not a list of names", file.path, categories_key);
  return json.get<std::vector<std::string>>();
}

/// As JSON, for they may have any letters; an Error for what are none.
std::string text_of(const std::vector<std::string>& categories) try {
  return nlohmann::json(categories).dump();
} catch (const nlohmann::json::exception&) {
  fail("the name of a category is not UTF-8: {}", joined(categories, ", "));
}

DType type_named(const SafetensorsFile& file, const char* name) {
  for (const DType dtype : {DType::f32, DType::bf16})
    if (file.text(name) == formatted("{}", dtype)) return dtype;
  fail("{}: \"{}\" is \"{}\"; expected f32 or bf16", file.path, name, file.text(name));
}

/// The network's weights, without those of its head.
void copy_network(Model& model, Module& network) {
  StateDict state;
  for (NamedTensor& t : state_dict(*model.module)) state.emplace(t.name, t.tensor);
  const StateDifference difference = load_matching_state(network, state);
  check(difference.missing.empty(), "{}: has no tensor '{}'", model.checkpoint,
        difference.missing.empty() ? "" : difference.missing.front());
}

}  // namespace

TrainedDetector make_detector(Model& model, DetectorOptions options, std::vector<std::string> categories,
                              bool from_scratch, uint64_t seed) {
  options.network = {.name = model.network, .channels = model.channels, .image_size = model.view.size};
  options.categories = static_cast<int64_t>(categories.size());
  TrainedDetector detector{.checkpoint = model.checkpoint,
                           .options = options,
                           .categories = std::move(categories),
                           .view = {.format = format_of_views(model.view, model.channels)},
                           .background_color = parse_color(model.background_color),
                           .dtype = model.dtype,
                           .module = std::make_unique<Detector>(options)};
  initialize(*detector.module, options.network, seed);
  if (!from_scratch) copy_network(model, detector.module->network());
  detector.module->to(model.device());
  return detector;
}

Metadata describe_detector(const TrainedDetector& d) {
  const auto channels = static_cast<size_t>(d.options.network.channels);
  const auto numbers = [&](const std::array<float, 3>& values) {
    return joined(std::vector<float>(values.begin(), values.begin() + static_cast<int64_t>(channels)), " ");
  };
  return {{"detector", d.options.network.name},
          {"channels", formatted("{}", channels)},
          {"image_size", formatted("{}", d.options.network.image_size)},
          {"background_color", color_text(d.background_color)},
          {"mean", numbers(d.view.format.mean)},
          {"stddev", numbers(d.view.format.stddev)},
          {"precision", formatted("{}", d.dtype)},
          {categories_key, text_of(d.categories)},
          {"rpn_channels", formatted("{}", d.options.rpn_channels)},
          {"anchor_scales", joined(d.options.anchor_scales, " ")},
          {"anchor_ratios", joined(d.options.anchor_ratios, " ")},
          {"short_side", formatted("{}", d.view.short_side)},
          {"long_side", formatted("{}", d.view.long_side)}};
}

bool is_detector(const SafetensorsFile& file) { return file.metadata.contains("detector"); }

TrainedDetector load_detector(const SafetensorsFile& file, Device device) {
  check(is_detector(file), "{}: holds no detector", file.path);
  TrainedDetector d;
  d.checkpoint = file.path;
  d.categories = categories_in(file);
  d.options = {.network = {.name = file.text("detector"),
                           .channels = file.number<int64_t>("channels"),
                           .image_size = file.number<int64_t>("image_size")},
               .categories = static_cast<int64_t>(d.categories.size()),
               .rpn_channels = file.number<int64_t>("rpn_channels"),
               .anchor_scales = list(file, "anchor_scales"),
               .anchor_ratios = list(file, "anchor_ratios")};
  const AugmentationOptions view{.mean = file.numbers("mean", d.options.network.channels),
                                 .stddev = file.numbers("stddev", d.options.network.channels)};
  d.view = {.short_side = file.number<int>("short_side"),
            .long_side = file.number<int>("long_side"),
            .format = format_of_views(view, d.options.network.channels)};
  check(d.view.short_side >= 1 && d.view.long_side >= 1 && d.options.rpn_channels >= 1,
        "{}: says short_side {}, long_side {}, rpn_channels {}; expected at least 1 of each", file.path,
        d.view.short_side, d.view.long_side, d.options.rpn_channels);
  check(std::all_of(view.stddev.begin(), view.stddev.end(), [](float x) { return x > 0; }),
        "{}: \"stddev\" is {}, expected more than 0", file.path, file.text("stddev"));
  d.background_color = parse_color(file.text("background_color"));
  d.dtype = type_named(file, "precision");
  d.module = std::make_unique<Detector>(d.options);
  try {
    load_state_dict(*d.module, file.by_name());
  } catch (const Error& error) {
    fail("{}: {}", file.path, error.what());
  }
  d.module->to(device);
  d.module->set_training(false);
  return d;
}

}  // namespace la
