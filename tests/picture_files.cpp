#include "tests/picture_files.h"

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <jpeglib.h>
#include <stb/stb_image_write.h>
#include <zlib.h>

#include "tensor/error.h"

namespace la {
namespace {

void append(void* to, void* bytes, int count) {
  static_cast<std::string*>(to)->append(static_cast<const char*>(bytes), static_cast<size_t>(count));
}

void put_big_endian(std::string& bytes, uint32_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(number >> shift & 255));
}
void put_little_endian16(std::string& bytes, int number) {
  bytes.push_back(static_cast<char>(number & 255));
  bytes.push_back(static_cast<char>(number >> 8));
}

std::string rows_of(const Picture& p, int y) {
  return {reinterpret_cast<const char*>(p.pixels) + y * p.width * p.channels,
          static_cast<size_t>(p.width * p.channels)};
}

std::string png_chunk(const std::string& type, const std::string& data) {
  std::string bytes;
  put_big_endian(bytes, static_cast<uint32_t>(data.size()));
  const std::string body = type + data;
  bytes += body;
  const auto* start = reinterpret_cast<const Bytef*>(body.data());
  put_big_endian(bytes, static_cast<uint32_t>(crc32(0, start, static_cast<uInt>(body.size()))));
  return bytes;
}

/// A whole PNG file from its rows, each without the byte of its filter.
std::string png_file(int width, int bits, int color_type, const std::string& palette,
                     const std::vector<std::string>& rows) {
  std::string header;
  put_big_endian(header, static_cast<uint32_t>(width));
  put_big_endian(header, static_cast<uint32_t>(rows.size()));
  for (const int byte : {bits, color_type, 0, 0, 0}) header.push_back(static_cast<char>(byte));
  std::string raw;
  for (const std::string& row : rows) raw += std::string(1, '\0') + row;
  uLongf size = compressBound(raw.size());
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(raw.data()),
           raw.size());
  packed.resize(size);
  return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) +
         (palette.empty() ? "" : png_chunk("PLTE", palette)) + png_chunk("IDAT", packed) +
         png_chunk("IEND", "");
}

std::string palette_of_256() {
  std::string palette;
  for (int i = 0; i < 256; ++i)
    for (const int value : {i, 255 - i, i / 2}) palette.push_back(static_cast<char>(value));
  return palette;
}

/// Codes of 9 bits, least significant bit first; a clear code before each pixel keeps the code size.
std::string gif_frame(int width, int height, const std::string& pixels) {
  constexpr unsigned clear = 256, end = 257, code_bits = 9;
  std::string packed;
  unsigned pending = 0, count = 0;
  const auto put = [&](unsigned code) {
    pending |= code << count;
    for (count += code_bits; count >= 8; count -= 8, pending >>= 8)
      packed.push_back(static_cast<char>(pending & 255));
  };
  for (const char pixel : pixels) {
    put(clear);
    put(static_cast<unsigned char>(pixel));
  }
  put(end);
  packed.push_back(static_cast<char>(pending & 255));

  std::string bytes(1, ',');
  for (const int number : {0, 0, width, height}) put_little_endian16(bytes, number);
  bytes += std::string("\0\x08", 2);  // no palette of its own; 8 bits
  for (size_t i = 0; i < packed.size(); i += 255) {
    const std::string block = packed.substr(i, 255);
    bytes += static_cast<char>(block.size()) + block;
  }
  return bytes + std::string(1, '\0');
}

}  // namespace

std::string jpeg_bytes(const Picture& p, const JpegOptions& options) {
  jpeg_compress_struct encoder{};
  jpeg_error_mgr errors{};
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&encoder, &memory, &size);
  encoder.image_width = static_cast<JDIMENSION>(p.width);
  encoder.image_height = static_cast<JDIMENSION>(p.height);
  encoder.input_components = p.channels;
  encoder.in_color_space = p.channels == 1 ? JCS_GRAYSCALE : p.channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&encoder);
  jpeg_set_quality(&encoder, options.quality, TRUE);
  if (!options.subsampled) encoder.comp_info[0].h_samp_factor = encoder.comp_info[0].v_samp_factor = 1;
  if (options.progressive) jpeg_simple_progression(&encoder);
  jpeg_start_compress(&encoder, TRUE);
  if (options.orientation > 0) {
    std::string exif("Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01", 24);
    exif += '\0';
    exif += static_cast<char>(options.orientation);
    exif += std::string(6, '\0');
    jpeg_write_marker(&encoder, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(exif.data()),
                      static_cast<unsigned>(exif.size()));
  }
  for (int y = 0; y < p.height; ++y) {
    std::string row = rows_of(p, y);
    auto* line = reinterpret_cast<JSAMPROW>(row.data());
    jpeg_write_scanlines(&encoder, &line, 1);
  }
  jpeg_finish_compress(&encoder);
  jpeg_destroy_compress(&encoder);
  std::string bytes(reinterpret_cast<const char*>(memory), size);
  std::free(memory);
  return bytes;
}

std::string png_bytes(const Picture& p, int bits) {
  std::vector<std::string> rows;
  for (int y = 0; y < p.height; ++y) {
    std::string row;
    for (const char byte : rows_of(p, y)) {
      row += byte;
      if (bits == 16) row += static_cast<char>(byte * 37 + y);
    }
    rows.push_back(row);
  }
  constexpr int grey = 0, rgb = 2;
  return png_file(p.width, bits, p.channels == 1 ? grey : rgb, "", rows);
}

std::string palette_png_bytes(const Picture& p) {
  constexpr int indexed = 3;
  std::vector<std::string> rows;
  for (int y = 0; y < p.height; ++y) rows.push_back(rows_of(p, y));
  return png_file(p.width, 8, indexed, palette_of_256(), rows);
}

std::string bmp_bytes(const Picture& p) {
  std::string bytes;
  check(stbi_write_bmp_to_func(append, &bytes, p.width, p.height, p.channels, p.pixels) != 0, "no BMP");
  return bytes;
}

std::string tga_bytes(const Picture& p) {
  std::string bytes;
  check(stbi_write_tga_to_func(append, &bytes, p.width, p.height, p.channels, p.pixels) != 0, "no TGA");
  return bytes;
}

std::string pnm_bytes(const Picture& p) {
  std::string bytes = formatted("P{}\n{} {}\n255\n", p.channels == 1 ? 5 : 6, p.width, p.height);
  for (int y = 0; y < p.height; ++y) bytes += rows_of(p, y);
  return bytes;
}

std::string gif_bytes(const Picture& p) {
  std::string bytes = "GIF89a", pixels;
  put_little_endian16(bytes, p.width);
  put_little_endian16(bytes, p.height);
  bytes += std::string("\xf7\0\0", 3) + palette_of_256();  // a palette of 256 colors
  for (int y = 0; y < p.height; ++y) pixels += rows_of(p, y);
  return bytes + gif_frame(p.width, p.height, pixels) +
         gif_frame(p.width, p.height, std::string(pixels.size(), '\0')) + ";";
}

}  // namespace la
