// Module: the base of every layer and network. It owns nothing by itself: a derived class has its parameters
// and submodules as members, registers each under its name in the constructor, and says in forward() what it
// computes. The names, joined by dots, are those of torchvision ("layer1.0.conv1.weight").
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/variable.h"
#include "tensor/random.h"

namespace la {

/// Fills a parameter with its initial values, which depend only on the key.
using Initializer = std::function<void(const Tensor& parameter, const RandomKey& key)>;

class Module {
 public:
  /// What a parameter is to its layer: `norm` is a scale or shift that follows a normalization.
  enum class Role { weight, bias, norm };
  /// A parameter under its full name. Weight decay applies to weights.
  struct Parameter {
    std::string name;
    Variable* variable;
    const Initializer* initializer;
    Role role;
    bool decays;
    /// Of a weight whose inputs are laid out over positions of a picture, [positions, channels]: torchvision
    /// has them as [channels, positions]. 1 for all others.
    int64_t positions;
  };
  /// State that is not learnt, such as running statistics, under its full name.
  struct Buffer {
    std::string name;
    Tensor* tensor;
  };
  using Observer = std::function<void(const Variable& output)>;

  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;  // the registered addresses are those of members
  Module& operator=(const Module&) = delete;

  virtual Variable forward(const Variable& x) = 0;
  /// forward(x), shown to the observer if there is one. An Error if the module has parameters of its own that
  /// were given no values, as those of a layer that was not added to the module around it.
  Variable operator()(const Variable& x);

  /// Products of a weight and an input that an output of that shape takes, of this module
  /// without its submodules.
  virtual int64_t multiply_adds(const Shape& /*output*/) const { return 0; }

  /// In training mode (the default) batch norm uses the statistics of the batch, and dropout drops.
  void set_training(bool training);
  bool training() const { return training_; }

  /// All parameters and buffers of this module and its submodules, in order of registration.
  std::vector<Parameter> parameters();
  std::vector<Buffer> buffers();
  /// Of a network: the submodules whose outputs, [N, H, W, C], are the features of its stages, with the
  /// stages' names, from the input on.
  virtual std::vector<std::pair<std::string, Module*>> stages() { return {}; }
  /// The direct submodules with their names.
  const std::vector<std::pair<std::string, Module*>>& children() const { return children_; }
  /// All modules below this one, with their full names.
  std::vector<std::pair<std::string, Module*>> descendants();

  /// Draws all parameters anew: the same values for the same seed, on every device. Where `choose` gives an
  /// initializer for a parameter, it stands in for the layer's own.
  void initialize(uint64_t seed, const std::function<Initializer(const Parameter&)>& choose = {});
  /// Says that the parameters of this module and its submodules have values, where initialize()
  /// did not give them.
  void set_initialized();
  /// Makes a constant of each parameter for which `chosen` is true: it gets no gradient from here on.
  void freeze(const std::function<bool(const Parameter&)>& chosen);
  /// Moves parameters and buffers; optimizers must be made afterwards.
  void to(Device device);
  /// Where its parameters lie; the CPU if it has none.
  Device device();
  /// Calls `observer` with every output of this module; an empty one ends that.
  void observe(Observer observer) { observer_ = std::move(observer); }

 protected:
  void add(std::string name, Module& child);
  /// Makes `parameter` a variable of that shape to be learnt, and registers it.
  void add(std::string name, Variable& parameter, const Shape& shape, Initializer initializer, Role role,
           int64_t positions = 1);
  /// Registers state, which moves with the parameters.
  void add(std::string name, Tensor& buffer);

 private:
  struct OwnParameter {
    std::string name;
    Variable* variable;
    Initializer initializer;
    Role role;
    int64_t positions;
  };
  void check_new(const std::string& name) const;
  void collect(const std::string& prefix, std::vector<Parameter>* parameters, std::vector<Buffer>* buffers);

  bool training_ = true, initialized_ = false;
  std::vector<OwnParameter> parameters_;
  std::vector<std::pair<std::string, Tensor*>> buffers_;
  std::vector<std::pair<std::string, Module*>> children_;
  Observer observer_;
};

}  // namespace la
