// Device: where a tensor lives and where the ops on it run.
#pragma once

#include <string>

#include "tensor/error.h"

namespace la {

struct Device {
  enum class Type { cpu, cuda };
  Type type = Type::cpu;
  int index = 0;

  static Device cpu() { return {}; }
  static Device cuda(int index = 0) { return {Type::cuda, index}; }
  bool is_cpu() const { return type == Type::cpu; }
  bool operator==(const Device&) const = default;
  std::string str() const { return is_cpu() ? "cpu" : fmt::format("cuda:{}", index); }
};

/// Why Device::cuda() cannot be used here: no GPU, an old driver, a missing library, a build without CUDA.
/// Empty if it can.
std::string cuda_problem();

/// Sets the number of CPU threads that the ops use; by default, all cores that the process may use.
void set_num_threads(int threads);
int num_threads();

}  // namespace la

template <>
struct fmt::formatter<la::Device> : fmt::formatter<std::string> {
  auto format(const la::Device& device, format_context& ctx) const {
    return formatter<std::string>::format(device.str(), ctx);
  }
};
