// la_train as several processes, started by mpirun as a user starts them: what they write, and what becomes of them when
// something goes wrong.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>

#include "apps/netcdf/assembly.h"
#include "tensor/device.h"
#include "tensor/format.h"
#include "tensor/io/csv.h"
#include "tensor/random.h"
#include "tensor/text.h"
#include "tests/called_program.h"
#include "tests/idx_files.h"
#include "tests/started_program.h"

using namespace la;
namespace fs = std::filesystem;

namespace {

std::string program(const std::string& name = "la_train") {
  const char* folder = std::getenv("LA_PROGRAMS");
  return std::string(folder ? folder : ".") + "/" + name;
}

Called run(const std::string& line) {
  FILE* pipe = popen((line + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) output.push_back(static_cast<char>(c));
  const int status = pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

/// Whether processes can be started together here: there is mpirun, and the programs have been built with MPI.
bool can_start() {
  static const bool can = run("command -v mpirun").status == 0 &&
                          !run("OMPI_COMM_WORLD_SIZE=2 " + program() + " --version").says("without MPI");
  return can;
}

/// The words that start so many processes of what follows.
std::vector<std::string> mpirun(int count) {
  std::vector<std::string> words{"mpirun", "--oversubscribe", "--bind-to", "none"};
  if (geteuid() == 0) words.emplace_back("--allow-run-as-root");
  for (const std::string& word : {std::string("-np"), std::to_string(count)}) words.push_back(word);
  return words;
}

std::string line_of(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + word;
  return line;
}

/// Squares of four kinds, as IDX files.
void write_pictures(const std::string& folder, const std::string& prefix, int count) {
  constexpr int side = 12;
  RandomGenerator random({.seed = static_cast<uint64_t>(count)});
  std::vector<uint8_t> pixels, labels;
  for (int i = 0; i < count; ++i) {
    for (int p = 0; p < side * side; ++p)
      pixels.push_back(
          static_cast<uint8_t>(i % 4 * 50 + (p / 3) % 2 * 40 + static_cast<int>(random.below(60))));
    labels.push_back(static_cast<uint8_t>(i % 4));
  }
  write_idx(folder, prefix, side, side, pixels, labels);
}

/// A folder with pictures, and with runs.
struct Runs {
  TemporaryFolder folder;
  std::string shards;

  explicit Runs(std::string number_of_shards = "12") : shards(std::move(number_of_shards)) {
    write_pictures(folder.path(), "train", 120);
    write_pictures(folder.path(), "t10k", 20);
  }
  std::string run(const std::string& name) const { return folder.file(name); }
  /// The options of a short run with both phases.
  std::vector<std::string> options(const std::string& name) const {
    return {program(),
            "--data",
            folder.path(),
            "--run",
            run(name),
            "--network",
            "resnet8-wide",
            "--dim",
            "16",
            "--batch",
            "16",
            "--epochs",
            "4",
            "--warm-start-epochs",
            "2",
            "--clusters",
            "8",
            "--background",
            "40",
            "--noise",
            "20",
            "--threads",
            "1",
            "--device",
            "cpu",
            "--shards",
            shards};
  }
};

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::string text_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// The newest checkpoint of a run.
std::string checkpoint_of(const fs::path& run) {
  fs::path newest;
  for (const auto& entry : fs::directory_iterator(run))
    if (entry.path().extension() == ".safetensors") newest = std::max(newest, entry.path());
  REQUIRE(!newest.empty());
  return text_of(newest);
}

/// The lines of metrics.jsonl without times and rates.
std::string metrics_of(const std::string& run) {
  static const std::regex changing(R"re("(time|clustering_seconds|images_per_second)":("[^"]*"|[^,}]*))re");
  return std::regex_replace(text_of(run + "/metrics.jsonl"), changing, "");
}

/// The process with that rank among those that la_train has for a run; the ranks have been started one after the other.
pid_t rank_of_run(const std::string& run, int rank) {
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string words = text_of(entry.path() / "cmdline"),
                      environment = text_of(entry.path() / "environ");
    const bool of_run = words.find(run) != std::string::npos && words.find("mpirun") == std::string::npos;
    const std::string own = formatted("OMPI_COMM_WORLD_RANK={}", rank) + '\0';
    if (of_run && environment.find(own) != std::string::npos) return static_cast<pid_t>(std::stoi(name));
  }
  return -1;
}

/// Lines of la_train among the output of mpirun.
int64_t lines_of_program(const std::string& output) {
  std::istringstream lines(output);
  int64_t count = 0;
  for (std::string line; std::getline(lines, line);)
    count += line.find("la_train: ") != std::string::npos ? 1 : 0;
  return count;
}

/// Starts so many processes, and lets them go on until the second checkpoint is being made.
pid_t start_and_wait_for_checkpoints(const Runs& runs, int count, const std::string& name,
                                     const std::vector<std::string>& more, const std::string& output) {
  WatchedFolders watched;
  watched.add(runs.folder.path());
  const pid_t child = start_program(mpirun(count) + runs.options(name) + more, output);
  while (!fs::exists(runs.run(name))) REQUIRE(watched.let_happen(child, 1));
  watched.add(runs.run(name));
  while (fs::is_empty(runs.run(name)) ||
         !fs::exists(runs.run(name) + "/checkpoint-00001-000000007.safetensors"))
    REQUIRE(watched.let_happen(child, 1));
  return child;
}

}  // namespace

TEST_CASE("several processes write the files of one, and go on where others have stopped") {
  if (!can_start()) return;
  const Runs runs;
  REQUIRE(run(line_of(runs.options("one"))).status == 0);
  for (const int count : {2, 4}) {
    const std::string name = std::to_string(count);
    const Called called = run(line_of(mpirun(count) + runs.options(name)));
    CHECK(called.status == 0);
    CHECK(checkpoint_of(runs.run(name)) == checkpoint_of(runs.run("one")));
    CHECK(called.output.find("done in") == called.output.rfind("done in"));  // one line of all
    CHECK(metrics_of(runs.run(name)) == metrics_of(runs.run("one")));
  }

  // All of three are killed, then one of two is; four go on, and then one.
  for (const int victims : {3, 1}) {
    const std::string name = formatted("killed-{}", victims);
    const pid_t child = start_and_wait_for_checkpoints(runs, victims == 3 ? 3 : 2, name, {}, "/dev/null");
    const pid_t last = rank_of_run(runs.run(name), victims == 3 ? 2 : 1);
    REQUIRE(last > 0);
    kill(last, SIGKILL);
    if (victims == 3)
      for (const int rank : {0, 1})
        if (const pid_t other = rank_of_run(runs.run(name), rank); other > 0) kill(other, SIGKILL);
    CHECK(wait_for(child) != 0);
    const Called resumed =
        run(line_of(mpirun(4) + std::vector<std::string>{program(), "--resume", "--run", runs.run(name)}));
    CHECK(resumed.status == 0);
    CHECK(resumed.says("resumed from"));
    CHECK(checkpoint_of(runs.run(name)) == checkpoint_of(runs.run("one")));
  }
}

TEST_CASE("several processes synchronize batch norm, also where they go on") {
  if (!can_start()) return;
  const Runs runs("0");  // one for each process
  const std::vector<std::string> sync{"--sync-batch-norm"};
  REQUIRE(run(line_of(mpirun(2) + runs.options("whole") + sync)).status == 0);
  const std::string whole = checkpoint_of(runs.run("whole"));
  REQUIRE(run(line_of(mpirun(2) + runs.options("parts"))).status == 0);
  CHECK(whole != checkpoint_of(runs.run("parts")));

  const pid_t child = start_and_wait_for_checkpoints(runs, 2, "resumed", sync, "/dev/null");
  const pid_t one = rank_of_run(runs.run("resumed"), 0);
  REQUIRE(one > 0);
  kill(one, SIGTERM);
  CHECK(WEXITSTATUS(wait_for(child)) == 128 + SIGTERM);
  fs::copy(runs.run("resumed"), runs.run("resumed-by-one"));
  const auto resume = [&](int count, const std::string& name, const std::vector<std::string>& more = {}) {
    return run(line_of(mpirun(count) +
                       std::vector<std::string>{program(), "--resume", "--run", runs.run(name)} + more));
  };
  CHECK(resume(2, "resumed", {"--sync-batch-norm=false"}).says("sync-batch-norm"));
  CHECK(resume(2, "resumed").status == 0);
  CHECK(checkpoint_of(runs.run("resumed")) == whole);
  const Called by_one = resume(1, "resumed-by-one");
  CHECK(by_one.status == 0);
  CHECK(by_one.says("shards = 1: one for each process"));

  REQUIRE(run(line_of(runs.options("one"))).status == 0);
  REQUIRE(run(line_of(runs.options("one-of-one") + sync)).status == 0);
  CHECK(checkpoint_of(runs.run("one-of-one")) == checkpoint_of(runs.run("one")));
}

TEST_CASE("batch norm that cannot be synchronized is an error before the run begins") {
  if (!can_start()) return;
  const auto refused = [&](const std::string& shards, const std::vector<std::string>& more = {}) {
    const Runs runs(shards);
    const Called called =
        run(line_of(mpirun(2) + runs.options("none") + std::vector<std::string>{"--sync-batch-norm"} + more));
    CHECK(called.status != 0);
    CHECK(lines_of_program(called.output) == 1);
    CHECK_FALSE(fs::exists(runs.run("none")));
    return called.output;
  };
  CHECK(refused("12").find("--sync-batch-norm needs one shard for each process: --shards 12") !=
        std::string::npos);
  CHECK(refused("0", {"--batch", "3"}).find("--sync-batch-norm needs pictures for each process") !=
        std::string::npos);
}

TEST_CASE("a process that stops is missed by the others, which end") {
  if (!can_start()) return;
  const Runs runs;
  const std::string output = runs.folder.file("output");
  const pid_t child =
      start_and_wait_for_checkpoints(runs, 3, "stopped", {"--collective-timeout", "1"}, output);
  const pid_t stopped = rank_of_run(runs.run("stopped"), 1);
  REQUIRE(stopped > 0);
  kill(stopped, SIGSTOP);
  CHECK(wait_for(child) != 0);
  kill(stopped, SIGKILL);  // where mpirun has not done it
  const std::string text = text_of(output);
  CAPTURE(text);
  CHECK(text.find("waited 1 seconds for rank 1 (") != std::string::npos);
  CHECK(lines_of_program(text) == 1);
  CHECK(
      run(line_of(mpirun(2) + std::vector<std::string>{program(), "--resume", "--run", runs.run("stopped")}))
          .status == 0);
}

TEST_CASE("a signal to one process ends all of them with a checkpoint") {
  if (!can_start()) return;
  const Runs runs;
  const std::string output = runs.folder.file("output");
  const pid_t child = start_and_wait_for_checkpoints(runs, 2, "terminated", {}, output);
  const pid_t one = rank_of_run(runs.run("terminated"), 1);
  REQUIRE(one > 0);
  kill(one, SIGTERM);
  const int status = wait_for(child);
  CHECK(WEXITSTATUS(status) == 128 + SIGTERM);
  CHECK(text_of(output).find("interrupted; go on with: la_train --resume") != std::string::npos);
  CHECK(run(line_of({program(), "--resume", "--run", runs.run("terminated")})).status == 0);
  REQUIRE(run(line_of(runs.options("one"))).status == 0);
  CHECK(checkpoint_of(runs.run("terminated")) == checkpoint_of(runs.run("one")));
}

TEST_CASE("processes that do not do the same are told so before the first step") {
  if (!can_start()) return;
  const Runs runs, others;
  const auto both = [&](const std::vector<std::string>& first, const std::vector<std::string>& second) {
    const Called called =
        run(line_of(mpirun(1) + first + std::vector<std::string>{":", "-np", "1"} + second));
    CHECK(called.status != 0);
    CHECK(lines_of_program(called.output) == 1);
    CHECK_FALSE(fs::exists(runs.run("same")));
    return called.output;
  };
  const std::vector<std::string> options = runs.options("same");
  const std::string batch = both(options, options + std::vector<std::string>{"--seed", "3"});
  CHECK(batch.find("rank 1 of 2 (") != std::string::npos);
  CHECK(batch.find("it has seed = 3, rank 0 has seed = 0") != std::string::npos);

  write_pictures(others.folder.path(), "train", 121);
  const std::string pictures =
      both(options, options + std::vector<std::string>{"--data", others.folder.path()});
  CHECK(pictures.find("all processes must do the same") != std::string::npos);
  write_pictures(others.folder.path(), "train", 120);
  std::string changed = text_of(others.folder.file("train-images-idx3-ubyte"));
  changed.back() = static_cast<char>(changed.back() + 1);
  fs::create_directory(runs.folder.file("other"));
  for (const char* name : {"train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"})
    fs::copy(runs.folder.file(name), runs.folder.file(std::string("other/") + name));
  write_bytes(runs.folder.file("other/train-images-idx3-ubyte"), changed);
  CHECK(run(line_of(mpirun(3) + options + std::vector<std::string>{"--shards", "4"}))
            .says("4 is not a multiple of the number of processes, 3"));
  CHECK(run(line_of(mpirun(2) + options + std::vector<std::string>{"--bach", "4"}))
            .says("did you mean 'batch'?"));
}

TEST_CASE("a training that diverges, and a full disk of one process, end all with a line that says who") {
  if (!can_start()) return;
  const Runs runs;
  const Called diverged = run(
      line_of(mpirun(2) + runs.options("diverged") + std::vector<std::string>{"--learning-rate", "1e30"}));
  CHECK(diverged.status != 0);
  CAPTURE(diverged.output);
  CHECK(diverged.says("rank 0 of 2 ("));
  CHECK(diverged.says("the loss became"));
  CHECK(lines_of_program(diverged.output) == 1);

  // Of the second process, no file can get longer than 4 KiB; its rows of the bank lie further behind.
  const std::string limited =
      formatted("sh -c \"trap '' XFSZ; ulimit -f 8; exec {}\"", line_of(runs.options("full")));
  const Called full = run(line_of(mpirun(1) + runs.options("full")) + " : -np 1 " + limited);
  CHECK(full.status != 0);
  CAPTURE(full.output);
  CHECK(full.says("rank 1 of 2 ("));
  CHECK(full.says("cannot write"));
  CHECK(full.says("File too large"));
  CHECK(lines_of_program(full.output) == 1);
  for (const auto& entry : fs::directory_iterator(runs.run("full")))
    CHECK(entry.path().extension() != ".tmp");
  CHECK(run(line_of(mpirun(2) + std::vector<std::string>{program(), "--resume", "--run", runs.run("full")}))
            .status == 0);
}

// Where there is a GPU: sums of shards that go through host memory are added in their order, as on CPUs.
TEST_CASE("two processes share a GPU, through host memory") {
  if (!can_start() || !cuda_problem().empty()) return;
  const Runs runs;
  const std::vector<std::string> on_gpu{"--device", "cuda", "--collectives", "mpi"};
  REQUIRE(run(line_of(runs.options("one") + on_gpu)).status == 0);
  const Called called = run(line_of(mpirun(2) + runs.options("two") + on_gpu));
  CHECK(called.status == 0);
  CHECK(checkpoint_of(runs.run("two")) == checkpoint_of(runs.run("one")));
}

TEST_CASE("a program of one process says so where several are started") {
  if (!can_start()) return;
  const Called called = run(line_of(mpirun(2) + std::vector<std::string>{program("la_export"), "--help"}));
  CHECK(called.status == 2);
  CHECK(called.says("la_export: is done by one process; start it without mpirun"));
}

TEST_CASE("several processes embed and evaluate as one does") {
  if (!can_start()) return;
  const Runs runs;
  REQUIRE(run(line_of(runs.options("run"))).status == 0);
  const fs::path out = runs.run("out");
  fs::create_directory(out);
  const std::vector<std::string> machine{"--threads", "1", "--device", "cpu"};
  const auto embed = [&](const std::string& name, const std::vector<std::string>& more) {
    return std::vector<std::string>{program("la_embed"), runs.run("run"), runs.folder.path(), "--out",
                                    out / (name + ".npy")} +
           machine + more;
  };
  const std::vector<std::string> maps{"--layers", "layer1", "--whole"},
      pca{"--layers", "layer2", "--pca", "3"};
  REQUIRE(run(line_of(embed("one", maps))).status == 0);
  REQUIRE(run(line_of(embed("one-pca", pca))).status == 0);
  const std::vector<std::string> project{"--layers", "layer2", "--project", out / "one-pca"};
  REQUIRE(run(line_of(embed("one-projected", project))).status == 0);
  for (const int count : {2, 3}) {  // of two blocks of pictures
    const std::string name = std::to_string(count);
    const Called called = run(line_of(mpirun(count) + embed(name, maps)));
    CHECK(called.status == 0);
    CHECK(called.says("their files"));
    CHECK(run(line_of(mpirun(count) + embed(name + "-pca", pca))).status == 0);
    CHECK(run(line_of(mpirun(count) + embed(name + "-projected", project))).status == 0);
    for (const char* ending :
         {".npy", ".txt", ".layer1.npy", "-pca.layer2.pca.safetensors", "-projected.layer2.npy"})
      CHECK(text_of(out / (name + ending)) == text_of(out / (std::string("one") + ending)));
    const Called again = run(line_of(mpirun(count) + embed(name, maps)));
    CHECK(again.status == 1);
    CHECK(again.says("exists already"));
  }

  if (has_netcdf()) {
    std::string set = "stimulus_id,filename\n";
    std::istringstream names(text_of(out / "one.txt"));
    for (std::string name; std::getline(names, name);)
      set += formatted("{},{}\n", std::count(set.begin(), set.end(), '\n'), csv_field(unescaped(name)));
    write_bytes(out / "set.csv", set);
    const auto assembly = [&](const std::string& folder) {
      fs::create_directory(out / folder);
      return std::vector<std::string>{program("la_embed"), runs.run("run"), runs.folder.path(),   "--stimuli",
                                      out / "set.csv",     "--out",         out / folder / "x.nc"} +
             machine + maps;
    };
    REQUIRE(run(line_of(assembly("alone"))).status == 0);
    REQUIRE(run(line_of(mpirun(2) + assembly("two"))).status == 0);
    CHECK(text_of(out / "alone/x.nc") == text_of(out / "two/x.nc"));
  }

  const auto evaluate = [&](const std::string& name) {
    return std::vector<std::string>{program("la_eval"),
                                    runs.run("run"),
                                    "--data",
                                    runs.folder.path(),
                                    "--out",
                                    out / (name + ".json"),
                                    "--bank",
                                    "--density",
                                    "--local-neighbors",
                                    "2",
                                    "--background-neighbors",
                                    "9",
                                    "--epochs",
                                    "2",
                                    "--batch",
                                    "16"} +
           machine;
  };
  const Called one = run(line_of(evaluate("one"))), two = run(line_of(mpirun(2) + evaluate("two")));
  CHECK(one.status == 0);
  CHECK(two.status == 0);
  // The tables are the same, once; but for the readout, whose sums round otherwise.
  const auto tables = [](const std::string& output) {
    return output.substr(0, output.find("linear readout"));
  };
  CHECK(tables(two.output) == tables(one.output));
  CHECK(two.says("linear readout (all labels"));
  CHECK(fs::exists(out / "two.json"));
}

TEST_CASE("processes that would embed or evaluate differently are told so") {
  if (!can_start()) return;
  const Runs runs;
  REQUIRE(run(line_of(runs.options("run"))).status == 0);
  std::vector<std::string> words =
      mpirun(1) + std::vector<std::string>{program("la_eval"), runs.run("run"), "--data", runs.folder.path(),
                                           "--knn-only"};
  const std::vector<std::string> other{
      ":",          "-np",           "1",  program("la_eval"), runs.run("run"), "--data", runs.folder.path(),
      "--knn-only", "--temperature", "0.2"};
  const Called called = run(line_of(words + other));
  CHECK(called.status != 0);
  CHECK(called.says("it has temperature = 0.2, rank 0 has temperature = 0.07"));

  // Two machines that have other pictures under the same names.
  for (const char* machine : {"a", "b"}) {
    fs::create_directories(runs.run(machine) + "/pictures");
    for (int i = 0; i < 3; ++i)
      write_bytes(formatted("{}/pictures/{}.pgm", runs.run(machine), i),
                  "P5 2 2 255\n" + std::string(4, static_cast<char>(i < 2 ? i : *machine)));
  }
  const auto embed_on = [&](const char* machine) {
    return std::vector<std::string>{
        "-np",           "1",        "--wdir", runs.run(machine), fs::absolute(program("la_embed")),
        runs.run("run"), "pictures", "--out",  runs.run("v.npy"), "--force"};
  };
  std::vector<std::string> start = mpirun(1);
  start.resize(start.size() - 2);  // without the number
  const auto on = [&](const char* first, const char* second) {
    return run(line_of(start + embed_on(first) + std::vector<std::string>{":"} + embed_on(second)));
  };
  CHECK(on("a", "a").status == 0);
  const Called others = on("a", "b");
  CHECK(others.status != 0);
  CHECK(others.says("it has 3 training pictures with checksum"));
}

TEST_CASE("a program needs no MPI where it is started by itself") {
  CHECK_FALSE(run("ldd " + program()).says("libmpi"));
}
