#include "tensor/io/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>

#include "tensor/format.h"
#include "tensor/io/crc32c.h"
#include "tensor/io/files.h"
#include "tensor/io/protobuf.h"

namespace la {
namespace {

// The numbers of the fields that are used here, of the messages of event.proto and summary.proto.
namespace event_field {
constexpr int wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7;
}
namespace session_log_field {
constexpr int status = 1;
}
namespace summary_field {
constexpr int value = 1;
}
namespace value_field {
constexpr int tag = 1, simple_value = 2, image = 4;
}
namespace image_field {
constexpr int height = 1, width = 2, colorspace = 3, encoded = 4;
}

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Message event_at(int64_t step) {
  return Message().real64(event_field::wall_time, wall_time()).integer(event_field::step, step);
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0' ? name.data() : "localhost";
}

/// The name of a file that this call has made.
std::string make_file(const std::string& folder) {
  const std::string name =
      formatted("{}/events.out.tfevents.{:010}.{}", folder, static_cast<int64_t>(wall_time()), host_name());
  std::string path = name;
  for (int number = 1; file_exists(path); ++number) path = formatted("{}.{}", name, number);
  OpenFile(path, O_WRONLY | O_CREAT | O_EXCL);
  return path;
}

template <class T>
void append(std::string& bytes, T value) {
  char of_value[sizeof value];  // the machines that we run on store them as the format asks: low byte first
  std::memcpy(of_value, &value, sizeof value);
  bytes.append(of_value, sizeof value);
}

void write(const std::string& path, const Message& event) { append_to_file(path, tf_record(event.bytes())); }

}  // namespace

std::string tf_record(std::string_view bytes) {
  std::string record;
  append(record, uint64_t{bytes.size()});
  append(record, masked_crc32c(record.data(), record.size()));
  record += bytes;
  append(record, masked_crc32c(bytes.data(), bytes.size()));
  return record;
}

EventFile::EventFile(const std::string& folder, int64_t first_step) : path_(make_file(folder)) {
  write(
      path_,
      Message().real64(event_field::wall_time, wall_time()).text(event_field::file_version, "brain.Event:2"));
  constexpr int start = 1;
  write(path_, event_at(first_step)
                   .message(event_field::session_log, Message().integer(session_log_field::status, start)));
}

void EventFile::add(int64_t step, std::span<const std::pair<std::string, double>> values) const {
  Message summary;
  for (const auto& [tag, value] : values)
    summary.message(
        summary_field::value,
        Message().text(value_field::tag, tag).real(value_field::simple_value, static_cast<float>(value)));
  write(path_, event_at(step).message(event_field::summary, summary));
}

void EventFile::add_picture(int64_t step, std::string_view tag, std::string_view png, int height,
                            int width) const {
  constexpr int rgb = 3;
  const Message image = Message()
                            .integer(image_field::height, height)
                            .integer(image_field::width, width)
                            .integer(image_field::colorspace, rgb)
                            .text(image_field::encoded, png);
  const Message value = Message().text(value_field::tag, tag).message(value_field::image, image);
  write(path_, event_at(step).message(event_field::summary, Message().message(summary_field::value, value)));
}

}  // namespace la
