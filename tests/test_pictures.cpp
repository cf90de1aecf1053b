// Picture files: every format against the pixels that were written, parts of them against the whole, and
// damaged ones.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "data/decode.h"
#include "data/formats.h"
#include "tensor/format.h"
#include "tests/own_picture.h"
#include "tests/picture_files.h"
#include "tests/temporary_folder.h"

using namespace la;

namespace {

std::span<const uint8_t> as_bytes(const std::string& file) {
  return {reinterpret_cast<const uint8_t*>(file.data()), file.size()};
}

/// Soft hills and valleys of color: what JPEG keeps well.
OwnPicture smooth_picture(int height, int width, int channels) {
  OwnPicture own(height, width, channels);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c) {
        const double wave = std::sin(0.11 * x + c) + std::cos(0.07 * y - 2 * c);
        own.pixels[static_cast<size_t>((y * width + x) * channels + c)] =
            static_cast<uint8_t>(127.5 + 50 * wave);
      }
  return own;
}

uint8_t pixel(const Picture& p, int y, int x, int c) { return p.pixels[(y * p.width + x) * p.channels + c]; }

/// The color that the formats with a palette give a grey value.
uint8_t palette(int value, int c) {
  return static_cast<uint8_t>(c == 0 ? value : c == 1 ? 255 - value : value / 2);
}

/// Checks that the file holds `expected(y, x, channel)`, off by at most `slack`.
template <class F>
void check_decoded(const std::string& file, int height, int width, int slack, F expected) {
  const Picture decoded = decode_picture(as_bytes(file));
  REQUIRE(decoded.height == height);
  REQUIRE(decoded.width == width);
  REQUIRE(decoded.channels == 3);
  int worst = 0;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c)
        worst = std::max(worst, std::abs(pixel(decoded, y, x, c) - expected(y, x, c)));
  CHECK(worst <= slack);
}

// At quality 100 each of the 64 coefficients of a block is off by at most half a unit, and a pixel by the sum
// of them, each times at most 1/4: 8 of luma and of chroma, of which luma and at most 1.772 times chroma make
// a color. The smooth pictures here come nowhere near it.
constexpr int jpeg_slack = 8 + 15;

}  // namespace

TEST_CASE("formats without loss decode to the pixels that were written") {
  for (const auto& [height, width] : {std::pair{7, 5}, {1, 1}, {20, 3000}, {40, 3}}) {
    const OwnPicture rgb(height, width, 3, 1), grey(height, width, 1, 2);
    const auto of_rgb = [&](int y, int x, int c) { return pixel(rgb.picture, y, x, c); };
    const auto of_grey = [&](int y, int x, int) { return pixel(grey.picture, y, x, 0); };
    const auto of_palette = [&](int y, int x, int c) { return palette(pixel(grey.picture, y, x, 0), c); };
    for (const std::string& file : {png_bytes(rgb.picture), png_bytes(rgb.picture, 16),
                                    bmp_bytes(rgb.picture), tga_bytes(rgb.picture), pnm_bytes(rgb.picture)})
      check_decoded(file, height, width, 0, of_rgb);
    for (const std::string& file :
         {png_bytes(grey.picture), png_bytes(grey.picture, 16), pnm_bytes(grey.picture)})
      check_decoded(file, height, width, 0, of_grey);
    for (const std::string& file : {palette_png_bytes(grey.picture), gif_bytes(grey.picture)})
      check_decoded(file, height, width, 0, of_palette);
  }
}

TEST_CASE("JPEG in color, grey and in four inks") {
  for (const auto& [height, width] : {std::pair{37, 53}, {1, 1}, {20, 300}}) {
    const OwnPicture rgb = smooth_picture(height, width, 3), grey = smooth_picture(height, width, 1),
                     inks = smooth_picture(height, width, 4);
    const auto of_rgb = [&](int y, int x, int c) { return pixel(rgb.picture, y, x, c); };
    for (const bool progressive : {false, true})
      check_decoded(jpeg_bytes(rgb.picture, {.progressive = progressive}), height, width, jpeg_slack, of_rgb);
    check_decoded(jpeg_bytes(grey.picture), height, width, jpeg_slack,
                  [&](int y, int x, int) { return pixel(grey.picture, y, x, 0); });
    // Both factors are off by the slack of luma alone.
    check_decoded(jpeg_bytes(inks.picture), height, width, 17, [&](int y, int x, int c) {
      return pixel(inks.picture, y, x, c) * pixel(inks.picture, y, x, 3) / 255;
    });
  }
}

namespace {

/// Where pixel (y, x) of the upright picture lies in the file of height x width, by the definition of EXIF:
/// what the first row and the first column of the file are in the upright picture.
std::pair<int, int> place_in_file(int orientation, int y, int x, int height, int width) {
  switch (orientation) {
    case 2:
      return {y, width - 1 - x};  // top, right
    case 3:
      return {height - 1 - y, width - 1 - x};  // bottom, right
    case 4:
      return {height - 1 - y, x};  // bottom, left
    case 5:
      return {x, y};  // left, top
    case 6:
      return {height - 1 - x, y};  // right, top
    case 7:
      return {height - 1 - x, width - 1 - y};  // right, bottom
    case 8:
      return {x, width - 1 - y};  // left, bottom
    default:
      return {y, x};  // top, left
  }
}

std::vector<float> resized(const Excerpt& e, int size) {
  std::vector<float> planes(static_cast<size_t>(3 * size * size));
  resize_crop(e.picture, e.crop, size, false, planes.data());
  return planes;
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  float worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

}  // namespace

TEST_CASE("pictures stand upright, as a whole and in part") {
  constexpr int height = 61, width = 94;
  const OwnPicture stored = smooth_picture(height, width, 3);
  for (int orientation = 0; orientation <= 9; ++orientation) {
    CAPTURE(orientation);
    const std::string file = jpeg_bytes(stored.picture, {.orientation = orientation});
    const bool exchanged = orientation >= 5 && orientation <= 8;
    check_decoded(file, exchanged ? width : height, exchanged ? height : width, jpeg_slack,
                  [&](int y, int x, int c) {
                    const auto [v, u] = place_in_file(orientation, y, x, height, width);
                    return pixel(stored.picture, v, u, c);
                  });

    const Picture whole = decode_picture(as_bytes(file));
    const Crop crop{.x = 20.3f, .y = 11.8f, .width = 30.2f, .height = 22.4f};
    const Excerpt part = decode_excerpt(as_bytes(file), 25, [&](int h, int w) {
      CHECK(h == whole.height);
      CHECK(w == whole.width);
      return crop;
    });
    CHECK(part.picture.height < whole.height);
    // The same pixels; the place of the crop in them is rounded.
    constexpr float rounding = 1e-4f;
    CHECK(largest_difference(resized(part, 25), resized({whole, crop}, 25)) <= rounding);
  }
}

TEST_CASE("a part of a picture is what the whole shows there, at any scale") {
  constexpr int height = 480, width = 640;
  const OwnPicture own = smooth_picture(height, width, 3);
  RandomGenerator random({.seed = 5});
  std::set<int> heights;
  for (const bool subsampled : {false, true}) {
    const std::string file = jpeg_bytes(own.picture, {.quality = 95, .subsampled = subsampled});
    const Picture whole = decode_picture(as_bytes(file));
    for (int i = 0; i < 24; ++i) {
      const auto w = random.uniform(1.0f, width), h = random.uniform(1.0f, height);
      const Crop crop{random.uniform(0.0f, width - w), random.uniform(0.0f, height - h), w, h};
      const int size = 20 + 40 * (i % 4);
      const Excerpt part = decode_excerpt(as_bytes(file), size, [&](int, int) { return crop; });
      heights.insert(static_cast<int>(std::lround(crop.height / part.crop.height)));
      // Within a step of the 8-bit colors' rounding and of the two filters over a picture whose values differ
      // by at most 6 from pixel to pixel, of 8 pixels at most.
      CHECK(largest_difference(resized(part, size), resized({whole, crop}, size)) <= 12.0f / 255);
    }
  }
  CHECK(heights == std::set{1, 2, 4, 8});
}

TEST_CASE("a network of gray pictures is shown the luma of colored ones, as a whole and in part") {
  const OwnPicture own = smooth_picture(61, 94, 3);
  const std::string file = jpeg_bytes(own.picture, {.orientation = 6});
  const DecodeOptions gray{.gray = true};
  const Picture rgb = decode_picture(as_bytes(file)), luma = decode_picture(as_bytes(file), gray);
  REQUIRE(luma.channels == 1);
  REQUIRE(luma.height == rgb.height);
  REQUIRE(luma.width == rgb.width);
  constexpr double weights[] = {0.299, 0.587, 0.114};  // ITU-R BT.601
  for (int y = 0; y < rgb.height; ++y)
    for (int x = 0; x < rgb.width; ++x) {
      double expected = 0;
      for (int c = 0; c < 3; ++c) expected += weights[c] * pixel(rgb, y, x, c);
      // To the nearest number; the weights are rounded to 1/65536.
      CHECK(std::abs(luma.pixels[y * luma.width + x] - expected) <= 0.5 + 3 * 255 * 0.5 / 65536);
    }

  const Crop crop{.x = 20.3f, .y = 11.8f, .width = 30.2f, .height = 22.4f};
  const Excerpt part = decode_excerpt(
      as_bytes(file), 25, [&](int, int) { return crop; }, gray);
  REQUIRE(part.picture.channels == 1);
  constexpr size_t pixels = 25 * 25;
  std::vector<float> of_part(pixels), of_whole(pixels);
  resize_crop(part.picture, part.crop, 25, false, of_part.data());
  resize_crop(luma, crop, 25, false, of_whole.data());
  CHECK(largest_difference(of_part, of_whole) <= 1e-4f);
}

namespace {

/// The files of tests/pictures, which tests/make_pictures.py has written, beside each the pixels that Pillow
/// sees: NAME and NAME.ppm. Those of kinds that this build can read.
std::vector<std::string> pictures_of_all_kinds() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator("tests/pictures")) {
    const std::string path = entry.path();
    const bool is_pixels = path.ends_with(".ppm") && !std::filesystem::exists(path + ".ppm");
    if (!is_pixels && what_name_says(path) == NameSays::picture) paths.push_back(path);
  }
  std::sort(paths.begin(), paths.end());
  REQUIRE(paths.size() >= 40);
  return paths;
}

/// By how much a pixel may be off.
int slack_for(const std::string& path) {
  const auto has = [&](const char* part) { return path.find(part) != std::string::npos; };
  // The inverse transform and the conversion of colors round, each by a unit, and versions of
  // libraries differ.
  if (has("lossy") || has(".avif") || has("jpeg.tif") || has(".jpg") || has(".jfif")) return 2;
  // Values of more than 8 bits are rounded here and cut off by others, those of fewer likewise.
  return has("-16.p") || has("grey.pgm") || has("565") ? 1 : 0;
}

}  // namespace

TEST_CASE("pictures of all kinds are what Pillow sees in them") {
  for (const std::string& path : pictures_of_all_kinds()) {
    CAPTURE(path);
    const Picture expected = read_picture(path + ".ppm");
    check_decoded(read_file(path), expected.height, expected.width, slack_for(path),
                  [&](int y, int x, int c) { return pixel(expected, y, x, c); });
  }
}

TEST_CASE("what is transparent shows the background that is asked for") {
  const std::string file = read_file("tests/pictures/rgba.png");
  const Picture white = decode_picture(as_bytes(file)),
                black = decode_picture(as_bytes(file), {.background = parse_color("black")}),
                red = decode_picture(as_bytes(file), {.background = parse_color("#ff0000")});
  // Over white and black, the same pixel differs by 255 times its transparency in each channel.
  std::set<int> transparencies;
  for (int y = 0; y < white.height; ++y)
    for (int x = 0; x < white.width; ++x) {
      const int transparency = pixel(white, y, x, 0) - pixel(black, y, x, 0);
      transparencies.insert(transparency);
      for (int c = 0; c < 3; ++c) {
        CHECK(std::abs(pixel(white, y, x, c) - pixel(black, y, x, c) - transparency) <= 1);  // rounded twice
        CHECK(pixel(red, y, x, c) == pixel(c == 0 ? white : black, y, x, c));
      }
    }
  CHECK(*transparencies.begin() == 0);
  CHECK(*transparencies.rbegin() == 255);
  for (const char* wrong : {"", "blue sky", "#12345", "#12345g", "#1234567", "#+12345"})
    CHECK_THROWS_AS(parse_color(wrong), Error);
}

TEST_CASE("pictures with more pixels than they may have, or can hold, are refused before memory is taken") {
  const auto refusal = [](const std::string& file, const DecodeOptions& options = {}) {
    try {
      decode_picture(as_bytes(file), options);
    } catch (const BadPicture& bad) {
      return std::string(bad.what());
    }
    return std::string("accepted");
  };
  for (const std::string& path : pictures_of_all_kinds()) {
    CAPTURE(path);
    CHECK(refusal(read_file(path)) == "accepted");
    const Picture all = read_picture(path + ".ppm");
    const int64_t fewer = int64_t{all.height} * all.width - 1;
    CHECK(refusal(read_file(path), {.max_pixels = fewer})
              .ends_with(formatted("more than {} (`max_pixels`)", fewer)));
  }
  if (what_name_says("a.heic") == NameSays::picture) {
    // Two tiles of 64 x 64 pixels, of which its boxes say that they are 26 x 18.
    CHECK(refusal(read_file("tests/pictures/lossy-larger-tiles.heic"), {.max_pixels = 2 * 26 * 18}) ==
          "it has 64 x 64 pixels, more than 936 (`max_pixels`)");
    // Coded as 96 x 80 pixels, whole blocks, of which 92 x 76 are shown.
    CHECK(refusal(read_file("tests/pictures/lossy-padded.heic"), {.max_pixels = 92 * 76}) == "accepted");
  }
  // A canvas of 16000 x 16000 with a frame of one pixel, and a JPEG whose header says so.
  const std::string gif("GIF89a\x80\x3e\x80\x3e\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2\x44\1\0;",
                        35);
  CHECK(refusal(gif, {.max_pixels = 1 << 30}).find("no file of its length holds 16000 x 16000") !=
        std::string::npos);
  std::string jpeg = jpeg_bytes(smooth_picture(24, 24, 3).picture, {.progressive = true});
  const size_t frame = jpeg.find("\xff\xc2");
  jpeg.replace(frame + 5, 4, std::string("\x3e\x80\x3e\x80", 4));
  CHECK(refusal(jpeg, {.max_pixels = 1 << 30}).find("no file of its length") != std::string::npos);
  CHECK(refusal("P5 99999999999 99999999999 255 ").find("`max_pixels`") != std::string::npos);
  CHECK(refusal("P5 0 9 255 ").find("0 x 9") != std::string::npos);
}

TEST_CASE("a file is known by its content, and what is no picture is called by its name") {
  const OwnPicture own(9, 12, 3);
  const TemporaryFolder folder;
  write_bytes(folder.file("a.gif"), png_bytes(own.picture));
  CHECK(read_picture(folder.file("a.gif")).width == 12);
  for (const auto& [bytes, expected] :
       {std::pair<std::string, const char*>{"<!DOCTYPE html><html>", "a page of HTML"},
        {"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"},
        {"%PDF-1.4", "a PDF"},
        {std::string(100, '\0'), "nothing but zeros"},
        {"hello", "no picture of a kind that is known"}}) {
    write_bytes(folder.file("b.jpg"), bytes);
    CHECK_THROWS_WITH_AS(read_picture(folder.file("b.jpg")), doctest::Contains(expected), Error);
  }
}

TEST_CASE("what is no picture, or a part of one, is refused") {
  const OwnPicture own = smooth_picture(40, 30, 3), grey(9, 9, 1);
  const auto refused = [](const std::string& file) {
    CHECK_THROWS_AS(decode_picture(as_bytes(file)), BadPicture);
    CHECK_THROWS_AS(decode_excerpt(as_bytes(file), 8,
                                   [](int h, int w) {
                                     return Crop{0, 0, static_cast<float>(w), static_cast<float>(h)};
                                   }),
                    BadPicture);
  };
  refused("");
  refused("a text that is named like a picture");
  refused("\xff\xd8\xff");
  for (const std::string& file :
       {jpeg_bytes(own.picture), jpeg_bytes(own.picture, {.progressive = true}), png_bytes(own.picture),
        bmp_bytes(own.picture), palette_png_bytes(grey.picture)})
    for (const size_t share : {1, 3, 5, 7, 9}) refused(file.substr(0, file.size() * share / 10));
  for (const std::string& path : pictures_of_all_kinds()) {
    CAPTURE(path);
    const std::string file = read_file(path);
    for (const size_t share : {1, 4, 7}) refused(file.substr(0, file.size() * share / 10));
  }

  // 60,000 x 60,000 pixels that are not there.
  std::string huge = bmp_bytes(own.picture);
  huge.replace(18, 8, std::string("\x60\xea\0\0\x60\xea\0\0", 8));
  refused(huge);
}

TEST_CASE("files that would end their library, never end or leave pixels without values are refused") {
  const std::set<std::string> readable = [] {
    std::set<std::string> endings;
    for (const std::string& path : pictures_of_all_kinds())
      endings.insert(std::filesystem::path(path).extension());
    return endings;
  }();
  int tried = 0;
  for (const auto& entry : std::filesystem::directory_iterator("tests/refused_pictures")) {
    CAPTURE(entry.path().string());
    if (!readable.contains(entry.path().extension())) continue;
    CHECK_THROWS_AS(decode_picture(as_bytes(read_file(entry.path()))), BadPicture);
    ++tried;
  }
  CHECK(tried >= 2);
}

TEST_CASE("damage anywhere in a file is survived") {
  const OwnPicture own = smooth_picture(24, 24, 3), grey(8, 8, 1);
  RandomGenerator random({.seed = 6});
  std::vector<std::string> files{jpeg_bytes(own.picture, {.orientation = 6}), png_bytes(own.picture),
                                 gif_bytes(grey.picture), bmp_bytes(own.picture), tga_bytes(own.picture)};
  for (const std::string& path : pictures_of_all_kinds()) files.push_back(read_file(path));
  for (const std::string& intact : files)
    for (int i = 0; i < 60; ++i) {
      std::string file = intact;
      for (int b = 0; b < 3; ++b)
        file[random.below(static_cast<uint32_t>(file.size()))] = static_cast<char>(random.below(256));
      try {
        const Picture p = decode_picture(as_bytes(file));
        CHECK(p.channels == 3);
      } catch (const BadPicture& bad) {
        CHECK(!std::string(bad.what()).empty());
      }
    }
}

TEST_CASE("pictures are known by their names") {
  for (const char* name :
       {"a.jpg", "B.JPEG", "c d.Png", "e.gif", "f.tar.bmp", "\xc3\xa4.ppm", "g.jfif", "h.JPE"})
    CHECK(what_name_says(name) == NameSays::picture);
  for (const char* name : {"a.webp", "b.tiff", "c.HEIC", "d.avif"})
    CHECK(what_name_says(name) != NameSays::nothing);
  for (const char* name : {"a.txt", "jpg", ".jpg", "a.jpg.gz", "", "a.jp", "a.", "a.jpg jpeg", "a.hdr"})
    CHECK(what_name_says(name) == NameSays::nothing);
}
