// What the programs have in common: how they begin, report errors and end.
#pragma once

#include <functional>
#include <string>

#include "tensor/device.h"
#include "tensor/error.h"

namespace la {

/// The program was called in a wrong way; programs end with exit code 2.
struct UsageError : Error {
  using Error::Error;
};

/// What each program does first. Where threads share their cores with other programs, those that wait for one
/// another must not keep a core busy meanwhile, or a step takes ten times as long: unless the environment
/// says how they wait, OpenMP is told to let them sleep soon. It reads that when a program is loaded, so this
/// one is loaded again.
void let_waiting_threads_sleep(char** argv);

/// The exit code of `work`; of an Error, which is printed in one line, 1, of a UsageError 2, and where the
/// user interrupted it 128 and the signal.
int report_errors(const char* name, const std::function<int()>& work);
/// The same for a program of one process, which is in no use where several have been started together.
int run_program(const char* name, const std::function<int()>& work);

/// The device that the user asked for: "cpu", "cuda" or "auto", which takes a GPU if there is one. An Error
/// that says why a GPU cannot be used.
Device find_device(const std::string& name);

}  // namespace la
