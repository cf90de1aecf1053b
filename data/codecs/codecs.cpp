// The table of codecs, and how each kind is known.
#include <algorithm>
#include <array>

#include "data/codecs/kinds.h"
#include "tensor/format.h"

namespace la {
namespace {

using namespace std::literals;

bool is_jpeg(Bytes file) { return has_bytes(file, 0, "\xff\xd8\xff"sv); }
bool is_png(Bytes file) { return has_bytes(file, 0, "\x89PNG\r\n\x1a\n"sv); }
bool is_gif(Bytes file) { return has_bytes(file, 0, "GIF87a"sv) || has_bytes(file, 0, "GIF89a"sv); }
bool is_webp(Bytes file) { return has_bytes(file, 0, "RIFF"sv) && has_bytes(file, 8, "WEBP"sv); }
bool is_psd(Bytes file) { return has_bytes(file, 0, "8BPS"sv); }

/// Of either order of bytes, with offsets of 32 bits or of 64.
bool is_tiff(Bytes file) {
  for (const std::string_view start : {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv})
    if (has_bytes(file, 0, start)) return true;
  return false;
}

/// HEIC and AVIF are boxes of ISO 14496-12, the first of which names the brands that the file follows.
bool has_brand(Bytes file, std::initializer_list<std::string_view> brands) {
  if (!has_bytes(file, 4, "ftyp"sv)) return false;
  const size_t length = std::min<size_t>(file.size(), size_t{file[2]} << 8 | file[3]);
  for (size_t at = 8; at + 4 <= length; at += at == 8 ? 8 : 4)  // a number of a version follows the first
    for (const std::string_view brand : brands)
      if (has_bytes(file, at, brand)) return true;
  return false;
}
bool is_avif(Bytes file) { return has_brand(file, {"avif"sv, "avis"sv}); }
bool is_heic(Bytes file) {
  return has_brand(file, {"heic"sv, "heix"sv, "heim"sv, "heis"sv, "hevc"sv, "hevx"sv, "mif1"sv, "msf1"sv});
}

// Bounds of pixels a byte. JPEG: Huffman's codes take at least one bit a block, and two components that are
// sampled as sparsely as can be have a block for every 8 x 32 pixels each. PNG: deflate makes at most 1032
// bytes of one, of 8 pixels each. GIF: a code of 12 bits stands for at most 3839 pixels. PSD, TGA: 128 pixels
// take two bytes.
//
// LA_WEBP and the like are 1 where the Makefile has found the library, else 0.
constexpr Codec table[] = {
    {"JPEG", "jpg jpeg jpe jfif jif", is_jpeg, decode_jpeg, 1024},
    {"PNG", "png apng", is_png, decode_png, 1032 * 8},
    {"GIF", "gif", is_gif, decode_gif, 2560},
    {"WebP", "webp", is_webp, LA_WEBP ? decode_webp : nullptr, 0},
    {"TIFF", "tif tiff", is_tiff, LA_TIFF ? decode_tiff : nullptr, 0},
    {"AVIF", "avif", is_avif, LA_AVIF ? decode_avif : nullptr, 0},
    {"HEIC", "heic heif hif", is_heic, LA_HEIF ? decode_heic : nullptr, 0},
    {"BMP", "bmp dib", is_bmp, decode_by_stb, 8},
    {"PSD", "psd", is_psd, decode_by_stb, 64},
    {"PNM", "pnm ppm pgm pbm", is_pnm, decode_pnm, 8},
    {"TGA", "tga", is_tga, decode_by_stb, 64},  // last, for its first bytes say little
};

/// What else is found under the name of a picture.
struct Stranger {
  size_t at;
  std::string_view bytes;
  const char* name;
};
constexpr Stranger strangers[] = {
    {0, "<!DOCTYPE"sv, "a page of HTML"},
    {0, "<!doctype"sv, "a page of HTML"},
    {0, "<html"sv, "a page of HTML"},
    {0, "<svg"sv, "an SVG drawing"},
    {0, "<?xml"sv, "an XML file"},
    {0, "%PDF"sv, "a PDF document"},
    {0, "PK\x03\x04"sv, "a ZIP archive"},
    {0, "version https://git-lfs"sv, "a pointer of Git LFS to a file that was not fetched"},
    {0, "\0\0\0\x0cJXL "sv, "a JPEG XL picture"},
    {0, "\xff\x0a"sv, "a JPEG XL picture"},
    {0, "\0\0\0\x0cjP  "sv, "a JPEG 2000 picture"},
    {0, "\xff\x4f\xff\x51"sv, "a JPEG 2000 picture"},
    {0, "v/1\x01"sv, "an OpenEXR picture"},
    {0, "#?RADIANCE"sv, "a Radiance HDR picture"},
    {0, "\0\0\1\0"sv, "a Windows icon"},
    {4, "ftyp"sv, "a video, or a picture of a kind that is not known"},
};

}  // namespace

void PixelLimit::check(int64_t height, int64_t width) const {
  if (height < 1 || width < 1) throw BadPicture(formatted("it has {} x {} pixels", width, height));
  // Divisions, for the product may not fit.
  if (width > pixels / height)
    throw BadPicture(formatted("it has {} x {} pixels, more than {} (`max_pixels`)", width, height, pixels));
  constexpr int64_t longest = 1 << 24;  // coordinates are floats
  if (height > longest || width > longest)
    throw BadPicture(formatted("it has {} x {} pixels; a side may have {}", width, height, longest));
  if (width > held / height)
    throw BadPicture(
        formatted("it ends too early: no file of its length holds {} x {} pixels", width, height));
}

std::span<const Codec> codecs() { return table; }

const Codec& find_codec(Bytes file) {
  for (const Codec& codec : table)
    if (codec.recognizes(file)) {
      if (codec.decode == nullptr)
        throw BadPicture(formatted("it is a {0} picture, and this build cannot read {0}", codec.name));
      return codec;
    }
  for (const Stranger& stranger : strangers)
    if (has_bytes(file, stranger.at, stranger.bytes)) throw BadPicture(formatted("it is {}", stranger.name));
  const bool zeros = std::all_of(file.begin(), file.end(), [](uint8_t byte) { return byte == 0; });
  throw BadPicture(zeros ? "it holds nothing but zeros" : "it is no picture of a kind that is known");
}

}  // namespace la
