// How long work tells of its progress.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace la {

/// Told how far work is, such as "pictures embedded"; what it throws ends the work.
using ProgressCallback = std::function<void(std::string_view what, int64_t done, int64_t all)>;

}  // namespace la
