// Time that only goes forward.
#pragma once

#include <chrono>

namespace la {

/// Seconds since some fixed moment; setting the time of day does not change it.
inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace la
