// What a user types, read kindly: names of options in other spellings, and what was probably meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace la {

/// "; did you mean 'x'?" for the word that is most like it, or for what other programs call so; nothing if
/// none is near.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& known);

/// The option that is meant by a name without dashes: underscores stand for dashes, and some names of other
/// programs for ours (lr, batch-size).
std::string option_name(const std::string& given, const std::vector<std::string>& known);

/// The folder of the presets: beside the program, or where `make install` puts them.
std::string presets_folder();
/// The file of a preset, given as a path or as a bare name: "cifar10". A UsageError that lists the presets if
/// there is none of that name.
std::string find_preset(const std::string& name, const std::string& presets);

/// The message of an Error of the library, which names fields as `warm_start_epochs`, with the options that a
/// user knows: --warm-start-epochs.
std::string with_option_names(std::string_view message);

}  // namespace la
