// PNG by libspng.
#include <spng.h>

#include "data/codecs/exif.h"
#include "data/codecs/kinds.h"
#include "tensor/format.h"

namespace la {
namespace {

void require(int error) {
  if (error == SPNG_EOF) throw BadPicture("it ends too early");
  if (error != 0) throw BadPicture(formatted("it cannot be decoded: {}", spng_strerror(error)));
}

/// The orientation, which may stand before the pixels or behind them.
int orientation_of(spng_ctx* decoder) {
  spng_decode_chunks(decoder);  // what is damaged behind the pixels does not matter
  spng_exif exif{};
  if (spng_get_exif(decoder, &exif) != 0) return 1;
  return exif_orientation({reinterpret_cast<const uint8_t*>(exif.data), exif.length});
}

}  // namespace

StoredPicture decode_png(Bytes file, const PixelLimit& limit) {
  const std::unique_ptr<spng_ctx, void (*)(spng_ctx*)> owner(spng_ctx_new(0), spng_ctx_free);
  spng_ctx* const decoder = owner.get();
  check(decoder != nullptr, "there is no memory to decode a PNG");
  // Chunks of text and profiles are not kept, and must not take memory without end when they are unpacked.
  constexpr size_t largest_chunk = size_t{1} << 26;
  require(spng_set_chunk_limits(decoder, largest_chunk, largest_chunk));
  require(spng_set_crc_action(decoder, SPNG_CRC_ERROR, SPNG_CRC_DISCARD));
  require(spng_set_png_buffer(decoder, file.data(), file.size()));
  spng_ihdr header{};
  require(spng_get_ihdr(decoder, &header));
  limit.check(header.height, header.width);

  spng_trns transparency{};
  const bool see_through =
      (header.color_type & SPNG_COLOR_TYPE_GRAYSCALE_ALPHA) == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ||
      spng_get_trns(decoder, &transparency) == 0;
  const int channels = see_through ? 4 : 3, format = see_through ? SPNG_FMT_RGBA8 : SPNG_FMT_RGB8;
  const NewPicture made(static_cast<int>(header.height), static_cast<int>(header.width), channels);
  const size_t bytes = size_t{header.height} * header.width * static_cast<size_t>(channels);
  require(spng_decode_image(decoder, made.pixels.get(), bytes, format, SPNG_DECODE_TRNS));
  return {.picture = made.picture, .orientation = orientation_of(decoder)};
}

}  // namespace la
