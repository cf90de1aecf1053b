// Boxes and labels drawn into pictures, pixel by pixel.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "apps/drawn_picture.h"
#include "tests/own_picture.h"
#include "tests/temporary_folder.h"

using namespace la;

namespace {

Color color_at(const Picture& picture, int y, int x) {
  const uint8_t* pixel = picture.pixels + (y * picture.width + x) * 3;
  return {pixel[0], pixel[1], pixel[2]};
}

bool holds(const PixelArea& area, int y, int x) {
  return y >= area.top && y < area.bottom && x >= area.left && x < area.right;
}

struct Count {
  int in = 0, changed_in = 0, changed_out = 0;
};
/// How many pixels of one color lie in a set, and how many others differ from what was there.
template <class InSet>
Count count_changes(const Picture& before, const Picture& after, const InSet& in_set) {
  Count count;
  for (int y = 0; y < before.height; ++y) {
    for (int x = 0; x < before.width; ++x) {
      const bool in = in_set(y, x), changed = color_at(before, y, x) != color_at(after, y, x);
      count.in += in;
      count.changed_in += in && changed;
      count.changed_out += !in && changed;
    }
  }
  return count;
}

/// A canvas of mid gray, which no category's color is.
PixelCanvas gray_canvas(int height, int width) { return {height, width, {119, 120, 121}}; }

int luma(const Color& c) { return (299 * c[0] + 587 * c[1] + 114 * c[2]) / 1000; }

void check_solid(int height, int width, const Box& box, const PixelArea& pixels, int line) {
  CAPTURE(height);
  CAPTURE(pixels.left);
  const PixelCanvas before = gray_canvas(height, width);
  PixelCanvas after = before;
  draw_boxes(after, {{.box = box, .category = 3}});
  const PixelArea inner{pixels.left + line, pixels.top + line, pixels.right - line, pixels.bottom - line};
  const auto on_line = [&](int y, int x) { return holds(pixels, y, x) && !holds(inner, y, x); };
  const Count count = count_changes(before.picture(), after.picture(), on_line);
  CHECK(count.in == 2 * line * (pixels.width() + pixels.height() - 2 * line));
  CHECK(count.changed_in == count.in);
  CHECK(count.changed_out == 0);
  CHECK(color_at(after.picture(), pixels.top, pixels.left) == category_color(3));
  CHECK(color_at(after.picture(), pixels.bottom - 1, pixels.right - 1) == category_color(3));
}

/// What a label has changed, its box having no line of its own: the smallest area, and its pixels of text.
struct Label {
  PixelArea area{1 << 20, 1 << 20, 0, 0};
  int band = 0, text = 0;

  Label(const Box& box, int category, int height = 128, int width = 200) {
    const DrawnBox plain{.box = box, .category = category};
    DrawnBox labeled = plain;
    labeled.label = "bag .87";
    PixelCanvas canvas = gray_canvas(height, width);
    draw_boxes(canvas, {labeled});
    const Color ground = category_color(category), letters = luma(ground) < 128 ? white : black;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const Color color = color_at(canvas.picture(), y, x);
        band += color == ground;
        text += color == letters;
        if (color != letters) continue;
        area = {std::min(area.left, x), std::min(area.top, y), std::max(area.right, x + 1),
                std::max(area.bottom, y + 1)};
      }
    }
  }
};

}  // namespace

TEST_CASE("drawn boxes: lines run along the inner side of a box, and nothing else changes") {
  check_solid(128, 128, {10, 20, 50, 60}, {10, 20, 50, 60}, 1);
  check_solid(128, 200, {10.5f, 20.2f, 50.3f, 60.9f}, {10, 20, 51, 61}, 1);  // every pixel that it touches
  check_solid(128, 128, {0, 0, 128, 128}, {0, 0, 128, 128}, 1);
  check_solid(128, 100, {-7, -1e30f, 300, 64}, {0, 0, 100, 64}, 1);
  check_solid(600, 700, {100, 200, 300, 250}, {100, 200, 300, 250}, 3);  // wider in larger pictures
}

TEST_CASE("drawn boxes: small and absent ones") {
  const PixelCanvas before = gray_canvas(128, 128);
  PixelCanvas after = before;
  draw_boxes(after, {{.box = {5.2f, 6.3f, 5.4f, 6.4f}}});
  const Count dot =
      count_changes(before.picture(), after.picture(), [](int y, int x) { return y == 6 && x == 5; });
  CHECK(dot.changed_in == 1);
  CHECK(dot.changed_out == 0);
  after = before;
  draw_boxes(after,
             {{.box = {200, 10, 300, 20}, .label = "away"}, {.box = {30, 30, 20, 40}, .label = "none"}});
  CHECK(count_changes(before.picture(), after.picture(), [](int, int) { return false; }).changed_out == 0);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(draw_boxes(after, {{.box = {1, 2, nan, 4}}}),
                       "draw_boxes: the box 1, 2 to nan, 4 is not finite", Error);
}

TEST_CASE("drawn boxes: dashes are pieces of the line, and gaps as long") {
  const PixelCanvas before = gray_canvas(128, 128);
  PixelCanvas after = before;
  draw_boxes(after, {{.box = {10, 20, 90, 100}, .category = 5, .dashed = true}});
  const PixelArea inner{11, 21, 89, 99};
  const Count count = count_changes(before.picture(), after.picture(), [&](int y, int x) {
    return holds({10, 20, 90, 100}, y, x) && !holds(inner, y, x);
  });
  CHECK(count.changed_out == 0);
  CHECK(std::abs(2 * count.changed_in - count.in) <= 4);  // the corners belong to two sides
  const std::vector<bool> dashes{true, true, true, true, false, false, false, false, true};
  for (size_t i = 0; i < dashes.size(); ++i)
    CHECK(dashes[i] == (color_at(after.picture(), 20, 10 + static_cast<int>(i)) == category_color(5)));
}

TEST_CASE("drawn boxes: a label is whole, on a band above its box, or in it at the top of the picture") {
  for (int category = 0; category < 20; ++category) {
    CAPTURE(category);
    const Label above({20, 40, 60, 80}, category), below({20, 2, 60, 80}, category),
        at_right({180, 40, 200, 80}, category), at_left({-30, 40, 10, 80}, category);
    CHECK(above.text > 50);
    for (const Label* label : {&below, &at_right, &at_left}) {
      CHECK(label->text == above.text);
      CHECK(label->area.width() == above.area.width());
    }
    CHECK(above.band > above.text);
    CHECK(above.area.bottom <= 40);
    CHECK(above.area.top >= 25);
    CHECK(below.area.top >= 2);
    CHECK(at_right.area.right <= 200);
    const Color ground = category_color(category);
    CHECK(std::max(luma(ground), 255 - luma(ground)) >= 127);
  }
  const Label large({100, 100, 500, 500}, 1, 600, 800), small({20, 40, 60, 80}, 1);
  CHECK(large.text == 9 * small.text);  // strokes three pixels wide
}

TEST_CASE("drawn boxes: the colors of twenty categories are well apart") {
  double least = 1e9;
  for (int a = 0; a < 20; ++a) {
    for (int b = 0; b < a; ++b) {
      double squares = 0;
      for (size_t c = 0; c < 3; ++c) squares += std::pow(category_color(a)[c] - category_color(b)[c], 2);
      least = std::min(least, std::sqrt(squares));
    }
  }
  CHECK(least > 48);
  CHECK(category_color(-1) == category_color(1));  // any number has one
}

TEST_CASE("drawn pictures: a file has the picture's size and colors, gray ones too") {
  const TemporaryFolder folder;
  for (const int channels : {1, 3}) {
    const OwnPicture own(40, 60, channels);
    write_drawn_picture(folder.file("drawn.png"), {own.picture, {{.box = {4, 5, 30, 30}, .category = 2}}});
    const Picture drawn = read_picture(folder.file("drawn.png"));
    REQUIRE(drawn.channels == 3);
    REQUIRE(drawn.height == 40);
    REQUIRE(drawn.width == 60);
    const PixelCanvas before(own.picture);
    for (int c = 0; c < 3; ++c)
      CHECK(color_at(drawn, 39, 59)[static_cast<size_t>(c)] ==
            own.pixels[static_cast<size_t>((39 * 60 + 59) * channels + c % channels)]);
    CHECK(color_at(drawn, 5, 4) == category_color(2));
    const Count count = count_changes(before.picture(), drawn, [](int y, int x) {
      return holds({4, 5, 30, 30}, y, x) && !holds({5, 6, 29, 29}, y, x);
    });
    CHECK(count.changed_out == 0);
    CHECK(count.changed_in > count.in / 2);
  }
}

TEST_CASE("drawn pictures: on a sheet each is whole, in its shape, with its boxes") {
  const TemporaryFolder folder;
  OwnPicture wide(20, 40, 3), tall(100, 25, 1);
  std::fill(wide.pixels.begin(), wide.pixels.end(), static_cast<uint8_t>(50));
  std::fill(tall.pixels.begin(), tall.pixels.end(), static_cast<uint8_t>(90));
  const std::vector<DrawnPicture> pictures{{wide.picture, {{.box = {10, 5, 30, 15}, .category = 4}}, "wide"},
                                           {tall.picture, {{.box = {0, 0, 25, 50}, .dashed = true}}},
                                           {wide.picture, {}}};
  write_drawn_pictures(folder.file("sheet.png"), pictures, 2);
  const Picture sheet = read_picture(folder.file("sheet.png"));
  constexpr int cell = 320, gap = 10, caption = 16;
  CHECK(sheet.width == 2 * cell + 3 * gap);
  CHECK(sheet.height == gap + (320 + caption + gap) + (160 + caption + gap));
  const Color dark{50, 50, 50}, light{90, 90, 90};
  CHECK(color_at(sheet, gap, gap) == dark);  // both corners of the wide one: 320 x 160
  CHECK(color_at(sheet, gap + 159, gap + 319) == dark);
  CHECK(color_at(sheet, gap + 160, gap) == white);
  CHECK(color_at(sheet, gap + 40, gap + 80) == category_color(4));  // its box, eight times as large
  CHECK(color_at(sheet, gap + 119, gap + 239) == category_color(4));
  CHECK(color_at(sheet, gap + 39, gap + 79) == dark);
  const int second = 2 * gap + cell;
  CHECK(color_at(sheet, gap + 319, second + 79) == light);  // the tall one: 80 x 320
  CHECK(color_at(sheet, gap + 319, second + 80) == white);
  CHECK(color_at(sheet, gap, second) == category_color(0));
  CHECK(color_at(sheet, gap, second + 5) == light);  // between two dashes
  CHECK_THROWS_AS(write_drawn_pictures(folder.file("none.png"), {}), Error);
}

TEST_CASE("a canvas leaves out what lies beyond its border, and cuts long text at its beginning") {
  PixelCanvas canvas = gray_canvas(9, 12);
  canvas.fill({-5, 7, 3, 100}, black);
  CHECK(color_at(canvas.picture(), 8, 2) == black);
  CHECK(color_at(canvas.picture(), 6, 2) == Color{119, 120, 121});
  CHECK(color_at(canvas.picture(), 8, 3) == Color{119, 120, 121});
  canvas.copy(PixelCanvas(4, 4, white), -2, -2);
  CHECK(color_at(canvas.picture(), 1, 1) == white);
  CHECK(color_at(canvas.picture(), 2, 1) == Color{119, 120, 121});
  const OwnPicture own(3, 3, 3);
  canvas.draw(own.picture, {0, 0, 3, 3}, {10, 7, 13, 10});
  CHECK(color_at(canvas.picture(), 7, 10) == color_at(own.picture, 0, 0));
  CHECK(color_at(canvas.picture(), 8, 11) == color_at(own.picture, 1, 1));

  CHECK(PixelCanvas::end_of("short", 100) == "short");
  const std::string end = PixelCanvas::end_of("a long name of a file.png", 60);
  CHECK(end.starts_with("..."));
  CHECK(end.ends_with("file.png"));
  CHECK(PixelCanvas::width_of(end) <= 60);
  CHECK_THROWS_AS(PixelCanvas(0, 4), Error);
}
