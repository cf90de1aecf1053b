// WebP by libwebp; animations by libwebpdemux.
#include <webp/decode.h>
#include <webp/demux.h>

#include <cstring>

#include "data/codecs/exif.h"
#include "data/codecs/kinds.h"

namespace la {
namespace {

int orientation_of(const WebPData& file) {
  const std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)> demuxer(WebPDemux(&file), WebPDemuxDelete);
  WebPChunkIterator chunk{};
  if (demuxer == nullptr || WebPDemuxGetChunk(demuxer.get(), "EXIF", 1, &chunk) == 0) return 1;
  const int orientation = exif_orientation({chunk.chunk.bytes, chunk.chunk.size});
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

[[noreturn]] void refuse() { throw BadPicture("it is damaged, or ends too early"); }

/// The first frame on its canvas.
Picture first_frame(const WebPData& file, int height, int width) {
  WebPAnimDecoderOptions options;
  WebPAnimDecoderOptionsInit(&options);
  options.color_mode = MODE_RGBA;
  const std::unique_ptr<WebPAnimDecoder, void (*)(WebPAnimDecoder*)> decoder(
      WebPAnimDecoderNew(&file, &options), WebPAnimDecoderDelete);
  uint8_t* canvas = nullptr;  // the decoder's
  int milliseconds = 0;
  if (decoder == nullptr || WebPAnimDecoderGetNext(decoder.get(), &canvas, &milliseconds) == 0) refuse();
  const NewPicture made(height, width, 4);
  std::memcpy(made.pixels.get(), canvas, static_cast<size_t>(height) * static_cast<size_t>(width) * 4);
  return made.picture;
}

}  // namespace

StoredPicture decode_webp(Bytes file, const PixelLimit& limit) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(file.data(), file.size(), &features) != VP8_STATUS_OK) refuse();
  const int height = features.height, width = features.width;
  limit.check(height, width);
  const WebPData data{file.data(), file.size()};
  if (features.has_animation != 0) return {first_frame(data, height, width), orientation_of(data)};

  const int channels = features.has_alpha != 0 ? 4 : 3;
  const NewPicture made(height, width, channels);
  const size_t bytes =
      static_cast<size_t>(height) * static_cast<size_t>(width) * static_cast<size_t>(channels);
  const auto decode = channels == 4 ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  if (decode(file.data(), file.size(), made.pixels.get(), bytes, width * channels) == nullptr) refuse();
  return {made.picture, orientation_of(data)};
}

}  // namespace la
