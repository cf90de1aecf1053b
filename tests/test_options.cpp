#include "apps/detect_options.h"
#include "apps/options/options.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <sstream>

#include "apps/options/arguments.h"
#include "apps/options/preset_file.h"
#include "apps/options/training_options.h"
#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tensor/io/seal.h"
#include "tests/temporary_folder.h"

namespace la {
namespace {

using Arguments = std::vector<std::string>;

Config parse(const Arguments& arguments) { return parse_options(arguments, "").config; }

std::string usage_error(const Arguments& arguments) {
  try {
    parse_options(arguments, "");
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

/// A value that no option has by default, for every option.
const std::map<std::string, std::string> other_values = {
    {"data", "/my \"photos\"/C# \\ 'caf\xc3\xa9', 2\n"},
    {"format", "folder"},
    {"limit", "4000000000"},
    {"val", "/my photos/val"},
    {"image-size", "96"},
    {"max-bad", "0.25"},
    {"val-split", "0.125"},
    {"max-pixels", "400000000"},
    {"background-color", "#00ff7f"},
    {"init", "weights.safetensors"},
    {"init-without", "fc."},
    {"crop-min-area", "0.1"},
    {"crop-max-aspect", "1.3333335"},
    {"flip", "0.3"},
    {"jitter", "0.7"},
    {"grayscale", "1"},
    {"network", "resnet18"},
    {"head", "linear-bn"},
    {"dim", "64"},
    {"initialization", "original"},
    {"norm-momentum", "0.003"},
    {"precision", "bf16"},
    {"device", "cpu"},
    {"epochs", "90"},
    {"steps", "2610011"},
    {"warm-start-epochs", "3"},
    {"supervised", "true"},
    {"batch", "256"},
    {"learning-rate", "1.1754944e-38"},
    {"schedule", "cosine"},
    {"learning-rate-drops", "30, 600 steps"},
    {"learning-rate-warm-up", "0.5"},
    {"momentum", "0.99999994"},
    {"weight-decay", "0.0005"},
    {"decay-of", "all"},
    {"temperature", "3.4028235e+38"},
    {"bank-momentum", "0.1"},
    {"bank-init", "forward"},
    {"background", "17"},
    {"clusterings", "5"},
    {"clusters", "600, 700"},
    {"combine-clusterings", "all"},
    {"whole-background", "true"},
    {"cluster-every", "1000 steps"},
    {"cluster-seeds", "same"},
    {"cluster-iterations", "30"},
    {"spherical", "true"},
    {"bank-refresh", "true"},
    {"tf32", "true"},
    {"autotune", "true"},
    {"no-graph", "true"},
    {"close-neighbors", "knn"},
    {"close-count", "9"},
    {"ir-loss", "softmax"},
    {"noise", "128"},
    {"nce-constant", "estimate"},
    {"seed", "18446744073709551615"},
    {"threads", "2"},
    {"loader-threads", "3"},
    {"shards", "8"},
    {"sync-batch-norm", "true"},
    {"collectives", "mpi"},
    {"collective-timeout", "90.5"},
    {"eval-every", "5"},
    {"keep-every", "100 steps"},
    {"tensorboard", "true"},
};

/// Every option of the table that belongs to a configuration, as text.
std::map<std::string, std::string> texts_of(Config config) {
  std::map<std::string, std::string> texts;
  const OptionTable table = training_options(config);
  for (const Option& option : table.options())
    if (option.stored == Option::Stored::yes) texts[option.name] = option.get();
  return texts;
}

}  // namespace

TEST_CASE("options: without arguments the defaults of la/config.h") {
  CHECK(texts_of(parse({})) == texts_of(Config{}));
}

TEST_CASE("options: every option reaches its field from the command line, and back through a preset") {
  Arguments arguments;
  for (const auto& [name, value] : other_values) arguments.push_back("--" + name + "=" + value);
  const Config config = parse(arguments);
  CHECK(config.data.path == other_values.at("data"));
  CHECK(config.data.limit == 4'000'000'000);
  CHECK(config.augmentation.crop_max_aspect == 1.3333335f);
  CHECK(config.network.head == HeadKind::linear_bn);
  CHECK(config.run.precision == Precision::bf16);
  CHECK(config.optimizer.schedule.base == 1.1754944e-38f);
  CHECK(config.optimizer.drops == std::vector<TrainingTime>{{30}, {600, true}});
  CHECK(config.optimizer.sgd.momentum == 0.99999994f);
  CHECK(config.la.kmeans.spherical);
  CHECK(config.la.close_neighbors == CloseNeighborKind::knn);
  CHECK(config.run.seed == UINT64_MAX);

  const auto before = texts_of(Config{}), after = texts_of(config);
  CHECK(after.size() == other_values.size());  // an option without another value here would not be tested
  for (const auto& [name, value] : after) {
    CAPTURE(name);
    CHECK(value == other_values.at(name));
    CHECK(value != before.at(name));
  }

  const TemporaryFolder folder;
  write_bytes(folder.file("config.toml"), to_toml(config));
  CHECK(texts_of(parse({"--preset", folder.file("config.toml")})) == after);
}

TEST_CASE("options: the command line wins over the preset, and the preset over the defaults") {
  const TemporaryFolder folder;
  const std::string preset = folder.file("p.toml");
  write_bytes(preset, "# a comment\n\n  dim=32 # here too\r\nbatch = 64\nspherical = true\n");
  const Options options = parse_options({"--batch", "16", "--preset", preset}, folder.path());
  CHECK(options.config.network.dim == 32);
  CHECK(options.config.optimizer.batch == 16);
  CHECK(options.config.la.kmeans.spherical);
  CHECK(options.config.optimizer.epochs == Config{}.optimizer.epochs);
  REQUIRE(options.notes.size() == 1);
  CHECK(options.notes[0].find(preset) != std::string::npos);
  CHECK_FALSE(parse({"--preset", preset, "--spherical=false"}).la.kmeans.spherical);
}

TEST_CASE("options: the default preset counts where no other is named, and is announced") {
  const TemporaryFolder folder;
  write_bytes(folder.file("fashion-mnist.toml"), "dim = 32\n");
  write_bytes(folder.file("other.toml"), "batch = 64\n");
  const Options options = parse_options({}, folder.path());
  CHECK(options.config.network.dim == 32);
  REQUIRE(options.notes.size() == 1);
  CHECK(options.notes[0].find(folder.file("fashion-mnist.toml")) != std::string::npos);
  CHECK(parse_options({"--preset", folder.file("other.toml")}, folder.path()).config.network.dim == 128);
}

TEST_CASE("options: without a preset, picture files get their own") {
  const TemporaryFolder presets, pictures;
  write_bytes(presets.file("fashion-mnist.toml"), "dim = 32\n");
  write_bytes(presets.file("pictures.toml"), "dim = 64\n");
  write_bytes(presets.file("few-pictures.toml"), "dim = 48\n");
  const auto dim_for = [&](const Arguments& arguments) {
    return parse_options(arguments, presets.path()).config.network.dim;
  };
  CHECK(dim_for({"--data", pictures.path()}) == 48);
  std::filesystem::create_directories(pictures.file("a/b"));
  for (int i = 0; i < 4999; ++i) write_bytes(pictures.file(formatted("a/b/{}.png", i)), "");
  write_bytes(pictures.file("text.txt"), "");
  CHECK(dim_for({"--data", pictures.path()}) == 48);
  write_bytes(pictures.file("a/one more.jpg"), "");
  CHECK(dim_for({"--data", pictures.path()}) == 64);
  CHECK(dim_for({"--data", pictures.path(), "--format", "idx"}) == 32);
  CHECK(dim_for({"--data", pictures.file("none")}) == 32);
  write_bytes(pictures.file("train-images-idx3-ubyte"), "");
  CHECK(dim_for({"--data", pictures.path()}) == 32);
  CHECK(dim_for({"--data", pictures.path(), "--format", "folder"}) == 64);
}

TEST_CASE("options: a preset may stand on another one, and wins") {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.file("sub"));
  write_bytes(folder.file("base.toml"), "dim = 64\nbatch = 32\n");
  write_bytes(folder.file("middle.toml"), "preset = \"base.toml\"\nbatch = 16\nepochs = 7\n");
  write_bytes(folder.file("sub/top.toml"),
              "preset = \"../middle.toml\"\nepochs = 8\nwarm-start-epochs = 1\n");
  const Config config = parse({"--preset", folder.file("sub/top.toml")});
  CHECK(config.network.dim == 64);
  CHECK(config.optimizer.batch == 16);
  CHECK(config.optimizer.epochs == 8);
  write_bytes(folder.file("base.toml"), "dim = 64\nbatch = none\n");
  CHECK(usage_error({"--preset", folder.file("middle.toml")}).find("base.toml: line 2: batch") !=
        std::string::npos);
}

TEST_CASE("options: the forms of the command line") {
  CHECK(parse({"--spherical", "--dim", "7"}).network.dim == 7);
  CHECK(parse({"--spherical", "--dim", "7"}).la.kmeans.spherical);
  CHECK_FALSE(parse({"--spherical", "false", "--dim", "7"}).la.kmeans.spherical);
  CHECK(parse({"--learning-rate-drops", "5,6"}).optimizer.drops == std::vector<TrainingTime>{{5}, {6}});
  CHECK(parse({"--learning-rate-drops", ""}).optimizer.drops.empty());
  CHECK(parse({"--run", "somewhere"}).run.folder == "somewhere");
}

TEST_CASE("options: other programs' names and underscores are understood") {
  CHECK(parse({"--lr", "0.5", "--batch-size=7", "--warm_start_epochs", "3"}).optimizer.schedule.base == 0.5f);
  CHECK(parse({"--lr", "0.5", "--batch-size=7"}).optimizer.batch == 7);
  CHECK(parse({"--warm_start_epochs", "3"}).optimizer.warm_start_epochs == 3);
  CHECK(parse({"--lr", "1", "--learning-rate", "2"}).optimizer.schedule.base == 2.0f);  // the last counts
}

TEST_CASE("options: a preset is found by its bare name, and a wrong name gets a proposal") {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.file("sub"));
  write_bytes(folder.file("one.toml"), "dim = 11\n");
  write_bytes(folder.file("sub/cifar10.toml"), "dim = 12\nbackground = 500\nclusters = 600\n");
  CHECK(parse_options({"--preset", "one"}, folder.path()).config.network.dim == 11);
  CHECK(parse_options({"--preset=one.toml"}, folder.path()).config.network.dim == 11);
  CHECK(parse_options({"--preset", "cifar10"}, folder.path()).config.network.dim == 12);
  CHECK_THROWS_WITH_AS(parse_options({"--preset", "cifar-10"}, folder.path()),
                       doctest::Contains("one of cifar10, one; did you mean 'cifar10'?"), UsageError);
  write_bytes(folder.file("wrong.toml"), "epoch = 3\n");
  CHECK_THROWS_WITH_AS(parse_options({"--preset", "wrong"}, folder.path()),
                       doctest::Contains("line 1: there is no option 'epoch'; did you mean 'epochs'?"),
                       UsageError);

  // Neighborhoods of a preset are for all pictures; those of the command line are meant.
  const Config config =
      parse_options({"--preset", "cifar10", "--limit", "100", "--clusters", "7"}, folder.path()).config;
  CHECK(config.la.background == 0);
  CHECK(config.la.clusters == std::vector<int>{7});
}

TEST_CASE("options: a word is like one that is known, or it is not") {
  const std::vector<std::string> known{"learning-rate", "learning-rate-drops", "epochs", "f32"};
  for (const char* word : {"learning-rat", "learnign-rate", "learning_rate", "learning", "larning-rate"})
    CHECK(did_you_mean(word, known) == "; did you mean 'learning-rate'?");
  CHECK(did_you_mean("fp32", known) == "; did you mean 'f32'?");
  for (const char* word : {"", "x", "colors", "dropout"}) CHECK(did_you_mean(word, known) == "");
}

TEST_CASE("options: a field that an error of the library names becomes the option") {
  CHECK(with_option_names("`warm_start_epochs` 9 is more than `epochs` 8") ==
        "--warm-start-epochs 9 is more than --epochs 8");
  for (const char* text : {"", "`", "a `b c` d", "``", "`Upper`", "expected `option = value`", "open `dim"})
    CHECK(with_option_names(text) == text);
}

TEST_CASE("options: colors are written as they are read") {
  for (const char* text : {"white", "gray", "black", "#01ff7f"}) CHECK(color_text(parse_color(text)) == text);
  CHECK(color_text(parse_color("#ffffff")) == "white");
}

TEST_CASE("options: help shows every option with its default") {
  const TemporaryFolder folder;
  write_bytes(folder.file("fashion-mnist.toml"), "batch = 64\n");
  const std::string help = parse_options({"--help"}, folder.path()).answer;
  for (const auto& [name, value] : other_values) CHECK(help.find("--" + name) != std::string::npos);
  CHECK(help.find("INT=128") != std::string::npos);
  CHECK(help.find("INT=64") != std::string::npos);  // the default preset's
  CHECK(help.find("Local Aggregation") != std::string::npos);
}

TEST_CASE("options: help fits the terminal, and shows what the preset says") {
  const TemporaryFolder folder;
  write_text_file(folder.file("mine.toml"), "batch = 77\n");
  for (const int columns : {40, 60, 80, 132}) {
    setenv("COLUMNS", std::to_string(columns).c_str(), 1);
    std::istringstream help(
        parse_options({"--preset", folder.file("mine.toml"), "--help"}, folder.path()).answer);
    bool found = false;
    for (std::string line; std::getline(help, line);) {
      CHECK_MESSAGE(line.size() < static_cast<size_t>(columns), line);
      found = found || line.find("--batch INT=77") != std::string::npos;
    }
    CHECK(found);
  }
  unsetenv("COLUMNS");
}

TEST_CASE("options: wrong usage is one line that names the option, the value and what was expected") {
  struct Case {
    Arguments arguments;
    std::vector<const char*> parts;
  };
  const std::vector<Case> cases = {
      {{"--nonsense", "3"}, {"there is no option --nonsense (--help"}},
      {{"--epoch", "3"}, {"there is no option --epoch;", "mean 'epochs'?"}},
      {{"--learning-rte", "3"}, {"mean 'learning-rate'?"}},
      {{"--init-without", "fc."}, {"--init-without fc.", "the file that --init names"}},
      {{"stray"}, {"unexpected argument 'stray'"}},
      {{"--dim"}, {"--dim"}},
      {{"--dim", "x"}, {"--dim", "whole number", "'x'"}},
      {{"--dim", "1.5"}, {"--dim", "'1.5'"}},
      {{"--dim", "0"}, {"--dim", "at least 1", "got 0"}},
      {{"--dim", "99999999999"}, {"--dim", "99999999999"}},
      {{"--seed", "-1"}, {"--seed", "at least 0", "'-1'"}},
      {{"--batch", "-4"}, {"--batch", "at least 1", "-4"}},
      {{"--temperature", "0"}, {"--temperature", "greater than 0"}},
      {{"--temperature", "nan"}, {"--temperature", "finite"}},
      {{"--learning-rate", "inf"}, {"--learning-rate", "finite"}},
      {{"--momentum", "1"}, {"--momentum", "less than 1"}},
      {{"--bank-momentum", "-0.5"}, {"--bank-momentum", "at least 0"}},
      {{"--flip", "1.5"}, {"--flip", "at most 1"}},
      {{"--crop-max-aspect", "0.9"}, {"--crop-max-aspect", "at least 1"}},
      {{"--precision", "f16"}, {"--precision", "f32, bf16", "'f16'"}},
      {{"--network", "resnet19"}, {"--network", "resnet18", "'resnet19'; did you mean 'resnet18'?"}},
      {{"--device", "gpu"}, {"--device", "did you mean 'cuda'?"}},
      {{"--precision", "fp32"}, {"did you mean 'f32'?"}},
      {{"--device", "tpu"}, {"--device", "auto, cpu, cuda", "'tpu'"}},
      {{"--spherical=maybe"}, {"--spherical", "maybe"}},
      {{"--spherical", "yes"}, {"--spherical: expected true or false, got 'yes'"}},
      {{"--spherical", "False"}, {"--spherical: expected true or false, got 'False'"}},
      {{"--spherical="}, {"--spherical"}},
      {{"--learning-rate-drops", "5,"}, {"--learning-rate-drops", "''"}},
      {{"--learning-rate-drops", "6,5"}, {"--learning-rate-drops", "increase"}},
      {{"--warm-start-epochs", "9", "--epochs", "8"}, {"--warm-start-epochs 9", "--epochs 8"}},
      {{"--clusters", "1"}, {"--clusters 1"}},
      {{"--preset", "/nowhere.toml"}, {"/nowhere.toml", "No such file"}},
      {{"--resume"}, {"--resume", "--run"}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.arguments.front());
    const std::string message = usage_error(c.arguments);
    for (const char* part : c.parts) CHECK_MESSAGE(message.find(part) != std::string::npos, message);
    CHECK(message.find('\n') == std::string::npos);
  }
}

TEST_CASE("options: an error in a preset names file, line and key") {
  struct Case {
    const char* text;
    const char* message;
  };
  const Case cases[] = {
      {"dim = 64\nlearning = 0.1\n", "line 2: there is no option 'learning'; did you mean 'learning-rate'?"},
      {"dim = big", "line 1: dim: expected a whole number, got 'big'"},
      {"dim = -1", "line 1: dim: must be at least 1 and at most 65536, got -1"},
      {"dim = 1\ndim = 2", "line 2: 'dim' stands in line 1 already"},
      {"dim", "line 1: expected `option = value`"},
      {"[data]", "line 1: expected `option = value`"},
      {"= 3", "line 1: expected `option = value`"},
      {"dim =", "line 1: there is no value"},
      {"dim = # 3", "line 1: there is no value"},
      {"dim = 3 4", "line 1: unexpected '4' after the value"},
      {"data = \"x", "line 1: the text has no closing quote"},
      {"data = \"x\\", "line 1: the text has no closing quote"},
      {"data = 'x' y", "line 1: unexpected 'y'"},
      {"data = \"\\q\"", "line 1: unknown escape '\\q'"},
      {"learning-rate-drops = [1, 2", "line 1: the list has no closing bracket"},
      {"preset = \"other.toml\"", "other.toml"},
      {"dim = 3\npreset = \"other.toml\"", "line 2: preset must come first"},
      {"preset = \"p.toml\"", "more than 8 deep"},
      {"resume = true", "command line"},
  };
  const TemporaryFolder folder;
  const std::string path = folder.file("p.toml");
  for (const Case& c : cases) {
    write_bytes(path, c.text);
    const std::string message = usage_error({"--preset", path});
    CHECK_MESSAGE(message.find(c.message) != std::string::npos, message);
  }
  CHECK(usage_error({"--preset", folder.path()}).find(folder.path()) != std::string::npos);
}

TEST_CASE("options: the presets that come with the program are accepted") {
  if (!std::filesystem::exists("presets")) {
    MESSAGE("skipped: the tests were not started in the root folder");
    return;
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator("presets")) {
    const std::string folder = entry.path().parent_path().filename();
    if (entry.path().extension() != ".toml" || folder == "readout") continue;
    CAPTURE(entry.path().string());
    if (folder != "detection") {
      CHECK(usage_error({"--preset", entry.path()}) == "");
      continue;
    }
    DetectOptions options;
    OptionTable table = detect_options(options);
    CHECK_NOTHROW(table.set_from_file(entry.path()));
  }
}

TEST_CASE("options: texts in presets") {
  const auto value = [](const char* line) { return parse_preset(line).at(0).value; };
  CHECK(value(R"(data = "a # b \" \\ \t \u0041 é")") == "a # b \" \\ \t A é");
  CHECK(value(R"(data = 'a # b \ "')") == R"(a # b \ ")");
  CHECK(value("data = \"\"  # empty") == "");
  CHECK(value("drops = [1, 2] # two") == "1, 2");
  CHECK(value("drops = []") == "");
  CHECK(value(R"(drops = ["300270 steps", 4, '5 steps'])") == "300270 steps, 4, 5 steps");
}

TEST_CASE("options: a run is resumed with its own configuration") {
  const TemporaryFolder folder;
  const std::string run = folder.file("run");
  std::filesystem::create_directory(run);
  Config stored;
  stored.network.dim = 32;
  stored.optimizer.epochs = 100;
  stored.optimizer.drops = {{60}, {80}};
  const auto store = [&] { write_bytes(run + "/config.toml", to_toml(stored)); };
  store();

  SUBCASE("its values count, not the defaults") {
    const Config config = parse({"--resume", "--run", run});
    CHECK(config.network.dim == 32);
    CHECK(config.run.resume);
    CHECK(config.run.folder == run);
  }
  SUBCASE("what changes no result may be changed, and what stays the same may be repeated") {
    const Config config = parse({"--resume", "--run", run, "--epochs", "120", "--threads", "3", "--dim", "32",
                                 "--eval-every", "4", "--loader-threads", "2", "--device", "cpu"});
    CHECK(config.optimizer.epochs == 120);
    CHECK(config.run.threads == 3);
  }
  SUBCASE("all else is an error") {
    CHECK(usage_error({"--resume", "--run", run, "--dim", "64"}).find("--dim 64: the run has 32") !=
          std::string::npos);
    CHECK(usage_error({"--resume", "--run", run, "--epochs", "99"}).find("--epochs 99") != std::string::npos);
    CHECK(usage_error({"--resume", "--run", run, "--preset", "x"}).find("--preset") != std::string::npos);
    CHECK(usage_error({"--resume", "--run", folder.file("absent")}).find("config.toml") != std::string::npos);
  }
  SUBCASE("a configuration that was changed is told of, and one that lacks an option refused") {
    const std::string whole = sealed(to_toml(stored));
    const auto notes_of = [&](const std::string& file) {
      write_bytes(run + "/config.toml", file);
      return parse_options({"--resume", "--run", run}, folder.path()).notes;
    };
    CHECK(notes_of(whole).size() == 1);
    std::string changed = whole;
    changed.replace(changed.find("dim = 32"), 8, "dim = 33");
    const std::vector<std::string> notes = notes_of(changed);
    REQUIRE(notes.size() == 2);
    CHECK(notes.front().find("config.toml is not as the run has written it") != std::string::npos);
    CHECK(notes_of(to_toml(stored)).size() == 2);
    for (const size_t length : {size_t{0}, whole.find("seed = "), whole.find("# Run")}) {
      write_bytes(run + "/config.toml", whole.substr(0, length));
      CHECK(usage_error({"--resume", "--run", run}).find("it is damaged or cut off") != std::string::npos);
    }
  }
  SUBCASE("more epochs would change the learning rates of a cosine schedule") {
    stored.optimizer.schedule.kind = ScheduleKind::cosine;
    store();
    CHECK(usage_error({"--resume", "--run", run, "--epochs", "120"}).find("--epochs must stay 100") !=
          std::string::npos);
    CHECK(parse({"--resume", "--run", run}).optimizer.schedule.kind == ScheduleKind::cosine);
  }
}

}  // namespace la
