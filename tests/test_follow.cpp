// Following a run: its page is rewritten while it is trained, and stays in the end.
#include <doctest/doctest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/page/follow.h"
#include "apps/page/run_record.h"
#include "apps/page/thumbnails.h"
#include "apps/run/run_folder.h"
#include "data/codecs/jpeg_writer.h"
#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tests/browser.h"
#include "tests/called_program.h"
#include "tests/own_picture.h"
#include "tests/page_checks.h"
#include "tests/picture_files.h"
#include "tests/temporary_folder.h"
#include "tests/trained_runs.h"

using namespace la;
namespace fs = std::filesystem;

namespace {

/// Three pictures, without labels or clusters.
LearntPictures few_pictures() {
  LearntPictures p;
  p.numbers = {0, 1, 2};
  p.all = 3;
  p.vectors = "the vectors of the memory bank";
  p.graph = {
      .size = 3, .k = 2, .numbers = {1, 2, 0, 2, 0, 1}, .similarities = {.9f, .1f, .9f, .2f, .1f, .2f}};
  p.map = {{-1, 0}, {0, 1}, {1, 0}};
  p.thumbnails = {
      .cell = 8, .columns = 2, .per_sheet = 4, .sheets = {jpeg_of(OwnPicture(16, 16, 3).picture, 90)}};
  return p;
}

/// Begins a training of two epochs.
void begin_run(const RunFolder& folder) {
  folder.write_config("epochs = 2\nsteps = 0\n");
  folder.log("run        x");
  folder.append_metrics({{"epoch", 0}, {"step", 0}, {"version", "1"}});
}

/// Lines that were said.
class Lines {
 public:
  void operator()(const std::string& line) const { *text_ += line + "\n"; }
  /// Those since the last call.
  std::string taken() { return std::exchange(*text_, ""); }

 private:
  std::shared_ptr<std::string> text_ = std::make_shared<std::string>();  // of all copies
};

bool refreshes(const std::string& page) {
  return read_file(page).find("http-equiv=\"refresh\"") != std::string::npos;
}

Follower::Looked looked_at_newest(const std::string& run) {
  return {newest_checkpoint_name(run), few_pictures()};
}

}  // namespace

TEST_CASE(
    "a run is followed from an empty folder to its end: curves at once, pictures with each checkpoint") {
  const TemporaryFolder work;
  const std::string run = work.file("run"), page = work.file("page.html");
  fs::create_directory(run);
  int looks = 0;
  Lines said;
  const auto look = [&](const ProgressCallback&) { return ++looks, looked_at_newest(run); };
  Follower follower(run, page, look, said);
  CHECK(follower.step());
  CHECK(follower.step());
  CHECK(said.taken() == run + ": waiting for a run to begin there\n");
  CHECK_FALSE(fs::exists(page));
  {
    const RunFolder training = RunFolder::create(run, "");
    begin_run(training);
    CHECK(follower.step());
    CHECK(said.taken() == page + ": epoch 0 of 2, step 0\n");
    CHECK(refreshes(page));
    CHECK(looks == 0);
    CHECK(report_in(page)["runs"][0]["metrics"].size() == 1);

    write_bytes(run + "/checkpoint-00001-000000005.safetensors", "");
    CHECK(follower.step());
    CHECK(said.taken() ==
          page + ": epoch 0 of 2, step 0, pictures of checkpoint-00001-000000005.safetensors\n");
    CHECK(report_in(page)["pictures"]["count"] == 3);
    CHECK(refreshes(page));
    CHECK(follower.step());
    CHECK(said.taken() == "");  // nothing is new
    training.append_metrics({{"epoch", 2}, {"step", 10}, {"knn200", 0.5}});
  }
  CHECK_FALSE(follower.step());
  CHECK(said.taken() == page +
                            ": epoch 2 of 2, step 10, pictures of checkpoint-00001-000000005.safetensors\n" +
                            run + ": the run has come to its end\n");
  CHECK(looks == 1);
  CHECK_FALSE(refreshes(page));
  CHECK(report_in(page)["pictures"]["count"] == 3);
  CHECK(report_in(page)["runs"][0]["metrics"].size() == 2);
}

TEST_CASE("following takes a tenth of the time at most, for the curves and for the pictures") {
  const TemporaryFolder work;
  const std::string run = work.file("run"), page = work.file("page.html");
  const RunFolder training = RunFolder::create(run, "");
  begin_run(training);
  double time = 0;
  Lines said;
  const auto add_line = [&](int64_t step) {
    training.append_metrics({{"epoch", 0}, {"step", step}, {"ir_loss", 2.0}});
  };
  const auto look = [&](const ProgressCallback& meanwhile) {
    add_line(2);
    meanwhile("thumbnails", 1, 2);
    time += 10;
    return looked_at_newest(run);
  };
  bool writes_slowly = true;
  double written = 0;
  Follower follower(run, page, look, said, [&] {  // the first page takes a second
    if (writes_slowly && fs::exists(page)) {
      writes_slowly = false;
      written = ++time;
    }
    return time;
  });
  CHECK(follower.step());
  CHECK(said.taken() == page + ": epoch 0 of 2, step 0\n");
  CHECK(written == 1);
  add_line(1);
  time = written + 8.9;
  CHECK(follower.step());
  CHECK(said.taken() == "");
  time = written + 9;
  CHECK(follower.step());
  CHECK(said.taken() == page + ": epoch 0 of 2, step 1\n");

  write_bytes(run + "/checkpoint-00001-000000005.safetensors", "");
  CHECK(follower.step());  // the curves meanwhile, then the pictures
  const std::string first = ": epoch 0 of 2, step 2, pictures of checkpoint-00001-000000005.safetensors\n";
  CHECK(said.taken() == page + ": epoch 0 of 2, step 2\n" + page + first);
  const double looked = time;
  write_bytes(run + "/checkpoint-00002-000000010.safetensors", "");
  time = looked + 89;
  CHECK(follower.step());
  CHECK(said.taken() == "");
  time = looked + 90;
  CHECK(follower.step());
  CHECK(said.taken().find(", pictures of checkpoint-00002-000000010.safetensors") != std::string::npos);
}

TEST_CASE("a run is followed over half a line, pictures that cannot be had, and its interruption") {
  const TemporaryFolder work;
  const std::string run = work.file("run"), page = work.file("page.html");
  bool fails = true;
  double time = 0;
  Lines said;
  const auto look = [&](const ProgressCallback&) {
    if (fails) fail("the checkpoint is gone");
    return looked_at_newest(run);
  };
  Follower follower(run, page, look, said, [&] { return time; });
  const std::string gone = "no pictures of it: the checkpoint is gone";
  {
    const RunFolder training = RunFolder::create(run, "");
    begin_run(training);
    append_to_file(training.metrics_path(), "{\"epoch\":0,\"st");
    CHECK(follower.step());
    CHECK(said.taken() == page + ": epoch 0 of 2, step 0\n");
    append_to_file(training.metrics_path(), "ep\":3}\n");
    CHECK(follower.step());
    CHECK(said.taken() == page + ": epoch 0 of 2, step 3\n");
    write_bytes(run + "/checkpoint-00001-000000005.safetensors", "");
    CHECK(follower.step());
    CHECK(said.taken() ==
          page + ": epoch 0 of 2, step 3\ncheckpoint-00001-000000005.safetensors: " + gone + "\n");
    CHECK(follower.step());
    CHECK(said.taken() == "");  // not tried again
    follower.leave();
    CHECK_FALSE(refreshes(page));
    fails = false;
    write_bytes(run + "/checkpoint-00002-000000010.safetensors", "");
    CHECK(follower.step());
    CHECK(refreshes(page));
    CHECK(report_in(page)["pictures"]["count"] == 3);
    fails = true;
    write_bytes(run + "/checkpoint-00003-000000011.safetensors", "");
  }
  CHECK_THROWS_WITH_AS(follower.step(), ("checkpoint-00003-000000011.safetensors: " + gone).c_str(), Error);
  CHECK_FALSE(refreshes(page));
  CHECK(report_in(page)["pictures"]["count"] == 3);
  fails = false;
  CHECK_FALSE(follower.step());
  CHECK(said.taken().ends_with(run + ": nobody trains there any more; la_train --resume goes on\n"));

  write_bytes(work.file("stranger"), "");
  CHECK_THROWS_WITH_AS(Follower(work.path(), page, look, said).step(),
                       doctest::Contains("is no folder of a run"), Error);
}

TEST_CASE("a page names the checkpoint that was shown, which may be older or newer than the newest before") {
  const TemporaryFolder work;
  const std::string run = work.file("run"), page = work.file("page.html");
  const RunFolder training = RunFolder::create(run, "");
  begin_run(training);
  double time = 0;
  Lines said;
  std::string shown = "checkpoint-00001-000000005.safetensors";
  int looks = 0;
  Follower follower(
      run, page,
      [&](const ProgressCallback&) {
        return ++looks, Follower::Looked{shown, few_pictures()};
      },
      said, [&] { return time; });
  write_bytes(run + "/checkpoint-00002-000000010.safetensors", "damaged");
  CHECK(follower.step());
  CHECK(said.taken().ends_with(", pictures of " + shown + "\n"));
  shown = "checkpoint-00004-000000020.safetensors";  // came when 3 was seen already
  write_bytes(run + "/checkpoint-00003-000000015.safetensors", "");
  CHECK(follower.step());
  CHECK(said.taken().ends_with(", pictures of " + shown + "\n"));
  write_bytes(run + "/" + shown, "");
  CHECK(follower.step());
  CHECK(looks == 2);
}

TEST_CASE("a page that cannot be written while pictures are made is no fault of the pictures") {
  const TemporaryFolder work;
  const std::string run = work.file("run"), pages = work.file("pages"), page = pages + "/page.html";
  fs::create_directory(pages);
  const RunFolder training = RunFolder::create(run, "");
  begin_run(training);
  Lines said;
  const auto look = [&](const ProgressCallback& meanwhile) {
    fs::remove_all(pages);
    training.append_metrics({{"epoch", 0}, {"step", 1}, {"ir_loss", 2.0}});
    meanwhile("thumbnails", 1, 2);
    return looked_at_newest(run);
  };
  Follower follower(run, page, look, said, [] { return 0.0; });
  write_bytes(run + "/checkpoint-00001-000000005.safetensors", "");
  try {
    follower.step();
    FAIL("the page was written");
  } catch (const Error& error) {
    const std::string text = error.what();
    CHECK_MESSAGE(text.find("page.html") != std::string::npos, text);
    CHECK_MESSAGE(text.find("no pictures") == std::string::npos, text);
  }
}

TEST_CASE("a run that has ended before it was measured is not waited for") {
  const TemporaryFolder work;
  const std::string run = work.file("run");
  Lines said;
  Follower follower(run, work.file("page.html"), {}, said);
  {
    const RunFolder training = RunFolder::create(run, "");
    training.write_config("epochs = 2\n");
    CHECK(follower.step());
    training.log("plan");
    CHECK(follower.step());
  }
  CHECK_THROWS_WITH_AS(follower.step(),
                       doctest::Contains("nobody trains there, and it has no metrics.jsonl; expected a run"),
                       Error);
}

TEST_CASE("la_report --follow ends with a finished run, and leaves a page that stays") {
  const TemporaryFolder pictures, work;
  make_pictures(pictures.path(), true);
  const std::string run = work.file("run");
  train(pictures.path(), run);
  const Called followed = call("la_report --threads 2 --follow " + run);
  CAPTURE(followed.output);
  CHECK(followed.status == 0);
  CHECK(followed.says(
      "/report.html: epoch 2 of 2, step 12, pictures of checkpoint-00002-000000012.safetensors\n"));
  CHECK(followed.says("/run: the run has come to its end\n"));
  CHECK_FALSE(refreshes(run + "/report.html"));
  CHECK(report_in(run + "/report.html")["pictures"]["count"] == 2 * of_each);
  CHECK(call(formatted("la_report --follow {} {}", run, run)).says("--follow writes the page of one run"));
  CHECK(call(formatted("la_report --follow {}", work.file("none"))).says("none: is no folder of a run"));
}

TEST_CASE("a page that is read again shows what its reader looked at") {
  if (Browser::program().empty()) {
    MESSAGE("no chromium here: what a browser shows was not tested ('make check-deps' installs it)");
    return;
  }
  const TemporaryFolder work, profile;
  const std::string run = work.file("run"), page = work.file("page.html");
  const RunFolder training = RunFolder::create(run, "");
  begin_run(training);
  const PicturePart part = part_of(few_pictures());
  const auto write = [&](int refresh) {
    write_text_file(page, html_of({.runs = {read_run(run)}, .pictures = &part, .refresh_seconds = refresh}));
  };
  Browser browser(profile.path());
  const auto open = [&] {
    browser.open(page, {});
    check_no_complaints(browser);
  };
  write(3600);
  open();
  CHECK(count(browser, "meta[http-equiv=refresh][content='3600']") == 1);
  browser.evaluate(
      "walkTo(1), walkTo(2), zoomBy(1.5), scrollTo(0, 77), document.querySelector('details').open = false");
  const auto seen = [&] {
    return browser.evaluate(
        "[scrollY, zoom.scale(), ...zoom.translate(), walked, chosen, "
        "document.querySelector('details').open]");
  };
  const Browser::Json before = seen();
  CHECK(before[0] == 77);
  CHECK(before[4] == Browser::Json{0, 1, 2});
  open();
  CHECK(seen() == before);
  write(0);
  open();
  CHECK(seen() == before);
  CHECK(count(browser, "meta[http-equiv=refresh]") == 0);
  open();  // whoever reads a page again that stays begins at its beginning
  CHECK(browser.evaluate("zoom.scale()") == 1);
}
