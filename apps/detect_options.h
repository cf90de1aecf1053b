// The options of la_detect.
#pragma once

#include <string>
#include <vector>

#include "apps/options/option_table.h"
#include "evaluation/detector_trainer.h"

namespace la {

struct DetectOptions {
  std::string checkpoint;  // of a network, or of a detector
  // What to do; with none of them, train.
  bool evaluate = false;
  std::string detect;  // a picture file, or a folder
  // Annotated pictures.
  std::string data, test_data;                            // folders; the second empty: the first
  std::string train_set = "trainval", test_set = "test";  // lists of VOC, or COCO's files of annotations
  // The detector.
  bool from_scratch = false;
  int64_t statistics = 0;
  int short_side = 600, long_side = 1000;
  DetectorOptions detector = {};
  DetectorTraining training = {};
  FindOptions find = {};
  // The run.
  std::string folder;
  bool resume = false;
  int64_t save_every = 5000;
  // What --evaluate and --detect write.
  std::string results, out;
  float shown_score = 0.5f;  // at least; what is measured has any score
  std::string drawn;
  // The machine.
  std::string device = "auto";
  int threads = 0;
};

/// In the order of the help; they read and write `options`, which must outlive the table.
OptionTable detect_options(DetectOptions& options);

/// The options of the command line, over those of a preset or, with --resume, of the run's folder. False if help or the
/// version was asked for, and printed. A UsageError for what cannot be understood or contradicts itself.
bool parse_detect_options(int argc, char** argv, DetectOptions& options, std::vector<std::string>& notes);

/// What config.toml of a run says.
std::string to_toml(DetectOptions options);

}  // namespace la
