// Event files, from which TensorBoard draws curves and pictures: records in the framing of TFRecord, each an Event of TensorFlow's
// event.proto. Every event is in the file when the call returns, and a file that ends in the middle of one is read up to there.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace la {

/// One record: its length, u64, then that length's checksum, the bytes, and theirs; checksums are masked CRC-32C, u32.
std::string tf_record(std::string_view bytes);

class EventFile {
 public:
  /// Begins a file in that folder, events.out.tfevents.<seconds>.<host>, with a number where there is one of that name.
  /// TensorBoard reads the files of a folder in the order of their names; it forgets what those before have of first_step and
  /// later steps. Errors name the file.
  EventFile(const std::string& folder, int64_t first_step);

  const std::string& path() const { return path_; }
  /// Values, each with its tag.
  void add(int64_t step, std::span<const std::pair<std::string, double>> values) const;
  /// A picture of the kind that TensorBoard shows, as the bytes of a PNG file.
  void add_picture(int64_t step, std::string_view tag, std::string_view png, int height, int width) const;

 private:
  std::string path_;
};

}  // namespace la
