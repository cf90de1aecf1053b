// Folders of pictures: what is found in them, their labels, lists, and what happens to files that
// are no pictures.
#include <doctest/doctest.h>

#include <sys/stat.h>

#include <filesystem>
#include <set>

#include "data/loader.h"
#include "data/picture_list.h"
#include "evaluation/knn.h"
#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tensor/io/seal.h"
#include "tests/own_picture.h"
#include "tests/picture_files.h"
#include "tests/temporary_folder.h"

using namespace la;

namespace {

namespace fs = std::filesystem;

void make_file(const std::string& path, const std::string& bytes) {
  fs::create_directories(fs::path(path).parent_path());
  write_bytes(path, bytes);
}

void make_picture(const std::string& path, uint64_t seed) {
  make_file(path, png_bytes(OwnPicture(9, 12, 3, seed).picture));
}

/// One that no other is equal to.
void make_picture(const std::string& path) {
  static uint64_t seed = 1000;
  make_picture(path, ++seed);
}

using Files = std::vector<std::pair<std::string, int>>;  // path and label

Files files_of(const PictureList& list) {
  Files files;
  for (int64_t i = 0; i < list.size(); ++i)
    files.emplace_back(list.path(i), list.labels[static_cast<size_t>(i)]);
  return files;
}

/// A folder with so many pictures, "00.png" and on, of which those named are texts.
void make_folder(const TemporaryFolder& folder, int pictures, const std::set<int>& bad) {
  for (int i = 0; i < pictures; ++i) {
    const std::string path = folder.file(formatted("{:02}.png", i));
    bad.contains(i) ? make_file(path, "no picture") : make_picture(path, static_cast<uint64_t>(i));
  }
}

}  // namespace

TEST_CASE("pictures are found at any depth, in order, with the folders of the root as classes") {
  const TemporaryFolder folder;
  for (const char* name : {"b/2.jpg", "b/10.JPG", "a/deep/er/x.png", "a/y z \xc3\xa4.gif", "top.png",
                           "b/.hidden.png", ".git/c.png", "a/.d/e.png"})
    make_file(folder.file(name), "");
  make_file(folder.file("b/notes.txt"), "");
  make_file(folder.file("texts/only.txt"), "");
  fs::create_directories(folder.file("empty/too"));
  const PictureList list = list_pictures(folder.path());
  CHECK(list.classes == std::vector<std::string>{"a", "b"});
  CHECK(files_of(list) == Files{{"a/deep/er/x.png", 0},
                                {"a/y z \xc3\xa4.gif", 0},
                                {"b/10.JPG", 1},
                                {"b/2.jpg", 1},
                                {"top.png", -1}});
  CHECK(list.has_labels());
}

TEST_CASE("one folder of pictures is no class") {
  const TemporaryFolder folder;
  make_file(folder.file("all/1.png"), "");
  make_file(folder.file("2.png"), "");
  PictureList list = list_pictures(folder.path()), part = list;
  drop_single_class(part, {"all", "other"});
  CHECK(part.classes == std::vector<std::string>{"all"});
  CHECK(part.has_labels());
  drop_single_class(list, {"other"});
  CHECK(list.classes.empty());
  CHECK_FALSE(list.has_labels());
  CHECK(files_of(list) == Files{{"2.png", -1}, {"all/1.png", -1}});
}

TEST_CASE("one picture is a list of one, another file is none") {
  const TemporaryFolder folder;
  make_file(folder.file("a b.png"), "");
  make_file(folder.file("notes.txt"), "");
  const PictureList list = list_pictures(folder.file("a b.png"));
  CHECK(list.root == folder.path());
  CHECK(files_of(list) == Files{{"a b.png", -1}});
  CHECK_THROWS_WITH_AS(list_pictures(folder.file("notes.txt")),
                       doctest::Contains("neither a folder nor a picture"), Error);
}

TEST_CASE("links are followed, those that lead back or nowhere too") {
  const TemporaryFolder folder, elsewhere;
  make_file(folder.file("a/1.png"), "");
  make_file(elsewhere.file("2.png"), "");
  fs::create_symlink(elsewhere.path(), folder.file("b"));
  fs::create_symlink(folder.file("a/1.png"), folder.file("a/3.png"));
  fs::create_symlink(folder.path(), folder.file("a/back"));
  fs::create_symlink("nowhere", folder.file("a/none"));
  CHECK(files_of(list_pictures(folder.path())) == Files{{"a/1.png", 0}, {"a/3.png", 0}, {"b/2.png", 1}});
  CHECK(list_pictures(folder.path()).left_out.text() ==
        "1 file: 1 without ending (no names of pictures); 1 link to a folder that is read without it");
  CHECK(count_pictures(folder.path(), 100) == 3);
  CHECK(count_pictures(folder.path(), 2) == 2);
  CHECK(count_pictures(folder.file("absent"), 2) == 0);
}

namespace {

/// So many folders with one picture each, and in each links to all the others.
void make_clique(const TemporaryFolder& folder, int count) {
  const auto name = [&](int i) { return formatted("{:02}", i); };
  for (int i = 0; i < count; ++i) {
    make_file(folder.file(name(i) + "/1.png"), "");
    for (int other = 0; other < count; ++other)
      if (other != i)
        fs::create_symlink(folder.file(name(other)), folder.file(name(i) + "/to-" + name(other)));
  }
}

}  // namespace

TEST_CASE("folders that are linked to one another are read once each") {
  const TemporaryFolder inside, elsewhere;
  for (const TemporaryFolder* folder : {&inside, &elsewhere}) make_clique(*folder, 12);
  REQUIRE(count_pictures(inside.path(), 1000) == 12);
  const PictureList list = list_pictures(inside.path());
  CHECK(list.classes.size() == 12);
  CHECK(list.path(11) == "11/1.png");
  CHECK(list.left_out.text() == "132 links to folders that are read without them");

  const TemporaryFolder folder;
  fs::create_symlink(elsewhere.file("05"), folder.file("linked"));
  REQUIRE(count_pictures(folder.path(), 1000) == 12);
  CHECK(list_pictures(folder.path()).classes == std::vector<std::string>{"linked"});
}

TEST_CASE("a folder is read under its own name, whatever links lead to it") {
  const TemporaryFolder folder, elsewhere;
  make_file(folder.file("m/deep/1.png"), "");
  make_file(elsewhere.file("2.png"), "");
  fs::create_symlink(folder.file("m/deep"), folder.file("a"));
  fs::create_symlink(elsewhere.path(), folder.file("b"));
  fs::create_symlink(elsewhere.path(), folder.file("z"));
  const PictureList list = list_pictures(folder.path());
  CHECK(files_of(list) == Files{{"b/2.png", 0}, {"m/deep/1.png", 1}});
  CHECK(list.classes == std::vector<std::string>{"b", "m"});
  CHECK(list.left_out.text() == "2 links to folders that are read without them");
}

TEST_CASE("a list is the same after it was text, with names of any kind") {
  PictureList list;
  list.root = "/photos\nof \\n mine";
  list.classes = {"a b", "line\nline", "class x"};
  list.add("class 7.png", 2);
  list.add("a\\b\r\n.png", -1);
  list.add(" 0.png", 0);
  const std::string text = to_text(list);
  const PictureList back = parse_picture_list(text, "list");
  CHECK(back.root == list.root);
  CHECK(back.classes == list.classes);
  CHECK(files_of(back) == files_of(list));
  for (const std::string& broken :
       {std::string(), text.substr(0, text.size() - 1), text + "9 a.png\n", text + "x\n"})
    CHECK_THROWS_AS(parse_picture_list(broken, "list"), Error);
  for (const char* no_label : {"x", "-2", "", "0x", "1.0", "+1", "99999999999"})
    CHECK_THROWS_WITH_AS(parse_picture_list(text + no_label + " a.png\n", "list"),
                         doctest::Contains("list: line 8: expected a label and a path"), Error);

  list.thin_out(2);
  CHECK(files_of(list) == Files{{"class 7.png", 2}, {"a\\b\r\n.png", -1}});
}

TEST_CASE("train and val of ImageNet share their classes by name") {
  const TemporaryFolder folder;
  for (const char* name : {"train/n2/a.png", "train/n3/b.png", "val/n1/c.png", "val/n3/d.png"})
    make_picture(folder.file(name));
  const DataSource data = open_data({.path = folder.path()});
  REQUIRE(data.train->size() == 2);
  REQUIRE(data.test->size() == 2);
  CHECK(data.train->label(0) == 1);
  CHECK(data.train->label(1) == 2);
  CHECK(data.test->label(0) == 0);
  CHECK(data.test->label(1) == 2);
  CHECK(data.train->description() == "2 picture files, 3 classes");

  const DataSource other = open_data({.path = folder.file("train"), .val = folder.file("val/n1")});
  CHECK(other.train->size() == 2);
  CHECK(other.test->size() == 1);
  CHECK_FALSE(other.test->has_labels());
  CHECK_THROWS_AS(open_data({.path = folder.path(), .val = folder.file("none")}), Error);
}

TEST_CASE("the lists of Places205 are read as they come") {
  const TemporaryFolder folder;
  make_picture(folder.file("images256/a/abbey/1 2.png"));
  make_picture(folder.file("images256/z/zoo/3.png"));
  make_picture(folder.file("images256/a/abbey/4.png"));
  make_file(folder.file("trainvalsplit_places205/train_places205.csv"),
            "z/zoo/3.png 204\r\na/abbey/1 2.png 0\r\n");
  make_file(folder.file("trainvalsplit_places205/val_places205.csv"), "a/abbey/4.png,0\n");
  const DataSource data = open_data({.path = folder.path()});
  REQUIRE(data.train->size() == 2);
  CHECK(data.train->label(0) == 204);
  CHECK(data.train->label(1) == 0);
  CHECK(data.test->label(0) == 0);
  CHECK(data.train->picture(1).width == 12);

  make_file(folder.file("trainvalsplit_places205/val_places205.csv"), "a/abbey/1.png 0\nzoo\n");
  CHECK_THROWS_WITH_AS(open_data({.path = folder.path()}), doctest::Contains("val_places205.csv: line 2"),
                       Error);
}

TEST_CASE("a list of an earlier run is used instead of the folder") {
  const TemporaryFolder folder, run;
  make_folder(folder, 3, {});
  write_bytes(run.file("pictures-train.txt"), sealed(open_data({.path = folder.path()}).train->listing()));
  make_picture(folder.file("000.png"));  // would come first
  CHECK(open_data({.path = folder.path()}).train->size() == 4);
  const DataSource data = open_data({.path = folder.path(), .listings = run.path()});
  REQUIRE(data.train->size() == 3);
  CHECK(data.train->name(0) == folder.file("00.png"));

  std::string changed = read_file(run.file("pictures-train.txt"));
  changed.replace(changed.find("01.png"), 2, "00");
  write_bytes(run.file("pictures-train.txt"), changed);
  CHECK_THROWS_WITH_AS(open_data({.path = folder.path(), .listings = run.path()}),
                       doctest::Contains("pictures-train.txt: is not as the run has written it"), Error);
}

TEST_CASE("the list of an earlier run finds its files where they have moved to") {
  const TemporaryFolder folder, run;
  for (const char* name : {"old/train/a/1.png", "old/train/b/2.png", "old/val/a/3.png"})
    make_picture(folder.file(name));
  const std::string old = folder.file("old"), moved = folder.file("moved");
  const DataSource before = open_data({.path = old});
  write_bytes(run.file("pictures-train.txt"), sealed(before.train->listing()));
  write_bytes(run.file("pictures-test.txt"), sealed(before.test->listing()));
  fs::rename(old, moved);
  make_picture(moved + "/train/a/0.png");  // not of the run
  const DataSource data = open_data({.path = moved, .listings = run.path()});
  CHECK(data.train->name(0) == moved + "/train/a/1.png");
  CHECK(data.train->size() == 2);
  CHECK(data.test->name(0) == moved + "/val/a/3.png");
  CHECK(data.test->label(0) == 0);
  CHECK(open_data({.path = moved + "/train", .val = moved + "/val", .listings = run.path()}).test->name(0) ==
        moved + "/val/a/3.png");

  const TemporaryFolder other;
  make_picture(other.file("train/1.png"));
  CHECK_THROWS_WITH_AS(open_data({.path = other.path(), .listings = run.path()}),
                       doctest::Contains("none of the pictures of the run, such as a/"), Error);
}

TEST_CASE("test pictures that are training pictures are refused") {
  const TemporaryFolder folder;
  for (const char* name : {"x/a/1.png", "x/b/2.png", "y/a/3.png"}) make_picture(folder.file(name));
  const std::string x = folder.file("x");
  CHECK_THROWS_WITH_AS(open_data({.path = x, .val = x}), doctest::Contains("2 of the 2 test pictures"),
                       Error);
  CHECK_THROWS_WITH_AS(open_data({.path = x, .val = x + "/../x/b"}),
                       doctest::Contains("1 of the 1 test pictures"), Error);
  CHECK(open_data({.path = x, .val = folder.file("y")}).test->size() == 1);
}

TEST_CASE("copies of training pictures among the test pictures are told of, and refused if they are most") {
  const TemporaryFolder folder;
  for (int i = 0; i < 6; ++i) {
    make_picture(folder.file(formatted("train/{}/{}.png", i % 2, i)), 10 + static_cast<uint64_t>(i));
    make_picture(folder.file(formatted("val/{}/new {}.png", i % 2, i)),
                 (i < 2 ? 10 : 100) + static_cast<uint64_t>(i));
  }
  const DataSource some = open_data({.path = folder.path()});
  REQUIRE(some.notes.size() == 1);
  CHECK(some.notes.front().starts_with(
      "2 of 6 test pictures have the same content as a training picture, such as " +
      folder.file("val/0/new 0.png") + " and " + folder.file("train/0/0.png")));
  for (int i = 2; i < 5; ++i)
    make_picture(folder.file(formatted("val/{}/new {}.png", i % 2, i)), 10 + static_cast<uint64_t>(i));
  CHECK_THROWS_WITH_AS(open_data({.path = folder.path()}), doctest::Contains("5 of 6 test pictures"), Error);
}

TEST_CASE("a share of each class is set apart for testing, always the same") {
  const TemporaryFolder folder;
  for (int i = 0; i < 20; ++i) make_picture(folder.file(formatted("a/{:02}.png", i)));
  for (int i = 0; i < 3; ++i) make_picture(folder.file(formatted("b/{}.png", i)));
  make_picture(folder.file("c/alone.png"));
  const auto open = [&] { return open_data({.path = folder.path(), .val_split = 0.25}); };
  const DataSource data = open(), again = open();
  CHECK(data.train->size() == 15 + 2 + 1);
  REQUIRE(data.test->size() == 5 + 1);
  std::set<std::string> names;
  for (const Dataset* part : {data.train.get(), data.test.get()})
    for (int64_t i = 0; i < part->size(); ++i) names.insert(part->name(i));
  CHECK(names.size() == 24);
  for (int64_t i = 0; i < data.test->size(); ++i) CHECK(data.test->name(i) == again.test->name(i));
  CHECK(data.test->label(0) == 0);
  CHECK(data.test->label(5) == 1);
  make_picture(folder.file("train/a/1.png"));
  make_picture(folder.file("val/a/1.png"));
  CHECK_THROWS_WITH_AS(open(), doctest::Contains("`val_split` sets none apart"), Error);
}

TEST_CASE("a folder without pictures is one clear error") {
  const TemporaryFolder folder;
  make_file(folder.file("sub/a.txt"), "");
  CHECK_THROWS_WITH_AS(open_data({.path = folder.path()}), doctest::Contains("has no pictures"), Error);
  CHECK_THROWS_WITH_AS(open_data({.path = folder.path(), .format = "folder"}),
                       doctest::Contains("has no pictures"), Error);
}

namespace {

struct Seen {
  std::vector<int32_t> indices;
  std::vector<float> views;
};

Seen epoch_of(const Dataset& data, int threads, int64_t batch, int64_t first_step = 0) {
  Loader loader(data, {.size = 8, .mean = {0, 0, 0}, .stddev = {1, 1, 1}},
                {.batch = batch, .threads = threads, .seed = 3});
  Seen seen;
  loader.start_epoch(0, first_step);
  for (int64_t step = first_step; step < loader.steps_per_epoch(); ++step) {
    const Batch b = loader.next();
    const auto indices = b.indices.to_vector<int32_t>();
    const auto views = b.images.to_vector<float>();
    CHECK(std::set(indices.begin(), indices.end()).size() == indices.size());
    seen.indices.insert(seen.indices.end(), indices.begin(), indices.end());
    seen.views.insert(seen.views.end(), views.begin(), views.end());
  }
  return seen;
}

}  // namespace

TEST_CASE("bad pictures are told of once, and others take their places in the batch") {
  const TemporaryFolder folder;
  make_folder(folder, 30, {4, 17});
  fs::create_symlink("gone", folder.file("gone.jpg"));
  constexpr int gone = 30;
  const auto open = [&] { return open_data({.path = folder.path(), .max_bad = 0.1}).train; };
  const std::shared_ptr<const Dataset> data = open();
  REQUIRE(data->size() == 31);
  const Seen seen = epoch_of(*data, 1, 6);
  CHECK(seen.indices.size() == 30);
  for (const int32_t i : seen.indices) CHECK((i != 4 && i != 17 && i != gone));
  for (const int64_t i : {4, 17, gone}) CHECK(data->is_bad(i));
  CHECK_FALSE(data->is_bad(5));
  std::vector<std::string> warnings = data->take_warnings();
  std::sort(warnings.begin(), warnings.end());
  REQUIRE(warnings.size() == 3);
  CHECK(warnings[0].starts_with(folder.file("04.png") + ": "));
  CHECK(warnings[2] == folder.file("gone.jpg") + ": it cannot be read: No such file or directory");
  CHECK(data->take_warnings().empty());

  // What is known of the bad ones, and how many threads there are, changes nothing.
  for (const auto& other : {data, std::shared_ptr<const Dataset>(open())}) {
    const Seen again = epoch_of(*other, 3, 6);
    CHECK(again.indices == seen.indices);
    CHECK(again.views == seen.views);
    const Seen later = epoch_of(*other, 2, 6, 3);
    CHECK(std::equal(later.indices.begin(), later.indices.end(), seen.indices.begin() + 18));
  }
}

TEST_CASE("too many bad pictures stop it, and say how many") {
  const TemporaryFolder folder;
  make_folder(folder, 20, {1, 3, 5, 8, 11, 12, 13});
  const auto data = open_data({.path = folder.path(), .max_bad = 0.1}).train;
  CHECK_THROWS_WITH_AS(epoch_of(*data, 2, 10),
                       doctest::Contains("6 of 20 pictures cannot be read, more than 5 and more than 10 %"),
                       Error);
}

TEST_CASE("a few bad pictures of a small folder do not stop it, unless none are allowed") {
  const TemporaryFolder folder;
  make_folder(folder, 20, {1, 3, 5, 8, 11});
  CHECK(epoch_of(*open_data({.path = folder.path(), .max_bad = 0.01}).train, 2, 10).indices.size() == 20);
  CHECK_THROWS_WITH_AS(epoch_of(*open_data({.path = folder.path(), .max_bad = 0}).train, 1, 10),
                       doctest::Contains("no picture may be bad (`max_bad` 0)"), Error);
}

TEST_CASE("files that are passed over are counted by their endings, with the reason") {
  const TemporaryFolder folder;
  for (const char* name : {"a/1.png", "a/2.PNG", "a/Thumbs.db", "a/.hidden", "a/._1.png", "b/1.txt",
                           "b/2.TXT", "b/3.json", "b/README", "b/1.png"})
    make_picture(folder.file(name));
  REQUIRE(mkfifo(folder.file("b/pipe.jpg").c_str(), 0600) == 0);
  const DataSource data = open_data({.path = folder.path()});
  CHECK(data.train->size() == 3);
  CHECK(data.notes ==
        std::vector<std::string>{
            "left out of " + folder.path() +
            ": 4 files: 2 .txt, 1 without ending, 1 .json (no names of pictures); 1 pipe, socket "
            "or device"});
}

TEST_CASE("a pipe, or a file without end, is a bad picture and is not waited for") {
  const TemporaryFolder folder;
  REQUIRE(mkfifo(folder.file("pipe.jpg").c_str(), 0600) == 0);
  CHECK_THROWS_WITH_AS(read_picture(folder.file("pipe.jpg")), doctest::Contains("no regular file"), Error);
  const std::string vast = folder.file("vast.jpg");
  write_bytes(vast, jpeg_bytes(OwnPicture(9, 12, 3).picture));
  fs::resize_file(vast, uintmax_t{1} << 40);
  CHECK_THROWS_WITH_AS(read_picture(vast), doctest::Contains("it has 1099511627776 bytes, more than"), Error);
  write_bytes(vast, "");
  fs::resize_file(vast, uintmax_t{1} << 40);
  CHECK_THROWS_WITH_AS(read_picture(vast), doctest::Contains("nothing but zeros"), Error);
}

TEST_CASE("names of files do nothing to a terminal, in errors and in warnings") {
  const TemporaryFolder folder;
  make_file(folder.file("\x1b[31mred\n.png"), "no picture");
  make_picture(folder.file("2.png"));
  const DataSource data = open_data({.path = folder.path()});
  epoch_of(*data.train, 1, 1);
  const std::vector<std::string> warnings = data.train->take_warnings();
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].starts_with(folder.path() + "/\\x1b[31mred\\n.png: "));
  CHECK_THROWS_WITH_AS(read_picture(folder.file("\x1b[31mred\n.png")),
                       doctest::Contains("\\x1b[31mred\\n.png: "), Error);
}

TEST_CASE("folders with the usual names of splits are no classes") {
  struct Case {
    std::vector<const char*> files;
    int64_t train, test;
    std::vector<std::string> classes_of_train;
    const char* note;
  };
  for (const Case& c : {
           Case{{"train/a/1.png", "train/b/2.png", "test/a/3.png"}, 2, 1, {"a", "b"}, ""},
           Case{{"Train/a/1.png", "Train/b/2.png", "valid/b/3.png", "test/a/4.png"},
                2,
                1,
                {"a", "b"},
                "beside Train: test"},
           Case{{"train/a/1.png", "train/b/2.png", "val/b/3.png", "4.png"},
                2,
                1,
                {"a", "b"},
                "beside train: 1 picture"},
           Case{{"training/a/1.png", "training/b/2.png", "testing/b/3.png"}, 2, 1, {"a", "b"}, ""},
           Case{{"train/a/1.png", "train/b/2.png", "readme.txt"}, 2, 0, {"a", "b"}, ""},
           Case{{"train/1.png", "bus/2.png", "car/3.png"}, 3, 0, {"bus", "car", "train"}, ""},
           Case{{"test/1.png", "bus/2.png"}, 2, 0, {"bus", "test"}, ""},
       }) {
    const TemporaryFolder folder;
    for (const char* name : c.files) make_picture(folder.file(name));
    CAPTURE(c.files[0]);
    const DataSource data = open_data({.path = folder.path()});
    CHECK(data.train->size() == c.train);
    CHECK((data.test ? data.test->size() : 0) == c.test);
    CHECK(data.train->has_labels());
    CHECK(parse_picture_list(data.train->listing(), "").classes == c.classes_of_train);
    if (data.test) CHECK(data.test->has_labels());  // also where it has one class alone
    CHECK(joined(data.notes, " ").find(c.note) != std::string::npos);
  }
  const TemporaryFolder folder;
  for (const char* name : {"val/a/1.png", "test/b/2.png"}) make_picture(folder.file(name));
  CHECK_THROWS_WITH_AS(open_data({.path = folder.path()}),
                       doctest::Contains("val looks like the test pictures"), Error);
}

TEST_CASE("evaluation leaves bad pictures out") {
  const TemporaryFolder folder;
  make_picture(folder.file("a/1.png"), 1);
  make_file(folder.file("a/2.png"), "no picture");
  make_picture(folder.file("b/3.png"), 3);
  const auto data = open_data({.path = folder.path(), .max_bad = 1}).train;
  CHECK(labels_of(*data) == std::vector<int32_t>{0, 0, 1});
  const Tensor views = plain_views(*data, {.size = 4, .mean = {0.5, 0.5, 0.5}, .stddev = {1, 1, 1}}, 0, 3);
  const auto values = views.to_vector<float>();
  for (size_t i = 48; i < 96; ++i) CHECK(values[i] == 0.0f);  // the mean color
  CHECK(labels_of(*data) == std::vector<int32_t>{0, -1, 1});
}
