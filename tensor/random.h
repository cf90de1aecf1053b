// Random numbers: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011). A number is a pure function of (seed, stream, index, position), so the same seed gives the same
// initial weights, crops and noise samples on every device, whatever the number of threads.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/host_device.h"

namespace la {

/// What a random number is for; numbers of different streams are independent.
enum class RandomStream : uint32_t {
  parameters = 1,
  bank,
  shuffle,
  augmentation,
  noise_samples,
  clustering,
  dropout,
  test,
  low_shot,
  split,
  regions,
};

/// Names one random sequence: `index` is, for example, a picture, a step or a parameter's number.
struct RandomKey {
  uint64_t seed = 0;
  RandomStream stream = RandomStream::test;
  uint64_t index = 0;
};

struct Random4 {
  uint32_t value[4];
};

/// Four independent 32-bit numbers: block number `position` of the sequence `key`. The counter is
/// (position, stream, index low, index high); the Philox key is the seed. Positions reach 2^32.
LA_HD Random4 philox(const RandomKey& key, uint32_t position) {
  uint32_t c0 = position, c1 = static_cast<uint32_t>(key.stream);
  uint32_t c2 = static_cast<uint32_t>(key.index), c3 = static_cast<uint32_t>(key.index >> 32);
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    const uint32_t next0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t next2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = next0;
    c2 = next2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

/// Uniform in [0, 1), a multiple of 2^-24.
LA_HD float uniform_from(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

/// Uniform in {0, ..., n - 1}, by multiplication (bias below n / 2^32).
LA_HD uint32_t below_from(uint32_t bits, uint32_t n) {
  return static_cast<uint32_t>((static_cast<uint64_t>(bits) * n) >> 32);
}

/// Standard normal from two numbers (Box-Muller, cosine branch).
LA_HD float normal_from(uint32_t a, uint32_t b) {
  const float radius = std::sqrt(-2.0f * std::log(1.0f - uniform_from(a)));
  return radius * std::cos(6.2831853071795864f * uniform_from(b));
}

/// A sequence read one number after the other, for host code.
class RandomGenerator {
 public:
  explicit RandomGenerator(RandomKey key) : key_(key) {}

  uint32_t bits() {
    if (used_ == 4) {
      block_ = philox(key_, position_++);
      used_ = 0;
    }
    return block_.value[used_++];
  }
  /// Uniform in [0, 1).
  float uniform() { return uniform_from(bits()); }
  /// Uniform in [low, high).
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  /// Uniform in {0, ..., n - 1}.
  uint32_t below(uint32_t n) { return below_from(bits(), n); }
  float normal() {
    const uint32_t a = bits();
    return normal_from(a, bits());
  }

 private:
  RandomKey key_;
  Random4 block_{};
  uint32_t position_ = 0;
  int used_ = 4;
};

}  // namespace la
