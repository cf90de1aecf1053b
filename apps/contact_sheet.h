// A contact sheet: small pictures side by side in one PNG file.
#pragma once

#include <string>
#include <vector>

#include "tensor/picture.h"

namespace la {

/// The first picture, the query, in a frame, then the others, row by row; of each its largest central square.
void write_contact_sheet(const std::string& path, const std::vector<Picture>& pictures);

}  // namespace la
