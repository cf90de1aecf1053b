// Augmentation: random views of a picture. Two views of one picture should have embeddings that are close, so
// the transformations say what an embedding may ignore: place and size (random resized crop), direction
// (flip), light and color (jitter, grayscale).
#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"
#include "tensor/image/view.h"

namespace la {

/// Crops of fixed size, squares of 7/8 of the shorter side: anywhere in the picture, or within its central
/// square, as the original program takes them.
enum class FixedCrop { no, anywhere, central };

struct AugmentationOptions {
  int size = 224;                        // height and width of a view
  FixedCrop fixed_crop = FixedCrop::no;  // else crops are of random area and aspect
  /// Area of the crop as a share of the picture's: uniform from here to 1.
  float crop_min_area = 0.2f;
  /// Width / height of the crop: log-uniform from 1 / this to this.
  float crop_max_aspect = 4.0f / 3.0f;
  float flip = 0.5f;  // probability of a mirror image
  /// j: factors of brightness, contrast and saturation are uniform in [1 - j, 1 + j], the turn of the hue, as
  /// a share of the color circle, in [-j, j].
  float jitter = 0.4f;
  float grayscale = 0.2f;  // probability of losing the color
  /// Per channel, of pixels in [0, 1]: a view is (pixel - mean) / stddev.
  std::vector<float> mean = {}, stddev = {};
};

/// What chance decides for one view; a pure function of (seed, epoch, index of the picture).
ViewPlan plan_augmentation(const AugmentationOptions& options, int picture_height, int picture_width,
                           uint64_t seed, int64_t epoch, int64_t index);

/// What the options say about views of pictures of so many channels. An Error unless there are a mean and a
/// stddev for each channel.
ViewFormat format_of_views(const AugmentationOptions& options, int64_t channels);

/// Writes the view of `picture` that the plan says (make_view): normalized, f32 or bf16
/// [size, size, channels].
template <class T>
void augment(const Picture& picture, const ViewPlan& plan, const AugmentationOptions& options, T* view) {
  make_view(picture, plan, format_of_views(options, picture.channels), view);
}

/// Of the shorter side, where a view is a square of fixed size within the picture.
constexpr float central_share = 7.0f / 8.0f;

/// What is shown for evaluation, without chance: the picture itself if it has the size of a view, else the
/// central 7/8 of its largest square.
ViewPlan plan_center_view(int picture_height, int picture_width, int size);
/// The ten views of Krizhevsky, Sutskever, Hinton 2012: squares of 7/8 of the shorter side in the center and
/// in the four corners, and their mirror images; number is 0 to 9.
ViewPlan plan_ten_crop(int number, int picture_height, int picture_width);
void center_view(const Picture& picture, const AugmentationOptions& options, float* view);
/// The whole picture, which is squeezed where it is not square.
ViewPlan plan_whole_view(int picture_height, int picture_width);

/// Mean and standard deviation of each channel, of pixels in [0, 1], over up to 10,000 pictures spread over
/// the data set.
struct ChannelStatistics {
  std::vector<float> mean, stddev;
};
ChannelStatistics channel_statistics(const Dataset& data);
/// Those of ImageNet's pictures, which serve for any photographs.
ChannelStatistics imagenet_statistics();

}  // namespace la
