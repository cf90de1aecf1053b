// What is told of a detector that was measured on annotated pictures.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/drawn_picture.h"
#include "evaluation/detect.h"

namespace la {

/// The measures of PASCAL VOC and COCO, in [0, 1].
struct DetectionMeasures {
  AveragePrecision eleven_points, area;  // VOC's at an overlap of more than 0.5
  double coco = 0, coco50 = 0, coco75 = 0;
};
DetectionMeasures measure(const std::vector<Detection>& detections, const DetectionData& data);

/// A line for each category, and those of the means, with what they were measured on.
std::vector<std::string> describe(const DetectionMeasures& measures, const DetectionData& data,
                                  const std::string& name);

/// With the names of their categories and their scores, from the least to the best.
std::vector<DrawnBox> drawn_boxes(const std::vector<Detection>& detections,
                                  const std::vector<std::string>& categories);

/// Into a new or existing folder: results.json, the files that the official programs read, and pictures.png, a sheet of
/// some of the pictures with what was found and what was missed.
void write_detection_results(const std::string& folder, const std::string& set,
                             const TrainedDetector& detector, const std::vector<Detection>& detections,
                             const DetectionData& data, const DetectionMeasures& measures, float shown_score);

}  // namespace la
