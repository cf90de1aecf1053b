// The options of a training run: each field of la::Config with its name, group, range and meaning,
// declared once. The command line, its help, preset files and the stored configuration of a run are all
// made from this table.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "la/config.h"

namespace la {

struct Option {
  enum class Kind { text, number, flag, list };
  enum class Stored { yes, no };  // no: it says what to do now, and does not belong to a configuration
  enum class OnResume {
    same,
    free
  };  // free: may change when a run is continued, though last bits may differ

  std::string group, name, help;
  std::string type;   // for the help: "INT", or the values that there are
  std::string range;  // in words; empty if there is none
  Kind kind;
  /// The value as text. Numbers have as many digits as it takes to read back the very same value.
  std::function<std::string()> get;
  /// Throws an Error that says what was expected.
  std::function<void(const std::string&)> set;
  Stored stored = Stored::yes;
  OnResume on_resume = OnResume::same;
};

/// The options in the order of the help; they read and write `config`, which must outlive them.
std::vector<Option> option_table(Config& config);

}  // namespace la
