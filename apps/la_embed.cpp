// la_embed: writes what a trained network makes of pictures (embeddings, or the activations of its layers) as
// .npy files or as an assembly for Brain-Score, and finds the pictures that are most similar to one.
// `la_embed --help` lists the options.

#include <algorithm>
#include <filesystem>
#include <memory>

#include "apps/contact_sheet.h"
#include "apps/model_program.h"
#include "apps/netcdf/assembly.h"
#include "apps/options/command_line.h"
#include "apps/processes.h"
#include "apps/run/interrupt.h"
#include "apps/run/progress.h"
#include "apps/stimuli.h"
#include "evaluation/embedder.h"
#include "evaluation/pca.h"
#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tensor/io/npy.h"
#include "tensor/ops.h"
#include "tensor/text.h"
#include "tensor/version.h"

using namespace la;

namespace {

struct EmbedOptions {
  ModelOptions model;
  std::string out;
  std::vector<std::string> layers;
  bool whole = false, no_crop = false;
  int64_t pca = 0;
  std::string project;
  std::string list, stimuli;
  std::string similar, sheet = "similar.png";
  bool own_sheet = false;  // the user has named it
  int64_t top = 12;
  bool force = false;

  /// Whether all goes into one file of netCDF.
  bool to_assembly() const { return out.ends_with(".nc"); }
  /// Empty, or what names the pictures that are shown.
  const std::string& order() const { return list.empty() ? stimuli : list; }
};

/// "vectors.npy" and "txt" -> "vectors.txt".
std::string beside(const std::string& out, const std::string& ending) {
  return std::filesystem::path(out).replace_extension(ending).string();
}

std::string file_of_layer(const EmbedOptions& options, const std::string& layer) {
  return beside(options.out, layer + (options.pca > 0 ? ".pca.safetensors" : ".npy"));
}

/// The files that will be written.
std::vector<std::string> outputs_of(const EmbedOptions& options) {
  std::vector<std::string> files;
  if (!options.out.empty()) files.push_back(options.out);
  if (!options.out.empty() && !options.to_assembly()) {
    files.push_back(beside(options.out, "txt"));
    for (const std::string& layer : options.layers) files.push_back(file_of_layer(options, layer));
  }
  if (!options.similar.empty() && options.own_sheet) files.push_back(options.sheet);
  return files;
}

/// An Error for what could not be written in the end.
void check_outputs(const EmbedOptions& options) {
  for (const std::string& file : outputs_of(options)) check_new_output(file, options.force);
  if (!options.similar.empty()) check_output(options.sheet);
}

/// The file of an array, or of principal components, for each layer, and the list of pictures.
class Writer {
 public:
  explicit Writer(const EmbedOptions& options) : options_(options), names_(beside(options.out, "txt")) {
    files_.emplace_back(options.out);
    for (const std::string& layer : options.layers) {
      File& file = files_.emplace_back(file_of_layer(options, layer));
      file.components_wanted = options.pca;
    }
  }

  void append(const EmbeddedPictures& some, const Dataset& data) {
    for (size_t i = 0; i < files_.size(); ++i) files_[i].append(some.outputs[i]);
    for (const int32_t picture : some.numbers) names_.write(escaped(data.name(picture)) + "\n");
  }
  void finish() {
    for (File& file : files_) file.finish();
    names_.commit();
    print("{}: their files\n", beside(options_.out, "txt"));
  }

 private:
  struct File {
    explicit File(std::string p) : path(std::move(p)) {}

    void append(const Tensor& output) {
      if (components_wanted > 0) {
        const Tensor flat = output.reshape({output.size(0), -1});
        if (!pca) pca = std::make_unique<StreamingPca>(flat.size(1), components_wanted);
        return pca->add(flat.to(Device::cpu()));
      }
      if (!writer) writer = std::make_unique<NpyWriter>(path, output.shape().row());
      writer->append(output);
    }
    void finish() {
      check(writer != nullptr || pca != nullptr, "there is no picture to embed");
      if (pca != nullptr) {
        const PrincipalComponents found = pca->result();
        save_components(path, found);
        print("{}: {} of {} rows\n", path, counted(found.components.size(0), "principal component"),
              pca->rows());
        return;
      }
      writer->finish();
      print("{}: {}\n", path, counted(writer->rows(), "row"));
    }

    std::string path;
    int64_t components_wanted = 0;
    std::unique_ptr<NpyWriter> writer;
    std::unique_ptr<StreamingPca> pca;
  };

  const EmbedOptions& options_;
  std::vector<File> files_;
  AtomicFile names_;
};

Tensor stacked(const std::vector<Tensor>& parts) {
  int64_t rows = 0;
  for (const Tensor& part : parts) rows += part.size(0);
  check(rows > 0, "there is no picture to compare with");
  const Tensor all({rows, parts.front().size(1)});
  int64_t at = 0;
  for (const Tensor& part : parts) {
    ops::copy_into(all.rows(at, at + part.size(0)), part);
    at += part.size(0);
  }
  return all;
}

Picture read_query(const EmbedOptions& options, const Model& model) {
  const std::string& file = options.similar;
  Picture query = read_picture(file, options.model.data.decode);
  check(query.channels == model.channels, "{}: has {} channels, the network sees {}", file, query.channels,
        model.channels);
  return query;
}

void print_similar(Model& model, const Picture& query, const Dataset& data, const EmbedOptions& options,
                   const Tensor& embeddings, const std::vector<int64_t>& pictures) {
  const Tensor view({1, model.view.size, model.view.size, model.channels});
  const ViewPlan plan = options.no_crop ? plan_whole_view(query.height, query.width)
                                        : plan_center_view(query.height, query.width, model.view.size);
  augment(query, plan, model.view, view.data<float>());
  const Tensor v = Embedder(model, {}).outputs_of_views(view).front().to(Device::cpu());
  // One more, for the query itself may be among them.
  const TopK nearest = ops::top_k(ops::matmul(v, embeddings, {.transpose_b = true}),
                                  std::min(options.top + 1, embeddings.size(0)));
  const std::vector<float> similarities = nearest.values.to_vector<float>();
  const std::vector<int32_t> rows = nearest.indices.to_vector<int32_t>();
  const auto file_name = [](const std::string& path) {
    return printable(std::filesystem::path(path).filename().string());
  };
  ContactSheet sheet;
  sheet.add({query, "query", file_name(options.similar), true});
  for (size_t i = 0; i < rows.size() && sheet.size() <= options.top; ++i) {
    const int64_t picture = pictures[static_cast<size_t>(rows[i])];
    std::error_code no_file;
    if (std::filesystem::equivalent(options.similar, data.name(picture), no_file)) continue;
    print("{:.4f} {}\n", similarities[i], printable(data.name(picture)));
    sheet.add({data.picture(picture), formatted("{:.4f}", similarities[i]), file_name(data.name(picture))});
  }
  sheet.write(options.sheet);
  print("{}: the query and what is nearest to it\n", options.sheet);
}

/// Those that a list or stimuli name; nothing where neither does.
std::unique_ptr<Dataset> chosen_pictures(const Dataset& all, const EmbedOptions& options,
                                         const StimulusSet& stimuli) {
  const std::string& folder = options.model.data.path;
  if (!options.list.empty()) return listed_pictures(all, folder, options.list);
  if (!options.stimuli.empty()) return shown_pictures(all, folder, stimuli);
  return nullptr;
}

std::unique_ptr<AssemblyWriter> open_assembly(const EmbedOptions& options, const Model& model,
                                              const StimulusSet& stimuli) {
  const auto stem = [](const std::string& path) { return std::filesystem::path(path).stem().string(); };
  AssemblyDescription about{.stimuli = stimuli,
                            .model = model.network,
                            .layers = {"embedding"},
                            .attributes = {{"identifier", stem(options.out)},
                                           {"stimulus_set_identifier", stem(options.stimuli)},
                                           {"model", model.network},
                                           {"checkpoint", model.checkpoint},
                                           {"program", formatted("la_embed {}", version)}}};
  about.layers.insert(about.layers.end(), options.layers.begin(), options.layers.end());
  if (!options.project.empty()) about.attributes.emplace_back("principal_components", options.project);
  return make_assembly_writer(options.out, std::move(about));
}

int embed_pictures(EmbedOptions options, const OptionTable& table, Collectives& ranks) {
  Model model = open_model(options.model, table, ranks);
  const DataSource data = open_data(options.model.data);
  check_channels(model, *data.train);
  const StimulusSet stimuli = options.stimuli.empty() ? StimulusSet() : read_stimulus_set(options.stimuli);
  const std::unique_ptr<Dataset> chosen = chosen_pictures(*data.train, options, stimuli);
  const Dataset& all = chosen ? *chosen : *data.train;
  const bool writes = ranks.rank() == 0, compares = !options.similar.empty();
  if (writes) check_outputs(options);
  std::unique_ptr<Writer> writer;
  std::unique_ptr<AssemblyWriter> assembly;
  if (writes && options.to_assembly())
    assembly = open_assembly(options, model, stimuli);
  else if (writes && !options.out.empty())
    writer = std::make_unique<Writer>(options);
  const Picture query = compares ? read_query(options, model) : Picture();
  const EmbedderOptions wanted{.layers = options.layers,
                               .whole = options.whole,
                               .no_crop = options.no_crop,
                               .project = options.project,
                               .list = options.order()};
  const Embedder embedder(model, wanted);
  std::vector<std::string> files;
  if (chosen) files.push_back(options.order());
  for (const std::string& layer : options.layers)
    if (!options.project.empty()) files.push_back(wanted.components_of(layer));
  begin_together(ranks, table, model, data, files);
  std::vector<Tensor> embeddings;
  std::vector<int64_t> pictures;
  const auto take = [&](const EmbeddedPictures& some) {
    if (writer) writer->append(some, all);
    if (assembly) assembly->append(some.outputs);
    if (!compares) return;
    embeddings.push_back(some.outputs.front().to(Device::cpu()));
    pictures.insert(pictures.end(), some.numbers.begin(), some.numbers.end());
  };
  Progress progress(stderr);
  const ProgressCallback show = progress.callback(ranks.alone());
  embedder.all_pictures(all, ranks, take, [&](std::string_view what, int64_t done, int64_t n) {
    print_warnings(all);
    if (writes) show(what, done, n);
    // All end together, so that the first leaves no file.
    if (!ranks.alone() && interrupted_anywhere(ranks) != 0) throw Interrupted();
  });
  if (writer) writer->finish();
  if (assembly) assembly->finish();
  if (writes && compares) print_similar(model, query, all, options, stacked(embeddings), pictures);
  return 0;
}

constexpr ProgramInfo program = {"la_embed", "Writes the embeddings of pictures, or finds similar ones."};

OptionTable options_of(EmbedOptions& options) {
  OptionTable t;
  add_model_options(t, options.model);
  Option& pictures = t.add("pictures", options.model.data.path, "folder of pictures, or one picture");
  pictures.positional = pictures.required = true;
  t.group("Embeddings");
  t.add("out", options.out,
        "FILE.npy: the embeddings, f32 [N, D]; beside it FILE.txt, the pictures' names, a line each, with "
        "\\n, \\\\ and the like for what a line cannot hold; FILE.nc, with --stimuli: an assembly in netCDF "
        "for Brain-Score and xarray, with the layers in it");
  t.add("layers", options.layers,
        "write these layers' activations too, each to FILE.<layer>.npy: stages as conv1 or layer3, or any "
        "module as layer2.0.conv1; with commas between");
  t.add("whole", options.whole, "activations [N, H, W, C] as they are, not their means [N, C]");
  t.add("pca", options.pca, at_least(0),
        "write the layers' first so many principal components over these pictures, "
        "FILE.<layer>.pca.safetensors, in "
        "place of their activations; 0: none");
  t.add("project", options.project,
        "FILE of an earlier --pca, without its ending: write the layers' coordinates along those components");
  t.add("no-crop", options.no_crop,
        "show the network whole pictures, squeezed where they are not square, not the central 7/8 of their "
        "largest "
        "square");
  t.add("list", options.list,
        "a file with the names of pictures, a line each, as they lie in the folder: embed these, in this "
        "order; "
        "one that cannot be read is an error");
  t.add(
      "stimuli", options.stimuli,
      "a stimulus set of Brain-Score, a CSV file with the columns stimulus_id and filename: embed these, as "
      "--list does");
  t.group("Similar pictures");
  t.add("similar", options.similar, "a picture, to which to print the nearest of the pictures");
  t.add("top", options.top, at_least(1), "how many");
  t.add("sheet", options.sheet,
        "PNG of the picture and those nearest to it; without this option, one of an earlier call is "
        "overwritten");
  t.group("Output");
  t.add("force", options.force, "overwrite files that exist");
  t.group("Pictures");
  add_model_picture_options(t, options.model.data);
  t.group("Machine");
  add_machine_options(t, options.model.device, options.model.threads);
  add_process_options(t, options.model);
  return t;
}

void check_assembly(const EmbedOptions& options) {
  if (options.stimuli.empty())
    throw UsageError(formatted("--out {} needs --stimuli FILE.csv, which tells the stimuli", options.out));
  if (options.pca > 0)
    throw UsageError(
        formatted("--pca writes no activations: --out {} has only those, or --project's", options.out));
  check(has_netcdf(), "--out {}: this build has no netCDF; 'make deps' installs it, then build again",
        options.out);
}

void check_options(const EmbedOptions& options) {
  if (options.out.empty() && options.similar.empty())
    throw UsageError(
        "nothing to do: --out FILE.npy writes embeddings, --similar PICTURE finds similar pictures");
  if (options.out.empty() && !options.layers.empty()) throw UsageError("--layers needs --out FILE.npy");
  if (options.pca > 0 && !options.project.empty())
    throw UsageError("--pca finds components, --project uses those of an earlier call: one of them");
  if ((options.pca > 0 || !options.project.empty()) && options.layers.empty())
    throw UsageError("--pca and --project are of --layers");
  if (!options.list.empty() && !options.stimuli.empty())
    throw UsageError("--list and --stimuli say both what is shown: one of them");
  if (options.to_assembly()) check_assembly(options);
  if (!options.out.empty() && !options.to_assembly()) check_ending("--out", options.out, ".npy");
  if (!options.similar.empty()) check_ending("--sheet", options.sheet, ".png");
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_processes(program.name, [&](Collectives& ranks) {
    EmbedOptions options;
    OptionTable table = options_of(options);
    if (!parse_command_line(program, table, argc, argv, ranks.rank() == 0)) return 0;
    options.own_sheet = table.given("sheet");
    check_options(options);
    catch_interrupts();
    return embed_pictures(options, table, ranks);
  });
}
