// Backbone: a network as detectors use it (Ren, He, Girshick, Sun 2015: "Faster R-CNN"), in two parts. Its
// convolutions make a map of the whole picture, whatever its size; what follows them looks at regions of the map.
#pragma once

#include <string>
#include <vector>

#include "layers/module.h"

namespace la {

struct BackboneLayout {
  int stride = 16;  // pixels of the picture in one of the map
  /// Pixels of the mean color that must stand before the picture, above and left, so that the first pixel of the map
  /// shows the first `stride` of the picture, where convolutions and poolings do not pad. Those of ResNets pad more than
  /// that; they get none, as in the original.
  int border = 0;
  int size = 7;        // a region has size x size cells
  bool pools = false;  // made from twice as many by max pooling
  int64_t map_channels = 0;
  int64_t features = 0;  // of a region
  /// Beginnings of names: weights and biases so called are not fine-tuned in detectors. Those of batch norm are.
  std::vector<std::string> frozen = {};
};

class Backbone : public Module {
 public:
  /// [N, H, W, channels] -> [N, about H / stride, about W / stride, map_channels].
  virtual Variable map(const Variable& x) = 0;
  /// [R, size, size, map_channels] -> f32 [R, features] of a network without a head, else its embedding. Where the
  /// last stage of a ResNet halves what it sees (last_stride = 2), this is the rest of forward() after map().
  virtual Variable region_features(const Variable& regions) = 0;
  virtual BackboneLayout layout() const = 0;
};

}  // namespace la
