// How good detections are: average precision, as PASCAL VOC and COCO measure it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/detection.h"

namespace la {

struct Detection {
  int64_t picture = 0;  // number among the data's pictures
  int category = 0;
  float score = 0;
  Box box;
};

/// What the area under the curve of precision over recall is taken as: the mean of the largest precision at
/// recalls of at least 0, 0.1, ..., 1 (VOC until 2009), or the area under the curve's envelope (VOC from 2010).
enum class ApKind { eleven_points, area };

/// By category; nothing where no object has to be found. mean is over the others.
struct AveragePrecision {
  std::vector<std::optional<double>> by_category;
  double mean = 0;
};

/// PASCAL VOC's: in the order of their scores (equal ones in the given order), each detection takes the box of its
/// picture and category with which it overlaps most. It is right if intersection over union is more than
/// `overlap` and nothing took the box before, passed over if the box is difficult, else wrong.
AveragePrecision voc_average_precision(const std::vector<Detection>& detections, const DetectionData& data,
                                       ApKind kind, double overlap = 0.5);

/// COCO's, with at most 100 detections of a picture and category: each takes the free box with which it overlaps
/// most, at least by `overlap`; crowds may be taken often, and do not count. Equal scores are in the order of the
/// pictures. Precision is read at 101 recalls.
AveragePrecision coco_average_precision(const std::vector<Detection>& detections, const DetectionData& data,
                                        double overlap);
/// The mean over overlaps of 0.5, 0.55, ..., 0.95, COCO's main figure.
double coco_average_precision(const std::vector<Detection>& detections, const DetectionData& data);

/// Result files that the official programs read: VOC's comp4_det_<set>_<category>.txt, one for each category, and
/// COCO's list in JSON.
void write_voc_results(const std::string& folder, const std::string& set,
                       const std::vector<Detection>& detections, const DetectionData& data);
void write_coco_results(const std::string& path, const std::vector<Detection>& detections,
                        const DetectionData& data);

}  // namespace la
