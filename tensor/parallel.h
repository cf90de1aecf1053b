// Loops over all cores. OpenMP runs them because oneDNN does too: one pool of threads serves both.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

namespace la {

/// a / b, rounded up.
constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Calls body(begin, end) for parts of [0, n), at most one a thread, each of at least `grain` (but the last).
/// Which thread gets which part depends on the number of threads: results that must not, may not depend on
/// the parts.
template <class Body>
void parallel_for(int64_t n, int64_t grain, Body&& body) {
  const int64_t parts = std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, omp_get_max_threads());
  if (parts == 1 || omp_in_parallel()) {
    if (n > 0) body(int64_t{0}, n);
    return;
  }
  std::exception_ptr failure;
#pragma omp parallel num_threads(parts)
  {
    const int64_t part = omp_get_thread_num(), of = omp_get_num_threads();
    try {
      body(n * part / of, n * (part + 1) / of);
    } catch (...) {
#pragma omp critical(la_parallel_for)
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace la
