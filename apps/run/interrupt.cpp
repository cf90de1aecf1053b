#include "apps/run/interrupt.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "tensor/error.h"

namespace la {
namespace {

std::atomic<int> received = 0;  // any thread may be the one that is interrupted
static_assert(std::atomic<int>::is_always_lock_free);
struct Caught {
  int signal;
  bool ignored;  // when the program started
};
Caught caught[] = {{SIGINT, false}, {SIGTERM, false}, {SIGHUP, false}};

/// System calls that wait are not begun again (SA_RESTART), so that a pipe without a writer can be left.
void handle(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  check(sigaction(signal, &action, nullptr) == 0, "cannot catch signal {}: {}", signal, std::strerror(errno));
}

bool is_ignored(int signal) {
  struct sigaction action = {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

void receive(int which) {
  received = which;
  for (const Caught& each : caught)
    if (!each.ignored) std::signal(each.signal, SIG_DFL);  // whichever comes next
}

}  // namespace

void catch_interrupts() {
  for (Caught& each : caught) {
    each.ignored = is_ignored(each.signal);
    if (!each.ignored) handle(each.signal, receive);
  }
  handle(SIGPIPE, SIG_IGN);
}

int interrupted() { return received; }

}  // namespace la
