#include "data/codecs/jpeg.h"

#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <vector>

#include <jpeglib.h>
// jpeglib.h first
#include <jerror.h>

#include "data/codecs/exif.h"
#include "data/codecs/kinds.h"

namespace la {
namespace {

constexpr int exif_marker = JPEG_APP0 + 1;

/// Four inks, stored inverted (255: no ink), to three lights.
void cmyk_to_rgb(const uint8_t* cmyk, int pixels, uint8_t* rgb) {
  for (int i = 0; i < pixels; ++i, cmyk += 4, rgb += 3)
    for (int c = 0; c < 3; ++c) rgb[c] = static_cast<uint8_t>((cmyk[c] * cmyk[3] + 127) / 255);
}

}  // namespace

// libjpeg reports errors by a call that may not return; ours jumps back into guarded(). No object with a
// destructor may live between the two.
struct JpegFile::State {
  jpeg_decompress_struct decoder{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
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
  /// A small file may ask for thousands of passes over a large picture; usual are ten.
  static void limit_scans(j_common_ptr decoder) {
    const auto* d = reinterpret_cast<j_decompress_ptr>(decoder);
    constexpr int64_t work = 4'000'000'000;  // pixels
    const int64_t pixels = std::max(int64_t{d->image_height} * d->image_width, int64_t{1});
    const int most = static_cast<int>(std::clamp<int64_t>(work / pixels, 20, 500));
    if (d->input_scan_number <= most) return;
    State& state = of(decoder);
    std::snprintf(state.message, sizeof state.message, "it has more than %d scans", most);
    std::longjmp(state.back, 1);
  }
};

JpegFile::JpegFile(Bytes file, const PixelLimit& limit) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.decoder.err = jpeg_std_error(&s.errors);
  s.errors.error_exit = State::jump_back;
  s.errors.emit_message = State::warn;
  s.errors.output_message = State::stay_silent;
  s.decoder.client_data = &s;
  s.guarded([&] {
    jpeg_create_decompress(&s.decoder);
    s.progress.progress_monitor = State::limit_scans;
    s.decoder.progress = &s.progress;
    jpeg_mem_src(&s.decoder, file.data(), file.size());
    jpeg_save_markers(&s.decoder, exif_marker, 0xffff);
    jpeg_read_header(&s.decoder, TRUE);
  });
  limit.check(height(), width());
}

JpegFile::~JpegFile() = default;

int JpegFile::height() const { return static_cast<int>(state_->decoder.image_height); }
int JpegFile::width() const { return static_cast<int>(state_->decoder.image_width); }

int JpegFile::orientation() const {
  // The marker is XMP's too.
  for (const jpeg_marker_struct* m = state_->decoder.marker_list; m != nullptr; m = m->next)
    if (m->marker == exif_marker && has_exif_mark({m->data, m->data_length}))
      return exif_orientation({m->data, m->data_length});
  return 1;
}

Picture JpegFile::decode(int scale, const Region& region) {
  State& s = *state_;
  jpeg_decompress_struct& decoder = s.decoder;
  const bool cmyk = decoder.jpeg_color_space == JCS_CMYK || decoder.jpeg_color_space == JCS_YCCK;
  const auto rows = static_cast<size_t>(region.height), columns = static_cast<size_t>(region.width);
  const auto pixels = new_pixels(region.height, region.width, 3);
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
        cmyk_to_rgb(line + skipped * 4, region.width, to);
      else
        std::memcpy(to, line + skipped * 3, columns * 3);
    }
    jpeg_abort_decompress(&decoder);  // what lies below is not needed
  });
  return {pixels.get(), region.height, region.width, 3, pixels};
}

StoredPicture decode_jpeg(Bytes file, const PixelLimit& limit) {
  JpegFile jpeg(file, limit);
  const int orientation = jpeg.orientation();  // forgotten once it is decoded
  return {.picture = jpeg.decode(1, {0, 0, jpeg.height(), jpeg.width()}), .orientation = orientation};
}

}  // namespace la
