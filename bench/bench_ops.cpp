// Times ops by their test cases (tests/op_case.h), among them some at the sizes of real training.
//
//   bench_ops [WORD]    the cases with WORD in their name; without one, those of the sizes of real training
//
// A line: name, ms, GB/s of inputs and outputs, GFLOP/s, separated by tabs; a line that starts
// with # explains.
#include <cstdio>
#include <string>

#include "tests/op_case.h"

int main(int argc, char** argv) try {
  using namespace la;
  const std::string word = argc > 1 ? argv[1] : "";
  std::printf("# op\tms (median of 7 runs)\tGB/s\tGFLOP/s\n");
  for (const OpCase& c : all_op_cases()) {
    const bool wanted = word.empty() ? c.only_timed : c.name().find(word) != std::string::npos;
    if (!wanted) continue;
    for (Device device : available_devices()) {
      const Timing t = time_on(c, device, 7);
      std::printf("%s on %s\t%.4f\t%.2f\t%.1f\n", c.name().c_str(), device.str().c_str(), 1e3 * t.seconds,
                  1e-9 * t.bytes / t.seconds, 1e-9 * c.operations / t.seconds);
      std::fflush(stdout);
    }
  }
} catch (const la::Error& e) {
  std::fprintf(stderr, "bench_ops: %s\n", e.what());
  return 1;
}
