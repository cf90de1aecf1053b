// What a user types, read kindly: names of options in other spellings, and what was probably meant.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

namespace la {

/// "; did you mean 'x'?" for the word that is most like it, or for what other programs call so; nothing if
/// none is near.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& known);

/// The option that is meant by a name without dashes: underscores stand for dashes, and some names of other
/// programs for ours (lr, batch-size).
std::string option_name(const std::string& given, const std::vector<std::string>& known);

/// The arguments, with the names of options as the program has them. A UsageError for an option that it does
/// not have. Of one that stands twice and is no list the last counts, so that a script can have defaults, and
/// stderr is told.
std::vector<std::string> normalized(CLI::App& app, const std::vector<std::string>& arguments);

/// The folder of the presets, beside the program.
std::string presets_folder();
/// The file of a preset, given as a path or as a bare name: "cifar10". A UsageError that lists the presets if
/// there is none of that name.
std::string find_preset(const std::string& name, const std::string& presets);

/// What --version prints.
std::string version_text(const char* program);

/// Gives a command line --help and --version, and a help that fits the terminal: so wide as COLUMNS says, or
/// as the terminal is, or 80.
void add_help(CLI::App& app);

}  // namespace la
