#include "apps/run/run_folder.h"

#include <doctest/doctest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "apps/run/interrupt.h"
#include "apps/run/progress.h"
#include "tests/temporary_folder.h"

namespace la {
namespace {

/// Makes a folder the current one.
class InFolder {
 public:
  explicit InFolder(const std::string& path) : before_(std::filesystem::current_path()) {
    std::filesystem::current_path(path);
  }
  ~InFolder() { std::filesystem::current_path(before_); }

 private:
  std::filesystem::path before_;
};

RunFolder create(const std::string& path) { return RunFolder::create(path, "pictures-resnet20"); }

std::string metrics_after(const RunFolder& run, int epoch, int64_t step, int64_t damaged = 0) {
  CHECK(run.truncate_metrics(epoch, step) == damaged);
  return read_file(run.metrics_path());
}

}  // namespace

TEST_CASE("run folder: a named one is made, and never reused") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a/b");
  {
    const RunFolder run = create(path + "/");
    run.write_config("dim = 3\n");
    run.log("one");
    run.log("two");
  }
  CHECK(read_file(path + "/config.toml") == "dim = 3\n");
  CHECK(read_file(path + "/log.txt") == "one\ntwo\n");
  CHECK_THROWS_WITH_AS(create(path), doctest::Contains("exists already"), Error);
  CHECK(RunFolder::open(path).path() == path);
  CHECK_THROWS_WITH_AS(RunFolder::open(folder.file("absent")), doctest::Contains("no run folder"), Error);
}

TEST_CASE("run folder: the chosen name tells data and network, and a number that is free") {
  const TemporaryFolder folder;
  const InFolder inside(folder.path());
  const auto path_for = [](const std::string& data) {
    return RunFolder::create("", run_name(data, "resnet20")).path();
  };
  CHECK(path_for("/data sets/fashion-mnist/") == "runs/fashion-mnist-resnet20-1");
  CHECK(path_for("fashion-mnist") == "runs/fashion-mnist-resnet20-2");
  CHECK(path_for("my photos.zip") == "runs/my-photos.zip-resnet20-1");
  CHECK(path_for("/") == "runs/-resnet20-1");
}

TEST_CASE("run folder: one that was left behind before it had a configuration is taken over") {
  const TemporaryFolder folder;
  const std::string path = folder.file("run");
  std::filesystem::create_directory(path);
  for (const char* name : {"lock", "pictures-train.txt", "config.toml.1.tmp"})
    write_bytes(path + "/" + name, "");
  CHECK(create(path).path() == path);
  write_bytes(path + "/mine.txt", "");
  CHECK_THROWS_WITH_AS(create(path), doctest::Contains("exists already"), Error);
}

TEST_CASE("run folder: only one program trains in it") {
  const TemporaryFolder folder;
  {
    const RunFolder run = create(folder.file("run"));
    CHECK_THROWS_WITH_AS(RunFolder::open(run.path()), doctest::Contains("another program"), Error);
  }
  CHECK_NOTHROW(RunFolder::open(folder.file("run")));
}

TEST_CASE("run folder: metrics are lines of JSON, and those after a checkpoint are dropped") {
  const TemporaryFolder folder;
  const RunFolder run = create(folder.file("run"));
  CHECK(run.truncate_metrics(0, -1) == 0);  // there are none yet
  run.append_metrics({{"epoch", 1}, {"step", 0}, {"loss", 2.5}});
  run.append_metrics({{"epoch", 1}, {"step", 20}, {"loss", std::nan("")}});
  run.append_metrics({{"epoch", 2}, {"step", 5}});
  const std::string first = "{\"epoch\":1,\"step\":0,\"loss\":2.5}\n";
  const std::string second = "{\"epoch\":1,\"step\":20,\"loss\":null}\n";
  const std::string third = "{\"epoch\":2,\"step\":5}\n";
  CHECK(read_file(run.metrics_path()) == first + second + third);

  SUBCASE("none is after") { CHECK(metrics_after(run, 2, 5) == first + second + third); }
  SUBCASE("a later epoch with a smaller step is after") {
    CHECK(metrics_after(run, 1, 20) == first + second);
  }
  SUBCASE("a later step is after") { CHECK(metrics_after(run, 1, 19) == first); }
  SUBCASE("all are after the start") { CHECK(metrics_after(run, 0, -1) == ""); }
  SUBCASE("half a line and lines that are no measurement are dropped too") {
    append_line(run.metrics_path(), "[1]");
    append_line(run.metrics_path(), "{\"loss\":1}");
    append_line(run.metrics_path(), "");
    write_bytes(run.metrics_path(), read_file(run.metrics_path()) + "{\"epoch\":1,\"step\":1}");
    CHECK(metrics_after(run, 2, 5, 3) == first + second + third);
  }
  const std::string before = read_file(run.metrics_path());
  run.append_metrics({{"epoch", 7}, {"step", 7}});
  CHECK(read_file(run.metrics_path()) == before + "{\"epoch\":7,\"step\":7}\n");
}

TEST_CASE("progress: a terminal shows one line that fits, and nothing of it in the end") {
  int master = -1, slave = -1;
  winsize size{};
  size.ws_col = 40;
  REQUIRE(openpty(&master, &slave, nullptr, nullptr, &size) == 0);
  setenv("TERM", "xterm", 1);
  {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> terminal(fdopen(slave, "w"), std::fclose);
    double time = 0;
    Progress progress(terminal.get(), {}, [&] { return time; });
    progress.update(std::string(100, 'a'));
    progress.message("a \x1b[31mmessage");
    time = 1;
    progress.update("b");
  }
  std::string seen(1000, '\0');
  seen.resize(static_cast<size_t>(std::max<ssize_t>(0, read(master, seen.data(), seen.size()))));
  close(master);
  const std::string erase = "\r\x1b[K";
  CHECK(seen == erase + std::string(39, 'a') + erase + "a \\x1b[31mmessage\r\n" + erase + "b" + erase);
}

TEST_CASE("progress: durations are for people") {
  CHECK(duration_text(0.9) == "0s");
  CHECK(duration_text(59) == "59s");
  CHECK(duration_text(252) == "4m 12s");
  CHECK(duration_text(3600) == "1h 00m");
  CHECK(duration_text(3780) == "1h 03m");
  CHECK(duration_text(26 * 3600.0) == "1d 02h");
  CHECK(duration_text(-1) == "?");
  CHECK(duration_text(INFINITY) == "?");
}

TEST_CASE("progress: a rate is exact while it is steady, and follows a change") {
  SmoothedRate rate;
  CHECK(rate.value() == 0);
  for (int i = 0; i < 5; ++i) rate.add(128, 0.25);
  CHECK(rate.value() == doctest::Approx(512));
  for (int i = 0; i < 400; ++i) rate.add(64, 0.25);  // 100 seconds: the past counts e^-10
  CHECK(rate.value() == doctest::Approx(256).epsilon(1e-4));
}

TEST_CASE("progress: in a file a plain line now and then, at the end of an epoch, and every message") {
  const TemporaryFolder folder;
  std::FILE* file = std::fopen(folder.file("out").c_str(), "w");
  REQUIRE(file != nullptr);
  std::vector<std::string> log;
  double now = 1000;
  {
    Progress progress(
        file, [&](std::string_view line) { log.emplace_back(line); }, [&] { return now; });
    ProgressState state{.phase = "LA", .epoch = 2, .epochs = 9, .steps = 468, .seconds_left = 252};
    for (state.step = 1; state.step <= 100; ++state.step, ++now) progress.update(state);
    progress.message("hello");
    state.loss = 0.125;
    progress.epoch_end(state);
  }
  std::fclose(file);
  REQUIRE(log.size() == 5);  // after 30, 60 and 90 seconds, and the last two
  CHECK(log[0].find("LA epoch 2/9 step 31/468") == 0);
  CHECK(log[1].find("step 61/468") != std::string::npos);
  CHECK(log[3] == "hello");
  CHECK(log[4].find("loss 0.1250") != std::string::npos);
  CHECK(log[4].find("4m 12s left") != std::string::npos);
  std::string expected;
  for (const std::string& line : log) expected += line + "\n";
  CHECK(read_file(folder.file("out")) == expected);
}

TEST_CASE("progress: work on pictures tells how many, how fast and how long") {
  CHECK(work_text("pictures embedded", 512, 60000, 0.5) == "pictures embedded 512/60000, 1024/s, 58s left");
  CHECK(work_text("k-means iterations", 3, 20, 9) == "k-means iterations 3/20, 0.33/s, 51s left");
}

TEST_CASE("progress: the rate of one kind of work is not that of the work before") {
  const TemporaryFolder folder;
  std::FILE* file = std::fopen(folder.file("out").c_str(), "w");
  REQUIRE(file != nullptr);
  double now = 1000;
  {
    Progress progress(file, {}, [&] { return now; });
    const ProgressCallback watch = progress.callback();
    for (int i = 1; i <= 4; ++i, now += 10) watch("pictures embedded", i * 100, 400);
    for (int i = 1; i <= 4; ++i, now += 20) watch("pictures embedded", i * 100, 400);  // again, half as fast
    for (int i = 1; i <= 4; ++i, now += 50) watch("k-means iterations", i, 4);
  }
  std::fclose(file);
  const std::string shown = read_file(folder.file("out"));
  CAPTURE(shown);
  CHECK(shown.find("pictures embedded 400/400, 13/s, 0s left") !=
        std::string::npos);  // 30 seconds for 4 calls
  CHECK(shown.find("k-means iterations 3/4, 0.025/s, 40s left") != std::string::npos);
}

TEST_CASE("interrupt: the first signal is remembered, the second ends the program") {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    catch_interrupts();
    if (interrupted()) _exit(1);
    std::raise(SIGTERM);
    if (!interrupted()) _exit(2);
    std::raise(SIGINT);
    _exit(3);  // must not be reached
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGINT);
}

}  // namespace la
