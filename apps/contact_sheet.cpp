#include "apps/contact_sheet.h"

#include <algorithm>

namespace la {
namespace {

constexpr int side = 160, gap = 8, caption = 24, columns = 5;

// A cell has half a gap around picture and caption, where a frame has room.
constexpr int margin = gap / 2, cell_height = gap + side + caption, cell_width = gap + side;
constexpr PixelArea picture_area{margin, margin, margin + side, margin + side};
constexpr PixelArea frame{0, 0, side + 2 * margin, side + 2 * margin};

}  // namespace

void ContactSheet::add(const SheetEntry& entry) {
  PixelCanvas& cell = cells_.emplace_back(cell_height, cell_width);
  if (entry.framed) cell.fill(frame, black);
  const auto height = static_cast<float>(entry.picture.height),
             width = static_cast<float>(entry.picture.width), shorter = std::min(height, width);
  cell.draw(entry.picture, {(width - shorter) / 2, (height - shorter) / 2, shorter, shorter}, picture_area);
  constexpr int below_frame = 6;
  const int top = picture_area.bottom + below_frame;
  cell.write(margin, top, entry.title);
  cell.write(margin, top + PixelCanvas::line_distance, PixelCanvas::end_of(entry.name, side));
}

PixelCanvas ContactSheet::drawn() const {
  const auto count = static_cast<int>(cells_.size()), rows = (count + columns - 1) / columns;
  PixelCanvas sheet(rows * cell_height + gap, columns * cell_width + gap);
  for (int i = 0; i < count; ++i)
    sheet.copy(cells_[static_cast<size_t>(i)], margin + i % columns * cell_width,
               margin + i / columns * cell_height);
  return sheet;
}

}  // namespace la
