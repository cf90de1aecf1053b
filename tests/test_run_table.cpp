// The table of what runs have reached: settings, seeds, means and deviations; made-up folders of runs.
#include <doctest/doctest.h>

#include <filesystem>

#include "apps/run_table.h"
#include "tensor/error.h"
#include "tensor/io/files.h"
#include "tensor/io/seal.h"
#include "tests/called_program.h"
#include "tests/temporary_folder.h"

using namespace la;

namespace {

constexpr const char* knn = "kNN top-1 (k=200, tau=0.07, train embeddings recomputed, 10000 test images)";
constexpr const char* bank = "1-NN top-1 (nearest vector of the memory bank, 10000 test images)";
constexpr const char* pixels =
    "kNN top-1 (k=200, tau=0.07, normalized pixels of unit length, 10000 test images)";

/// A run of four epochs that has reached this; options: lines of its configuration besides.
std::string make_run(const TemporaryFolder& folder, const std::string& name, int seed, double accuracy,
                     const std::string& options = "", int epochs_done = 4, const char* protocol = knn) {
  const std::string run = folder.file(name);
  std::filesystem::create_directory(run);
  write_text_file(run + "/config.toml", sealed(formatted("epochs = 4\nseed = {}\n{}", seed, options)));
  write_text_file(run + "/log.txt",
                  formatted("run        x\nraw pixels\n  {}: 50.0 %\nafter LA\n  {}: 7.0 %\n  {}: 8.0 %\n",
                            pixels, protocol, bank));
  write_text_file(
      run + "/metrics.jsonl",
      formatted("{{\"epoch\":0,\"step\":0,\"pixel_knn200\":0.5}}\n{{\"epoch\":0,\"step\":0,\"knn200\":0.25,"
                "\"knn1\":0.1}}\n{{\"epoch\":2,\"step\":9,\"knn200\":0.26}}\n{{\"epoch\":{0},\"step\":20,"
                "\"la_loss\":1.0}}\n{{\"epoch\":{0},\"step\":20,\"knn200\":{1},\"knn1\":0.625}}\n",
                epochs_done, accuracy));
  return run;
}

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE(
    "runs that differ in seed and machine alone are one row: mean and sample deviation, baselines beside "
    "it") {
  const TemporaryFolder folder;
  RunTable table;
  // Mean .8; squares of deviations .01, 0 and .01, of which 3 - 1 make a variance of .01.
  CHECK(table.add(make_run(folder, "c", 10, .9, "threads = 3\ndevice = \"cpu\"\neval-every = 2\n")) == "");
  CHECK(table.add(make_run(folder, "a", 2, .7)) == "");
  CHECK(table.add(make_run(folder, "b", 3, .8, "threads = 2\n")) == "");
  CHECK(table.add(make_run(folder, "other", 2, .6, "network = \"resnet18\"\nclusters = [30, 40]\n")) == "");

  const std::string text = table.markdown(false);
  CAPTURE(text);
  CHECK(has_line(text, "| network | clusters | seeds | pixels | untrained | kNN | 1-NN of the bank |"));
  CHECK(has_line(text, "| resnet20 |  | 3 | 50.0 ± 0.0 | 25.0 ± 0.0 | 80.0 ± 10.0 | 62.5 ± 0.0 |"));
  CHECK(has_line(text, "| resnet18 | 30, 40 | 1 | 50.0 | 25.0 | 60.0 | 62.5 |"));
  CHECK(has_line(text, formatted("- pixels: {}", pixels)));
  CHECK(has_line(text, formatted("- untrained: {}, before the training", knn)));
  CHECK(has_line(text, formatted("- kNN: {}", knn)));
  CHECK(has_line(text, formatted("- 1-NN of the bank: {}", bank)));

  const std::string seeds = table.markdown(true);
  CAPTURE(seeds);
  const std::string rows =
      "| resnet20 |  | 2 | 50.0 | 25.0 | 70.0 | 62.5 |\n"
      "| resnet20 |  | 3 | 50.0 | 25.0 | 80.0 | 62.5 |\n"
      "| resnet20 |  | 10 | 50.0 | 25.0 | 90.0 | 62.5 |\n"
      "| resnet20 |  | mean of 3 | 50.0 ± 0.0 | 25.0 ± 0.0 | 80.0 ± 10.0 | 62.5 ± 0.0 |\n"
      "| resnet18 | 30, 40 | 2 | 50.0 | 25.0 | 60.0 | 62.5 |\n\n";
  CHECK(seeds.find(rows) != std::string::npos);
}

TEST_CASE("other pictures and other parts of a batch are other settings, and other protocols other columns") {
  const TemporaryFolder folder;
  RunTable table;
  table.add(make_run(folder, "a", 0, .7, "data = \"/some|pictures\"\n"));
  table.add(make_run(folder, "b", 1, .8, "shards = 2\n", 4, "kNN top-1 (k=5, embeddings recomputed)"));
  const std::string text = table.markdown(false);
  CAPTURE(text);
  CHECK(has_line(text,
                 "| data | shards | seeds | pixels | untrained (1) | untrained (2) | kNN (1) | kNN (2) | "
                 "1-NN of the bank |"));
  CHECK(text.find("| /some\\|pictures | 0 | 1 | 50.0 | 25.0 |  | 70.0 |  | 62.5 |\n") != std::string::npos);
  CHECK(text.find(" | 2 | 1 | 50.0 |  | 25.0 |  | 80.0 | 62.5 |\n") != std::string::npos);
  CHECK(has_line(text, "- kNN (2): kNN top-1 (k=5, embeddings recomputed)"));
}

TEST_CASE("what la_eval has read out of the last checkpoint is in the table, and of how many seeds it is") {
  const TemporaryFolder folder;
  const std::string run = make_run(folder, "a", 0, .7), second = make_run(folder, "b", 1, .8);
  const auto evaluation = [](const char* checkpoint, double top1, const char* time = "2026-05-01T10:00:00Z") {
    return formatted(
        R"({{"checkpoint": "{}", "time": "{}", "train": "8 pictures", "test": "9 pictures", "view_size": 28, "readout": [{{"labels": "all labels", "stage":)"
        R"("layer1", "epochs": 3, "batch": 8, "learning_rate": 0.5, "top1": {}}}]}})",
        checkpoint, time, top1);
  };
  const char* const last = "checkpoint-00004-000000020.safetensors";
  write_text_file(run + "/eval-shirts.json",
                  formatted(R"({{"data": "shirts", "path": "/a/shirts", "evaluations": [{}, {}]}})",
                            evaluation("checkpoint-00002-000000009.safetensors", .1),
                            evaluation(last, .375, "2026-05-02T10:00:00Z")));
  // The same again, but older; and other pictures of the same name.
  write_text_file(
      run + "/eval-t.json",
      formatted(R"({{"data": "shirts", "path": "/a/shirts", "evaluations": [{}]}})", evaluation(last, .25)));
  write_text_file(
      run + "/eval-u.json",
      formatted(R"({{"data": "shirts", "path": "/b/shirts", "evaluations": [{}]}})", evaluation(last, .5)));
  RunTable table;
  table.add(run);
  table.add(second);
  const std::string text = table.markdown(false);
  CAPTURE(text);
  CHECK(text.find("| 75.0 ± 7.1 | 62.5 ± 0.0 | 37.5 (of 1) | 50.0 (of 1) |\n") !=
        std::string::npos);  // 5 sqrt 2
  CHECK(has_line(
      text,
      "- readout of layer1 (1): linear readout of layer1, top-1 of the center crop (labels all labels, "
      "epochs 3, "
      "batch 8, "
      "learning_rate 0.5; /a/shirts, trained on 8 pictures, tested on 9 pictures, shown with 28 pixels)"));
  CHECK(table.warnings().empty());

  write_text_file(run + "/eval-shirts.json",
                  formatted(R"({{"path": "/a/shirts", "evaluations": [{}, 4]}})", evaluation(last, .75)));
  std::filesystem::create_directory(run + "/eval-folder.json");
  const Called called = call("la_report --table " + run);
  CAPTURE(called.output);
  CHECK(called.status == 0);
  CHECK(called.says("warning: " + run + "/eval-shirts.json: is not as la_eval writes it; skipped\n"));
  CHECK(called.says("| 62.5 | 25.0 | 50.0 |\n"));
}

TEST_CASE("la_report --table: what cannot be in it is named, and only what is damaged is a fault") {
  const TemporaryFolder folder;
  const std::string run = make_run(folder, "a", 0, .7), again = make_run(folder, "b", 0, .7),
                    unfinished = make_run(folder, "c", 1, .7, "", 3), empty = folder.file("empty"),
                    damaged = make_run(folder, "d", 2, .7);
  std::filesystem::create_directory(empty);
  write_text_file(damaged + "/metrics.jsonl", "{\"epoch\":0}\n{\"epoch\":4,\"step\":20,\"knn200\":0.5}\n");

  const Called good = call(formatted("la_report --table {} {} {}", run, again, unfinished));
  CAPTURE(good.output);
  CHECK(good.status == 0);
  CHECK(good.says("\n| 1 | 50.0 | 25.0 | 70.0 | 62.5 |\n"));
  CHECK(good.says(formatted("{}: has the setting and the seed, 0, of {}; left out", again, run)));
  CHECK(good.says(unfinished + ": has not come to its end: epoch 3 of 4, step 20; left out"));

  const Called bad = call(formatted("la_report --table {} {} {} --seeds", damaged, empty, run));
  CAPTURE(bad.output);
  CHECK(bad.status == 1);
  CHECK(bad.says("\n| 0 | 50.0 | 25.0 | 70.0 | 62.5 |\n"));
  CHECK(bad.says("d/metrics.jsonl: line 1 is no measurement; left out"));
  CHECK(bad.says(
      "empty: is no folder of a run: it has no config.toml; expected a folder that la_train has made"));

  const Called none = call("la_report --table " + unfinished);
  CHECK(none.status == 1);
  CHECK(none.says("no run has come to its end; a table needs one at least"));
  CHECK(call("la_report --seeds " + run).status == 2);
  for (const char* of_page : {"--out x", "--force", "--data x", "--no-pictures", "--most-pictures 9"}) {
    const Called refused = call(formatted("la_report --table {} {}", run, of_page));
    CHECK(refused.status == 2);
    CHECK_MESSAGE(refused.says("--table prints; --"), refused.output);
  }
}
