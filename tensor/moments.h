// The arithmetic of batch norm over the moments of parts of a batch, written once for every device: the moments of one
// channel, and the gradient by way of them. Layout and equations are in tensor/ops.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/host_device.h"

namespace la {

struct ChannelMoments {
  double rows = 0, mean = 0;
  double squares = 0;  // sum of (x - mean)^2

  /// Takes further rows in (Chan, Golub, LeVeque 1979).
  LA_HD void add(double more_rows, double their_mean, double their_variance) {
    const double total = rows + more_rows, difference = their_mean - mean;
    squares += more_rows * their_variance + difference * difference * (rows * more_rows / total);
    mean += difference * (more_rows / total);
    rows = total;
  }
  LA_HD double variance() const { return squares / rows; }
  LA_HD double unbiased_variance() const { return squares / (rows - 1); }
};

/// Of channel c, from those of its parts, [parts, 2 channels + 1].
LA_HD ChannelMoments combined_moments(const float* parts, int64_t count, int64_t channels, int64_t c) {
  ChannelMoments all;
  for (int64_t p = 0; p < count; ++p) {
    const float* part = parts + p * (2 * channels + 1);
    all.add(static_cast<double>(part[2 * channels]), static_cast<double>(part[c]),
            static_cast<double>(part[channels + c]));
  }
  return all;
}

/// slope (x - mean) + offset is what a channel's dx gets by way of its mean and variance.
struct MomentsGradient {
  float slope, offset;

  LA_HD MomentsGradient(double weight, double variance, double rows, double dweight, double dbias,
                        double epsilon) {
    const double inverse_std = 1.0 / std::sqrt(variance + epsilon), share = -weight * inverse_std / rows;
    slope = static_cast<float>(share * inverse_std * dweight);
    offset = static_cast<float>(share * dbias);
  }
  /// Of channel c, from what ops::add_moments_gradient is given.
  LA_HD static MomentsGradient of(const float* weight, const float* moments, const float* sums, float epsilon,
                                  int64_t channels, int64_t c) {
    return {static_cast<double>(weight[c]),
            static_cast<double>(moments[channels + c]),
            static_cast<double>(moments[2 * channels]),
            static_cast<double>(sums[c]),
            static_cast<double>(sums[channels + c]),
            static_cast<double>(epsilon)};
  }
};

}  // namespace la
