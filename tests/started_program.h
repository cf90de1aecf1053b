// Programs of this build that run beside a test, which acts on them at some moment of their work.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

namespace la {

/// Starts a program with these words, whose output, of both streams, goes to a file.
inline pid_t start_program(std::vector<std::string> words, const std::string& output = "/dev/null") {
  const pid_t child = fork();
  if (child != 0) return child;
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const int file = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  dup2(file, 1);
  if (output != "/dev/null") dup2(file, 2);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

/// Its status in the end, as waitpid(2) gives it.
inline int wait_for(pid_t child) {
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

/// What happens in folders: a file is made, written, renamed.
class WatchedFolders {
 public:
  WatchedFolders() : inotify_(inotify_init1(IN_CLOEXEC)) { REQUIRE(inotify_ >= 0); }
  ~WatchedFolders() { close(inotify_); }
  WatchedFolders(const WatchedFolders&) = delete;
  WatchedFolders& operator=(const WatchedFolders&) = delete;

  void add(const std::string& folder) {
    REQUIRE(inotify_add_watch(inotify_, folder.c_str(), IN_CREATE | IN_MODIFY | IN_MOVED_TO) >= 0);
  }
  /// Lets `child` go on until so many things have happened, which leaves it at any moment of its work, in the middle of a
  /// checkpoint too. Returns whether it is still running.
  bool let_happen(pid_t child, int events) {
    const int process = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
    REQUIRE(process >= 0);
    alignas(inotify_event) char buffer[4096];
    bool running = true;
    while (events > 0 && running) {
      pollfd sources[] = {{inotify_, POLLIN, 0}, {process, POLLIN, 0}};
      REQUIRE(poll(sources, 2, -1) > 0);
      running = sources[1].revents == 0;
      if (sources[0].revents == 0) continue;
      const ssize_t bytes = read(inotify_, buffer, sizeof buffer);
      REQUIRE(bytes > 0);
      for (ssize_t at = 0; at < bytes; --events)
        at += static_cast<ssize_t>(sizeof(inotify_event) +
                                   reinterpret_cast<const inotify_event*>(buffer + at)->len);
    }
    close(process);
    return running;
  }

 private:
  int inotify_;
};

}  // namespace la
