#include "evaluation/registration.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <tuple>

#include "evaluation/detail.h"

namespace la {
namespace {

constexpr int margin = Plane::margin, stride = Plane::stride;
using Row = Plane::Row;
using Rows = Plane::Rows;

Plane plane_of(const GrayPicture& picture) {
  Plane plane(picture.height, picture.width);
  for (int y = 0; y < plane.height; ++y) {
    const uint8_t* pixels = picture.pixels.data() + ptrdiff_t{y} * plane.width;
    for (int x = 0; x < plane.width; ++x) plane.row(y)[x] = static_cast<float>(pixels[x]) * (1.0f / 255.0f);
  }
  return plane;
}

Plane mirror_image(const Plane& plane) {
  Plane result(plane.height, plane.width);
  for (int y = 0; y < plane.height; ++y)
    std::reverse_copy(plane.row(y), plane.row(y) + plane.width, result.row(y));
  return result;
}

/// With a margin that repeats the border; the height and width remain the picture's.
Plane framed(const Plane& plane) {
  Plane result(plane.height, plane.width);
  for (int y = -margin; y < plane.height + margin; ++y) {
    const float* from = plane.row(std::clamp(y, 0, plane.height - 1));
    float* to = result.row(y + margin);
    std::copy_n(from, plane.width, to + margin);
    std::fill_n(to, margin, from[0]);
    std::fill_n(to + margin + plane.width, margin, from[plane.width - 1]);
  }
  return result;
}

/// The middle of a side of so many pixels.
float center(int side) { return 0.5f * static_cast<float>(side - 1); }

/// Where the pixel (x, y) of the fixed picture, measured from its center, is found in the moving one.
struct Warp {
  float scale = 1, x = 0, y = 0;
};

/// The fixed picture's pixels along one axis that lie over the moving one, and the cubic filter (Catmull and
/// Rom) that gives its values there, and their slopes.
struct Axis {
  int begin = 0, end = 0;
  std::array<int, stride> first;    // of four taps in the framed picture
  std::array<Row, 4> value, slope;  // weights of the taps; 0 elsewhere
  Row inside;                       // 1, and 0 elsewhere

  Axis(float scale, float shift, int fixed, int moving) {
    constexpr float slack = 1e-4f;  // so that rounding does not drop the pixel at a border
    const float origin = shift + center(moving) - scale * center(fixed), least = -0.5f - slack,
                last = static_cast<float>(moving) - 0.5f + slack;
    int before = 0, within = 0;
#pragma omp simd reduction(+ : before, within)
    for (int i = 0; i < stride; ++i) {
      const auto k = static_cast<size_t>(i);
      const float at = scale * static_cast<float>(i) + origin, below = std::floor(at), f = at - below;
      const int is_before = at < least, is_within = (at >= least) & (at <= last) & (i < fixed);
      before += is_before;
      within += is_within;
      const auto in = static_cast<float>(is_within);
      inside[k] = in;
      first[k] = is_within != 0 ? static_cast<int>(below) - 1 + margin : 0;
      value[0][k] = in * (((-0.5f * f + 1) * f - 0.5f) * f);
      value[1][k] = in * ((1.5f * f - 2.5f) * f * f + 1);
      value[2][k] = in * (((-1.5f * f + 2) * f + 0.5f) * f);
      value[3][k] = in * ((0.5f * f - 0.5f) * f * f);
      slope[0][k] = in * ((-1.5f * f + 2) * f - 0.5f);
      slope[1][k] = in * ((4.5f * f - 5) * f);
      slope[2][k] = in * ((-4.5f * f + 4) * f + 0.5f);
      slope[3][k] = in * ((1.5f * f - 1) * f);
    }
    begin = before;
    end = before + within;
  }
  int size() const { return end - begin; }
  /// Pixels of the framed picture that the filter takes from `from` to `to`, which are inside.
  int first_tap(int from) const { return first[static_cast<size_t>(from)]; }
  int end_of_taps(int to) const { return first[static_cast<size_t>(to - 1)] + 4; }
};

/// The filter along rows as a band matrix: without gathers, and fast, as some pixels side by side have most of
/// their taps in common.
class RowFilter {
 public:
  explicit RowFilter(const Axis& axis) : axis_(axis) {
    for (int tap = axis.first_tap(axis.begin); tap < axis.end_of_taps(axis.end); ++tap)
      value_[static_cast<size_t>(tap)] = slope_[static_cast<size_t>(tap)] = {};
    for (int x = axis.begin; x < axis.end; ++x) {
      const auto k = static_cast<size_t>(x);
      for (size_t tap = 0; tap < 4; ++tap) {
        const size_t from = static_cast<size_t>(axis.first[k]) + tap;
        value_[from][k] = axis.value[tap][k];
        slope_[from][k] = axis.slope[tap][k];
      }
    }
  }

  /// Values and slopes of some rows; those that are not inside are 0, as far as whole vectors go.
  void operator()(const Plane& plane, int begin, int end, Rows& values, Rows& slopes) const {
    for (int x = axis_.begin / simd_lanes * simd_lanes; x < axis_.end; x += simd_lanes)
      for (int y = begin; y < end; y += 2) filter_two(plane, y, std::min(y + 1, end - 1), x, values, slopes);
  }

 private:
  /// A vector's worth of two rows: together, as each sum waits for its last term.
  void filter_two(const Plane& plane, int y0, int y1, int x, Rows& values, Rows& slopes) const {
    const float *row0 = plane.row(y0), *row1 = plane.row(y1);
    const int from = axis_.first_tap(std::max(x, axis_.begin)),
              to = axis_.end_of_taps(std::min(x + simd_lanes, axis_.end));
    Floats value0 = {}, value1 = {}, slope0 = {}, slope1 = {};
    for (int tap = from; tap < to; ++tap) {
      const Floats by_value = load(value_[static_cast<size_t>(tap)].data() + x),
                   by_slope = load(slope_[static_cast<size_t>(tap)].data() + x);
      value0 += row0[tap] * by_value;
      value1 += row1[tap] * by_value;
      slope0 += row0[tap] * by_slope;
      slope1 += row1[tap] * by_slope;
    }
    store(values[static_cast<size_t>(y0)].data() + x, value0);
    store(values[static_cast<size_t>(y1)].data() + x, value1);
    store(slopes[static_cast<size_t>(y0)].data() + x, slope0);
    store(slopes[static_cast<size_t>(y1)].data() + x, slope1);
  }

  const Axis& axis_;
  alignas(64) Rows value_, slope_;  // [tap][pixel of the fixed picture]
};

/// What a Gauss-Newton step needs of the pixels where both pictures are: sums over products of the fixed one t,
/// the warped one w and the derivatives j of w by scale, x and y.
struct Sums {
  float t = 0, w = 0, tt = 0, ww = 0, tw = 0;
  std::array<float, 3> j = {}, jt = {}, jw = {};
  std::array<float, 6> jj = {};  // 00, 01, 02, 11, 12, 22
};

/// A picture and the moving one over it, where both are: their pixels, and the derivatives of the moving one's by
/// the warp.
class Overlap {
 public:
  /// `moving` is framed.
  Overlap(const Plane& fixed, const Plane& moving, const Warp& warp)
      : across(warp.scale, warp.x, fixed.width, moving.width),
        down(warp.scale, warp.y, fixed.height, moving.height) {
    if (pixels() == 0) return;
    begin_x_ = across.begin / simd_lanes * simd_lanes;
    lanes_ = (across.end - begin_x_ + simd_lanes - 1) / simd_lanes * simd_lanes;
    const RowFilter filter(across);
    alignas(64) Rows rows, slopes;  // of the framed picture, filtered along rows
    filter(moving, down.first_tap(down.begin), down.end_of_taps(down.end), rows, slopes);
    alignas(64) Row from_center_x;
    for (int x = 0; x < stride; ++x)
      from_center_x[static_cast<size_t>(x)] = static_cast<float>(x) - center(fixed.width);
    for (int y = down.begin; y < down.end; ++y)
      fill_row(y, fixed.row(y), rows, slopes, from_center_x, static_cast<float>(y) - center(fixed.height));
  }

  Axis across, down;
  int pixels() const { return across.size() * down.size(); }

  /// Values of row y of the fixed picture, from across.begin on.
  const float* fixed_row(int y) const { return fixed_.data() + place(y, across.begin); }
  const float* warped_row(int y) const { return warped_.data() + place(y, across.begin); }

  Sums sums() const {
    float t1 = 0, w1 = 0, tt = 0, ww = 0, tw = 0, j0 = 0, j1 = 0, j2 = 0, jt0 = 0, jt1 = 0, jt2 = 0, jw0 = 0,
          jw1 = 0, jw2 = 0, jj00 = 0, jj01 = 0, jj02 = 0, jj11 = 0, jj12 = 0, jj22 = 0;
    const auto values = static_cast<size_t>(lanes_ * down.size());
    // Two loops, so that each has its sums in registers.
#pragma omp simd reduction(+ : t1, w1, tt, ww, tw, j1, j2, jt1, jt2, jw1, jw2)
    for (size_t i = 0; i < values; ++i) {
      const float t = fixed_[i], w = warped_[i], x = by_x_[i], y = by_y_[i];
      t1 += t;
      w1 += w;
      tt += t * t;
      ww += w * w;
      tw += t * w;
      j1 += x;
      j2 += y;
      jt1 += x * t;
      jt2 += y * t;
      jw1 += x * w;
      jw2 += y * w;
    }
#pragma omp simd reduction(+ : j0, jt0, jw0, jj00, jj01, jj02, jj11, jj12, jj22)
    for (size_t i = 0; i < values; ++i) {
      const float s = by_scale_[i], x = by_x_[i], y = by_y_[i];
      j0 += s;
      jt0 += s * fixed_[i];
      jw0 += s * warped_[i];
      jj00 += s * s;
      jj01 += s * x;
      jj02 += s * y;
      jj11 += x * x;
      jj12 += x * y;
      jj22 += y * y;
    }
    return {t1,
            w1,
            tt,
            ww,
            tw,
            {j0, j1, j2},
            {jt0, jt1, jt2},
            {jw0, jw1, jw2},
            {jj00, jj01, jj02, jj11, jj12, jj22}};
  }

 private:
  using Values = std::array<float, size_t{stride} * GrayThumbnail::most_side>;

  size_t place(int y, int x) const { return static_cast<size_t>((y - down.begin) * lanes_ + x - begin_x_); }

  void fill_row(int y, const float* fixed, const Rows& rows, const Rows& slopes, const Row& from_center_x,
                float from_center_y) {
    const auto k = static_cast<size_t>(y), tap = static_cast<size_t>(down.first[k]);
    const auto filtered = [&](const std::array<Row, 4>& weights, const Rows& from, int x) {
      return weights[0][k] * load(from[tap].data() + x) + weights[1][k] * load(from[tap + 1].data() + x) +
             weights[2][k] * load(from[tap + 2].data() + x) + weights[3][k] * load(from[tap + 3].data() + x);
    };
    for (int lane = 0; lane < lanes_; lane += simd_lanes) {
      const int x = begin_x_ + lane;
      const auto to = static_cast<ptrdiff_t>(place(y, x));
      const Floats by_x = filtered(down.value, slopes, x), by_y = filtered(down.slope, rows, x);
      store(fixed_.data() + to, load(fixed + x) * load(across.inside.data() + x));
      store(warped_.data() + to, filtered(down.value, rows, x));
      store(by_x_.data() + to, by_x);
      store(by_y_.data() + to, by_y);
      store(by_scale_.data() + to, by_x * load(from_center_x.data() + x) + by_y * from_center_y);
    }
  }

  int begin_x_ = 0, lanes_ = 0;  // of a row, in whole vectors
  alignas(64) Values fixed_, warped_, by_scale_, by_x_,
      by_y_;  // those of `down`, row after row; 0 beyond `across`
};

using Matrix3 = std::array<std::array<double, 3>, 3>;
double determinant(const Matrix3& m) {
  return m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) -
         m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
         m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
}

/// The correlation, and the change of the warp that raises it most: with t and w of mean 0 and length 1, and j
/// without its part along 1 and w, the least squares of t - w - j d.
struct Step {
  float correlation = 0;
  Warp change = {.scale = 0};
  bool solved = false;
};

Step step_of(const Sums& s, int pixels) {
  const auto n = static_cast<double>(pixels);
  const double variance_t = s.tt / n - s.t / n * (s.t / n), variance_w = s.ww / n - s.w / n * (s.w / n);
  if (variance_t < least_variance || variance_w < least_variance) return {};
  const double length_t = std::sqrt(n * variance_t), length_w = std::sqrt(n * variance_w);
  const double correlation = (s.tw - s.t * (s.w / n)) / (length_t * length_w);
  std::array<double, 3> along_w{}, along_t{};
  for (size_t i = 0; i < 3; ++i) {
    along_w[i] = (s.jw[i] - s.j[i] * (s.w / n)) / length_w;
    along_t[i] = (s.jt[i] - s.j[i] * (s.t / n)) / length_t;
  }
  constexpr std::array<std::array<size_t, 3>, 3> place = {{{0, 1, 2}, {1, 3, 4}, {2, 4, 5}}};
  Matrix3 normal{};
  for (size_t i = 0; i < 3; ++i)
    for (size_t k = 0; k < 3; ++k)
      normal[i][k] = s.jj[place[i][k]] - s.j[i] * (s.j[k] / n) - along_w[i] * along_w[k];
  for (size_t i = 0; i < 3; ++i) normal[i][i] *= 1.001;  // what hardly matters is hardly moved
  const double all = determinant(normal);
  Step step{.correlation = static_cast<float>(correlation)};
  if (!(std::abs(all) > 1e-12)) return step;
  // w is scaled to the length of its part along t: by the correlation, as far as there is one.
  const double scale = length_w / std::max(correlation, 0.3);
  std::array<double, 3> change{};
  for (size_t k = 0; k < 3; ++k) {
    Matrix3 replaced = normal;
    for (size_t i = 0; i < 3; ++i) replaced[i][k] = (along_t[i] - correlation * along_w[i]) * scale;
    change[k] = determinant(replaced) / all;
  }
  step.change = {static_cast<float>(change[0]), static_cast<float>(change[1]), static_cast<float>(change[2])};
  step.solved = true;
  return step;
}

/// Whole picture over whole picture.
Warp whole_over_whole(const Plane& fixed, const Plane& moving) {
  return {.scale = static_cast<float>(moving.longer()) / static_cast<float>(fixed.longer())};
}

struct Fit {
  Warp warp;
  float correlation = 0;
};

/// The best of the warps that so many steps from the first one pass; after one of them without hope of `least`,
/// no more. `moving` is framed.
Fit align(const Plane& fixed, const Plane& moving, const Warp& start, int steps, float least) {
  const float whole = whole_over_whole(fixed, moving).scale;
  constexpr float most_zoom = 1.6f, most_step = 0.1f, still = 0.02f;  // still: a shift, in pixels
  Fit best{start};
  Warp warp = start;
  const auto side = static_cast<float>(moving.longer());
  for (int taken = 0; taken <= steps; ++taken) {
    const Overlap overlap(fixed, moving, warp);
    if (2 * overlap.pixels() < fixed.height * fixed.width) break;
    const Step step = step_of(overlap.sums(), overlap.pixels());
    if (step.correlation > best.correlation) best = {warp, step.correlation};
    if (!step.solved || (taken > 0 && best.correlation < least)) break;
    const auto limited = [](float change, float most) { return std::clamp(change, -most, most); };
    warp.scale += limited(step.change.scale, most_step * whole);
    warp.x += limited(step.change.x, most_step * side);
    warp.y += limited(step.change.y, most_step * side);
    if (warp.scale < whole / most_zoom || warp.scale > whole * most_zoom) break;
    if (std::abs(step.change.scale) * side < still && std::abs(step.change.x) < still &&
        std::abs(step.change.y) < still)
      break;
  }
  return best;
}

/// Of the pictures where they overlap.
float correlation_of_detail(const Overlap& overlap) {
  const int height = overlap.down.size(), width = overlap.across.size();
  Plane t(height, width), w(height, width);
  for (int y = 0; y < height; ++y) {
    std::copy_n(overlap.fixed_row(y + overlap.down.begin), width, t.row(y));
    std::copy_n(overlap.warped_row(y + overlap.down.begin), width, w.row(y));
  }
  return correlation_of_detail(t, w);
}

/// The moving picture, and its mirror image.
using Sides = std::array<Plane, 2>;
Sides sides_of(const GrayPicture& picture) {
  const Plane plane = plane_of(picture);
  return {framed(plane), framed(mirror_image(plane))};
}

/// What must not be compared by its detail: hardly more than a line of pixels, or all of one color.
bool has_detail(const GrayPicture& picture) {
  constexpr int least_side = 8, least_range = 2;
  uint8_t low = 255, high = 0;
  for (const uint8_t pixel : picture.pixels) {
    low = std::min(low, pixel);
    high = std::max(high, pixel);
  }
  return std::min(picture.height, picture.width) >= least_side && high - low >= least_range;
}

bool nearly_equal(const GrayPicture& a, const GrayPicture& b) {
  return a.height == b.height && a.width == b.width &&
         std::equal(a.pixels.begin(), a.pixels.end(), b.pixels.begin(),
                    [](int x, int y) { return std::abs(x - y) <= 1; });
}

}  // namespace

Likeness likeness(const GrayThumbnail& a, const GrayThumbnail& b, float least_coarse) {
  constexpr int coarse_steps = 3, steps = 4;
  constexpr float tie = 0.02f;  // between a picture and its mirror image, if it is nearly symmetric
  if (!has_detail(a.whole) || !has_detail(b.whole))
    return nearly_equal(a.whole, b.whole) ? Likeness{1, 1} : Likeness{};
  // The smaller one is fixed, as the other has a value for each of its pixels; of two of a size, one or the other
  // in whatever order they come.
  const auto order = [](const GrayPicture& picture) {
    return std::tuple(picture.pixels.size(), picture.height, std::tie(picture.pixels));
  };
  const bool swapped = order(b.whole) < order(a.whole);
  const GrayThumbnail &fixed = swapped ? b : a, &moving = swapped ? a : b;

  const Plane half = plane_of(fixed.half);
  const Sides halves = sides_of(moving.half);
  const Warp start = whole_over_whole(half, halves[0]);
  std::array<Fit, 2> fits;
  for (size_t side = 0; side < fits.size(); ++side)
    fits[side] = align(half, halves[side], start, coarse_steps, 0);
  Likeness result{.coarse = std::max(fits[0].correlation, fits[1].correlation)};
  if (result.coarse < least_coarse) return result;

  const Plane whole = plane_of(fixed.whole);
  const Sides wholes = sides_of(moving.whole);
  const float twice = static_cast<float>(wholes[0].longer()) / static_cast<float>(halves[0].longer()),
              scale = whole_over_whole(whole, wholes[0]).scale / start.scale;
  const float least = std::max(least_coarse, result.coarse - tie);
  for (size_t side = 0; side < fits.size(); ++side) {
    const auto& [warp, correlation] = fits[side];
    if (correlation < least) continue;
    const Warp finer = {warp.scale * scale, warp.x * twice, warp.y * twice};
    const Fit fit = align(whole, wholes[side], finer, steps, least_coarse);
    if (fit.correlation <= 0 || fit.correlation < least_coarse) continue;
    result.fine = std::max(result.fine, correlation_of_detail(Overlap(whole, wholes[side], fit.warp)));
  }
  return result;
}

}  // namespace la
