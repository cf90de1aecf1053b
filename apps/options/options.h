// The command line of la_train: options over a preset file over the defaults of la/config.h.
#pragma once

#include <string>
#include <vector>

#include "apps/program.h"
#include "la/config.h"

namespace la {

struct Options {
  Config config;
  std::vector<std::string> notes;  // for the user: where the configuration comes from
  std::string answer;  // not empty if help or a list was asked for: to be printed instead of training
};

/// The configuration is that of --preset FILE, or else of presets/fashion-mnist.toml beside the program
/// (where --data is a folder of picture files, presets/pictures.toml), or else the defaults; options on the
/// command line win. With --resume it is the one stored in the folder --run, and only options that change no
/// result may differ from it; --epochs may grow where the learning rates of the epochs done stay what they
/// were. Throws a UsageError that names the option or the file and line.
Options parse_options(int argc, char** argv);
/// The same for arguments without the program's name; `presets` is a folder that need not exist.
Options parse_options(const std::vector<std::string>& arguments, const std::string& presets);

/// A preset that reproduces the run: all options but run and resume.
std::string to_toml(const Config& config);

}  // namespace la
