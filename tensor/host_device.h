// LA_HD marks small functions that run on the host and, under nvcc, in GPU kernels too.
#pragma once

#ifdef __CUDACC__
#define LA_HD __host__ __device__ __forceinline__
#else
#define LA_HD inline
#endif
