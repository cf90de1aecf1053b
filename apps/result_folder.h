// Folders that programs fill with results about pictures.
#pragma once

#include <memory>
#include <string>

#include "tensor/io/staged_folder.h"

namespace la {

/// The folder with no link in its path, and a slash at its end.
std::string full_path(const std::string& folder);

/// A folder to be filled with results, which must not replace anything else: an Error unless it is empty or
/// `force`. Below the pictures, results would be found as pictures the next time; around them, pictures might be
/// replaced: an Error too.
std::unique_ptr<StagedFolder> stage_results(const char* option, const std::string& folder,
                                            const std::string& pictures, bool force);

}  // namespace la
