#include "apps/program.h"

#include <unistd.h>

#include <cstdlib>

#include "apps/options/arguments.h"
#include "apps/run/interrupt.h"
#include "tensor/collectives.h"
#include "tensor/format.h"

namespace la {

void let_waiting_threads_sleep(char** argv) {
  constexpr const char* turns = "GOMP_SPINCOUNT";  // of a loop that waits, before the thread sleeps
  if (std::getenv(turns) != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  // About a tenth of a millisecond: as fast alone as the default of 300,000.
  constexpr const char* some = "5000";
  setenv(turns, some, 1);
  execv("/proc/self/exe", argv);  // where that fails, it goes on as it is
}

int run_program(const char* name, const std::function<int()>& work) {
  return report_errors(name, [&] {
    if (started_with_others())
      throw UsageError(
          "is done by one process; start it without mpirun (la_train, la_embed and la_eval are for several)");
    return work();
  });
}

int report_errors(const char* name, const std::function<int()>& work) {
  try {
    return work();
  } catch (const UsageError& error) {
    print(stderr, "{}: {}\n", name, with_option_names(error.what()));
    return 2;
  } catch (const Interrupted&) {
    print(stderr, "{}: interrupted\n", name);
    return 128 + interrupted();  // as a shell reports a signal
  } catch (const std::bad_alloc&) {
    print(stderr, "{}: out of memory\n", name);
    return 1;
  } catch (const std::exception& error) {
    // What was interrupted while it waited is no fault.
    print(stderr, "{}: {}{}\n", name, interrupted() ? "interrupted: " : "",
          with_option_names(printable(error.what())));
    return interrupted() ? 128 + interrupted() : 1;
  }
}

Device find_device(const std::string& name) {
  if (name == "cpu") return Device::cpu();
  const std::string problem = cuda_problem();
  check(name != "cuda" || problem.empty(), "--device cuda: {}", problem);
  return problem.empty() ? Device::cuda() : Device::cpu();
}

}  // namespace la
