// One picture laid over another: copies are told from other pictures, whatever was done to them; and groups of copies.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "evaluation/duplicates.h"
#include "evaluation/picture_copies.h"
#include "tests/own_picture.h"

using namespace la;

namespace {

/// Brightness, from 0 to 255, at a place in units of the picture's height.
using Scene = std::function<double(double x, double y)>;

/// Smooth, and unlike the scenes of other numbers.
Scene scene(int number) {
  RandomGenerator random({.seed = 7, .index = static_cast<uint64_t>(number)});
  struct Wave {
    double x, y, phase;
  };
  std::array<Wave, 6> waves{};
  for (Wave& wave : waves)
    wave = {random.uniform(-14.0f, 14.0f), random.uniform(-14.0f, 14.0f), random.uniform(0.0f, 6.28f)};
  return [waves](double x, double y) {
    double sum = 128;
    for (const Wave& wave : waves) sum += 20 * std::sin(wave.x * x + wave.y * y + wave.phase);
    return sum;
  };
}

/// What is seen of a scene from (left, top) with so many pixels for a unit.
OwnPicture photograph(const Scene& of, int height, int width, double left, double top, double pixels) {
  OwnPicture own(height, width, 1);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      own.pixels[static_cast<size_t>(y * width + x)] = static_cast<uint8_t>(
          std::lround(std::clamp(of(left + (x + 0.5) / pixels, top + (y + 0.5) / pixels), 0.0, 255.0)));
  return own;
}

GrayThumbnail thumbnail(const OwnPicture& own) {
  return gray_thumbnail(
      own.picture, {0, 0, static_cast<float>(own.picture.width), static_cast<float>(own.picture.height)});
}

/// The whole scene.
GrayThumbnail whole(const Scene& of, int side = 28) {
  return thumbnail(photograph(of, side, side, 0, 0, side));
}

/// Of a to b, which is that of b to a.
float fine(const GrayThumbnail& a, const GrayThumbnail& b) {
  const float result = likeness(a, b).fine;
  CHECK(likeness(b, a).fine == result);
  return result;
}

// Of smooth scenes, of which a pixel is at most some gray values away from the next, cubic interpolation gives
// back nearly all: what is left of the detail's variance is less than a thousandth.
constexpr float copy = 0.9995f;

}  // namespace

TEST_CASE("a thumbnail is small, keeps what is small, and is a picture's mean") {
  const GrayThumbnail large = whole(scene(0), 112), exact = whole(scene(0), 28);
  CHECK(large.whole.height == 28);
  CHECK(large.half.width == 14);
  for (size_t i = 0; i < exact.whole.pixels.size(); ++i)
    CHECK(std::abs(int{large.whole.pixels[i]} - exact.whole.pixels[i]) <= 2);
  const OwnPicture tall(60, 20, 3);
  CHECK(thumbnail(tall).whole.height == 28);
  CHECK(thumbnail(tall).whole.width == 9);
  const OwnPicture noise(20, 17, 1);
  CHECK(thumbnail(noise).whole.pixels == noise.pixels);
  OwnPicture red(1, 1, 3);
  red.pixels = {200, 0, 0};
  CHECK(thumbnail(red).whole.pixels == std::vector<uint8_t>{60});  // 0.299 of it
}

TEST_CASE("copies are alike, whatever was done to them") {
  const Scene of = scene(1);
  const GrayThumbnail original = whole(of);
  CHECK(fine(original, original) == doctest::Approx(1));
  SUBCASE("cropped") {
    CHECK(fine(original, thumbnail(photograph(of, 24, 24, 3 / 28.0, 1 / 28.0, 28))) > copy);
  }
  SUBCASE("cropped and larger") {
    CHECK(fine(original, thumbnail(photograph(of, 120, 120, 0.1, 0.05, 140))) > copy);
  }
  SUBCASE("moved by half a pixel") {
    CHECK(fine(original, thumbnail(photograph(of, 28, 28, .5 / 28, .5 / 28, 28))) > copy);
  }
  SUBCASE("rescaled") { CHECK(fine(original, whole(of, 21)) > copy); }
  SUBCASE("another side ratio") { CHECK(fine(original, thumbnail(photograph(of, 28, 22, 0, 0, 28))) > copy); }
  SUBCASE("mirrored") {
    CHECK(fine(original, whole([&](double x, double y) { return of(1 - x, y); })) > copy);
  }
  SUBCASE("another tone curve") {
    CHECK(fine(original,
               whole([&](double x, double y) { return 30 + 180 * std::pow(of(x, y) / 255, 1.4); })) > copy);
  }
  SUBCASE("blurred") {
    const auto blurred = [&](double x, double y) {
      double sum = 0;
      for (const double dx : {-1, 0, 1})
        for (const double dy : {-1, 0, 1}) sum += of(x + dx / 28, y + dy / 28) / 9;
      return sum;
    };
    CHECK(fine(original, whole(blurred)) > copy);
  }
}

TEST_CASE("other pictures are not alike") {
  // The outline of a thing, which others of its kind have too, on which patterns differ.
  const auto thing = [](int pattern) {
    const Scene of = scene(pattern);
    return whole([of](double x, double y) {
      const bool inside = std::hypot(x - 0.5, y - 0.5) < 0.4;
      return inside ? 140 + 0.15 * (of(x, y) - 128) : 20.0;
    });
  };
  float outlines = 1, most = 0;
  for (int a = 0; a < 5; ++a)
    for (int b = 0; b < a; ++b) {
      const Likeness found = likeness(thing(a), thing(b));
      outlines = std::min(outlines, found.coarse);
      most = std::max({most, fine(whole(scene(a)), whole(scene(b))), found.fine});
    }
  CHECK(outlines > 0.99f);
  CHECK(most < copy);
  // The negative of a picture is not its copy.
  const Scene of = scene(1);
  CHECK(fine(whole(of), whole([&](double x, double y) { return 255 - of(x, y); })) < 0.9f);
}

TEST_CASE("what cannot be compared by detail must be equal") {
  const auto flat = [](int value) { return whole([value](double, double) { return value; }); };
  CHECK(likeness(flat(90), flat(90)).fine == 1);
  CHECK(likeness(flat(90), flat(110)).fine == 0);
  CHECK(likeness(flat(90), whole(scene(1))).fine == 0);
  const OwnPicture line(4, 28, 1), other(4, 28, 1, 2);
  CHECK(likeness(thumbnail(line), thumbnail(line)).fine == 1);
  CHECK(likeness(thumbnail(line), thumbnail(other)).fine == 0);
}

TEST_CASE("the fine comparison is left out where the coarse one has no hope") {
  const GrayThumbnail a = whole(scene(1)), b = whole(scene(2));
  const Likeness all = likeness(a, b);
  CHECK(all.coarse < 0.95f);
  CHECK(likeness(a, b, 0.95f).fine == 0);
  CHECK(likeness(a, b, 0.95f).coarse == all.coarse);
  CHECK(likeness(a, a, 0.95f).fine == likeness(a, a).fine);
}

TEST_CASE("copies for comparison are what they are called") {
  const OwnPicture own(40, 30, 3);
  const auto made = [&](CopyKind kind) { return copy_of(own.picture, kind, 3, 5); };
  for (int64_t i = 0; i < 100; ++i) {
    const Picture cropped = copy_of(own.picture, CopyKind::cropped, 3, i);
    CHECK(cropped.height < 40);
    CHECK(cropped.width < 30);
    CHECK(cropped.height >= 34);  // sqrt(3/4) of 40 is 34.6
    CHECK(cropped.width >= 25);
    const Picture rescaled = copy_of(own.picture, CopyKind::rescaled, 3, i);
    CHECK(rescaled.height >= 30);
    CHECK(rescaled.height <= 40);
  }
  const Picture mirrored = made(CopyKind::mirrored);
  REQUIRE(mirrored.width == 30);
  for (int y = 0; y < 40; ++y)
    for (int x = 0; x < 90; ++x)
      CHECK(mirrored.pixels[y * 90 + x] ==
            own.pixels[static_cast<size_t>(y * 90 + (29 - x / 3) * 3 + x % 3)]);
  // Colors change, their order does not.
  const Picture recolored = made(CopyKind::recolored);
  bool changed = false;
  for (size_t i = 1; i < own.pixels.size(); ++i) {
    changed = changed || recolored.pixels[i] != own.pixels[i];
    if (own.pixels[i] > own.pixels[i - 1]) CHECK(recolored.pixels[i] >= recolored.pixels[i - 1]);
  }
  CHECK(changed);
  const Picture recompressed = made(CopyKind::recompressed);
  CHECK(recompressed.height == 40);
  CHECK(recompressed.channels == 3);
}

TEST_CASE("pairs become groups, whichever way they hang together") {
  CHECK(groups_of({}).empty());
  const std::vector<std::vector<int32_t>> expected = {{1, 2, 6, 8, 9}, {3, 4}};
  CHECK(groups_of({{1, 9, 1}, {2, 6, 1}, {3, 4, 1}, {6, 8, 1}, {8, 9, 1}}) == expected);
  CHECK(groups_of({{1, 2, 1}, {1, 6, 1}, {1, 8, 1}, {1, 9, 1}, {3, 4, 1}}) == expected);
}
