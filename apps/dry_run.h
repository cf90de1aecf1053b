// `la_train --dry-run`: what a run would be, how long it would take and how much memory.
#pragma once

#include <functional>
#include <string>

#include "data/dataset.h"
#include "la/config.h"
#include "tensor/shards.h"

namespace la {

/// Tells the plan of a run, line by line, then times a few of its steps and tells the memory and the time
/// that an epoch takes. The configuration's H, m and k have been chosen; `choices` says how.
void dry_run(const Config& config, const DataSource& data, Device device, const Shards& shards,
             const std::vector<std::string>& choices, const std::function<void(const std::string&)>& say);

}  // namespace la
