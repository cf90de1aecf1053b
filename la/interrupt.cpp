#include "la/interrupt.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include "tensor/error.h"

namespace la {
namespace {

volatile std::sig_atomic_t received = 0;

}  // namespace

void catch_interrupts() {
  for (int signal : {SIGINT, SIGTERM}) {
    struct sigaction action = {};
    // Whichever comes first, both have their usual effect again from then on.
    action.sa_handler = [](int) {
      received = 1;
      std::signal(SIGINT, SIG_DFL);
      std::signal(SIGTERM, SIG_DFL);
    };
    action.sa_flags = SA_RESTART;
    check(sigaction(signal, &action, nullptr) == 0, "cannot catch signal {}: {}", signal,
          std::strerror(errno));
  }
}

bool interrupted() { return received != 0; }

}  // namespace la
