// Options that several programs have, under the same names.
#pragma once

#include "apps/options/option_table.h"
#include "data/dataset.h"

namespace la {

/// How pictures are stored, how many of them are used, and which of them may be bad.
void add_picture_options(OptionTable& table, DataOptions& options);
/// Where test pictures come from, where a picture folder has none beside its training pictures.
void add_test_picture_options(OptionTable& table, DataOptions& options);
/// The machine: where to compute, and with how many threads.
void add_machine_options(OptionTable& table, std::string& device, int& threads);
void add_loader_threads(OptionTable& table, int& threads);

}  // namespace la
