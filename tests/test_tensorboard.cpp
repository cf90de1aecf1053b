// Event files as TensorBoard reads them: framing, checksums and fields, read back by a reader that knows nothing of the writer.
#include "apps/run/tensorboard.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "data/decode.h"
#include "tensor/io/crc32c.h"
#include "tensor/random.h"
#include "tests/called_program.h"
#include "tests/idx_files.h"
#include "tests/temporary_folder.h"

using namespace la;
namespace fs = std::filesystem;

namespace {

template <class T>
T number_at(std::string_view bytes, size_t at) {
  T value;
  REQUIRE(at + sizeof value <= bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

/// The records of a file, whole ones; what is left over at its end.
std::pair<std::vector<std::string>, size_t> records_of(const std::string& bytes) {
  std::vector<std::string> records;
  size_t at = 0;
  constexpr size_t head = 12, tail = 4;
  while (at + head <= bytes.size()) {
    const auto length = static_cast<size_t>(number_at<uint64_t>(bytes, at));
    CHECK(number_at<uint32_t>(bytes, at + 8) == masked_crc32c(bytes.data() + at, 8));
    if (at + head + length + tail > bytes.size()) break;
    CHECK(number_at<uint32_t>(bytes, at + head + length) == masked_crc32c(bytes.data() + at + head, length));
    records.push_back(bytes.substr(at + head, length));
    at += head + length + tail;
  }
  return {records, bytes.size() - at};
}

/// A protobuf message: of each field its values, as numbers or as bytes.
struct Fields {
  std::map<uint64_t, std::vector<uint64_t>> numbers;
  std::map<uint64_t, std::vector<std::string>> texts;

  explicit Fields(const std::string& bytes) {
    for (size_t at = 0; at < bytes.size();) {
      const uint64_t key = varint(bytes, at), field = key >> 3;
      switch (key & 7) {
        case 0:
          numbers[field].push_back(varint(bytes, at));
          break;
        case 1:
          numbers[field].push_back(number_at<uint64_t>(bytes, at));
          at += 8;
          break;
        case 5:
          numbers[field].push_back(number_at<uint32_t>(bytes, at));
          at += 4;
          break;
        default: {
          REQUIRE((key & 7) == 2);
          const uint64_t length = varint(bytes, at);
          texts[field].push_back(bytes.substr(at, length));
          at += length;
        }
      }
    }
  }
  static uint64_t varint(const std::string& bytes, size_t& at) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = number_at<uint8_t>(bytes, at++);
      value |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128) return value;
    }
  }
};

struct ReadEvent {
  int64_t step = 0;
  double time = 0;
  std::map<std::string, float> scalars;
  std::map<std::string, std::string> pictures;  // as PNG
  bool start = false;
};

void read_value(ReadEvent& event, const std::string& value) {
  Fields parts(value);
  const std::string tag = parts.texts[1].at(0);
  for (const uint64_t bits : parts.numbers[2]) {
    const auto low = static_cast<uint32_t>(bits);
    event.scalars[tag] = number_at<float>({reinterpret_cast<const char*>(&low), 4}, 0);
  }
  for (const std::string& image : parts.texts[4]) event.pictures[tag] = Fields(image).texts[4].at(0);
}

ReadEvent read_event(const std::string& record) {
  Fields fields(record);
  ReadEvent event{.step = fields.numbers.contains(2) ? static_cast<int64_t>(fields.numbers[2][0]) : 0,
                  .time = number_at<double>({reinterpret_cast<const char*>(fields.numbers[1].data()), 8}, 0),
                  .scalars = {},
                  .pictures = {}};
  for (const std::string& log : fields.texts[7]) event.start = Fields(log).numbers[1].at(0) == 1;
  for (const std::string& bytes : fields.texts[5]) {
    Fields summary(bytes);
    for (const std::string& value : summary.texts[1]) read_value(event, value);
  }
  return event;
}

std::vector<ReadEvent> events_of(const std::string& path) {
  std::vector<ReadEvent> events;
  for (const std::string& record : records_of(read_file(path)).first) events.push_back(read_event(record));
  return events;
}

/// Event files of a folder, by their names.
std::vector<std::string> event_files(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) names.insert(entry.path());
  return {names.begin(), names.end()};
}

/// What TensorBoard shows of a run: a START makes it forget that step and later ones.
std::vector<ReadEvent> shown(const std::string& folder) {
  std::vector<ReadEvent> kept;
  for (const std::string& file : event_files(folder))
    for (const ReadEvent& event : events_of(file)) {
      if (event.start) std::erase_if(kept, [&](const ReadEvent& e) { return e.step >= event.step; });
      if (!event.scalars.empty() || !event.pictures.empty()) kept.push_back(event);
    }
  return kept;
}

}  // namespace

TEST_CASE("CRC-32C: the examples of RFC 3720") {
  std::string up, down;
  for (int i = 0; i < 32; ++i) up += static_cast<char>(i), down += static_cast<char>(31 - i);
  const auto crc = [](const std::string& bytes) { return crc32c_of(bytes.data(), bytes.size()); };
  CHECK(crc(std::string(32, '\0')) == 0x8a9136aau);
  CHECK(crc(std::string(32, '\xff')) == 0x62a8ab43u);
  CHECK(crc(up) == 0x46dd794eu);
  CHECK(crc(down) == 0x113fdb5cu);
  CHECK(crc("123456789") == 0xe3069283u);
  CHECK(crc("") == 0);
}

TEST_CASE("event file: what is written is read back, and a file that was cut up to there") {
  const TemporaryFolder folder;
  const EventFile first(folder.path(), 0);
  const std::vector<std::pair<std::string, double>> values{{"loss/ir_loss", 2.5},
                                                           {"training/learning_rate", 1e-3}};
  first.add(50, values);
  first.add_picture(60, "neighbors/0", "the bytes of a file", 3, 4);
  const EventFile second(folder.path(), 51);  // maybe in the same second
  CHECK(second.path() != first.path());
  CHECK(event_files(folder.path()) == std::vector{first.path(), second.path()});

  const std::vector<std::string> records = records_of(read_file(first.path())).first;
  REQUIRE(records.size() == 4);
  CHECK(Fields(records[0]).texts[3].at(0) == "brain.Event:2");
  const std::vector<ReadEvent> events = events_of(first.path());
  CHECK(events[1].start);
  CHECK(events[2].step == 50);
  CHECK(events[2].time > 1.7e9);  // after 2023
  CHECK(events[2].scalars ==
        std::map<std::string, float>{{"loss/ir_loss", 2.5f}, {"training/learning_rate", 1e-3f}});
  CHECK(events[3].step == 60);
  CHECK(events[3].pictures.at("neighbors/0") == "the bytes of a file");
  Fields image(Fields(Fields(Fields(records[3]).texts[5].at(0)).texts[1].at(0)).texts[4].at(0));
  CHECK(image.numbers[1].at(0) == 3);
  CHECK(image.numbers[2].at(0) == 4);
  CHECK(image.numbers[3].at(0) == 3);  // RGB
  CHECK(shown(folder.path()).size() == 1);

  const std::string bytes = read_file(first.path());
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    const auto [whole, rest] = records_of(bytes.substr(0, cut));
    CHECK(whole.size() < records.size());
    CHECK(std::equal(whole.begin(), whole.end(), records.begin()));
  }
  CHECK_THROWS_WITH_AS(EventFile(folder.file("absent"), 0), doctest::Contains("cannot open"), Error);
}

TEST_CASE("TensorBoard: a run's numbers and galleries are in its event files, once each after --resume too") {
  const TemporaryFolder folder;
  constexpr int side = 12, count = 120;
  RandomGenerator random({.seed = 3});
  std::vector<uint8_t> pixels, labels;
  for (int i = 0; i < count; ++i) {
    for (int p = 0; p < side * side; ++p)
      pixels.push_back(static_cast<uint8_t>(i % 4 * 50 + static_cast<int>(random.below(60))));
    labels.push_back(static_cast<uint8_t>(i % 4));
  }
  write_idx(folder.path(), "train", side, side, pixels, labels);
  const std::string run = folder.file("run");
  const Called trained = call(formatted(
      "la_train --tensorboard --data {} --run {} --network resnet8-wide --dim 8 --batch 8 --epochs 3 "
      "--warm-start-epochs 1 --clusters 6 --background 20 --ir-loss softmax --device cpu --threads 1",
      folder.path(), run));
  REQUIRE_MESSAGE(trained.status == 0, trained.output);

  const auto check_against_metrics = [&] {
    std::map<std::pair<std::string, int64_t>, int> expected, found;
    std::istringstream lines(read_file(run + "/metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      const auto object = nlohmann::json::parse(line);
      for (const auto& [field, value] : object.items()) {
        const bool place = field == "epoch" || field == "step";
        CHECK_MESSAGE(tensorboard_tag(field).empty() == (place || !value.is_number()), field);
        if (!tensorboard_tag(field).empty()) ++expected[{tensorboard_tag(field), object["step"]}];
      }
    }
    int64_t galleries = 0;
    for (const ReadEvent& event : shown(run)) {
      for (const auto& [tag, value] : event.scalars) ++found[{tag, event.step}];
      for (const auto& [tag, png] : event.pictures) {
        CHECK(tag.starts_with("nearest/"));
        write_bytes(folder.file("sheet.png"), png);
        CHECK(read_picture(folder.file("sheet.png")).channels == 3);
        ++galleries;
      }
    }
    CHECK(found == expected);
    CHECK(galleries == 3 * 8);  // at the start, after the warm start, in the end
  };
  CHECK(event_files(run).size() == 1);
  check_against_metrics();
  // Without the last epoch, the run goes on from the checkpoint before.
  fs::remove(run + "/checkpoint-00003-000000045.safetensors");
  const Called resumed = call(formatted("la_train --resume --run {}", run));
  REQUIRE_MESSAGE(resumed.status == 0, resumed.output);
  CHECK(resumed.says("resumed from"));
  CHECK(event_files(run).size() == 2);
  check_against_metrics();
}
