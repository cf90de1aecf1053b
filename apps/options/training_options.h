// The options of la_train: every field of la::Config.
#pragma once

#include "apps/options/option_table.h"
#include "la/config.h"

namespace la {

/// In the order of the help; they read and write `config`, which must outlive the table.
OptionTable training_options(Config& config);

}  // namespace la
