// Fuzzing: the readers of files get files that were changed at random, and must read them or throw an Error;
// anything else (a crash, a report of a sanitizer, another exception, memory without end) ends the program.
//
//   fuzz RUNS [SEED]      so many changed files for each reader
//
// Under libFuzzer (-DLA_LIBFUZZER, tests/fuzz/run_libfuzzer.sh), the environment's LA_FUZZ names the reader;
// "list" prints the names and ends.

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>

#include "apps/options/preset_file.h"
#include "data/dataset.h"
#include "data/decode.h"
#include "data/picture_list.h"
#include "tensor/format.h"
#include "tensor/io/csv.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/tensorflow_checkpoint.h"
#include "tensor/io/torch_file.h"
#include "tensor/random.h"
#include "tests/temporary_folder.h"

namespace {

using namespace la;

struct Target {
  std::string name;
  std::vector<std::string> seeds;                // intact files
  std::function<void(const std::string&)> read;  // may throw an Error
};

std::span<const uint8_t> as_bytes(const std::string& file) {
  return {reinterpret_cast<const uint8_t*>(file.data()), file.size()};
}

std::string idx_pictures() {
  std::string bytes("\0\0\x08\x03\0\0\0\x02\0\0\0\x02\0\0\0\x03", 16);
  return bytes + std::string(12, 'p');
}

/// The files of tests/pictures, by the name of their kind in lower case.
std::map<std::string, std::vector<std::string>> pictures_by_kind() {
  std::map<std::string, std::vector<std::string>> files;
  for (const auto& entry : std::filesystem::directory_iterator("tests/pictures")) {
    const std::string bytes = read_file(entry.path());
    std::string kind = find_codec(as_bytes(bytes)).name;
    for (char& c : kind) c = static_cast<char>(std::tolower(c));
    files[kind].push_back(bytes);
  }
  return files;
}

std::vector<Target> make_targets(const TemporaryFolder& folder) {
  std::vector<Target> targets;
  targets.push_back({"idx", {idx_pictures()}, [&](const std::string& file) {
                       write_bytes(folder.file("train-images-idx3-ubyte"), file);
                       open_data({.path = folder.path(), .format = "idx"});
                     }});
  targets.push_back(
      {"idx-labels", {std::string("\0\0\x08\x01\0\0\0\x02\x01\x02", 10)}, [&](const std::string& file) {
         write_bytes(folder.file("train-images-idx3-ubyte"), idx_pictures());
         write_bytes(folder.file("train-labels-idx1-ubyte"), file);
         open_data({.path = folder.path(), .format = "idx"});
       }});
  targets.push_back(
      {"cifar", {std::string(2 * 3073, '\1'), std::string(3073, '\2')}, [&](const std::string& file) {
         for (int i = 1; i <= 5; ++i) write_bytes(folder.file(formatted("data_batch_{}.bin", i)), file);
         write_bytes(folder.file("test_batch.bin"), file);
         open_data({.path = folder.path(), .format = "cifar10"});
       }});

  write_safetensors(folder.file("seed"),
                    {{"a.b", Tensor::zeros({2, 3})}, {"c", Tensor::zeros({4}, DType::i64)}},
                    {{"key", "value \"quoted\""}});
  targets.push_back({"safetensors", {read_file(folder.file("seed"))}, [&](const std::string& file) {
                       write_bytes(folder.file("x.safetensors"), file);
                       read_safetensors(folder.file("x.safetensors"));
                     }});
  for (const char* kind : {"zip", "old"}) {
    const std::string seed = read_file(formatted("tests/fixtures/torch_{}.pth", kind));
    targets.push_back({formatted("torch-{}", kind), {seed}, [&](const std::string& file) {
                         write_bytes(folder.file("x.pth"), file);
                         const TorchFile torch(folder.file("x.pth"));
                         for (const TorchFile::Entry& entry : torch.entries()) torch.read(entry);
                       }});
  }
  for (const char* part : {"data-00000-of-00002", "data-00001-of-00002"})
    write_bytes(folder.file(formatted("x.{}", part)),
                read_file(formatted("tests/fixtures/tensorflow.{}", part)));
  targets.push_back(
      {"tensorflow", {read_file("tests/fixtures/tensorflow.index")}, [&](const std::string& file) {
         write_bytes(folder.file("x.index"), file);
         const TensorflowCheckpoint checkpoint(folder.file("x.index"));
         for (const TensorflowCheckpoint::Entry& entry : checkpoint.entries()) checkpoint.read(entry);
       }});
  NpyWriter npy(folder.file("seed.npy"), {3});
  npy.append(Tensor::zeros({2, 3}));
  npy.finish();
  targets.push_back({"npy", {read_file(folder.file("seed.npy"))}, [&](const std::string& file) {
                       write_bytes(folder.file("x.npy"), file);
                       read_npy(folder.file("x.npy"));
                     }});
  for (const auto& [kind, seeds] : pictures_by_kind())
    targets.push_back({kind, seeds, [](const std::string& file) {
                         const auto choose = [](int height, int width) {
                           return Crop{0, 0, static_cast<float>(width) / 2, static_cast<float>(height) / 2};
                         };
                         decode_excerpt(as_bytes(file), 4, choose, {.max_pixels = 1 << 22});
                       }});
  targets.push_back({"picture-list",
                     {"root /x\nclass a\nclass b\n0 a/1.png\n-1 b\\n/2.png\n"},
                     [](const std::string& file) { parse_picture_list(file, "list"); }});
  targets.push_back({"csv",
                     {"\xef\xbb\xbfid,\"a, \"\"b\"\"\",c\r\n1,\"two\nlines\",2.5\n3,,-4e1\n"},
                     [&](const std::string& file) {
                       write_bytes(folder.file("x.csv"), file);
                       const CsvTable table = read_csv(folder.file("x.csv"));
                       for (size_t c = 0; c < table.columns.size(); ++c)
                         table.values(static_cast<int64_t>(c));
                     }});
  targets.push_back({"preset",
                     {"dim = 3\ntext = \"a\\u0041 # b\" # c\nlist = [1, 2]\nflag = true\n"},
                     [](const std::string& file) { parse_preset(file); }});
  return targets;
}

/// One change: bytes set, numbers made extreme, parts removed, repeated or taken from another file.
void change(std::string& file, const std::vector<std::string>& seeds, RandomGenerator& random) {
  const auto below = [&](size_t n) { return static_cast<size_t>(random.below(static_cast<uint32_t>(n))); };
  const size_t at = below(file.size() + 1), rest = file.size() - at,
               length = below(std::min<size_t>(rest, 64) + 1);
  constexpr const char* extremes[] = {"\0\0\0\0",         "\xff\xff\xff\xff", "\x7f\xff\xff\xff",
                                      "\xff\xff\xff\x7f", "\0\0\0\x80",       "9999"};
  switch (below(7)) {
    case 0:
      if (rest > 0) file[at] = static_cast<char>(below(256));
      break;
    case 1:
      if (rest > 0) file[at] = static_cast<char>(file[at] ^ (1 << below(8)));
      break;
    case 2:
      if (rest >= 4) file.replace(at, 4, extremes[below(std::size(extremes))], 4);
      break;
    case 3:
      file.erase(at, length);
      break;
    case 4:
      file.insert(at, file.substr(at, length));
      break;
    case 5:
      file.resize(at);
      break;
    default:
      const std::string& other = seeds[below(seeds.size())];
      file = file.substr(0, at) + other.substr(std::min(at, other.size()));
  }
}

void run_one(const Target& target, const std::string& file) {
  try {
    target.read(file);
  } catch (const Error& error) {
    if (std::string(error.what()).find('\n') != std::string::npos) {
      print(stderr, "{}: an error of more than one line: {}\n", target.name, error.what());
      std::abort();
    }
  }
}

}  // namespace

#ifdef LA_LIBFUZZER

const Target* chosen = nullptr;

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  static const TemporaryFolder folder;
  static const std::vector<Target> targets = make_targets(folder);
  const char* const name = std::getenv("LA_FUZZ");
  for (const Target& target : targets) {
    if (name != nullptr && name == target.name) chosen = &target;
    if (name != nullptr && std::string_view(name) == "list") print("{}\n", target.name);
  }
  if (chosen != nullptr) return 0;
  std::fflush(stdout);
  std::_Exit(name != nullptr && std::string_view(name) == "list" ? 0 : 2);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  run_one(*chosen, std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}

#else

int main(int argc, char** argv) {
  const int runs = argc > 1 ? std::atoi(argv[1]) : 1000;
  const auto seed = static_cast<uint64_t>(argc > 2 ? std::atoll(argv[2]) : 1);
  const TemporaryFolder folder;
  for (const Target& target : make_targets(folder)) {
    for (const std::string& intact : target.seeds) target.read(intact);  // an Error here ends the program
    for (int run = 0; run < runs; ++run) {
      RandomGenerator random({.seed = seed, .index = static_cast<uint64_t>(run)});
      std::string file = target.seeds[random.below(static_cast<uint32_t>(target.seeds.size()))];
      for (uint32_t changes = 1 + random.below(4); changes > 0; --changes) change(file, target.seeds, random);
      run_one(target, file);
    }
    print("fuzz: {:<14}{:>8} changed files read or refused\n", target.name, runs);
  }
}

#endif
