// la_report: a page that shows what a training has learnt, and how it went. `la_report --help` lists the options.

#include <sys/resource.h>
#include <time.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>

#include "apps/model_program.h"
#include "apps/options/arguments.h"
#include "apps/options/command_line.h"
#include "apps/options/options.h"
#include "apps/page/follow.h"
#include "apps/page/page.h"
#include "apps/run/interrupt.h"
#include "apps/run/progress.h"
#include "apps/run_table.h"
#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tensor/text.h"

using namespace la;

namespace {

struct ReportOptions {
  Paths runs;
  std::string out, data;
  bool no_pictures = false, force = false, table = false, seeds = false, follow = false;
  int64_t most_pictures = 100'000;
  std::string device = "auto";
  int threads = 0;
};

/// The options of the run's training, on this machine.
Config config_of(const std::string& run, const ReportOptions& options) {
  Config config = parse_options({"--resume", "--run", run}, "").config;
  if (!options.data.empty()) config.data.path = options.data;
  return config;
}

/// What the run's network makes of its pictures.
Follower::Looked look_at_run(const std::string& run, const ReportOptions& options,
                             const ProgressCallback& progress) {
  Config config = config_of(run, options);
  if (options.threads > 0) set_num_threads(options.threads);
  Model model = load_model(run, find_device(options.device));
  config.data.decode.gray = model.channels == 1;
  DataSource data;
  try {
    data = open_data(config.data);
  } catch (const Error& error) {
    fail("{}; --data names where the pictures of the run are now, --no-pictures leaves them out",
         error.what());
  }
  for (const Dataset* pictures : {data.train.get(), data.test.get()})
    if (pictures != nullptr) check_channels(model, *pictures);
  LearntPictures learnt = look_at_pictures(model, data, {.most_pictures = options.most_pictures}, progress);
  print_warnings(*data.train);
  return {std::filesystem::path(model.checkpoint).filename(), std::move(learnt)};
}

/// Nothing before the run's first checkpoint.
std::optional<PicturePart> pictures_of(const std::string& run, const ReportOptions& options) {
  Progress progress(stderr);
  if (!newest_checkpoint_name(run).empty())
    return part_of(look_at_run(run, options, progress.callback()).pictures);
  print(stderr, "{}: has no checkpoint yet, so the page has no pictures\n", run);
  return {};
}

std::string page_of(const ReportOptions& options) {
  std::error_code ignored;
  const std::string& run = options.runs.paths.front();
  check(std::filesystem::is_directory(run, ignored), "{}: is no folder of a run", run);
  const std::string page = options.out.empty() ? run + "/report.html" : options.out;
  check_new_output(page, options.force || options.out.empty());
  return page;
}

int report(const ReportOptions& options) {
  const std::vector<std::string>& runs = options.runs.paths;
  Page page;
  for (const std::string& run : runs) page.runs.push_back(read_run(run));
  const std::string out = page_of(options);
  std::optional<PicturePart> pictures;
  if (runs.size() == 1 && !options.no_pictures) pictures = pictures_of(runs.front(), options);
  if (pictures) page.pictures = &*pictures;
  const std::string html = html_of(page);
  write_text_file(out, html);
  print("{}: {:.1f} MB, for any browser\n", printable(out), static_cast<double>(html.size()) / 1e6);
  return 0;
}

/// The training shall not notice it: it has the processor first, and a GPU to itself.
ReportOptions for_spare_time(ReportOptions options) {
  constexpr int most_patient = 19;
  check(setpriority(PRIO_PROCESS, 0, most_patient) == 0, "cannot give way to other programs: {}",
        std::strerror(errno));
  if (options.device == "auto") options.device = "cpu";
  return options;
}

/// A second, or until a signal comes.
void wait_a_moment() {
  const timespec second{.tv_sec = 1, .tv_nsec = 0};
  nanosleep(&second, nullptr);
}

int follow(const ReportOptions& given) {
  const ReportOptions options = for_spare_time(given);
  const std::string& run = options.runs.paths.front();
  Progress progress;
  Follower::Look look;
  if (!options.no_pictures)
    look = [&](const ProgressCallback& meanwhile) {
      return look_at_run(run, options, [&, shows = progress.callback()](auto... work) {
        meanwhile(work...);
        shows(work...);
      });
    };
  Follower follower(run, page_of(options), look,
                    [&](const std::string& line) { progress.message(with_option_names(line)); });
  try {
    while (follower.step()) {
      wait_a_moment();
      if (interrupted()) throw Interrupted();
    }
    return 0;
  } catch (const Interrupted&) {
    follower.leave();
    throw;
  }
}

/// Prints a table of the runs. What is no run, or a damaged one, is named, and the status is 1 in the end.
int tabulate(const ReportOptions& options) {
  RunTable table;
  int status = 0;
  const auto leave_out = [](const std::string& line) {
    print(stderr, "{}; left out\n", with_option_names(printable(line)));
  };
  for (const std::string& run : options.runs.paths) try {
      if (const std::string why = table.add(run); !why.empty()) leave_out(run + ": " + why);
    } catch (const Error& error) {
      leave_out(error.what());
      status = 1;
    }
  for (const std::string& warning : table.warnings())
    print(stderr, "warning: {}; skipped\n", printable(warning));
  check(!table.empty(), "no run has come to its end; a table needs one at least");
  print("{}", table.markdown(options.seeds));
  return status;
}

constexpr ProgramInfo program = {
    "la_report",
    "Writes a page, one HTML file, that shows how a training went and what it has learnt: curves, health, a "
    "map of the pictures, neighbors, clusters, confusion. Of several runs it compares curves and options, or "
    "prints a table of their results."};

OptionTable options_of(ReportOptions& options) {
  OptionTable t;
  Option& runs = t.add("runs", options.runs, "folders of runs");
  runs.positional = runs.required = true;
  t.group("Pictures");
  t.add("data", options.data, "where the pictures of the run are now; empty: where they were");
  t.add("no-pictures", options.no_pictures, "curves and options alone, at once");
  t.add("most-pictures", options.most_pictures, between(3, 100'000),
        "of more, so many are shown, evenly spread");
  t.group("Results");
  t.add("follow", options.follow,
        "rewrite the page while the run is trained, until it ends; computes on the CPU unless --device says "
        "cuda");
  t.add("table", options.table,
        "in place of a page print a table in Markdown: settings with their results, mean and deviation over "
        "seeds");
  t.add("seeds", options.seeds, "--table: also a row for each seed");
  t.add("out", options.out, "the page; empty: report.html in the folder of the first run");
  t.add("force", options.force, "overwrite a file --out");
  t.group("Machine");
  add_machine_options(t, options.device, options.threads);
  return t;
}

void check_uses(const ReportOptions& options, const OptionTable& table) {
  if (options.seeds && !options.table) throw UsageError("--seeds is of a --table");
  if (options.follow && (options.table || options.runs.paths.size() > 1))
    throw UsageError("--follow writes the page of one run");
  for (const char* of_page : {"out", "force", "data", "no-pictures", "most-pictures"})
    if (options.table && table.given(of_page))
      throw UsageError(formatted("--table prints; --{} is of a page", of_page));
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_program(program.name, [&] {
    ReportOptions options;
    OptionTable table = options_of(options);
    if (!parse_command_line(program, table, argc, argv)) return 0;
    check_uses(options, table);
    catch_interrupts();
    return options.table ? tabulate(options) : options.follow ? follow(options) : report(options);
  });
}
