// Runs of small trainings, for tests of their reports, and what a report's page holds.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tests/browser.h"
#include "tests/called_program.h"
#include "tests/own_picture.h"
#include "tests/picture_files.h"
#include "tests/temporary_folder.h"

namespace la {

inline constexpr int of_each = 30;

/// Pictures of two kinds, dark and bright, in two folders or all in one; one of them is damaged.
inline void make_pictures(const std::string& folder, bool labeled) {
  for (const int kind : {0, 1}) {
    const std::string place =
        labeled ? formatted("{}/{}", folder, kind == 0 ? "dark & <plain>" : "bright") : folder;
    std::filesystem::create_directories(place);
    for (int i = 0; i < of_each; ++i) {
      OwnPicture own(20, 28, 3, static_cast<uint64_t>(of_each * kind + i));
      for (uint8_t& pixel : own.pixels) pixel = static_cast<uint8_t>(pixel / 2 + 127 * kind);
      write_bytes(formatted("{}/{}-{:02}.jpg", place, kind, i), jpeg_bytes(own.picture));
    }
  }
  write_bytes(folder + (labeled ? "/bright/damaged.jpg" : "/damaged.jpg"), "no picture");
}

/// Trains for two epochs; more settings may follow.
inline void train(const std::string& pictures, const std::string& run, const std::string& more = "") {
  const Called trained = call(formatted(
      "la_train --data {} --run {} --network resnet20 --image-size 16 --dim 16 --head linear-bn --batch 10 "
      "--epochs 2 "
      "--warm-start-epochs 1 --clusters 4 --background 8 --ir-loss softmax --device cpu --threads 2 {}",
      pictures, run, more));
  REQUIRE_MESSAGE(trained.status == 0, trained.output);
}

/// The JSON that stands in a page.
inline nlohmann::json report_in(const std::string& file) {
  const std::string page = read_file(file), begin = "id=\"report\">";
  const size_t at = page.find(begin) + begin.size();
  return nlohmann::json::parse(page.substr(at, page.find("</script>", at) - at));
}

inline int64_t count(Browser& browser, const std::string& selector) {
  return browser.evaluate("document.querySelectorAll(" + nlohmann::json(selector).dump() + ").length");
}

inline std::string shown_picture(Browser& browser) {
  return browser.evaluate("document.getElementById('walk').dataset.picture");
}

}  // namespace la
