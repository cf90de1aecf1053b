#include "apps/contact_sheet.h"

#include <algorithm>

namespace la {
namespace {

constexpr int cell = 160, gap = 8, caption = 24, columns = 5;
constexpr int row_height = gap + cell + caption;

PixelArea cell_of(int number) {
  const int left = gap + number % columns * (cell + gap), top = gap + number / columns * row_height;
  return {left, top, left + cell, top + cell};
}

void frame(PixelCanvas& sheet, const PixelArea& area) {
  constexpr int thick = 4;
  sheet.fill({area.left - thick, area.top - thick, area.right + thick, area.bottom + thick}, black);
}

void place(PixelCanvas& sheet, const PixelArea& area, const SheetEntry& entry) {
  const auto height = static_cast<float>(entry.picture.height),
             width = static_cast<float>(entry.picture.width), side = std::min(height, width);
  sheet.draw(entry.picture, {(width - side) / 2, (height - side) / 2, side, side}, area);
  constexpr int below_frame = 6;
  sheet.write(area.left, area.bottom + below_frame, entry.title);
  sheet.write(area.left, area.bottom + below_frame + PixelCanvas::line_distance,
              PixelCanvas::end_of(entry.name, cell));
}

}  // namespace

PixelCanvas contact_sheet(const std::vector<SheetEntry>& entries) {
  const int rows = (static_cast<int>(entries.size()) + columns - 1) / columns;
  PixelCanvas sheet(rows * row_height + gap, columns * (cell + gap) + gap);
  if (!entries.empty()) frame(sheet, cell_of(0));
  for (size_t i = 0; i < entries.size(); ++i) place(sheet, cell_of(static_cast<int>(i)), entries[i]);
  return sheet;
}

void write_contact_sheet(const std::string& path, const std::vector<SheetEntry>& entries) {
  write_png(path, contact_sheet(entries).picture());
}

}  // namespace la
