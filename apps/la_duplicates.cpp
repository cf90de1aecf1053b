// la_duplicates: finds pictures that are copies of one another, also cropped, mirrored, rescaled, recolored or
// recompressed ones. `la_duplicates --help` lists the options.

#include <filesystem>
#include <optional>

#include "apps/duplicate_files.h"
#include "apps/model_program.h"
#include "apps/options/command_line.h"
#include "apps/result_folder.h"
#include "apps/run/interrupt.h"
#include "apps/run/progress.h"
#include "evaluation/picture_copies.h"
#include "evaluation/sample.h"
#include "tensor/clock.h"
#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tensor/text.h"

using namespace la;

namespace {

namespace fs = std::filesystem;

struct DuplicateOptions {
  ModelOptions model;
  double recall = 0.988, threshold = 0;
  int64_t neighbors = 10;
  uint64_t seed = 0;
  std::string out, move;
  bool force = false;
};

/// So many copies say what copies are like.
constexpr int64_t least_copies = 200, most_copies = 1000;

ProgressCallback telling(const Dataset& data, Progress& progress) {
  return [&data, show = progress.callback()](std::string_view what, int64_t done, int64_t n) {
    print_warnings(data);
    show(what, done, n);
  };
}

/// Copies that are made of some of the pictures, and how like them they are.
CopiesMeasured measure(const Embedder& embedder, const Model& model, const Dataset& data,
                       const ComparedPictures& pictures, const DuplicateOptions& options) {
  const auto n = std::ssize(pictures.numbers);
  std::vector<int32_t> originals = evenly_spread(n, most_copies);
  while (std::ssize(originals) < least_copies)
    originals.push_back(static_cast<int32_t>(std::ssize(originals) % n));
  std::vector<int64_t> numbers;
  for (const int32_t original : originals) numbers.push_back(pictures.numbers[static_cast<size_t>(original)]);
  const PictureCopies copies(data, numbers, options.seed);
  Progress progress(stderr);
  const ComparedPictures seen = prepare_comparison(embedder, model.view, copies, telling(data, progress));
  std::optional<float> threshold;
  if (options.threshold > 0) threshold = static_cast<float>(options.threshold);
  return measure_copies(pictures, seen, originals, options.neighbors, options.recall, threshold);
}

std::vector<std::string> in_words(const CopiesMeasured& measured, int64_t neighbors) {
  const auto percent = [&](int64_t copies) {
    return 100.0 * static_cast<double>(copies) / static_cast<double>(measured.copies);
  };
  return {formatted(
              "Of {} made of these pictures for comparison (cropped, mirrored, rescaled, recolored or "
              "recompressed), {:.1f} % have a likeness of at least {:.4f} to their original: the threshold.",
              counted(measured.copies, "copy", "copies"), percent(measured.alike),
              measured.thresholds.likeness.fine),
          formatted("{:.1f} % have that, and are among the {} nearest by embedding: such a share of copies "
                    "should be found.",
                    percent(measured.found), neighbors)};
}

std::string size_in_words(int64_t bytes) {
  return bytes < 1'000'000 ? formatted("{:.1f} kB", static_cast<double>(bytes) / 1e3)
                           : formatted("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

int64_t spare_bytes(const std::vector<DuplicateGroup>& groups) {
  int64_t bytes = 0;
  for (const DuplicateGroup& group : groups)
    for (const DuplicateFile& file : group)
      if (!file.kept) bytes += file.bytes;
  return bytes;
}

std::string summary_of(const std::vector<DuplicateGroup>& groups, int64_t pictures) {
  int64_t files = 0;
  for (const DuplicateGroup& group : groups) files += std::ssize(group);
  if (groups.empty()) return formatted("None of {} is a copy of another.", counted(pictures, "picture"));
  const int64_t bytes = spare_bytes(groups);
  return formatted("{} of {} are in {} of copies{}.", files, counted(pictures, "picture"),
                   counted(std::ssize(groups), "group"),
                   bytes > 0 ? formatted("; without the copies {} less", size_in_words(bytes)) : "");
}

bool is_duplicate_file(const std::string& name) {
  return name == duplicates_table || name == duplicates_page;
}

void write_results(StagedFolder& out, const Dataset& data, const std::vector<DuplicateGroup>& groups,
                   const std::vector<std::string>& about) {
  write_duplicate_table(out.path(duplicates_table), data, groups);
  write_text_file(out.path(duplicates_page),
                  duplicates_html(data, groups, about, Progress(stderr).callback()));
  out.commit(is_duplicate_file);
  print("{}: {} and {}, to look at\n", printable(out.folder()), duplicates_table, duplicates_page);
}

void check_move(const DuplicateOptions& options, const Dataset& data) {
  check(data.size() == 0 || !data.file(0).empty(), "--move: the pictures of {} are not in files of their own",
        options.model.data.path);
  const std::string to = full_path(options.move), from = full_path(options.model.data.path);
  check(!to.starts_with(from) && !from.starts_with(to),
        "--move {}: expected a folder that is neither in that of the pictures, {}, nor around it",
        options.move, options.model.data.path);
  check(!StagedFolder::is_occupied(options.move), "--move {}: expected a new or an empty folder",
        options.move);
}

/// Returns the program's status.
int move_all(const Dataset& data, const std::vector<DuplicateGroup>& groups,
             const DuplicateOptions& options) {
  const MovedFiles moved =
      move_copies(data, groups, options.model.data.path, options.move, Progress(stderr).callback());
  for (const std::string& line : moved.left) print(stderr, "{}\n", printable(line));
  print("{} moved to {}, {}\n", counted(moved.files, "file"), printable(options.move),
        size_in_words(moved.bytes));
  return moved.left.empty() ? 0 : 1;
}

int find_duplicates(DuplicateOptions options, const OptionTable& table) {
  Model model = open_model(options.model, table);
  const DataSource source = open_data(options.model.data);
  const Dataset& data = *source.train;
  check_channels(model, data);
  if (options.out.empty())
    options.out = fs::path(model.checkpoint).parent_path() / formatted("duplicates-{}", source.name);
  if (!options.move.empty()) check_move(options, data);
  const auto out = stage_results("--out", options.out, options.model.data.path, options.force);
  begin_together(alone(), table, model, source);
  if (source.test != nullptr)
    print("{}: only the training pictures are looked at, not the {} that are set apart for testing\n",
          options.model.data.path, counted(source.test->size(), "picture"));

  const Embedder embedder(model, {});
  Progress embedding(stderr);
  const ComparedPictures pictures = prepare_comparison(embedder, model.view, data, telling(data, embedding));
  check(std::ssize(pictures.numbers) > 1, "{}: expected at least 2 pictures that can be read",
        options.model.data.path);
  const CopiesMeasured measured = measure(embedder, model, data, pictures, options);
  std::vector<std::string> about = in_words(measured, options.neighbors);
  for (const std::string& line : about) print("{}\n", line);

  const double start = now();
  const std::vector<CopyPair> pairs =
      find_copies(pictures, options.neighbors, measured.thresholds, Progress(stderr).callback());
  const double seconds = now() - start;
  const std::vector<DuplicateGroup> groups = describe_groups(
      data, pictures, groups_of(pairs), measured.thresholds.likeness, Progress(stderr).callback());
  about.insert(about.begin(), summary_of(groups, std::ssize(pictures.numbers)));
  print("{} ({:.1f} s)\n", about.front(), seconds);
  about.emplace_back("The least sure groups come first. Numbers are the likeness to the first of the group.");
  write_results(*out, data, groups, about);
  return options.move.empty() ? 0 : move_all(data, groups, options);
}

constexpr ProgramInfo program = {"la_duplicates",
                                 "Finds pictures that are copies of one another, also cropped, mirrored, "
                                 "rescaled, recolored or recompressed "
                                 "ones. Changes no file unless it is told to."};

OptionTable options_of(DuplicateOptions& options) {
  OptionTable t;
  add_model_options(t, options.model);
  Option& pictures = t.add("pictures", options.model.data.path, "folder of pictures");
  pictures.positional = pictures.required = true;
  t.group("What is a copy");
  t.add(
      "recall", options.recall, between(0.5, 1),
      "such a share of the copies that are made for comparison is as alike as the threshold says; less finds "
      "fewer copies and fewer other pictures");
  t.add("threshold", options.threshold, between(0, 1),
        "the likeness of copies, in place of --recall; 0: measured");
  t.add("neighbors", options.neighbors, between(1, 1000),
        "so many nearest by embedding are compared with a picture");
  t.add("seed", options.seed, "of the copies that are made for comparison");
  t.group("Output");
  t.add("out", options.out,
        "DIR: duplicates.csv (group; file; keep, yes or no; likeness to the first of the group; bytes, "
        "width, height, "
        "exif) and duplicates.html; empty: duplicates-<data> beside the checkpoint");
  t.add("force", options.force, "overwrite what an earlier call has written into the folder");
  t.add("move", options.move,
        "DIR: move the files that are not to be kept there: those like the first of their group, which has "
        "EXIF data, or of "
        "several or none is the largest file");
  t.group("Pictures");
  add_model_picture_options(t, options.model.data);
  t.group("Machine");
  add_machine_options(t, options.model.device, options.model.threads);
  return t;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_program(program.name, [&] {
    DuplicateOptions options;
    OptionTable table = options_of(options);
    if (!parse_command_line(program, table, argc, argv)) return 0;
    catch_interrupts();
    return find_duplicates(options, table);
  });
}
