#include "la/interrupt.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "tensor/error.h"

namespace la {
namespace {

std::atomic<int> received = 0;  // any thread may be the one that is interrupted
static_assert(std::atomic<int>::is_always_lock_free);
constexpr int caught[] = {SIGINT, SIGTERM, SIGHUP};

void handle(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  check(sigaction(signal, &action, nullptr) == 0, "cannot catch signal {}: {}", signal, std::strerror(errno));
}

}  // namespace

void catch_interrupts() {
  for (int signal : caught)
    handle(signal, [](int which) {
      received = which;
      for (int each : caught) std::signal(each, SIG_DFL);  // whichever comes first
    });
  handle(SIGPIPE, SIG_IGN);
}

int interrupted() { return received; }

}  // namespace la
