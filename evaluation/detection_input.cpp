#include "evaluation/detection_input.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "tensor/error.h"

namespace la {
namespace {

float scale_of(int height, int width, const DetectorView& view) {
  const int shorter = std::min(height, width), longer = std::max(height, width);
  const auto scale = static_cast<float>(view.short_side) / static_cast<float>(shorter);
  const bool too_long = std::round(scale * static_cast<float>(longer)) > static_cast<float>(view.long_side);
  return too_long ? static_cast<float>(view.long_side) / static_cast<float>(longer) : scale;
}

int scaled(int extent, float scale) {
  return std::max(1, static_cast<int>(std::lround(scale * static_cast<float>(extent))));
}

int64_t padded(int64_t extent, const BackboneLayout& layout) {
  const int64_t unit = 2 * int64_t{layout.stride}, wanted = extent + 2 * int64_t{layout.border};
  return std::max((wanted + unit - 1) / unit, int64_t{2}) *
         unit;  // so that there is a map, however narrow the picture
}

}  // namespace

std::pair<int64_t, int64_t> input_size(int height, int width, const DetectorView& view) {
  const float scale = scale_of(height, width, view);
  return {scaled(height, scale), scaled(width, scale)};
}

Picture read_annotated(const AnnotatedPicture& annotated, const DecodeOptions& options) {
  Picture picture = read_picture(annotated.file, options);
  check(picture.width == annotated.width && picture.height == annotated.height,
        "{}: is {} x {} pixels, its annotation says {} x {}", annotated.file, picture.width, picture.height,
        annotated.width, annotated.height);
  return picture;
}

DetectorInput make_detector_input(const Picture& picture, const DetectorView& view,
                                  const BackboneLayout& layout, bool flip) {
  DetectorInput input{.scale = scale_of(picture.height, picture.width, view)};
  std::tie(input.height, input.width) = input_size(picture.height, picture.width, view);
  const auto height = static_cast<int>(input.height), width = static_cast<int>(input.width);
  const auto plane = static_cast<size_t>(height) * static_cast<size_t>(width);
  const auto channels = static_cast<size_t>(picture.channels);
  std::vector<float> planes(channels * plane);
  const Crop whole{0, 0, static_cast<float>(picture.width), static_cast<float>(picture.height)};
  resize_crop(picture, whole, height, width, flip, planes.data());

  input.pixels = Tensor({1, padded(height, layout), padded(width, layout), static_cast<int64_t>(channels)});
  std::fill_n(input.pixels.data<float>(), input.pixels.numel(), 0.0f);
  const int64_t row = input.pixels.size(2) * picture.channels;
  float* const first = input.pixels.data<float>() + layout.border * (row + picture.channels);
  for (size_t c = 0; c < channels; ++c) {
    const float mean = view.format.mean[c], factor = 1 / view.format.stddev[c];
    const float* from = planes.data() + c * plane;
    for (int y = 0; y < height; ++y) {
      float* to = first + y * row + static_cast<int64_t>(c);
      for (int x = 0; x < width; ++x, ++from, to += channels) *to = (*from - mean) * factor;
    }
  }
  return input;
}

bool has_objects(const AnnotatedPicture& picture) {
  return std::any_of(picture.objects.begin(), picture.objects.end(),
                     [](const Object& object) { return object.to_be_found(); });
}

ObjectBoxes objects_in(const AnnotatedPicture& picture, const DetectorInput& input, bool flip) {
  ObjectBoxes result;
  std::vector<float> boxes;
  const auto last = static_cast<float>(picture.width - 1);
  for (const Object& object : picture.objects) {
    if (!object.to_be_found()) continue;
    const float x1 = object.box.left, x2 = object.box.right - 1;
    const float left = flip ? last - x2 : x1, right = flip ? last - x1 : x2;
    for (const float edge : {left, object.box.top, right, object.box.bottom - 1})
      boxes.push_back(edge * input.scale);
    result.labels.push_back(object.category);
  }
  result.boxes = Tensor::from(boxes, {static_cast<int64_t>(result.labels.size()), 4});
  return result;
}

}  // namespace la
