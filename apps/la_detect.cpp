// la_detect: finds objects in pictures, with a detector made of a network that la_train has trained.
// `la_detect --help` lists the options.
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/detect_options.h"
#include "apps/detection_results.h"
#include "apps/program.h"
#include "apps/report.h"
#include "apps/run/interrupt.h"
#include "apps/run/progress.h"
#include "apps/run/run_folder.h"
#include "data/picture_list.h"
#include "evaluation/stored_detector.h"
#include "la/checkpoint.h"
#include "la/model.h"
#include "tensor/clock.h"
#include "tensor/io/files.h"
#include "tensor/io/seal.h"
#include "tensor/text.h"

using namespace la;

namespace {

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;
using Json = nlohmann::ordered_json;

bool is_coco(const std::string& set) { return set.ends_with(".json"); }

/// "test", "instances_val2017".
std::string short_name(const std::string& set) { return is_coco(set) ? fs::path(set).stem().string() : set; }

/// "VOC2007 test", "instances_val2017".
std::string name_of_set(const std::string& folder, const std::string& set) {
  if (is_coco(set)) return short_name(set);
  const fs::path path = (fs::path(folder) / "").lexically_normal().parent_path();
  return formatted("{} {}", path.filename().string(), set);
}

DetectionData open_set(const std::string& folder, const std::string& set, const Lines& categories) {
  DetectionData data = is_coco(set) ? read_coco(set, folder) : read_voc(folder, set, categories);
  check(!data.pictures.empty(), "{}: has no pictures", name_of_set(folder, set));
  check(categories.empty() || data.categories == categories,
        "{}: its categories are not the detector's: {}, not {}", name_of_set(folder, set),
        joined(data.categories, ", "), joined(categories, ", "));
  return data;
}

const std::string& test_folder(const DetectOptions& options) {
  return options.test_data.empty() ? options.data : options.test_data;
}

DetectionData open_test_set(const DetectOptions& options, const Lines& categories) {
  return open_set(test_folder(options), options.test_set, categories);
}

/// The lines of a run, on the terminal and in its log.
class Report {
 public:
  explicit Report(const RunFolder& folder)  // which must outlive it
      : folder_(folder), progress_(stdout, [this](std::string_view line) { folder_.log(line); }) {}
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  void say(const std::string& line) { progress_.message(with_option_names(printable(line))); }
  void say(const Lines& lines) {
    for (const std::string& line : lines) say(line);
  }
  /// Those that turned out to be bad.
  void bad_pictures(DetectorTrainer& trainer) {
    for (const std::string& warning : trainer.take_warnings()) say("bad picture " + warning);
  }
  ProgressCallback progress() { return progress_.callback(); }

  void step(const DetectorTrainer& trainer, const DetectorTraining& training, float learning_rate,
            const DetectorStep& step) {
    constexpr int64_t steps_between_metrics = 50;
    rate_.add(1, now() - since_);
    since_ = now();
    const int64_t done = trainer.step();
    const auto left = static_cast<double>(training.steps - done);
    if (progress_.due() || trainer.finished()) {
      const std::string line = formatted(
          "step {}/{} loss {:.3f} (anchors {:.3f} + {:.3f}, regions {:.3f} + {:.3f}) "
          "lr {:.3g} {:.2f} pictures/s, {} left",
          done, training.steps, step.loss(), step.anchor_class, step.anchor_box, step.region_class,
          step.region_box, learning_rate, rate_.value(), duration_text(left / rate_.value()));
      trainer.finished() ? progress_.message(line) : progress_.update(line);
    }
    if (done % steps_between_metrics == 0 || trainer.finished())
      folder_.append_metrics({{"time", utc_time()},
                              {"epoch", done / trainer.steps_per_epoch()},
                              {"step", done},
                              {"loss", step.loss()},
                              {"anchor_class_loss", step.anchor_class},
                              {"anchor_box_loss", step.anchor_box},
                              {"region_class_loss", step.region_class},
                              {"region_box_loss", step.region_box},
                              {"pictures_per_second", rate_.value()}});
  }
  /// From here on, time is that of steps.
  void begin_steps() { since_ = now(); }

 private:
  const RunFolder& folder_;
  Progress progress_;
  SmoothedRate rate_;
  double since_ = now();
};

/// Measures a detector on the test set, and writes what it found.
void evaluate(const TrainedDetector& detector, const DetectionData& data, const DetectOptions& options,
              const std::string& beside, const std::function<void(const Lines&)>& say,
              const ProgressCallback& progress) {
  say(data.notes);
  const auto bad = [&](const std::string& line) { say({"bad picture " + line}); };
  const std::vector<Detection> found = find_objects(detector, data, options.find, bad, progress);
  const DetectionMeasures measures = measure(found, data);
  say(describe(measures, data, name_of_set(test_folder(options), options.test_set)));
  const std::string set = short_name(options.test_set);
  const std::string results =
      options.results.empty() ? (fs::path(beside) / ("results-" + set)).string() : options.results;
  write_detection_results(results, set, detector, found, data, measures, options.shown_score);
  say({formatted("{}: the same for programs, and for the official ones", results)});
}

TrainedDetector open_detector(const DetectOptions& options) {
  const SafetensorsFile file = read_checkpoint(options.checkpoint);
  check(is_detector(file),
        "{}: holds no detector; without --evaluate and --detect, and with --data FOLDER, one is made of a "
        "network",
        file.path);
  return load_detector(file, find_device(options.device));
}

int evaluate_only(const DetectOptions& options) {
  const TrainedDetector detector = open_detector(options);
  Progress progress(stderr);
  const auto say = [&](const Lines& lines) {
    for (const std::string& line : lines) print("{}\n", with_option_names(printable(line)));
  };
  const DetectionData data = open_test_set(options, detector.categories);
  evaluate(detector, data, options, fs::path(detector.checkpoint).parent_path().string(), say,
           progress.callback());
  return 0;
}

/// Of so many decimals.
double rounded(float x, double decimals) { return std::round(x * decimals) / decimals; }

/// A line for programs: boxes are left, top, right and bottom edges, in hundredths of pixels.
std::string line_of(const std::string& file, const Picture& picture, const std::vector<Detection>& found,
                    const Lines& categories) {
  Json objects = Json::array();
  for (const Detection& d : found) {
    Json box = Json::array();
    for (const float edge : {d.box.left, d.box.top, d.box.right, d.box.bottom})
      box.push_back(rounded(edge, 1e2));
    objects.push_back({{"category", categories[static_cast<size_t>(d.category)]},
                       {"score", rounded(d.score, 1e4)},
                       {"box", box}});
  }
  const Json line{{"file", file}, {"width", picture.width}, {"height", picture.height}, {"objects", objects}};
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Lines files_to_search(const std::string& path) {
  std::error_code ignored;
  check(fs::exists(path, ignored), "{}: there is no such file or folder", path);
  if (!fs::is_directory(path, ignored)) return {path};
  const PictureList list = list_pictures(path);
  check(list.size() > 0, "{}: has no pictures", path);
  Lines files;
  for (int64_t i = 0; i < list.size(); ++i) files.push_back((fs::path(path) / list.path(i)).string());
  return files;
}

/// Below --drawn as below --detect, with .png behind its name.
std::string drawn_file(const DetectOptions& options, const std::string& file) {
  std::error_code ignored;
  const bool folder = fs::is_directory(options.detect, ignored);
  const fs::path name =
      folder ? fs::path(file).lexically_relative(options.detect) : fs::path(file).filename();
  const fs::path path = fs::path(options.drawn) / (name.string() + ".png");
  make_folders(path.parent_path());
  return path;
}

int detect(const DetectOptions& options) {
  if (!options.out.empty()) check_output(options.out);
  if (!options.drawn.empty()) make_folders(options.drawn);
  const TrainedDetector detector = open_detector(options);
  const Lines files = files_to_search(options.detect);
  FindOptions find = options.find;
  find.least_score = options.shown_score;
  Progress progress(stderr);
  const ProgressCallback tell = progress.callback();
  std::string all;  // so that a file is written whole, or not at all
  int64_t bad = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    Picture picture;
    try {
      picture = read_picture(files[i], detector.decode_options());
    } catch (const Error& error) {
      progress.message(formatted("bad picture {}", printable(error.what())));
      ++bad;
      continue;
    }
    const std::vector<Detection> found = find_objects(detector, picture, 0, find);
    const std::string line = line_of(files[i], picture, found, detector.categories);
    options.out.empty() ? print("{}", line) : void(all += line);
    if (!options.drawn.empty())
      write_drawn_picture(drawn_file(options, files[i]), {picture, drawn_boxes(found, detector.categories)});
    tell("pictures searched", static_cast<int64_t>(i + 1), static_cast<int64_t>(files.size()));
  }
  check(bad < static_cast<int64_t>(files.size()), "{}: no picture could be read", options.detect);
  if (!options.out.empty()) write_text_file(options.out, all);
  return 0;
}

void save(const DetectorTrainer& trainer, TrainedDetector& detector, const RunFolder& folder) {
  const auto epoch = static_cast<int>(trainer.step() / trainer.steps_per_epoch());
  detector.checkpoint =
      save_checkpoint(folder.path(), epoch, trainer.step(), trainer.state(), describe_detector(detector));
}

/// The detector to be trained, as it begins.
TrainedDetector new_detector(const DetectOptions& options, const DetectionData& data) {
  const SafetensorsFile file = read_checkpoint(options.checkpoint);
  check(!is_detector(file),
        "{}: holds a detector: --evaluate measures it, --detect FOLDER finds objects; training begins with a "
        "network",
        file.path);
  Model model = load_model(file, find_device(options.device));
  TrainedDetector detector =
      make_detector(model, options.detector, data.categories, options.from_scratch, options.training.seed);
  detector.view.short_side = options.short_side;
  detector.view.long_side = options.long_side;
  return detector;
}

Lines describe_run(const DetectOptions& o, const DetectionData& data, const TrainedDetector& detector,
                   const DetectorTrainer& trainer) {
  const BackboneLayout layout = detector.module->network().layout();
  int64_t parameters = 0;
  for (const auto& p : detector.module->parameters()) parameters += p.variable->value().numel();
  Lines lines{
      formatted("data       {}: {}, {} with objects; {}", name_of_set(o.data, o.train_set),
                counted(static_cast<int64_t>(data.pictures.size()), "picture"), trainer.pictures(),
                counted(static_cast<int64_t>(data.categories.size()), "category", "categories")),
      formatted("network    {}, {}; {} parameters; map of every {}th pixel, regions of {} x {}",
                detector.options.network.name,
                o.from_scratch ? "random weights" : "weights of " + detector.checkpoint, parameters,
                layout.stride, layout.size, layout.size),
      formatted("pictures   shorter side {} pixels, longer side at most {}; {}", o.short_side, o.long_side,
                o.training.flips ? "each and its mirror image" : "no mirror images"),
      formatted("steps      {} of 1 picture, {:.1f} epochs; learning rate {}, momentum {}, weight decay {}",
                o.training.steps,
                static_cast<double>(o.training.steps) / static_cast<double>(trainer.steps_per_epoch()),
                o.training.learning_rate, o.training.sgd.momentum, o.training.sgd.weight_decay)};
  if (trainer.too_narrow() > 0)
    lines.push_back(formatted("           {} too narrow for any anchor, and left out",
                              counted(trainer.too_narrow(), "picture is", "pictures are")));
  lines.insert(lines.end(), data.notes.begin(), data.notes.end());
  return lines;
}

/// All steps that are left; false if the user interrupted them, and they are saved.
bool take_steps(DetectorTrainer& trainer, const DetectOptions& options, TrainedDetector& detector,
                const RunFolder& folder, Report& report) {
  report.begin_steps();
  while (!trainer.finished()) {
    if (interrupted()) {
      save(trainer, detector, folder);
      report.say(formatted("interrupted; go on with: la_detect --resume --run {}", folder.path()));
      return false;
    }
    const float learning_rate = trainer.learning_rate();
    const DetectorStep step = trainer.train_step();
    report.step(trainer, options.training, learning_rate, step);
    report.bad_pictures(trainer);
    if (trainer.finished() || trainer.step() % options.save_every == 0) save(trainer, detector, folder);
  }
  return true;
}

int train(DetectOptions options, const Lines& notes) {
  std::optional<RunFolder> folder;
  std::optional<Checkpoint> checkpoint;
  const auto warn = [](const std::string& line) { print(stderr, "warning: {}\n", line); };
  if (options.resume) {
    folder.emplace(RunFolder::open(options.folder));  // locked before anything is read from it
    checkpoint = newest_checkpoint(options.folder, warn);
  } else {
    RunFolder::check_absent(options.folder);
  }
  const DetectionData data = open_set(options.data, options.train_set, {});
  TrainedDetector detector =
      checkpoint ? load_detector(checkpoint->file, find_device(options.device)) : new_detector(options, data);
  check(detector.categories == data.categories, "{}: its categories are not those of {}", detector.checkpoint,
        name_of_set(options.data, options.train_set));
  describe_detector(detector);  // before hours are spent, whether it can be stored and measured
  std::optional<DetectionData> test;
  if (!options.test_set.empty()) test = open_test_set(options, detector.categories);
  options.training.all_layers = options.from_scratch;
  DetectorTrainer trainer(detector, data, options.training);

  if (!folder)
    folder.emplace(RunFolder::create(options.folder, run_name(options.data, detector.options.network.name)));
  Report report(*folder);
  folder->write_config(sealed(to_toml(options)));
  report.say(formatted("run        {}", folder->path()));
  for (const std::string& note : notes) report.say("           " + note);
  report.say(describe_run(options, data, detector, trainer));
  if (checkpoint) {
    trainer.restore(checkpoint->file);
    report.say(
        formatted("resumed from {}: {} are done", checkpoint->file.path, counted(trainer.step(), "step")));
  } else if (options.statistics > 0) {
    report.say(formatted("measuring batch norm's statistics on {}", counted(options.statistics, "picture")));
    trainer.measure_statistics(options.statistics, report.progress());
    report.bad_pictures(trainer);
  }
  constexpr int before_all_epochs = -1;
  folder->truncate_metrics(checkpoint ? checkpoint->epoch : before_all_epochs, trainer.step());

  if (!take_steps(trainer, options, detector, *folder, report)) return 128 + interrupted();
  if (!test) return 0;
  detector.module->set_training(false);
  const auto say = [&](const Lines& lines) { report.say(lines); };
  evaluate(detector, *test, options, folder->path(), say, report.progress());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_program("la_detect", [&] {
    DetectOptions options;
    Lines notes;
    if (!parse_detect_options(argc, argv, options, notes)) return 0;
    if (options.threads > 0) set_num_threads(options.threads);
    catch_interrupts();
    if (options.evaluate) return evaluate_only(options);
    if (!options.detect.empty()) return detect(options);
    return train(options, notes);
  });
}
