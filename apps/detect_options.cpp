#include "apps/detect_options.h"

#include "apps/options/command_line.h"
#include "apps/options/common_options.h"
#include "apps/options/stored_options.h"
#include "apps/program.h"
#include "tensor/format.h"

namespace la {
namespace {

constexpr ProgramInfo program = {"la_detect",
                                 "Finds objects in pictures: fine-tunes a trained network on annotated "
                                 "pictures (Faster R-CNN), measures how well it "
                                 "finds their objects, and finds those in others.",
                                 "file of options in TOML, or the name of one that comes with the programs, "
                                 "such as voc07-resnet50"};

constexpr Option::OnResume free_on_resume = Option::OnResume::free;

void add_detector_options(OptionTable& t, DetectOptions& o) {
  t.group("Detector");
  t.add("init", o.checkpoint, "the network to be fine-tuned: the same as CHECKPOINT").on_resume =
      free_on_resume;
  t.add("from-scratch", o.from_scratch,
        "begin with random weights, all of which are trained, as a baseline: of CHECKPOINT only the kind of "
        "network counts");
  t.add("statistics", o.statistics, at_least(0),
        "pictures on which batch norm's statistics are measured before training, in place of the network's; "
        "they stay "
        "as they are from then on");
  t.add("short-side", o.short_side, between(16, 8192),
        "pixels of a picture's shorter side, to which it is scaled");
  t.add("long-side", o.long_side, between(16, 8192), "of its longer side, at most");
  t.add("anchor-scales", o.detector.anchor_scales, above(0),
        "sides of the anchors, in steps of the map (16 pixels; resnet20-wide: 4)");
  t.add("anchor-ratios", o.detector.anchor_ratios, above(0), "height / width of the anchors");
  t.add("rpn-channels", o.detector.rpn_channels, at_least(1),
        "hidden channels of the region proposal network");
}

void add_training_options(OptionTable& t, DetectorTraining& o) {
  t.group("Training");
  t.add("steps", o.steps, at_least(1), "one picture each");
  t.add("learning-rate", o.learning_rate, above(0), "at the start");
  t.add("learning-rate-drops", o.drops, above(0),
        "epochs (or steps, as '50000 steps') after which the rate is divided by 10; empty: 5/7 of the steps");
  t.add("momentum", o.sgd.momentum, below_one, "of SGD");
  t.add("weight-decay", o.sgd.weight_decay, at_least(0), "of weights; biases and batch norm don't decay");
  t.add("flips", o.flips, "an epoch has the mirror image of each picture too");
  t.add("anchors", o.loss.anchors.count, at_least(2), "of a picture that the loss looks at");
  t.add("train-proposals", o.loss.proposals.most, at_least(1), "of a picture that regions are drawn from");
  t.add("regions", o.loss.regions.count, at_least(2), "of a picture that the loss looks at");
  t.add("seed", o.seed, "of the order of pictures, first weights, chosen anchors and regions");
}

void add_finding_options(OptionTable& t, DetectOptions& o) {
  t.group("Finding");
  t.add("proposals", o.find.proposals.most, at_least(1), "regions of a picture that are looked at")
      .on_resume = free_on_resume;
  t.add("most", o.find.most, at_least(1), "objects of a picture").on_resume = free_on_resume;
  t.add("results", o.results, "folder for what --evaluate writes; empty: results-<set> beside the detector")
      .stored = Option::Stored::no;
  t.add("out", o.out, "file for what --detect finds, a line of JSON for each picture; empty: standard output")
      .stored = Option::Stored::no;
  t.add("drawn", o.drawn, "folder for the pictures of --detect with what was found, as PNG; empty: none")
      .stored = Option::Stored::no;
  t.add("least-score", o.shown_score, share, "of the objects that --detect writes, and that are drawn")
      .stored = Option::Stored::no;
}

}  // namespace

OptionTable detect_options(DetectOptions& o) {
  OptionTable t;
  Option& checkpoint = t.add("checkpoint", o.checkpoint,
                             "the network to be fine-tuned, or for --evaluate and --detect a detector: a "
                             "run's folder, or a checkpoint in "
                             "it");
  checkpoint.positional = true;
  checkpoint.stored = Option::Stored::no;
  t.add("evaluate", o.evaluate, "measure a detector on the test set").stored = Option::Stored::no;
  t.add("detect", o.detect, "find objects in this picture, or in those of this folder").stored =
      Option::Stored::no;
  t.group("Annotated pictures");
  t.add("data", o.data, "folder in the layout of PASCAL VOC, or the pictures of COCO").on_resume =
      free_on_resume;
  t.add("train-set", o.train_set, "a list of VOC, or COCO's file of annotations (.json)").on_resume =
      free_on_resume;
  t.add("test-set", o.test_set, "the same to be measured on; empty: none").on_resume = free_on_resume;
  t.add("test-data", o.test_data, "folder of the test set; empty: --data").on_resume = free_on_resume;
  add_detector_options(t, o);
  add_training_options(t, o.training);
  add_finding_options(t, o);
  t.group("Run");
  t.add("run", o.folder, "folder of the run; empty: runs/<data>-<network>-<number>").stored =
      Option::Stored::no;
  t.add("resume", o.resume, "continue the run in the folder --run").stored = Option::Stored::no;
  t.add("save-every", o.save_every, at_least(1), "steps between checkpoints").on_resume = free_on_resume;
  t.group("Machine");
  add_machine_options(t, o.device, o.threads);
  return t;
}

bool parse_detect_options(int argc, char** argv, DetectOptions& options, std::vector<std::string>& notes) {
  OptionTable table = detect_options(options);
  const CommandLine line = read_command_line(program, table, {argv + 1, argv + argc});
  const std::string* const resume = line.find("resume");
  if (resume != nullptr && *resume != "false") {
    try {
      DetectOptions stored;
      OptionTable before = detect_options(stored);
      set_from_run(before, folder_to_resume(line), notes);
      options = stored;
      table.set(line.given);
      check_unchanged(line, before, table);
      check(!options.evaluate && options.detect.empty(),
            "--resume goes on with a training: leave out --evaluate and --detect");
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
    return true;
  }
  if (!parse_command_line(program, table, argc, argv)) return false;
  if (options.checkpoint.empty()) throw UsageError("expected a checkpoint (--help lists the options)");
  if (options.evaluate && !options.detect.empty())
    throw UsageError("--evaluate and --detect: expected one of them");
  if (options.detect.empty() && options.data.empty())
    throw UsageError("--data is required: annotated pictures (--detect FOLDER needs none)");
  if (options.evaluate && options.test_set.empty()) throw UsageError("--evaluate needs a --test-set");
  return true;
}

std::string to_toml(DetectOptions options) {
  return to_toml(detect_options(options),
                 "The configuration of a run of la_detect; as --preset it begins the same run again.");
}

}  // namespace la
