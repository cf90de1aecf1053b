// AVIF by libavif, of the first frame.
#include <avif/avif.h>

#include <cstring>
#include <limits>

#include "data/codecs/coded_size.h"
#include "data/codecs/heif_items.h"
#include "data/codecs/heif_tracks.h"
#include "data/codecs/kinds.h"
#include "tensor/format.h"

namespace la {
namespace {

void require(avifResult result, const avifDecoder& decoder) {
  if (result == AVIF_RESULT_OK) return;
  if (result == AVIF_RESULT_TRUNCATED_DATA) throw BadPicture("it ends too early");
  const char* const details = decoder.diag.error;
  throw BadPicture(formatted("it cannot be decoded: {}{}{}", avifResultToString(result),
                             *details != '\0' ? ": " : "", details));
}

/// EXIF's number of what the file asks for: to be turned to the left by so many right angles, then mirrored.
int orientation_of(const avifImage& image) {
  const int turns = (image.transformFlags & AVIF_TRANSFORM_IROT) != 0 ? image.irot.angle & 3 : 0;
  if ((image.transformFlags & AVIF_TRANSFORM_IMIR) == 0) {
    constexpr int turned[] = {1, 8, 3, 6};
    return turned[turns];
  }
  constexpr int mirrored[2][4] = {{4, 5, 2, 7}, {2, 7, 4, 5}};  // top with bottom, left with right
  return mirrored[image.imir.mode & 1][turns];
}

/// Leaves of the pixels those within the clean aperture, if the file has one that lies in the picture.
void crop(Picture& picture, uint8_t* pixels, const avifImage& image) {
  avifDiagnostics ignored;
  avifCropRect part;
  // As if color was not subsampled, for it no longer is.
  if ((image.transformFlags & AVIF_TRANSFORM_CLAP) == 0 ||
      avifCropRectConvertCleanApertureBox(&part, &image.clap, image.width, image.height,
                                          AVIF_PIXEL_FORMAT_YUV444, &ignored) == AVIF_FALSE)
    return;
  const size_t from_row = size_t{image.width} * static_cast<size_t>(picture.channels),
               to_row = size_t{part.width} * static_cast<size_t>(picture.channels);
  for (size_t y = 0; y < part.height; ++y)
    std::memmove(pixels + y * to_row,
                 pixels + (y + part.y) * from_row + size_t{part.x} * static_cast<size_t>(picture.channels),
                 to_row);
  picture.height = static_cast<int>(part.height);
  picture.width = static_cast<int>(part.width);
}

}  // namespace

StoredPicture decode_avif(Bytes file, const PixelLimit& limit) {
  check_coded_items(file, limit);
  for (const Bytes picture : first_av1_pictures(file)) av1_sizes(picture, limit);
  const std::unique_ptr<avifDecoder, void (*)(avifDecoder*)> decoder(avifDecoderCreate(), avifDecoderDestroy);
  check(decoder != nullptr, "there is no memory to decode an AVIF");
  decoder->maxThreads = 1;  // the loader has others
  if (avifCodecName(AVIF_CODEC_CHOICE_AOM, AVIF_CODEC_FLAG_CAN_DECODE) != nullptr)
    decoder->codecChoice = AVIF_CODEC_CHOICE_AOM;  // dav1d prints its complaints about damaged files
  decoder->strictFlags = AVIF_STRICT_DISABLED;     // many files in use bend the standard
  require(avifDecoderSetIOMemory(decoder.get(), file.data(), file.size()), *decoder);
  require(avifDecoderParse(decoder.get()), *decoder);
  avifImage* const image = decoder->image;
  limit.check(image->height, image->width);
  // What frames are scaled to, which is said elsewhere.
  decoder->imageSizeLimit =
      static_cast<uint32_t>(std::min<int64_t>(limit.pixels, AVIF_DEFAULT_IMAGE_SIZE_LIMIT));
  require(avifDecoderNextImage(decoder.get()), *decoder);
  limit.check(image->height, image->width);

  const bool see_through = image->alphaPlane != nullptr;
  NewPicture made(static_cast<int>(image->height), static_cast<int>(image->width), see_through ? 4 : 3);
  avifRGBImage rgb;
  avifRGBImageSetDefaults(&rgb, image);
  rgb.depth = 8;
  rgb.format = see_through ? AVIF_RGB_FORMAT_RGBA : AVIF_RGB_FORMAT_RGB;
  rgb.pixels = made.pixels.get();
  rgb.rowBytes = image->width * static_cast<uint32_t>(made.picture.channels);
  require(avifImageYUVToRGB(image, &rgb), *decoder);  // also takes opacity out of the colors
  crop(made.picture, made.pixels.get(), *image);      // before it is turned
  return {.picture = made.picture, .orientation = orientation_of(*image)};
}

}  // namespace la
