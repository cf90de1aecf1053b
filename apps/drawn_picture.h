// Pictures with boxes drawn into them, for the eye to judge a detector.
#pragma once

#include <string>
#include <vector>

#include "apps/pixel_canvas.h"
#include "data/detection.h"

namespace la {

struct DrawnBox {
  Box box;  // in pixels of the picture, whose border it may cross
  int category = 0;
  std::string label = "";  // "dog .87"; none if empty
  bool dashed = false;
};

/// Fixed by the number; those of the first twenty are well apart.
Color category_color(int category);

/// Draws along the inner side of each box, a later one over an earlier one, then the labels, each in a band
/// above its box, or in the box where there is no room. An Error for a box that is not finite.
void draw_boxes(PixelCanvas& canvas, const std::vector<DrawnBox>& boxes);

struct DrawnPicture {
  Picture picture;
  std::vector<DrawnBox> boxes;
  std::string title = "";  // a line below it on a sheet; of a long one, its end
};

/// A PNG file of the picture at its own size.
void write_drawn_picture(const std::string& path, const DrawnPicture& drawn);

/// A PNG file of many pictures side by side, each whole, as large as fits into a square cell.
void write_drawn_pictures(const std::string& path, const std::vector<DrawnPicture>& pictures,
                          int columns = 4);

}  // namespace la
