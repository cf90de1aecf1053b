#include "evaluation/features.h"

#include <string_view>

#include "tensor/ops.h"

namespace la {
namespace {

Module* find_submodule(Module& network, std::string_view name) {
  const size_t dot = name.find('.');
  for (const auto& [child_name, child] : network.children()) {
    if (child_name != name.substr(0, dot)) continue;
    return dot == std::string_view::npos ? child : find_submodule(*child, name.substr(dot + 1));
  }
  return nullptr;
}

}  // namespace

Module& find_module(Module& network, const std::string& name) {
  std::string stages;
  for (const auto& [stage, module] : network.stages()) {
    if (stage == name) return *module;
    stages += (stages.empty() ? "" : ", ") + stage;
  }
  Module* const found = find_submodule(network, name);
  check(found != nullptr, "the network has no layer \"{}\"; its stages are {}", name, stages);
  return *found;
}

std::vector<Tensor> outputs_of(Module& network, const std::vector<Module*>& modules, const Variable& images) {
  std::vector<Tensor> outputs(modules.size());
  for (size_t i = 0; i < modules.size(); ++i)
    modules[i]->observe([&output = outputs[i]](const Variable& y) { output = y.value(); });
  network(images);
  for (Module* module : modules) module->observe({});
  for (size_t i = 0; i < modules.size(); ++i) {
    check(outputs[i].defined(), "layer {} of {} gives no output of its own", i + 1, modules.size());
    outputs[i] = ops::cast(outputs[i], DType::f32);
  }
  return outputs;
}

}  // namespace la
