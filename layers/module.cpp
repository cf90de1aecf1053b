#include "layers/module.h"

#include <algorithm>

namespace la {

Variable Module::operator()(const Variable& x) {
  check(initialized_ || parameters_.empty(),
        "a layer has no values for its parameter \"{}\": expected initialize() or a loaded state for the "
        "network, and add() "
        "for every layer within another",
        parameters_.empty() ? "" : parameters_.front().name);
  Variable y = forward(x);
  if (observer_) observer_(y);
  return y;
}

void Module::set_training(bool training) {
  training_ = training;
  for (auto& [name, child] : children_) child->set_training(training);
}

std::vector<Module::Parameter> Module::parameters() {
  std::vector<Parameter> result;
  collect("", &result, nullptr);
  return result;
}

std::vector<Module::Buffer> Module::buffers() {
  std::vector<Buffer> result;
  collect("", nullptr, &result);
  return result;
}

void Module::collect(const std::string& prefix, std::vector<Parameter>* parameters,
                     std::vector<Buffer>* buffers) {
  if (parameters)
    for (const auto& own : parameters_)
      parameters->push_back({prefix + own.name, own.variable, &own.initializer, own.role,
                             own.role == Role::weight, own.positions});
  if (buffers)
    for (const auto& [name, tensor] : buffers_) buffers->push_back({prefix + name, tensor});
  for (auto& [name, child] : children_) child->collect(prefix + name + ".", parameters, buffers);
}

std::vector<std::pair<std::string, Module*>> Module::descendants() {
  std::vector<std::pair<std::string, Module*>> all;
  for (const auto& [name, child] : children_) {
    all.emplace_back(name, child);
    for (const auto& [inner_name, inner] : child->descendants())
      all.emplace_back(name + "." + inner_name, inner);
  }
  return all;
}

void Module::set_initialized() {
  initialized_ = true;
  for (auto& [name, child] : children_) child->set_initialized();
}

void Module::initialize(uint64_t seed, const std::function<Initializer(const Parameter&)>& choose) {
  set_initialized();
  uint64_t number = 0;
  for (const Parameter& p : parameters()) {
    const Initializer chosen = choose ? choose(p) : nullptr;
    (chosen ? chosen : *p.initializer)(p.variable->value(), {seed, RandomStream::parameters, number++});
  }
}

Device Module::device() {
  const std::vector<Parameter> all = parameters();
  return all.empty() ? Device::cpu() : all.front().variable->value().device();
}

void Module::freeze(const std::function<bool(const Parameter&)>& chosen) {
  for (const Parameter& p : parameters())
    if (chosen(p)) *p.variable = Variable(p.variable->value());
}

void Module::to(Device device) {
  for (const Parameter& p : parameters())
    *p.variable = Variable(p.variable->value().to(device), p.variable->requires_grad());
  for (const Buffer& b : buffers()) *b.tensor = b.tensor->to(device);
}

void Module::check_new(const std::string& name) const {
  const auto is_it = [&](const auto& pair) { return pair.first == name; };
  check(std::none_of(children_.begin(), children_.end(), is_it) &&
            std::none_of(buffers_.begin(), buffers_.end(), is_it) &&
            std::none_of(parameters_.begin(), parameters_.end(),
                         [&](const OwnParameter& p) { return p.name == name; }),
        "a module has two parts of the name \"{}\"", name);
}

void Module::add(std::string name, Module& child) {
  check_new(name);
  children_.emplace_back(std::move(name), &child);
}

void Module::add(std::string name, Variable& parameter, const Shape& shape, Initializer initializer,
                 Role role, int64_t positions) {
  check_new(name);
  parameter = Variable(Tensor::zeros(shape), true);
  parameters_.push_back({std::move(name), &parameter, std::move(initializer), role, positions});
}

void Module::add(std::string name, Tensor& buffer) {
  check_new(name);
  buffers_.emplace_back(std::move(name), &buffer);
}

}  // namespace la
