#include "data/jpeg.h"

#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <vector>

#include <jpeglib.h>
// jpeglib.h first
#include <jerror.h>

#include "data/decode.h"

namespace la {
namespace {

constexpr int exif_marker = JPEG_APP0 + 1;

/// The orientation in an EXIF segment: "Exif\0\0", then a TIFF file whose first directory may have the tag
/// 0x112.
int orientation_in(std::span<const uint8_t> segment) {
  constexpr size_t tiff = 6;
  if (segment.size() < tiff + 8 || std::memcmp(segment.data(), "Exif\0", 6) != 0) return 1;
  const bool little_endian = segment[tiff] == 'I';
  // A number of so many bytes; 0 beyond the end, which no valid field has.
  const auto number = [&](size_t at, size_t bytes) {
    size_t value = 0;
    for (size_t i = 0; i < bytes; ++i) {
      const size_t place = at + (little_endian ? bytes - 1 - i : i);
      value = value << 8 | (place < segment.size() ? segment[place] : 0);
    }
    return value;
  };
  constexpr size_t entry_bytes = 12, orientation_tag = 0x112;
  const size_t directory = tiff + number(tiff + 4, 4);
  const size_t entries = number(directory, 2);
  for (size_t entry = directory + 2; entry < directory + 2 + entries * entry_bytes; entry += entry_bytes) {
    if (entry + entry_bytes > segment.size()) return 1;
    if (number(entry, 2) != orientation_tag) continue;
    const size_t value = number(entry + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

/// Four inks to three lights. Programs of Adobe store the inks inverted, and say that they wrote the file.
void cmyk_to_rgb(const uint8_t* cmyk, int pixels, bool inverted, uint8_t* rgb) {
  for (int i = 0; i < pixels; ++i, cmyk += 4, rgb += 3)
    for (int c = 0; c < 3; ++c) {
      const int light = inverted ? cmyk[c] : 255 - cmyk[c], white = inverted ? cmyk[3] : 255 - cmyk[3];
      rgb[c] = static_cast<uint8_t>((light * white + 127) / 255);
    }
}

}  // namespace

// libjpeg reports errors by a call that may not return; ours jumps back into guarded(). No object with a
// destructor may live between the two.
struct JpegFile::State {
  jpeg_decompress_struct decoder{};
  jpeg_error_mgr errors{};
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX] = "";

  State() = default;
  ~State() { jpeg_destroy_decompress(&decoder); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  template <class F>
  void guarded(F calls) {
    if (setjmp(back) != 0) throw BadPicture(message);
    calls();
  }
  static State& of(j_common_ptr decoder) { return *static_cast<State*>(decoder->client_data); }
  [[noreturn]] static void jump_back(j_common_ptr decoder) {
    State& state = of(decoder);
    decoder->err->format_message(decoder, state.message);
    std::longjmp(state.back, 1);
  }
  /// Warnings are level -1. Most are harmless and common in files that other programs show without ado; but
  /// after an early end the rest is missing.
  static void warn(j_common_ptr decoder, int level) {
    if (level < 0 && decoder->err->msg_code == JWRN_JPEG_EOF) jump_back(decoder);
  }
  static void stay_silent(j_common_ptr) {}
};

JpegFile::JpegFile(std::span<const uint8_t> file) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.decoder.err = jpeg_std_error(&s.errors);
  s.errors.error_exit = State::jump_back;
  s.errors.emit_message = State::warn;
  s.errors.output_message = State::stay_silent;
  s.decoder.client_data = &s;
  s.guarded([&] {
    jpeg_create_decompress(&s.decoder);
    jpeg_mem_src(&s.decoder, file.data(), file.size());
    jpeg_save_markers(&s.decoder, exif_marker, 0xffff);
    jpeg_read_header(&s.decoder, TRUE);
  });
}

JpegFile::~JpegFile() = default;

int JpegFile::height() const { return static_cast<int>(state_->decoder.image_height); }
int JpegFile::width() const { return static_cast<int>(state_->decoder.image_width); }

int JpegFile::orientation() const {
  for (const jpeg_marker_struct* m = state_->decoder.marker_list; m != nullptr; m = m->next)
    if (m->marker == exif_marker) return orientation_in({m->data, m->data_length});
  return 1;
}

Picture JpegFile::decode(int scale, const Region& region) {
  State& s = *state_;
  jpeg_decompress_struct& decoder = s.decoder;
  const bool cmyk = decoder.jpeg_color_space == JCS_CMYK || decoder.jpeg_color_space == JCS_YCCK;
  const auto rows = static_cast<size_t>(region.height), columns = static_cast<size_t>(region.width);
  const auto pixels = new_pixels(region.height, region.width);
  std::vector<uint8_t> row;
  JDIMENSION left = static_cast<JDIMENSION>(region.x), width = static_cast<JDIMENSION>(region.width);

  s.guarded([&] {
    decoder.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    decoder.scale_num = 1;
    decoder.scale_denom = static_cast<unsigned>(scale);
    jpeg_start_decompress(&decoder);
    // Gives more columns than asked for: whole blocks.
    if (width < decoder.output_width) jpeg_crop_scanline(&decoder, &left, &width);
  });
  row.resize(static_cast<size_t>(width) * static_cast<size_t>(decoder.output_components));
  s.guarded([&] {
    jpeg_skip_scanlines(&decoder, static_cast<JDIMENSION>(region.y));
    const size_t skipped = static_cast<size_t>(region.x) - left;
    for (size_t y = 0; y < rows; ++y) {
      uint8_t* line = row.data();
      jpeg_read_scanlines(&decoder, &line, 1);
      uint8_t* to = pixels.get() + y * columns * 3;
      if (cmyk)
        cmyk_to_rgb(line + skipped * 4, region.width, decoder.saw_Adobe_marker != 0, to);
      else
        std::memcpy(to, line + skipped * 3, columns * 3);
    }
    jpeg_abort_decompress(&decoder);  // what lies below is not needed
  });
  return {pixels.get(), region.height, region.width, 3, pixels};
}

}  // namespace la
