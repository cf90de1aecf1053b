// Loops over elements of f32 or bf16 that the compiler vectorizes: values are converted to f32 on the way in
// and rounded on the way out.
#pragma once

#include "tensor/dtype.h"
#include "tensor/parallel.h"

namespace la {

constexpr int64_t elements_per_thread = 16384;  // below that, a second thread costs more than it brings

inline float value_of(float x) { return x; }
inline float value_of(bf16 x) { return static_cast<float>(x); }

/// y[i] = f(x[i]).
template <class X, class Y, class F>
void map(const X* x, Y* y, int64_t n, F f) {
  parallel_for(n, elements_per_thread, [=](int64_t begin, int64_t end) {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) y[i] = Y(f(value_of(x[i])));
  });
}

/// y[i] = f(a[i], b[i]).
template <class T, class F>
void map(const T* a, const T* b, T* y, int64_t n, F f) {
  parallel_for(n, elements_per_thread, [=](int64_t begin, int64_t end) {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) y[i] = T(f(value_of(a[i]), value_of(b[i])));
  });
}

}  // namespace la
