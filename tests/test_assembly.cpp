// la_embed on stimulus sets of Brain-Score: which pictures it shows, the assembly that it writes, and what it refuses.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "apps/netcdf/assembly.h"
#include "tensor/format.h"
#include "tensor/io/npy.h"
#include "tests/called_program.h"
#include "tests/own_picture.h"
#include "tests/picture_files.h"
#include "tests/temporary_folder.h"

// LA_NETCDF is 1 where the Makefile has found the library, else 0.
#if LA_NETCDF
#include <netcdf.h>
#endif

using namespace la;
namespace fs = std::filesystem;

namespace {

/// Quotes, a byte order mark, lines as on Windows; a file that is two stimuli; columns whose names are taken.
const std::string stimulus_set =
    "\xef\xbb\xbfstimulus_id,filename,object name,x,repetition,size\r\n"
    "third,3.png,\"a, b\",1,0,.5\r\n"
    "first,\"deeper/1, \"\"one\"\".png\",\"two\r\nlines\",2.5,-1,\r\n"
    "12,3.png,\xc3\xa4,-3,2,2\r\n"
    "second,2.png,,4,0,1\r\n";
const std::vector<std::string> ids{"third", "first", "12", "second"};

/// Pictures, stimuli that name some of them, and a network that has seen them for a moment.
struct Run {
  TemporaryFolder folder;
  std::string pictures = folder.file("pictures"), run = folder.file("run"), stimuli = folder.file("set.csv");

  Run() {
    fs::create_directories(pictures + "/deeper");
    const auto names = {"0.png", "2.png", "3.png", "4.png",
                        "5.png", "6.png", "7.png", "deeper/1, \"one\".png"};
    uint64_t seed = 0;
    for (const char* name : names)
      write_bytes(pictures + "/" + name, png_bytes(OwnPicture(20, 24, 3, ++seed).picture));
    write_bytes(stimuli, stimulus_set);
    const Called trained = call(formatted(
        "la_train --data {} --network resnet20 --image-size 16 --dim 8 --batch 4 --epochs 1 "
        "--warm-start-epochs 1 --ir-loss softmax --background 0 --clusters 0 --device cpu --threads 2 "
        "--loader-threads 1 --run {}",
        pictures, run));
    REQUIRE_MESSAGE(trained.status == 0, trained.output);
  }

  std::string file(const std::string& name) const { return folder.file(name); }
  Called embed(const std::string& more) const {
    return call(formatted("la_embed {} {} --device cpu --threads 2 {}", run, pictures, more));
  }
  Called show(const std::string& out, const std::string& more) const {
    const Called called = embed(formatted("--stimuli {} --out {} {}", stimuli, file(out), more));
    REQUIRE_MESSAGE(called.status == 0, called.output);
    return called;
  }
};

}  // namespace

TEST_CASE("stimuli are shown in the order of their set") {
  const Run run;
  run.show("v.npy", "");
  const Tensor v = read_npy(run.file("v.npy"));
  REQUIRE(v.shape() == Shape{4, 8});
  const auto row = [&](int64_t i) { return v.rows(i, i + 1).to_vector<float>(); };
  CHECK(row(0) == row(2));
  CHECK(row(0) != row(3));
  std::string expected;
  for (const char* name : {"3.png", "deeper/1, \"one\".png", "3.png", "2.png"})
    expected += run.pictures + "/" + name + "\n";
  CHECK(read_file(run.file("v.txt")) == expected);
}

TEST_CASE("what is wrong with stimuli is one line, and no file is left") {
  const Run run;
  const auto refuses = [&](const std::string& set, const std::string& more, int status,
                           const std::string& words) {
    write_bytes(run.stimuli, set);
    const std::string out = more.find("--out") == std::string::npos ? "--out " + run.file("x.npy") : "";
    const Called called = run.embed(out + " " + more);
    CAPTURE(words);
    CHECK(called.status == status);
    CHECK_MESSAGE(called.says(words), called.output);
    CHECK(std::count(called.output.begin(), called.output.end(), '\n') == 1);
    CHECK(run.folder.list() == std::vector<std::string>{"pictures", "run", "set.csv"});
  };
  const std::string stimuli = "--stimuli " + run.stimuli;
  refuses("id,filename\na,3.png\n", stimuli, 1, "set.csv: has no column stimulus_id, but id, filename");
  refuses("stimulus_id;filename\na;3.png\n", stimuli, 1,
          "set.csv: has no column stimulus_id, but stimulus_id;filename");
  refuses("image_id,file\na,3.png\n", stimuli, 1, "set.csv: has no column filename, but image_id, file");
  refuses("stimulus_id,filename\n", stimuli, 1, "set.csv: names no picture");
  refuses("stimulus_id,filename\na,3.png\n,2.png\n", stimuli, 1, "set.csv: line 3: has no stimulus_id");
  refuses("stimulus_id,filename\na,3.png\nb,2.png\na,0.png\n", stimuli, 1,
          "set.csv: line 4: the stimulus_id a stands in line 2 already, expected unique ones");
  refuses("stimulus_id,filename\na,3.png\nb,absent.png\n", stimuli, 1,
          "set.csv: line 3: there is no picture absent.png in " + run.pictures);
  refuses(stimulus_set, stimuli + " --list " + run.stimuli, 2, "--list and --stimuli say both what is shown");
  refuses(stimulus_set, "--out x.nc", 2, "--out x.nc needs --stimuli FILE.csv");
  refuses(stimulus_set, stimuli + " --out x.nc --layers stem --pca 2", 2, "--pca writes no activations");

  write_bytes(run.pictures + "/2.png", "this is a text");
  refuses(stimulus_set, stimuli + " --max-bad 0.5", 1, "2.png");
}

#if LA_NETCDF

namespace {

void succeed(int status) { REQUIRE_MESSAGE(status == NC_NOERR, nc_strerror(status)); }

/// A file of netCDF, as its library reads it.
class Netcdf {
 public:
  explicit Netcdf(const std::string& path) { succeed(nc_open(path.c_str(), NC_NOWRITE, &id_)); }
  ~Netcdf() { nc_close(id_); }
  Netcdf(const Netcdf&) = delete;
  Netcdf& operator=(const Netcdf&) = delete;

  bool has(const std::string& name) const {
    int variable = 0;
    return nc_inq_varid(id_, name.c_str(), &variable) == NC_NOERR;
  }
  bool has_dimension(const std::string& name) const {
    int dimension = 0;
    return nc_inq_dimid(id_, name.c_str(), &dimension) == NC_NOERR;
  }
  nc_type type(const std::string& name) const {
    nc_type type = 0;
    succeed(nc_inq_vartype(id_, variable(name), &type));
    return type;
  }
  /// The names of its dimensions, but for that of characters.
  std::vector<std::string> dimensions(const std::string& name) const {
    std::vector<std::string> names;
    for (const int d : dimension_ids(name)) {
      char text[NC_MAX_NAME + 1];
      succeed(nc_inq_dimname(id_, d, text));
      names.emplace_back(text);
    }
    if (type(name) == NC_CHAR) names.pop_back();
    return names;
  }
  std::vector<double> numbers(const std::string& name) const {
    std::vector<double> values(elements(name));
    succeed(nc_get_var_double(id_, variable(name), values.data()));
    return values;
  }
  std::vector<std::string> texts(const std::string& name) const {
    size_t length = 0;
    succeed(nc_inq_dimlen(id_, dimension_ids(name).back(), &length));
    std::string characters(elements(name), '\0');
    succeed(nc_get_var_text(id_, variable(name), characters.data()));
    std::vector<std::string> values;
    for (size_t at = 0; at < characters.size(); at += length)
      values.emplace_back(characters.substr(at, length).c_str());
    return values;
  }
  std::string attribute(const std::string& name, const char* of = nullptr) const {
    const int target = of == nullptr ? NC_GLOBAL : variable(of);
    size_t length = 0;
    succeed(nc_inq_attlen(id_, target, name.c_str(), &length));
    std::string text(length, '\0');
    succeed(nc_get_att_text(id_, target, name.c_str(), text.data()));
    return text;
  }

 private:
  int variable(const std::string& name) const {
    int variable = 0;
    succeed(nc_inq_varid(id_, name.c_str(), &variable));
    return variable;
  }
  std::vector<int> dimension_ids(const std::string& name) const {
    int count = 0;
    succeed(nc_inq_varndims(id_, variable(name), &count));
    std::vector<int> ids_of(static_cast<size_t>(count));
    succeed(nc_inq_vardimid(id_, variable(name), ids_of.data()));
    return ids_of;
  }
  size_t elements(const std::string& name) const {
    size_t product = 1;
    for (const int d : dimension_ids(name)) {
      size_t length = 0;
      succeed(nc_inq_dimlen(id_, d, &length));
      product *= length;
    }
    return product;
  }

  int id_ = 0;
};

using Names = std::vector<std::string>;

/// That the columns of an assembly that belong to a layer have the values of an array.
void check_layer(const Netcdf& file, const std::string& layer, const Tensor& expected) {
  CAPTURE(layer);
  const Names layers = file.texts("layer"), neuroids = file.texts("neuroid_id");
  const auto all = file.numbers("activations"), channels = file.numbers("channel");
  const bool maps = expected.rank() == 4;
  const auto places = [&](const char* name) {
    return file.has(name) ? file.numbers(name) : std::vector<double>(layers.size(), -1);
  };
  const auto y = places("y"), x = places("x");
  const auto first = static_cast<size_t>(std::find(layers.begin(), layers.end(), layer) - layers.begin());
  const auto count = static_cast<size_t>(expected.numel() / expected.size(0));
  REQUIRE(std::count(layers.begin(), layers.end(), layer) == static_cast<int64_t>(count));
  const auto values = expected.to_vector<float>();
  int64_t wrong = 0;
  for (size_t n = 0; n < count; ++n) {
    const size_t i = first + n;
    wrong += neuroids[i] != formatted("resnet20.{}.{}", layer, n);
    auto place = static_cast<int64_t>(channels[i]);
    if (maps)
      place +=
          (static_cast<int64_t>(y[i]) * expected.size(2) + static_cast<int64_t>(x[i])) * expected.size(3);
    else
      wrong += y[i] != -1 || x[i] != -1;
    for (size_t row = 0; row < ids.size(); ++row)
      wrong += all[row * layers.size() + i] != values[row * count + static_cast<size_t>(place)];
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("an assembly has what the arrays have, and what is known of stimuli and neuroids") {
  const Run run;
  const std::string layers = "--layers layer2.0.conv1,stem --whole";
  run.show("v.npy", layers);
  const Called called = run.show("x.nc", layers);
  const int64_t neuroids = 8 + 8 * 8 * 32 + 16 * 16 * 16;
  CHECK(called.says(formatted("x.nc: 4 presentations, {} neuroids", neuroids)));
  CHECK_FALSE(fs::exists(run.file("x.txt")));
  CHECK_FALSE(fs::exists(run.file("x.nc.tmp")));

  const Netcdf file(run.file("x.nc"));
  CHECK(file.type("activations") == NC_FLOAT);
  CHECK(file.dimensions("activations") == Names{"presentation", "neuroid"});
  CHECK(file.attribute("coordinates", "activations") ==
        "stimulus_id filename object_name stimulus_x repetition size neuroid_id layer channel y x");
  check_layer(file, "embedding", read_npy(run.file("v.npy")));
  check_layer(file, "layer2.0.conv1", read_npy(run.file("v.layer2.0.conv1.npy")));
  check_layer(file, "stem", read_npy(run.file("v.stem.npy")));

  for (const char* name : {"stimulus_id", "filename", "object_name", "stimulus_x", "repetition", "size"})
    CHECK(file.dimensions(name) == Names{"presentation"});
  for (const char* name : {"neuroid_id", "layer", "channel", "y", "x"})
    CHECK(file.dimensions(name) == Names{"neuroid"});
  CHECK(file.texts("stimulus_id") == ids);
  CHECK(file.texts("filename") == Names{"3.png", "deeper/1, \"one\".png", "3.png", "2.png"});
  CHECK(file.texts("object_name") == Names{"a, b", "two\r\nlines", "\xc3\xa4", ""});
  CHECK(file.attribute("_Encoding", "object_name") == "utf-8");
  CHECK(file.numbers("stimulus_x") == std::vector<double>{1, 2.5, -3, 4});
  CHECK(file.type("repetition") == NC_INT64);
  CHECK(file.numbers("repetition") == std::vector<double>{0, -1, 2, 0});
  const auto sizes = file.numbers("size");
  CHECK(sizes[0] == 0.5);
  CHECK(std::isnan(sizes[1]));

  for (const char* of : {static_cast<const char*>(nullptr), "activations"}) {
    CHECK(file.attribute("model", of) == "resnet20");
    CHECK(file.attribute("checkpoint", of).starts_with(run.run + "/checkpoint-"));
    CHECK(file.attribute("program", of).starts_with("la_embed "));
    CHECK(file.attribute("stimulus_set_identifier", of) == "set");
  }

  const Called again = run.embed(formatted("--stimuli {} --out {}", run.stimuli, run.file("x.nc")));
  CHECK(again.status == 1);
  CHECK(again.says("x.nc: exists already; --force overwrites it"));
}

TEST_CASE("an assembly of means and of coordinates along components has no places") {
  const Run run;
  run.show("v.npy", "--layers layer1");
  run.show("x.nc", "--layers layer1");
  const Netcdf means(run.file("x.nc"));
  CHECK_FALSE(means.has("y"));
  check_layer(means, "embedding", read_npy(run.file("v.npy")));
  check_layer(means, "layer1", read_npy(run.file("v.layer1.npy")));

  run.show("p.npy", "--layers layer1 --whole --pca 3");
  run.show("q.npy", "--layers layer1 --whole --project " + run.file("p"));
  run.show("y.nc", "--layers layer1 --whole --project " + run.file("p"));
  const Netcdf components(run.file("y.nc"));
  CHECK_FALSE(components.has("y"));
  CHECK(read_npy(run.file("q.layer1.npy")).shape() == Shape{4, 3});
  check_layer(components, "layer1", read_npy(run.file("q.layer1.npy")));
  CHECK(components.attribute("principal_components") == run.file("p"));
}

TEST_CASE("coordinates have plain names, whatever columns are called") {
  const Run run;
  // A name like that of a dimension of characters; a no-break space, at which xarray would split; names that are empty.
  write_bytes(run.stimuli,
              "stimulus_id,filename,filename_bytes,a\xc2\xa0"
              "b,,\n"
              "a,3.png,u,1,v,007\n"
              "b,2.png,w,2,x,8\n");
  run.show("x.nc", "");
  const Netcdf file(run.file("x.nc"));
  CHECK(file.attribute("coordinates", "activations") ==
        "stimulus_id filename filename_bytes a__b column_5 column_6 neuroid_id layer channel");
  CHECK_FALSE(
      file.has_dimension("filename_bytes"));  // along which the variable of this name would have to lie
  CHECK(file.texts("filename_bytes") == Names{"u", "w"});
  CHECK(file.texts("column_6") == Names{"007", "8"});
}

TEST_CASE("texts are written in pieces, each whole") {
  const Run run;
  std::string set = "stimulus_id,filename,note\n";
  // Two rows of 9 MiB fit no piece of 16 MiB together.
  const std::string note(9 << 20, 'n');
  for (const char* id : {"a", "b", "c"}) set += formatted("{},3.png,{}{}\n", id, note, id);
  write_bytes(run.stimuli, set);
  run.show("x.nc", "");
  const Names notes = Netcdf(run.file("x.nc")).texts("note");
  REQUIRE(notes.size() == 3);
  CHECK((notes[0] == note + "a" && notes[1] == note + "b" && notes[2] == note + "c"));
}

TEST_CASE("two columns that would be one coordinate are refused") {
  const Run run;
  write_bytes(run.stimuli, "stimulus_id,filename,a b,a_b\na,3.png,1,2\n");
  const Called called = run.embed(formatted("--stimuli {} --out {}", run.stimuli, run.file("x.nc")));
  CHECK(called.status == 1);
  CHECK_MESSAGE(called.says("set.csv: two of its columns would be the coordinate a_b"), called.output);
  CHECK(run.folder.list() == Names{"pictures", "run", "set.csv"});
}

#else

TEST_CASE("without netCDF an assembly is refused") {
  const Run run;
  const Called called = run.embed(formatted("--stimuli {} --out {}", run.stimuli, run.file("x.nc")));
  CHECK(called.status == 1);
  CHECK(called.says("this build has no netCDF"));
  CHECK(std::count(called.output.begin(), called.output.end(), '\n') == 1);
}

#endif
