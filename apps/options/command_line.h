// The command line of a program, made from its table of options. What is typed is read kindly (arguments.h).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "apps/options/option_table.h"

namespace la {

/// What help and errors say of a program.
struct ProgramInfo {
  const char* name;
  const char* description;
  const char* preset = "file of options in TOML, or the name of one that comes with the programs";
};

/// What stands on a command line, not interpreted yet.
struct CommandLine {
  std::vector<std::pair<std::string, std::string>> given;  // option and value
  std::string preset;                                      // what --preset names
  bool wants_help = false, wants_version = false;

  /// The last value of an option; null if it is not there.
  const std::string* find(const std::string& option) const;
};

/// Every program also has --preset, --help and --version. A UsageError for what is not in the table.
CommandLine read_command_line(const ProgramInfo& program, const OptionTable& table,
                              const std::vector<std::string>& arguments);

/// What --help prints, with the values that the options have now.
std::string help_text(const ProgramInfo& program, const OptionTable& table);
std::string version_text(const ProgramInfo& program);

/// Sets the options that stand on the command line, over those of a preset. False if help or the version was
/// asked for, and printed, unless another process `answers`. A UsageError for arguments that cannot be understood.
bool parse_command_line(const ProgramInfo& program, OptionTable& table, int argc, char** argv,
                        bool answers = true);

}  // namespace la
