// la_cluster, as a user calls it, on a small folder of pictures: what it writes, and what it refuses.
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "apps/cluster_files.h"
#include "data/decode.h"
#include "tensor/format.h"
#include "tensor/io/csv.h"
#include "tensor/io/npy.h"
#include "tests/called_program.h"
#include "tests/idx_files.h"
#include "tests/own_picture.h"
#include "tests/picture_files.h"
#include "tests/started_program.h"
#include "tests/temporary_folder.h"

using namespace la;
namespace fs = std::filesystem;

namespace {

constexpr int classes = 3, in_class = 8;

/// A picture of one of three kinds, lying stripes, standing stripes and squares, with a little noise.
OwnPicture patterned(int kind, int channels, uint64_t seed) {
  constexpr int side = 24;
  OwnPicture own(side, side, channels, seed);
  for (size_t i = 0; i < own.pixels.size(); ++i) {
    const int y = static_cast<int>(i) / channels / side / 4, x = static_cast<int>(i) / channels % side / 4;
    const int bright = (kind == 0 ? y : kind == 1 ? x : y + x) % 2;
    own.pixels[i] = static_cast<uint8_t>(own.pixels[i] / 8 + 200 * bright);
  }
  return own;
}

/// Pictures of each kind in a folder, and one file that is no picture.
void make_pictures(const std::string& folder) {
  for (int c = 0; c < classes; ++c) {
    const fs::path place = fs::path(folder) / formatted("class {}", c);
    fs::create_directories(place);
    for (int i = 0; i < in_class; ++i) {
      const OwnPicture own = patterned(c, 3, static_cast<uint64_t>(1 + c * in_class + i));
      write_bytes(place / formatted("{}, \"{}\".png", i, c),
                  png_bytes(own.picture));  // names that CSV must quote
    }
  }
  write_bytes(fs::path(folder) / "class 0/bad.jpg", "this is a text");
}

/// A run whose network has seen the pictures for a moment.
void train(const std::string& pictures, const std::string& run) {
  const Called trained = call(formatted(
      "la_train --data {} --network resnet20 --image-size 16 --dim 8 --batch 8 --epochs 1 "
      "--warm-start-epochs 1 --ir-loss softmax --background 0 --clusters 0 --device cpu --threads 2 "
      "--loader-threads 1 --run {}",
      pictures, run));
  REQUIRE_MESSAGE(trained.status == 0, trained.output);
}

struct Run {
  TemporaryFolder folder;
  std::string pictures = folder.file("pictures"), run = folder.file("run");

  Run() {
    make_pictures(pictures);
    train(pictures, run);
  }

  std::string file(const std::string& name) const { return folder.file(name); }
  Called cluster(const std::string& more) const {
    return call(formatted("la_cluster {} {} --device cpu {}", run, pictures, more));
  }
};

struct Row {
  int64_t cluster = 0, rank = 0;
  double distance = 0;

  bool operator==(const Row&) const = default;
};

/// A table as it is written: of each file its row.
std::map<std::string, Row> read_table(const std::string& path) {
  const CsvTable table = read_csv(path);
  REQUIRE(table.columns == std::vector<std::string>{"file", "cluster", "distance", "rank"});
  std::map<std::string, Row> rows;
  for (const auto& row : table.rows) rows[row[0]] = {std::stol(row[1]), std::stol(row[3]), std::stod(row[2])};
  return rows;
}

std::vector<std::string> names_below(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (!entry.is_directory()) names.push_back(entry.path().lexically_relative(folder));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE("names that la_cluster gives") {
  for (const char* name : {"clusters.csv", "centroids.npy", "cluster-07.png", "cluster-123.png"})
    CHECK(is_cluster_file(name));
  for (const char* name : {"cluster-.png", "cluster-7a.png", "cluster-07", "a.png", "cluster-07.png.txt"})
    CHECK_FALSE(is_cluster_file(name));
  CHECK(is_cluster_folder("cluster-07"));
  for (const char* name : {"cluster-", "cluster-07.png", "my cluster-07"})
    CHECK_FALSE(is_cluster_folder(name));
}

TEST_CASE("la_cluster: a table, centroids, sheets and folders") {
  const Run run;
  const Called found = run.cluster(formatted("--clusters 3 --folders {}", run.file("sorted")));
  REQUIRE_MESSAGE(found.status == 0, found.output);
  CHECK_MESSAGE(found.says("class 0/bad.jpg: it is no picture"), found.output);
  CHECK(found.says("24 pictures in 3 clusters"));
  CHECK(found.says("agreement with the labels of 24 pictures"));
  CHECK(found.says("pixels of unit length"));
  const std::string out = run.file("run/clusters-pictures");
  CHECK(found.says(out + ": clusters.csv, centroids.npy and a contact sheet of each cluster"));
  const auto table = read_table(out + "/clusters.csv");
  REQUIRE(table.size() == classes * in_class);  // without the bad one
  CHECK(read_npy(out + "/centroids.npy").shape() == Shape{3, 8});

  // Each class, which the eye tells apart, is a cluster; in each the ranks are those of the distances.
  std::map<int64_t, std::map<int64_t, double>> distances;
  std::map<int64_t, std::set<std::string>> folders;
  for (const auto& [file, row] : table) {
    distances[row.cluster][row.rank] = row.distance;
    folders[row.cluster].insert(fs::path(file).parent_path());
    CHECK(fs::exists(file));
  }
  for (const auto& [cluster, by_rank] : distances) {
    CHECK(folders[cluster].size() == 1);
    CHECK(by_rank.begin()->first == 1);
    CHECK(by_rank.rbegin()->first == std::ssize(by_rank));
    double before = 0;
    for (const auto& [rank, distance] : by_rank) {
      CHECK(distance >= before);
      before = distance;
    }
    const Picture sheet = read_picture(formatted("{}/cluster-0{}.png", out, cluster));
    CHECK(sheet.width == 5 * 168 + 8);
    CHECK(sheet.height == 2 * 192 + 8);  // of 8 pictures
  }

  // The links lead to the pictures, and stand in the order of the ranks.
  const auto names = names_below(run.file("sorted"));
  CHECK(names.size() == table.size());
  for (const auto& [file, row] : table) {
    const std::string name =
        formatted("cluster-0{}/000{}-{}", row.cluster, row.rank, fs::path(file).filename().string());
    const std::string link = run.file("sorted/" + name);
    CAPTURE(link);
    REQUIRE(fs::is_symlink(link));
    CHECK(fs::equivalent(link, file));
  }

  // The same seed repeats all; nothing is overwritten without being asked; what else is there stays.
  const std::string before = read_file(out + "/clusters.csv");
  const Called again = run.cluster("--clusters 3");
  CHECK(again.status == 1);
  CHECK(again.says(
      "clusters-pictures: is not empty; --force overwrites what an earlier call has written there"));
  CHECK(run.cluster(formatted("--clusters 3 --out {} --folders {}", run.file("other"), run.file("sorted")))
            .status == 1);
  CHECK_FALSE(fs::exists(run.file("other")));
  write_bytes(run.file("sorted/mine.txt"), "");
  write_bytes(out + "/mine.png", "");
  REQUIRE(run.cluster("--clusters 3 --force").status == 0);
  CHECK(read_file(out + "/clusters.csv") == before);
  const Called fewer = run.cluster(
      formatted("--clusters 2 --sheet-pictures 3 --force --copy --folders {}", run.file("sorted")));
  REQUIRE_MESSAGE(fewer.status == 0, fewer.output);
  CHECK(names_below(out) == std::vector<std::string>{"centroids.npy", "cluster-00.png", "cluster-01.png",
                                                     "clusters.csv", "mine.png"});
  CHECK(read_picture(out + "/cluster-00.png").height == 192 + 8);
  CHECK(fs::exists(run.file("sorted/mine.txt")));
  CHECK_FALSE(fs::exists(run.file("sorted/cluster-02")));
  for (const auto& [file, row] : read_table(out + "/clusters.csv")) {
    const std::string copy = run.file(
        formatted("sorted/cluster-0{}/{:04}-{}", row.cluster, row.rank, fs::path(file).filename().string()));
    REQUIRE(fs::is_regular_file(fs::symlink_status(copy)));
    CHECK(read_file(copy) == read_file(file));
  }
}

TEST_CASE("la_cluster: new pictures are put into old clusters") {
  const Run run;
  REQUIRE(run.cluster("--clusters 4 --out " + run.file("old")).status == 0);
  const std::string assign = formatted("--assign {} --sheet-pictures 0", run.file("old/centroids.npy"));
  const Called same = run.cluster(assign + " --out " + run.file("new"));
  REQUIRE_MESSAGE(same.status == 0, same.output);
  CHECK(read_table(run.file("new/clusters.csv")) == read_table(run.file("old/clusters.csv")));
  CHECK(names_below(run.file("new")) == std::vector<std::string>{"centroids.npy", "clusters.csv"});

  // Some of them alone, by a relative path, come to where they were; most clusters get none.
  const std::string program = fs::absolute(std::getenv("LA_PROGRAMS") ? std::getenv("LA_PROGRAMS") : ".");
  const std::string line = formatted(
      "cd {} && {}/la_cluster run 'pictures/class 1' --assign old/centroids.npy --out some --folders sorted "
      "--device cpu > log 2>&1",
      run.folder.path(), program);
  REQUIRE_MESSAGE(std::system(line.c_str()) == 0, read_file(run.file("log")));
  const auto old_rows = read_table(run.file("old/clusters.csv")),
             rows = read_table(run.file("some/clusters.csv"));
  CHECK(rows.size() == in_class);
  for (const auto& [file, row] : rows) CHECK(old_rows.at(run.file(file)).cluster == row.cluster);
  const auto links = names_below(run.file("sorted"));
  CHECK(links.size() == in_class);
  for (const std::string& link : links) CHECK(fs::exists(run.file("sorted/" + link)));

  const auto refused = [&](const Tensor& centroids, const std::string& says) {
    NpyWriter file(run.file("bad.npy"), centroids.shape().row());
    file.append(centroids);
    file.finish();
    const Called called =
        run.cluster(formatted("--assign {} --out {}", run.file("bad.npy"), run.file("none")));
    CHECK(called.status == 1);
    CHECK_MESSAGE(called.says(says), called.output);
    CHECK(std::count(called.output.begin(), called.output.end(), '\n') == 1);
    CHECK_FALSE(fs::exists(run.file("none")));
  };
  refused(Tensor::zeros({2, 9}), "bad.npy: has shape [2, 9], expected centroids [m, 8]");
  refused(Tensor::zeros({8}), "bad.npy: has shape [8], expected centroids [m, 8]");
  refused(Tensor::full({2, 8}, NAN), "bad.npy: has values that are not finite");
}

TEST_CASE("la_cluster: the number of clusters is chosen, and pictures that are no files become some") {
  const TemporaryFolder work;
  constexpr int64_t count = 60, side = 24;
  std::vector<uint8_t> pixels, labels;
  for (int i = 0; i < count; ++i) {
    const OwnPicture own = patterned(i % classes, 1, static_cast<uint64_t>(i));
    pixels.insert(pixels.end(), own.pixels.begin(), own.pixels.end());
    labels.push_back(static_cast<uint8_t>(i % classes));
  }
  const std::string gray = work.file("gray"), run = work.file("run");
  fs::create_directory(gray);
  write_idx(gray, "train", side, side, pixels, labels);
  train(gray, run);
  const Called chosen =
      call(formatted("la_cluster {} {} --device cpu --most-clusters 9 --out {} --folders {}", run, gray,
                     work.file("out"), work.file("sorted")));
  REQUIRE_MESSAGE(chosen.status == 0, chosen.output);
  CHECK_MESSAGE(chosen.says("clusters, tried 3 times on two halves of 30 pictures"), chosen.output);
  CHECK_MESSAGE(chosen.says("chosen: 3 clusters, the most stable"), chosen.output);
  for (const auto& [name, row] : read_table(work.file("out/clusters.csv"))) {
    const Picture picture = read_picture(
        work.file(formatted("sorted/cluster-0{}/{:04}-{}.png", row.cluster, row.rank, name)), {.gray = true});
    CHECK(picture.width == side);
    const auto own = pixels.begin() + std::stoll(name) * side * side;
    CHECK(std::equal(picture.pixels, picture.pixels + side * side, own));
  }
}

TEST_CASE("la_cluster: wrong calls are one line, and leave nothing") {
  const Run run;
  const std::string before = joined(names_below(run.folder.path()), "\n");
  struct Case {
    std::string more;
    int status;
    std::string says;
  };
  for (const Case& c :
       {Case{"--clusters 30", 1, "--clusters 30: expected at most 25, as many as there are pictures"},
        Case{"--clusters 2 --assign x.npy", 2, "--clusters finds clusters, --assign takes those"},
        Case{"--copy", 2, "--copy needs --folders DIR"},
        Case{"--clusters -1", 2, "--clusters: must be at least 0, got -1"},
        Case{"--assign " + run.file("absent.npy"), 1, "absent.npy"},
        Case{"--out " + run.file("no/where"), 1, "cannot make the folder"},
        Case{"--out " + run.file("pictures/sorted"), 1,
             "expected a folder that is neither in that of the pictures"},
        Case{"--folders " + run.folder.path(), 1, "nor around it"},
        Case{formatted("--out {} --folders {}/", run.file("x"), run.file("x")), 2,
             "another folder than --out"},
        Case{"--folders " + run.file("run"), 1, "run: is not empty; --force"}}) {
    CAPTURE(c.more);
    const Called called = run.cluster(c.more);
    CHECK(called.status == c.status);
    CHECK_MESSAGE(called.says(c.says), called.output);
    CHECK(std::count(called.output.begin(), called.output.end(), '\n') == 1);
  }
  fs::create_directory(run.file("empty"));
  CHECK(call(formatted("la_cluster {} {}", run.run, run.file("empty"))).says("empty: has no pictures"));
  setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
  CHECK(run.cluster("").says("is done by one process"));
  unsetenv("OMPI_COMM_WORLD_SIZE");
  fs::remove(run.file("empty"));
  CHECK(joined(names_below(run.folder.path()), "\n") == before);
}

TEST_CASE("la_cluster: one picture is one cluster, and equal ones are not divided") {
  const Run run;
  const std::string few = run.file("few");
  fs::create_directory(few);
  const auto cluster = [&](const std::string& more) {
    return call(
        formatted("la_cluster {} {} --device cpu --out {} --force {}", run.run, few, run.file("out"), more));
  };
  const std::string longest = std::string(251, 'x') + ".png";  // 255 bytes
  fs::copy_file(run.pictures + "/class 1/0, \"1\".png", few + "/" + longest);
  const Called one = cluster("--folders " + run.file("sorted"));
  CHECK_MESSAGE(one.status == 0, one.output);
  CHECK(one.says("chosen: 1 cluster; to try others takes at least 8 pictures"));
  CHECK(names_below(run.file("sorted")) == std::vector{"cluster-00/0001-" + longest.substr(5)});
  for (int i = 1; i < 12; ++i) fs::copy_file(few + "/" + longest, formatted("{}/{}.png", few, i));
  const Called equal = cluster("");
  CHECK_MESSAGE(equal.status == 0, equal.output);
  CHECK_MESSAGE(equal.says("12 pictures in 1 cluster\n"), equal.output);
  const Called divided = cluster("--clusters 4");
  CHECK_MESSAGE(divided.status == 0, divided.output);
  CHECK_MESSAGE(divided.says("3 clusters are without a picture"), divided.output);
  CHECK(names_below(run.file("out")) ==
        std::vector<std::string>{"centroids.npy", "cluster-00.png", "clusters.csv"});
}

TEST_CASE("la_cluster: an interruption leaves no half of its work") {
  const Run run;
  const char* folder = std::getenv("LA_PROGRAMS");
  WatchedFolders watched;
  watched.add(run.folder.path());
  const pid_t child =
      start_program({std::string(folder ? folder : ".") + "/la_cluster", run.run, run.pictures, "--clusters",
                     "3", "--device", "cpu", "--out", run.file("out"), "--folders", run.file("sorted")});
  watched.let_happen(child, 1);  // it has made its first folder
  kill(child, SIGINT);
  const int status = wait_for(child);
  // It ends at its next step, unless it was done already.
  if (WEXITSTATUS(status) == 0) return;
  CHECK(WEXITSTATUS(status) == 128 + SIGINT);
  CHECK_FALSE(fs::exists(run.file("out")));
  CHECK_FALSE(fs::exists(run.file("sorted")));
}
