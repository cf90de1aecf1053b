#include "la/checkpoint.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <limits>

#include "tensor/io/files.h"
#include "tests/temporary_folder.h"

namespace la {
namespace {

using Names = std::vector<std::string>;

std::string save(const TemporaryFolder& folder, int epoch, int64_t step) {
  const Tensor tensor = Tensor::full({3}, static_cast<float>(100 * epoch + step));
  return save_checkpoint(folder.path(), epoch, step, {{"w", tensor}}, {{"epoch", std::to_string(epoch)}});
}

void damage(const std::string& path) {
  std::string bytes = read_file(path);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_bytes(path, bytes);
}

void no_warning(const std::string& warning) { FAIL(warning); }

}  // namespace

TEST_CASE("checkpoint: the newest is found, by number and not by the order of writing") {
  const TemporaryFolder folder;
  CHECK_FALSE(newest_checkpoint(folder.path(), no_warning).has_value());
  write_bytes(folder.file("checkpoint-9.safetensors"), "not one of ours");
  write_bytes(folder.file("checkpoint-00009-x.safetensors"), "not one of ours");
  CHECK_FALSE(newest_checkpoint(folder.path(), no_warning).has_value());

  save(folder, 99'999, 1'000'000'000);
  const std::string path = save(folder, 100'000, 7);
  const auto newest = newest_checkpoint(folder.path(), no_warning);
  REQUIRE(newest.has_value());
  CHECK(newest->epoch == 100'000);
  CHECK(newest->step == 7);
  CHECK(newest->file.path == path);
  CHECK(newest->file.metadata.at("epoch") == "100000");
  CHECK(newest->file.at("w").to_vector<float>()[0] == 100.0f * 100'000 + 7);
}

TEST_CASE("checkpoint: two are kept, and what killed programs left is removed") {
  const TemporaryFolder folder;
  write_bytes(folder.file("checkpoint-00001-000000000.safetensors.tmp"), "half");
  write_bytes(folder.file("notes.tmp"), "the user's");
  save(folder, 1, 10);
  CHECK(folder.list() == Names{"checkpoint-00001-000000010.safetensors", "notes.tmp"});
  save(folder, 1, 20);
  save(folder, 2, 0);
  CHECK(folder.list() == Names{"checkpoint-00001-000000020.safetensors",
                               "checkpoint-00002-000000000.safetensors", "notes.tmp"});
  save(folder, 2, 0);  // the same once more
  CHECK(folder.list() == Names{"checkpoint-00001-000000020.safetensors",
                               "checkpoint-00002-000000000.safetensors", "notes.tmp"});
}

TEST_CASE("checkpoint: a damaged one is passed over, with a warning that names it") {
  const TemporaryFolder folder;
  save(folder, 1, 0);
  const std::string newest = save(folder, 2, 0);
  damage(newest);
  Names warnings;
  const auto found = newest_checkpoint(folder.path(), [&](const std::string& w) { warnings.push_back(w); });
  REQUIRE(found.has_value());
  CHECK(found->epoch == 1);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find(newest) != std::string::npos);

  SUBCASE("and removed when the run has gone on, so that it pushes no intact one out") {
    save(folder, 1, 500);
    CHECK(folder.list() ==
          Names{"checkpoint-00001-000000000.safetensors", "checkpoint-00001-000000500.safetensors"});
  }
  SUBCASE("and none intact is an Error") {
    damage(folder.file("checkpoint-00001-000000000.safetensors"));
    CHECK_THROWS_WITH_AS(newest_checkpoint(folder.path(), [](const std::string&) {}),
                         doctest::Contains(folder.path().c_str()), Error);
  }
}

TEST_CASE("checkpoint: what is not finite is neither saved nor gone on from") {
  const TemporaryFolder folder;
  save(folder, 1, 0);
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const Tensor diverged = Tensor::from(std::vector<float>{1, value, 3}, {3});
    CHECK_THROWS_WITH_AS(save_checkpoint(folder.path(), 2, 0, {{"w", diverged}}, {}),
                         doctest::Contains("'w' has values that are not finite"), Error);
    CHECK(folder.list() == Names{"checkpoint-00001-000000000.safetensors"});
    write_safetensors(folder.file("checkpoint-00003-000000000.safetensors"), {{"w", diverged}});
    Names warnings;
    const auto found = newest_checkpoint(folder.path(), [&](const std::string& w) { warnings.push_back(w); });
    REQUIRE(found.has_value());
    CHECK(found->epoch == 1);
    CHECK(warnings.size() == 1);
    std::filesystem::remove(folder.file("checkpoint-00003-000000000.safetensors"));
  }
}

TEST_CASE("checkpoint: one that cannot be written leaves the older ones") {
  const TemporaryFolder folder;
  save(folder, 1, 0);
  save(folder, 2, 0);
  CHECK_THROWS_AS(save_checkpoint(folder.path(), 3, 0, {{"w", Tensor()}}, {}), Error);
  CHECK(folder.list() ==
        Names{"checkpoint-00001-000000000.safetensors", "checkpoint-00002-000000000.safetensors"});
  CHECK_THROWS_AS(newest_checkpoint(folder.file("absent"), no_warning), Error);
}

}  // namespace la
