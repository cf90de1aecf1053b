// Decoding picture files: JPEG by libjpeg-turbo, which can decode a part of a picture, and at 1/2, 1/4 or 1/8
// of its size; all else (PNG, BMP, GIF, TGA, PSD, PNM ...) by stb_image. Whatever the file holds, it becomes
// u8 RGB, upright as its EXIF orientation says.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "tensor/error.h"
#include "tensor/resize.h"

namespace la {

/// The bytes are no picture, or a damaged one.
struct BadPicture : Error {
  using Error::Error;
};

/// A part of a picture, perhaps at a smaller scale, and where in it the crop lies that was asked for.
struct Excerpt {
  Picture picture;
  Crop crop;
};

/// Chooses a crop of a picture whose height and width in pixels it is told.
using ChooseCrop = std::function<Crop(int height, int width)>;

/// All of the picture. A BadPicture if it cannot be decoded.
Picture decode_picture(std::span<const uint8_t> file);

/// What a view of size x size pixels of the crop needs of the picture; resize_crop makes it the same view as
/// that of the whole picture, but for what decoding at a smaller scale changes.
Excerpt decode_excerpt(std::span<const uint8_t> file, int size, const ChooseCrop& choose);

/// All of the picture in a file. An Error that names the file if it cannot be read.
Picture read_picture(const std::string& path);

/// Whether a name ends as those of pictures do that can be decoded: .jpg, .jpeg, .png ..., in upper or lower
/// case.
bool is_picture_name(std::string_view name);

}  // namespace la
