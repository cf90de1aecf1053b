// GIF by giflib.
#include <gif_lib.h>

#include <algorithm>
#include <cstring>

#include "data/codecs/kinds.h"
#include "tensor/format.h"

namespace la {
namespace {

int read_bytes(GifFileType* gif, GifByteType* to, int count) {
  auto& rest = *static_cast<Bytes*>(gif->UserData);
  const size_t taken = std::min(static_cast<size_t>(std::max(count, 0)), rest.size());
  if (taken > 0) std::memcpy(to, rest.data(), taken);
  rest = rest.subspan(taken);
  return static_cast<int>(taken);
}

[[noreturn]] void refuse(int error) {
  if (error == D_GIF_ERR_READ_FAILED || error == D_GIF_ERR_EOF_TOO_SOON)
    throw BadPicture("it ends too early");
  const char* const why = GifErrorString(error);
  throw BadPicture(formatted("it cannot be decoded: {}", why != nullptr ? why : "unknown error"));
}

/// Reads an extension; if it is the one that says which color is transparent, that, else `transparent`.
int read_extension(GifFileType* gif, int transparent) {
  int code = 0;
  GifByteType* block = nullptr;  // its length, then its bytes
  if (DGifGetExtension(gif, &code, &block) == GIF_ERROR) refuse(gif->Error);
  while (block != nullptr) {
    GraphicsControlBlock control;
    if (code == GRAPHICS_EXT_FUNC_CODE && DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK)
      transparent = control.TransparentColor;
    if (DGifGetExtensionNext(gif, &block) == GIF_ERROR) refuse(gif->Error);
  }
  return transparent;
}

/// The rows of an interlaced frame, in the order that they are stored in.
std::vector<int> stored_order(int height, bool interlaced) {
  std::vector<int> rows;
  if (!interlaced) {
    for (int y = 0; y < height; ++y) rows.push_back(y);
    return rows;
  }
  constexpr std::pair<int, int> passes[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};  // first row and step
  for (const auto& [first, step] : passes)
    for (int y = first; y < height; y += step) rows.push_back(y);
  return rows;
}

/// Reads the frame that begins here onto a canvas of its own, transparent around it.
Picture read_frame(GifFileType* gif, int transparent, const PixelLimit& limit) {
  if (DGifGetImageDesc(gif) == GIF_ERROR) refuse(gif->Error);
  const GifImageDesc& frame = gif->Image;
  limit.check(frame.Height, frame.Width);
  const int height = gif->SHeight > 0 ? gif->SHeight : frame.Top + frame.Height,
            width = gif->SWidth > 0 ? gif->SWidth : frame.Left + frame.Width;
  limit.check(height, width);
  const ColorMapObject* const palette = frame.ColorMap != nullptr ? frame.ColorMap : gif->SColorMap;
  if (palette == nullptr) throw BadPicture("it has no palette");

  const NewPicture made(height, width, 4);
  std::memset(made.pixels.get(), 0, static_cast<size_t>(height) * static_cast<size_t>(width) * 4);
  std::vector<GifPixelType> line(static_cast<size_t>(frame.Width));
  const int visible = std::clamp(width - frame.Left, 0, frame.Width);
  for (const int y : stored_order(frame.Height, frame.Interlace)) {
    if (DGifGetLine(gif, line.data(), frame.Width) == GIF_ERROR) refuse(gif->Error);
    if (frame.Top + y >= height || visible == 0) continue;
    uint8_t* to = made.row(frame.Top + y) + ptrdiff_t{4} * frame.Left;
    for (int x = 0; x < visible; ++x, to += 4) {
      const int color = line[static_cast<size_t>(x)];
      if (color == transparent || color >= palette->ColorCount) continue;
      const GifColorType& c = palette->Colors[color];
      const uint8_t pixel[4] = {c.Red, c.Green, c.Blue, 255};
      std::memcpy(to, pixel, sizeof pixel);
    }
  }
  return made.picture;
}

}  // namespace

StoredPicture decode_gif(Bytes file, const PixelLimit& limit) {
  Bytes rest = file;
  int error = 0;
  const std::unique_ptr<GifFileType, void (*)(GifFileType*)> owner(
      DGifOpen(&rest, read_bytes, &error), [](GifFileType* gif) { DGifCloseFile(gif, nullptr); });
  GifFileType* const gif = owner.get();
  if (gif == nullptr) refuse(error);
  int transparent = NO_TRANSPARENT_COLOR;
  for (GifRecordType type = UNDEFINED_RECORD_TYPE; type != TERMINATE_RECORD_TYPE;) {
    if (DGifGetRecordType(gif, &type) == GIF_ERROR) refuse(gif->Error);
    if (type == EXTENSION_RECORD_TYPE) transparent = read_extension(gif, transparent);
    if (type == IMAGE_DESC_RECORD_TYPE) return {.picture = read_frame(gif, transparent, limit)};
  }
  throw BadPicture("it has no frame");
}

}  // namespace la
