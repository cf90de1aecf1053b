// The command line of the programs that use a trained network: what they all ask for.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <string>
#include <vector>

#include "apps/program.h"
#include "data/dataset.h"
#include "la/model.h"

namespace la {

/// Where the network and the pictures come from, and what computes.
struct ModelOptions {
  std::string checkpoint;
  DataOptions data;
  std::string background_color;  // empty: the one that the network was trained with
  std::string device = "auto";
  int threads = 0;
};

/// Adds the options for the device and the pictures to a command line.
void add_model_options(CLI::App& app, ModelOptions& options);

/// False if help was asked for, and printed. A UsageError for arguments that cannot be understood.
bool parse_arguments(CLI::App& app, int argc, char** argv);

/// The same where options may stand in a file too (--preset); those of the command line win.
void add_preset_option(CLI::App& app);
bool parse_arguments_with_preset(CLI::App& app, int argc, char** argv);

/// Sets the threads, and reads the network onto the device; what it was trained with completes the options.
Model open_model(ModelOptions& options);

/// Prints what was found with the pictures, but is not used.
void print_notes(const DataSource& data);

/// A UsageError unless the file's name ends so, as what is written there does; a device or a pipe may have
/// any name.
void check_ending(const char* option, const std::string& file, const char* ending);
/// An Error unless the file can be written, and is not there yet or may be overwritten.
void check_new_output(const std::string& file, bool overwrite);

/// An Error that says so unless the pictures have the channels that the network sees.
void check_channels(const Model& model, const Dataset& pictures);

/// Prints the pictures of a data set that turned out to be bad since it was last asked.
void print_warnings(const Dataset& pictures);

}  // namespace la
