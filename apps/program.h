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

/// The exit code of `work`; of an Error, which is printed in one line, 1, of a UsageError 2, and where the
/// user interrupted it 128 and the signal.
int run_program(const char* name, const std::function<int()>& work);

/// The device that the user asked for: "cpu", "cuda" or "auto", which takes a GPU if there is one. An Error
/// that says why a GPU cannot be used.
Device find_device(const std::string& name);

}  // namespace la
