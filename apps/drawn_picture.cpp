#include "apps/drawn_picture.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace la {
namespace {

/// Of lines, and of the strokes of letters.
int line_width(const PixelCanvas& canvas) {
  const int side = std::min(canvas.height(), canvas.width());
  return std::max(1, (side + 100) / 200);  // 1 for 128 pixels, 2 for 375, 3 for 600
}

/// All pixels that the box touches, within the canvas.
PixelArea pixels_of(const Box& box, const PixelCanvas& canvas) {
  for (const float edge : {box.left, box.top, box.right, box.bottom})
    check(std::isfinite(edge), "draw_boxes: the box {}, {} to {}, {} is not finite", box.left, box.top,
          box.right, box.bottom);
  const Box inside = part_inside(box, canvas.width(), canvas.height());
  if (!(inside.width() > 0 && inside.height() > 0)) return {};
  return {static_cast<int>(std::floor(inside.left)), static_cast<int>(std::floor(inside.top)),
          static_cast<int>(std::ceil(inside.right)), static_cast<int>(std::ceil(inside.bottom))};
}

/// Fills an area, or every second piece of it along its longer side.
void draw_line(PixelCanvas& canvas, const PixelArea& line, const Color& color, int dash) {
  if (dash == 0) return canvas.fill(line, color);
  const bool across = line.width() > line.height();
  for (int at = 0; at < std::max(line.width(), line.height()); at += 2 * dash) {
    PixelArea piece = line;
    if (across) {
      piece.left += at;
      piece.right = std::min(piece.left + dash, line.right);
    } else {
      piece.top += at;
      piece.bottom = std::min(piece.top + dash, line.bottom);
    }
    canvas.fill(piece, color);
  }
}

void draw_outline(PixelCanvas& canvas, const DrawnBox& drawn) {
  const PixelArea box = pixels_of(drawn.box, canvas);
  const Color color = category_color(drawn.category);
  const int width = std::min({line_width(canvas), box.width(), box.height()});
  const int dash = drawn.dashed ? 4 * width : 0;
  draw_line(canvas, {box.left, box.top, box.right, box.top + width}, color, dash);
  draw_line(canvas, {box.left, box.bottom - width, box.right, box.bottom}, color, dash);
  draw_line(canvas, {box.left, box.top, box.left + width, box.bottom}, color, dash);
  draw_line(canvas, {box.right - width, box.top, box.right, box.bottom}, color, dash);
}

/// Black or white, whichever stands out more.
Color text_color(const Color& ground) {
  const int luma = (299 * ground[0] + 587 * ground[1] + 114 * ground[2]) / 1000;  // ITU-R BT.601
  return luma < 128 ? white : black;
}

void draw_label(PixelCanvas& canvas, const DrawnBox& drawn) {
  const PixelArea box = pixels_of(drawn.box, canvas);
  if (drawn.label.empty() || box.width() == 0) return;
  const int scale = line_width(canvas), margin = scale;
  const int width = PixelCanvas::width_of(drawn.label) * scale + 2 * margin,
            height = PixelCanvas::line_height * scale + margin;
  const int left = std::max(0, std::min(box.left, canvas.width() - width)),
            top = box.top >= height ? box.top - height : box.top;
  const Color color = category_color(drawn.category);
  canvas.fill({left, top, left + width, top + height}, color);
  canvas.write(left + margin, top + margin, drawn.label, text_color(color), scale);
}

// ---- Sheets ----

constexpr int cell = 320, gap = 10, caption = 16;

/// The size of the picture where its longer side fills a cell.
PixelArea fitted(const Picture& picture) {
  check(picture.height > 0 && picture.width > 0, "a picture of {} x {} pixels, expected at least one",
        picture.height, picture.width);
  const int longer = std::max(picture.height, picture.width);
  const auto side = [&](int pixels) { return std::max(1, (pixels * cell + longer / 2) / longer); };
  return {0, 0, side(picture.width), side(picture.height)};
}

/// Boxes are drawn at the size of the sheet, so that letters stay sharp.
PixelCanvas enlarged(const DrawnPicture& drawn) {
  const PixelArea area = fitted(drawn.picture);
  const auto width = static_cast<float>(drawn.picture.width),
             height = static_cast<float>(drawn.picture.height);
  PixelCanvas canvas(area.height(), area.width());
  canvas.draw(drawn.picture, {0, 0, width, height}, area);
  const float across = static_cast<float>(area.width()) / width,
              down = static_cast<float>(area.height()) / height;
  std::vector<DrawnBox> boxes = drawn.boxes;
  for (DrawnBox& b : boxes)
    b.box = {across * b.box.left, down * b.box.top, across * b.box.right, down * b.box.bottom};
  draw_boxes(canvas, boxes);
  return canvas;
}

}  // namespace

Color category_color(int category) {
  // Hues in steps of the golden ratio, of which any few that follow one another are far apart; every third is
  // pale, every third dark. In integers, which are the same on every machine.
  constexpr int hues = 1536, step = 949;
  const int number = std::abs(category % hues), hue = number * step % hues, ramp = hue % 256;
  const Color pure[] = {{255, static_cast<uint8_t>(ramp), 0}, {static_cast<uint8_t>(255 - ramp), 255, 0},
                        {0, 255, static_cast<uint8_t>(ramp)}, {0, static_cast<uint8_t>(255 - ramp), 255},
                        {static_cast<uint8_t>(ramp), 0, 255}, {255, 0, static_cast<uint8_t>(255 - ramp)}};
  Color color = pure[hue / 256];
  for (uint8_t& c : color) {
    if (number % 3 == 1) c = static_cast<uint8_t>(128 + c / 2);
    if (number % 3 == 2) c = static_cast<uint8_t>(c * 5 / 8);
  }
  return color;
}

void draw_boxes(PixelCanvas& canvas, const std::vector<DrawnBox>& boxes) {
  for (const DrawnBox& box : boxes) draw_outline(canvas, box);
  for (const DrawnBox& box : boxes) draw_label(canvas, box);
}

void write_drawn_picture(const std::string& path, const DrawnPicture& drawn) {
  PixelCanvas canvas(drawn.picture);
  draw_boxes(canvas, drawn.boxes);
  write_png(path, canvas.picture());
}

void write_drawn_pictures(const std::string& path, const std::vector<DrawnPicture>& pictures, int columns) {
  check(columns >= 1 && !pictures.empty(), "{}: a sheet of {} pictures in {} columns, expected one or more",
        path, pictures.size(), columns);
  const auto row = static_cast<size_t>(columns);
  std::vector<int> tops{gap};  // of each row, and where another would begin
  for (size_t i = 0; i < pictures.size(); i += row) {
    int tallest = 0;
    for (size_t k = i; k < std::min(i + row, pictures.size()); ++k)
      tallest = std::max(tallest, fitted(pictures[k].picture).height());
    tops.push_back(tops.back() + tallest + caption + gap);
  }
  const int used = std::min(columns, static_cast<int>(pictures.size()));
  PixelCanvas sheet(tops.back(), used * (cell + gap) + gap);
  for (size_t i = 0; i < pictures.size(); ++i) {
    const PixelCanvas drawn = enlarged(pictures[i]);
    const int left = gap + static_cast<int>(i % row) * (cell + gap), top = tops[i / row];
    sheet.copy(drawn, left, top);
    sheet.write(left, top + drawn.height() + gap / 2, PixelCanvas::end_of(pictures[i].title, cell));
  }
  write_png(path, sheet.picture());
}

}  // namespace la
