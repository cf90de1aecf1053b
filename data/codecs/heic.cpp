// HEIC by libheif, which turns pictures upright by itself.
#include <libheif/heif.h>

#include <cstring>

#include "data/codecs/heif_items.h"
#include "data/codecs/kinds.h"
#include "tensor/format.h"

namespace la {
namespace {

void require(const heif_error& error) {
  if (error.code != heif_error_Ok)
    throw BadPicture(
        formatted("it cannot be decoded: {}", error.message != nullptr ? error.message : "unknown error"));
}

}  // namespace

StoredPicture decode_heic(Bytes file, const PixelLimit& limit) {
  check_heif_items(file, limit);
  const std::unique_ptr<heif_context, void (*)(heif_context*)> context(heif_context_alloc(),
                                                                       heif_context_free);
  check(context != nullptr, "there is no memory to decode a HEIC");
  heif_context_set_max_decoding_threads(context.get(), 0);  // in this thread: the loader has others
  require(heif_context_read_from_memory_without_copy(context.get(), file.data(), file.size(), nullptr));

  heif_image_handle* primary = nullptr;
  require(heif_context_get_primary_image_handle(context.get(), &primary));
  const std::unique_ptr<heif_image_handle, void (*)(const heif_image_handle*)> handle(
      primary, heif_image_handle_release);
  limit.check(heif_image_handle_get_height(primary), heif_image_handle_get_width(primary));
  const int channels = heif_image_handle_has_alpha_channel(primary) != 0 ? 4 : 3;

  heif_image* decoded = nullptr;
  require(heif_decode_image(primary, &decoded, heif_colorspace_RGB,
                            channels == 4 ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB,
                            nullptr));
  const std::unique_ptr<heif_image, void (*)(const heif_image*)> image(decoded, heif_image_release);
  const int height = heif_image_get_height(decoded, heif_channel_interleaved),
            width = heif_image_get_width(decoded, heif_channel_interleaved);
  limit.check(height, width);
  int stride = 0;
  const uint8_t* const from = heif_image_get_plane_readonly(decoded, heif_channel_interleaved, &stride);
  if (from == nullptr) throw BadPicture("it cannot be decoded: no pixels");
  const NewPicture made(height, width, channels);
  for (int y = 0; y < height; ++y)
    std::memcpy(made.row(y), from + ptrdiff_t{y} * stride,
                static_cast<size_t>(width) * static_cast<size_t>(channels));
  return {.picture = made.picture, .premultiplied = heif_image_handle_is_premultiplied_alpha(primary) != 0};
}

}  // namespace la
