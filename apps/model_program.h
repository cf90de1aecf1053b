// The command line of the programs that use a trained network: what they all ask for.
#pragma once

#include <string>
#include <vector>

#include "apps/options/common_options.h"
#include "apps/program.h"
#include "data/dataset.h"
#include "la/model.h"
#include "tensor/collectives.h"

namespace la {

/// Where the network and the pictures come from, and what computes.
struct ModelOptions {
  std::string checkpoint;
  DataOptions data;
  std::string device = "auto";
  int threads = 0;
  double collective_timeout = 600;  // seconds
};

/// Adds the argument that names the network.
void add_model_options(OptionTable& table, ModelOptions& options);

/// Those of add_picture_options, and the color behind pictures, which open_model completes.
void add_model_picture_options(OptionTable& table, DataOptions& options);

/// Sets the threads, and reads the network onto the device. Its pictures had a color behind them, which
/// theirs get unless the options, whose table this is, give another.
Model open_model(ModelOptions& options, const OptionTable& table, Collectives& ranks = alone());

/// Adds how long processes wait for one another.
void add_process_options(OptionTable& table, ModelOptions& options);

/// An Error on all processes unless they have the same options, but for those that say how a machine is used, the same network and
/// pictures, and files with the same bytes. Then prints what was found with the pictures, but is not used.
void begin_together(Collectives& ranks, const OptionTable& table, const Model& model, const DataSource& data,
                    const std::vector<std::string>& files = {});

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
