// The options of a run as its folder stores them (config.toml): written when it begins, read when it goes on.
#pragma once

#include <string>
#include <vector>

#include "apps/options/command_line.h"

namespace la {

/// A preset with all options of the table that belong to a configuration, under a comment of one line.
std::string to_toml(const OptionTable& table, const std::string& comment);

/// The folder of the run that --resume means. An Error without --run, or with a preset.
std::string folder_to_resume(const CommandLine& line);

/// Sets what the run's config.toml says, and appends to `notes` where the options come from. An Error if the file is
/// missing, or not whole.
void set_from_run(OptionTable& table, const std::string& folder, std::vector<std::string>& notes);

/// An Error for an option on the command line that would continue a run otherwise than it was begun; those named in
/// `may_grow` are looked at by the program itself.
void check_unchanged(const CommandLine& line, const OptionTable& stored, const OptionTable& now,
                     const std::vector<std::string>& may_grow = {});

}  // namespace la
