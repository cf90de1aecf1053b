// la_import: makes a checkpoint of another program's network: a file of PyTorch, of LA's original program in
// TensorFlow, or of safetensors. No Python is needed, and nothing in the file is executed. `la_import --help` lists the options.

#include <filesystem>
#include <map>
#include <memory>
#include <optional>

#include "apps/model_program.h"
#include "apps/options/command_line.h"
#include "la/model.h"
#include "layers/import.h"
#include "layers/import_tensorflow.h"
#include "layers/state_dict.h"
#include "tensor/format.h"
#include "tensor/io/tensorflow_checkpoint.h"
#include "tensor/io/torch_file.h"
#include "tensor/text.h"

namespace la {

template <>
inline constexpr std::array<std::string_view, 3> enum_names<ImportHead>{"auto", "keep", "none"};

}  // namespace la

using namespace la;

namespace {

struct Options {
  std::string file, out;
  bool list = false, force = false;
  ImportOptions network;
  std::vector<float> mean, stddev;
};

/// The tensors of a file, whichever program has written it.
class Source {
 public:
  explicit Source(const std::string& path) {
    if (path.ends_with(".safetensors")) {
      for (const NamedTensor& t : read_safetensors(path).tensors) add(t);
      return;
    }
    if (path.ends_with(".index")) {
      read_tensorflow(path);
      return;
    }
    torch_ = std::make_unique<TorchFile>(path);
    for (const TorchFile::Entry& entry : torch_->entries()) {
      available.push_back({entry.name, entry.shape});
      entries_.emplace(entry.name, &entry);
    }
  }

  Tensor read(const std::string& name) const {
    return torch_ ? torch_->read(*entries_.at(name)) : tensors_.at(name);
  }

  std::vector<AvailableTensor> available;
  std::string network;  // where that is known already

 private:
  void add(const NamedTensor& t) {
    available.push_back({t.name, t.tensor.shape()});
    tensors_.emplace(t.name, t.tensor);
  }
  /// The variables of LA's original program get our names; those of its optimizer are left out.
  void read_tensorflow(const std::string& path) {
    const TensorflowCheckpoint checkpoint(path);
    std::vector<NamedTensor> variables;
    for (const TensorflowCheckpoint::Entry& entry : checkpoint.entries())
      if (!entry.name.ends_with("/Momentum")) variables.push_back({entry.name, checkpoint.read(entry)});
    const std::optional<RenamedNetwork> renamed = from_original_program(variables);
    if (renamed) network = renamed->network;
    for (const NamedTensor& t : renamed ? renamed->tensors : variables) add(t);
  }

  std::map<std::string, Tensor> tensors_;
  std::unique_ptr<TorchFile> torch_;
  std::map<std::string, const TorchFile::Entry*> entries_;
};

/// The memory bank of LA's PyTorch port, or of a checkpoint of ours, for embeddings of that length.
std::optional<Tensor> find_bank(const Source& source, int64_t dim) {
  for (const AvailableTensor& t : source.available)
    for (const char* name : {"memory_bank/_bank", "memory_bank", bank_name})
      if (t.name == name && t.shape.rank() == 2 && t.shape[1] == dim) return source.read(t.name);
  return {};
}

/// An Error names the file.
Source read_source(const std::string& path) try { return Source(path); } catch (const Error& error) {
  const std::string what = error.what();
  if (what.find(path.substr(0, path.rfind('.'))) != what.npos) throw;
  fail("{}: {}", path, what);
}

int import_file(const Options& options) {
  const Source source = read_source(options.file);
  if (options.list) {
    for (const AvailableTensor& t : source.available) print("{}  {}\n", printable(t.name), t.shape);
    return 0;
  }
  check_new_output(options.out, options.force);
  const auto read = [&](const std::string& name) { return source.read(name); };
  ImportOptions network = options.network;
  if (network.network.empty()) network.network = source.network;
  ImportedNetwork imported;
  try {
    imported = import_network(source.available, read, network);
  } catch (const Error& error) {
    const std::string what = error.what();
    if (what.starts_with(options.file)) throw;
    fail("{}: {}", options.file, what);
  }
  std::vector<NamedTensor> tensors = state_dict(*imported.network);
  if (const std::optional<Tensor> bank = find_bank(source, imported.options.dim)) {
    tensors.push_back({bank_name, *bank});
    imported.notes.push_back(formatted("bank      {} vectors", bank->size(0)));
  }

  Config config;
  config.network = imported.options;
  AugmentationOptions view{.size = static_cast<int>(imported.options.image_size)};
  const ChannelStatistics photographs = imagenet_statistics();
  const bool color = imported.options.channels == 3;
  view.mean = !options.mean.empty() ? options.mean : color ? photographs.mean : std::vector<float>(1, 0.5f);
  view.stddev = !options.stddev.empty() ? options.stddev
                : color                 ? photographs.stddev
                                        : std::vector<float>(1, 0.5f);
  const auto channels = static_cast<size_t>(imported.options.channels);
  check(view.mean.size() == channels && view.stddev.size() == channels,
        "`mean` and `stddev` have {} and {} numbers, expected one for each of the {} channels",
        view.mean.size(), view.stddev.size(), channels);
  write_safetensors(options.out, tensors, describe_model(config, imported.options.channels, view));
  for (const std::string& note : imported.notes) print("{}\n", printable(note));
  print("pictures  {0} x {0} pixels, mean {1}, stddev {2}\n", view.size, joined(view.mean, " "),
        joined(view.stddev, " "));
  print("{}: for la_eval, la_embed, la_export, and la_train --init\n", printable(options.out));
  return 0;
}

constexpr ProgramInfo program = {"la_import",
                                 "Makes a checkpoint of a network that another program has trained."};

OptionTable options_of(Options& options) {
  OptionTable t;
  t.group("File");
  Option& file = t.add("file", options.file,
                       "of torch.save (.pth, .pt, .pth.tar), a checkpoint of LA's original program in "
                       "TensorFlow (.index), or .safetensors");
  file.positional = file.required = true;
  t.add("list", options.list, "print the names and shapes of its tensors, and end");
  t.group("Output");
  t.add("out", options.out, "FILE.safetensors: the checkpoint");
  t.add("force", options.force, "overwrite a file that exists");
  t.group("Network");
  std::vector<std::string> names = network_names();
  names.insert(names.begin(), "");
  t.add("network", options.network.network, names, "which it is; empty: recognized by names and shapes");
  t.add("head", options.network.head,
        "its last linear map; auto: kept where it gives at most 256 numbers, an embedding; else the features "
        "before "
        "it are the embedding");
  t.add("image-size", options.network.image_size, between(0, 4096),
        "height and width of what it sees; 0: what the network was made for");
  t.add("mean", options.mean, "of each channel, of pixels in [0, 1]; empty: ImageNet's");
  t.add("stddev", options.stddev, "likewise");
  return t;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_program(program.name, [&] {
    Options options;
    OptionTable table = options_of(options);
    if (!parse_command_line(program, table, argc, argv)) return 0;
    if (options.out.empty() && !options.list)
      throw UsageError(
          "--out FILE.safetensors is missing: the checkpoint to write (--list looks into a file)");
    if (!options.out.empty()) check_ending("--out", options.out, ".safetensors");
    return import_file(options);
  });
}
