// Measures the time between two points of the stream, and with it which of several ways is the fastest.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "tensor/cuda/library.h"
#include "tensor/cuda/runtime.h"

namespace la::cuda {

class Timer {
 public:
  Timer() {
    check_cuda(cudaEventCreate(&begin_), "making an event");
    check_cuda(cudaEventCreate(&end_), "making an event");
  }
  ~Timer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void start() { check_cuda(cudaEventRecord(begin_, stream()), "starting a timer"); }
  float stop_milliseconds() {
    check_cuda(cudaEventRecord(end_, stream()), "stopping a timer");
    check_cuda(cudaEventSynchronize(end_), "waiting for a timer");
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, begin_, end_), "reading a timer");
    return milliseconds;
  }

 private:
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

/// The time of work(), after one run that loads its kernels, the shortest of a few measurements;
/// infinite if it throws. Many runs are enqueued one after the other, so that the host's part of one
/// passes during another.
template <class Work>
float shortest_milliseconds(const Work& work) try {
  work();
  Timer timer;
  constexpr int measurements = 3, runs = 10;
  float shortest = std::numeric_limits<float>::infinity();
  for (int i = 0; i < measurements; ++i) {
    timer.start();
    for (int run = 0; run < runs; ++run) work();
    shortest = std::min(shortest, timer.stop_milliseconds() / runs);
  }
  return shortest;
} catch (const Error&) {
  cudaGetLastError();  // or the next launch would report it
  return std::numeric_limits<float>::infinity();
}

/// Leaves of `ways`, of which there must be one, the one for which run(way) takes the shortest time.
template <class Way, class Run>
void keep_fastest(std::vector<Way>& ways, const Run& run) {
  std::vector<float> times;
  for (const Way& way : ways) times.push_back(shortest_milliseconds([&] { run(way); }));
  const auto fastest = std::min_element(times.begin(), times.end()) - times.begin();
  std::swap(ways.front(), ways[static_cast<size_t>(fastest)]);
  ways.erase(ways.begin() + 1, ways.end());
}

}  // namespace la::cuda
