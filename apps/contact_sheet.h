// A contact sheet: small pictures side by side.
#pragma once

#include <string>
#include <vector>

#include "apps/pixel_canvas.h"

namespace la {

struct SheetEntry {
  Picture picture;          // shown is its largest central square
  std::string title, name;  // two lines below it; of a long name, its end
  bool framed = false;
};

/// Row by row. A picture is needed only while it is added.
class ContactSheet {
 public:
  void add(const SheetEntry& entry);
  int64_t size() const { return static_cast<int64_t>(cells_.size()); }
  /// What was added, as a picture, and as a PNG file.
  PixelCanvas drawn() const;
  void write(const std::string& path) const { write_png(path, drawn().picture()); }

 private:
  std::vector<PixelCanvas> cells_;
};

}  // namespace la
