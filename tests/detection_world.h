// A small world for detectors: pieces of clothing from Fashion-MNIST, or other small gray pictures with labels, on
// textured ground, in the layout of PASCAL VOC.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace la {

struct DetectionWorld {
  int train = 1000, test = 500;           // canvases
  int size = 128;                         // height and width of one, in pixels
  int most_objects = 5;                   // at least one
  float smallest = 0.7f, largest = 1.5f;  // scales of the pictures on it
  uint64_t seed = 0;
};

/// The ten categories of Fashion-MNIST.
const std::vector<std::string>& fashion_categories();

/// Writes JPEGImages/000001.png ..., Annotations/000001.xml ..., and ImageSets/Main/trainval.txt and test.txt below
/// `folder`. Canvases for training show training pictures, the others test pictures. What is brighter than the dark
/// ground of a picture hides what lies below, so objects have their own outlines; a box is the tight one around that.
/// No object hides more than half of another one's box. The same seed gives the same bytes.
void write_detection_world(const std::string& folder, const DataSource& pictures,
                           const std::vector<std::string>& categories, const DetectionWorld& world);

}  // namespace la
