// A contact sheet: small pictures side by side.
#pragma once

#include <string>
#include <vector>

#include "apps/pixel_canvas.h"
#include "tensor/image/picture.h"

namespace la {

struct SheetEntry {
  Picture picture;
  std::string title, name;  // two lines below it; of a long name, its end
};

/// The first picture, the query, in a frame, then the others, row by row; of each its largest central square.
PixelCanvas contact_sheet(const std::vector<SheetEntry>& entries);
/// The same as a PNG file.
void write_contact_sheet(const std::string& path, const std::vector<SheetEntry>& entries);

}  // namespace la
