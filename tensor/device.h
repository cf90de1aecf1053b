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
  std::string str() const { return is_cpu() ? "cpu" : formatted("cuda:{}", index); }
};

/// Why Device::cuda() cannot be used here: no GPU, an old driver, a missing library, a build without CUDA.
/// Empty if it can.
std::string cuda_problem();

/// What a device is, for people: "CPU", "NVIDIA H100 80GB HBM3, 79 GiB".
std::string describe(Device device);

/// Bytes of memory that a device has.
size_t memory_size(Device device);
/// Whether it has arithmetic of bf16; where it has none, ops compute in f32 and round.
bool multiplies_bf16(Device device);

/// f32 matrix products and convolutions on a GPU may round their operands to 10 bits of fraction (TF32),
/// which tensor cores multiply several times faster. Off at first.
void allow_tf32(bool allow);
/// Convolutions and matrix products on a GPU try several plans when a shape is first met, and keep the
/// fastest. Off at first: then they take the one that cuDNN or cuBLASLt thinks best.
void autotune(bool on);

/// Sets the number of CPU threads that the ops use; by default, all cores that the process may use.
void set_num_threads(int threads);
int num_threads();

}  // namespace la
