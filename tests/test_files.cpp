// Writing files: whole or not at all, also by way of links, to pipes and to devices; and the signals that ask
// a program to end.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <set>
#include <thread>

#include "apps/run/interrupt.h"
#include "tensor/io/files.h"
#include "tensor/io/npy.h"
#include "tensor/io/staged_folder.h"
#include "tests/temporary_folder.h"

using namespace la;

namespace {

namespace fs = std::filesystem;

}  // namespace

TEST_CASE("a file is written to where its links lead") {
  const TemporaryFolder folder;
  fs::create_directory(folder.file("disk"));
  fs::create_symlink("disk/b", folder.file("a"));
  fs::create_symlink("c", folder.file("disk/b"));
  for (const char* text : {"first", "second"}) {  // first there is no disk/c
    write_text_file(folder.file("a"), text);
    CHECK(fs::is_symlink(folder.file("a")));
    CHECK(fs::is_symlink(folder.file("disk/b")));
    CHECK(fs::is_regular_file(fs::symlink_status(folder.file("disk/c"))));
    CHECK(read_file(folder.file("disk/c")) == text);
  }
  fs::create_symlink("round", folder.file("round"));
  CHECK_THROWS_AS(AtomicFile(folder.file("round")), Error);
  CHECK(folder.list() == std::vector<std::string>{"a", "disk", "round"});
}

TEST_CASE("a pipe gets the whole file, also one whose beginning is written last") {
  const TemporaryFolder folder;
  const std::string pipe = folder.file("pipe");
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  std::string received;
  std::thread reader([&] { received = read_file(pipe); });
  NpyWriter writer(pipe, {2});
  for (int i = 0; i < 3; ++i) writer.append(Tensor::zeros({10000, 2}));
  writer.finish();
  reader.join();
  CHECK(fs::is_fifo(pipe));
  write_bytes(folder.file("v.npy"), received);
  CHECK(read_npy(folder.file("v.npy")).shape() == Shape{30000, 2});
}

TEST_CASE("a device is written to, and stays one") {
  const TemporaryFolder folder;  // a null device of our own: a fault here must not harm the machine's
  const std::string null = folder.file("null");
  if (mknod(null.c_str(), S_IFCHR | 0600, makedev(1, 3)) != 0) return;  // not everybody may
  check_output(null);
  write_text_file(null, "nothing");
  CHECK(fs::is_character_file(null));
  CHECK(folder.list() == std::vector<std::string>{"null"});
}

TEST_CASE("what could not be written is told before any work") {
  const TemporaryFolder folder;
  check_output(folder.file("new"));
  CHECK(folder.list().empty());
  CHECK_THROWS_WITH_AS(check_output(folder.path()), doctest::Contains("it is a folder"), Error);
  CHECK_THROWS_WITH_AS(check_output(folder.file("no/new")), doctest::Contains("there is no folder"), Error);
  CHECK_THROWS_AS(AtomicFile(folder.path()), Error);
}

TEST_CASE("a staged folder is filled at once, or not at all") {
  const TemporaryFolder folder;
  const std::string results = folder.file("results");
  CHECK_FALSE(StagedFolder::is_occupied(results));
  {
    const StagedFolder abandoned(results);
    write_text_file(abandoned.path("a"), "half");
    CHECK_FALSE(StagedFolder::is_occupied(results));  // what is staged is not there yet
  }
  CHECK(folder.list().empty());

  const auto fill = [&](const char* text) {
    StagedFolder staged(results);
    make_folders(staged.path("group"));
    write_text_file(staged.path("group/") + text, text);
    write_text_file(staged.path("a"), text);
    staged.commit([](const std::string& name) { return name.starts_with("old"); });
  };
  fill("first");
  CHECK(StagedFolder::is_occupied(results));
  write_text_file(results + "/old-1", "");
  write_text_file(results + "/mine", "");
  fill("second");
  std::set<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(results))
    names.insert(entry.path().lexically_relative(results));
  CHECK(names == std::set<std::string>{"a", "group", "group/second", "mine"});
  CHECK(read_file(results + "/a") == "second");
  { const StagedFolder abandoned(results); }
  CHECK(fs::exists(results + "/mine"));  // it was there before

  CHECK(StagedFolder::is_occupied(results + "/a"));
  CHECK_THROWS_WITH_AS(StagedFolder(folder.file("no/results")), doctest::Contains("cannot make the folder"),
                       Error);
  CHECK_THROWS_AS(StagedFolder(results + "/a"), Error);
}

TEST_CASE("a signal that was ignored at the start is ignored, another is caught once") {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGHUP, SIG_IGN);
    std::signal(SIGTERM, SIG_DFL);
    catch_interrupts();
    raise(SIGHUP);
    const bool ignored = interrupted() == 0;
    raise(SIGTERM);
    const bool caught = interrupted() == SIGTERM;
    raise(SIGHUP);  // still ignored
    if (!ignored || !caught) _exit(1);
    raise(SIGTERM);  // the second ends the program
    _exit(2);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGTERM);
}
