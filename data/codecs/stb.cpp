// BMP, PSD and TGA by stb_image. It knows more kinds, but some of its readers can be led beyond their memory:
// which files come here is decided by their first bytes, and those of other kinds have a codec of their own.
#include <stb/stb_image.h>

#include <algorithm>

#include "data/codecs/kinds.h"
#include "tensor/format.h"

namespace la {
namespace {

/// A file in memory as stb_image reads it. Some of its decoders take what is missing at the end for zeros; so
/// we watch whether they ask for it.
struct WatchedFile {
  Bytes rest;
  bool ended_early = false;
  /// stb_image's own, into which it reads first; it is filled as far as possible.
  const char* buffer = nullptr;

  static int read(void* user, char* to, int bytes) {
    auto& file = *static_cast<WatchedFile*>(user);
    if (file.buffer == nullptr) file.buffer = to;
    const size_t count = std::min(static_cast<size_t>(bytes), file.rest.size());
    std::copy_n(file.rest.data(), count, reinterpret_cast<uint8_t*>(to));
    file.rest = file.rest.subspan(count);
    file.ended_early |= count == 0 || (count < static_cast<size_t>(bytes) && to != file.buffer);
    return static_cast<int>(count);
  }
  static void skip(void* user, int bytes) {
    auto& file = *static_cast<WatchedFile*>(user);
    if (bytes < 0) return;  // back: what stb_image still has in its buffer, which is all that it does
    const size_t count = std::min(static_cast<size_t>(bytes), file.rest.size());
    file.ended_early |= count < static_cast<size_t>(bytes);
    file.rest = file.rest.subspan(count);
  }
  static int at_end(void* user) { return static_cast<WatchedFile*>(user)->rest.empty() ? 1 : 0; }
};

constexpr stbi_io_callbacks callbacks{WatchedFile::read, WatchedFile::skip, WatchedFile::at_end};

[[noreturn]] void refuse() { throw BadPicture(formatted("it cannot be decoded: {}", stbi_failure_reason())); }

unsigned little_endian16(Bytes file, size_t at) { return file[at] | unsigned{file[at + 1]} << 8; }

}  // namespace

bool is_bmp(Bytes file) {
  if (file.size() < 18 || !has_bytes(file, 0, "BM")) return false;
  constexpr unsigned headers[] = {12, 16, 40, 52, 56, 64, 108, 124};  // lengths of the second header
  return std::find(std::begin(headers), std::end(headers), little_endian16(file, 14)) != std::end(headers);
}

bool is_tga(Bytes file) {
  if (file.size() < 18) return false;
  const unsigned has_palette = file[1], type = file[2], bits = file[16];
  const bool known_type =
      has_palette == 1 ? type == 1 || type == 9 : type == 2 || type == 3 || type == 10 || type == 11;
  const bool known_bits = bits == 8 || bits == 15 || bits == 16 || bits == 24 || bits == 32;
  return has_palette <= 1 && known_type && known_bits && little_endian16(file, 12) > 0 &&
         little_endian16(file, 14) > 0;
}

StoredPicture decode_by_stb(Bytes file, const PixelLimit& limit) {
  int width = 0, height = 0, stored_channels = 0;
  WatchedFile head{file};
  if (stbi_info_from_callbacks(&callbacks, &head, &width, &height, &stored_channels) == 0) refuse();
  limit.check(std::abs(int64_t{height}),
              width);  // a BMP with its rows from the top says so by a height below 0
  const int channels = stored_channels == 2 || stored_channels == 4 ? 4 : 3;
  WatchedFile all{file};
  uint8_t* const pixels =
      stbi_load_from_callbacks(&callbacks, &all, &width, &height, &stored_channels, channels);
  if (pixels == nullptr) refuse();
  const std::shared_ptr<const void> owner(pixels, stbi_image_free);
  if (all.ended_early) throw BadPicture("it ends too early");
  constexpr int mirrored = 2;  // EXIF's number
  const bool from_the_right =
      !has_bytes(file, 0, "BM") && !has_bytes(file, 0, "8BPS") && (file[17] & 0x10) != 0;
  return {.picture = {pixels, height, width, channels, owner}, .orientation = from_the_right ? mirrored : 1};
}

}  // namespace la
