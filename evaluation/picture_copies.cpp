#include "evaluation/picture_copies.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "data/codecs/jpeg_writer.h"
#include "tensor/format.h"
#include "tensor/random.h"

namespace la {
namespace {

Picture made_of(std::vector<uint8_t> pixels, int height, int width, int channels) {
  const auto owner = std::make_shared<const std::vector<uint8_t>>(std::move(pixels));
  return {owner->data(), height, width, channels, owner};
}

Picture resized(const Picture& picture, const Crop& crop, int height, int width, bool mirrored) {
  const auto area = static_cast<size_t>(height * width), channels = static_cast<size_t>(picture.channels);
  std::vector<float> planes(area * channels);
  resize_crop(picture, crop, height, width, mirrored, planes.data());
  std::vector<uint8_t> pixels(area * channels);
  for (size_t c = 0; c < channels; ++c)
    for (size_t i = 0; i < area; ++i)
      pixels[i * channels + c] =
          static_cast<uint8_t>(std::lround(255 * std::clamp(planes[c * area + i], 0.0f, 1.0f)));
  return made_of(std::move(pixels), height, width, picture.channels);
}

/// As many pixels as there are, at least one.
int pixels_of(float side) { return std::max(1, static_cast<int>(std::lround(side))); }

Picture cropped(const Picture& picture, RandomGenerator& random) {
  const float share = std::sqrt(random.uniform(0.75f, 1.0f));
  const auto side = [&](int all) {
    return std::clamp(pixels_of(static_cast<float>(all) * share), 1, std::max(1, all - 1));
  };
  const int height = side(picture.height), width = side(picture.width);
  const auto place = [&](int all, int part) {
    return static_cast<float>(random.below(static_cast<uint32_t>(all - part + 1)));
  };
  const float x = place(picture.width, width), y = place(picture.height, height);
  return resized(picture, {x, y, static_cast<float>(width), static_cast<float>(height)}, height, width,
                 false);
}

Picture rescaled(const Picture& picture, RandomGenerator& random) {
  const float scale = random.uniform(0.75f, 1.0f);
  return resized(picture, whole_crop(picture.height, picture.width),
                 pixels_of(scale * static_cast<float>(picture.height)),
                 pixels_of(scale * static_cast<float>(picture.width)), false);
}

Picture recolored(const Picture& picture, RandomGenerator& random) {
  const float gamma = random.uniform(0.7f, 1.4f), range = random.uniform(0.7f, 1.0f),
              lowest = random.uniform(0.0f, 1.0f - range);
  std::array<uint8_t, 256> tone{};
  for (size_t value = 0; value < tone.size(); ++value)
    tone[value] = static_cast<uint8_t>(
        std::lround(255 * (lowest + range * std::pow(static_cast<float>(value) / 255, gamma))));
  std::vector<uint8_t> pixels(picture.pixels, picture.pixels + static_cast<ptrdiff_t>(picture.height) *
                                                                   picture.width * picture.channels);
  for (uint8_t& value : pixels) value = tone[value];
  return made_of(std::move(pixels), picture.height, picture.width, picture.channels);
}

Picture recompressed(const Picture& picture, RandomGenerator& random) {
  const std::string file = jpeg_of(picture, 50 + static_cast<int>(random.below(41)));
  return decode_picture({reinterpret_cast<const uint8_t*>(file.data()), file.size()},
                        {.gray = picture.channels == 1});
}

}  // namespace

Picture copy_of(const Picture& picture, CopyKind kind, uint64_t seed, int64_t index) {
  RandomGenerator random({seed, RandomStream::augmentation, static_cast<uint64_t>(index)});
  switch (kind) {
    case CopyKind::cropped:
      return cropped(picture, random);
    case CopyKind::mirrored:
      return resized(picture, whole_crop(picture.height, picture.width), picture.height, picture.width, true);
    case CopyKind::rescaled:
      return rescaled(picture, random);
    case CopyKind::recolored:
      return recolored(picture, random);
    case CopyKind::recompressed:
      return recompressed(picture, random);
  }
  fail("there is no such kind of copy");
}

PictureCopies::PictureCopies(const Dataset& all, std::vector<int64_t> originals, uint64_t seed)
    : all_(all),
      originals_(std::move(originals)),
      distinct_(std::ssize(std::set<int64_t>(originals_.begin(), originals_.end()))),
      seed_(seed) {}

Picture PictureCopies::picture(int64_t i) const {
  constexpr float enough = 256, too_long = 2048;  // pixels on the shorter and on the longer side
  const Excerpt excerpt = all_.excerpt(original(i), static_cast<int>(enough), whole_crop);
  const auto [shorter, longer] = std::minmax(excerpt.crop.height, excerpt.crop.width);
  const float scale = std::min({1.0f, enough / shorter, too_long / longer});
  const Picture picture = scale < 1
                              ? resized(excerpt.picture, excerpt.crop, pixels_of(scale * excerpt.crop.height),
                                        pixels_of(scale * excerpt.crop.width), false)
                              : excerpt.picture;
  // So that a picture that comes again has another copy each time.
  return copy_of(picture, static_cast<CopyKind>((i + i / distinct_) % copy_kinds), seed_, i);
}

std::string PictureCopies::description() const {
  return formatted("{} of {}", counted(size(), "copy", "copies"), all_.description());
}

}  // namespace la
