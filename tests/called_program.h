// The programs of this build, as a user calls them.
#pragma once

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tensor/format.h"

namespace la {

struct Called {
  int status;
  std::string output;  // of both streams

  bool says(const std::string& text) const { return output.find(text) != std::string::npos; }
};

/// Runs a program of this build on the CPU.
inline Called call(const std::string& command) {
  const char* folder = std::getenv("LA_PROGRAMS");
  const std::string line = formatted("{}/{} 2>&1", folder != nullptr ? folder : ".", command);
  FILE* pipe = popen(line.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) output.push_back(static_cast<char>(c));
  const int status = pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

}  // namespace la
