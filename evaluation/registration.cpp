#include "evaluation/registration.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <tuple>

namespace la {
namespace {

constexpr int margin = 2;   // pixels around a plane that repeat its border, for the cubic filter
constexpr int stride = 32;  // floats from row to row
static_assert(GrayThumbnail::most_side + 2 * margin <= stride);
using Row = std::array<float, stride>;

/// A picture with brightness from 0 to 1.
struct Plane {
  int height, width;
  alignas(64) std::array<Row, stride> rows = {};  // 0 beyond the picture

  Plane(int h, int w) : height(h), width(w) {}
  float* row(int y) { return rows[static_cast<size_t>(y)].data(); }
  const float* row(int y) const { return rows[static_cast<size_t>(y)].data(); }
  int longer() const { return std::max(height, width); }
};

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

/// Where the pixel (x, y) of the fixed picture, measured from its center, is found in the moving one.
struct Warp {
  float scale = 1, x = 0, y = 0;
};

/// The fixed picture's pixels along one axis that lie over the moving one, and the cubic filter (Catmull and
/// Rom) that gives its values there, and their slopes.
struct Axis {
  int begin = 0, end = 0;
  std::array<int, stride> first = {};         // of four taps in the framed picture
  std::array<Row, 4> value = {}, slope = {};  // weights of the taps; 0 elsewhere
  Row inside = {};                            // 1, and 0 elsewhere

  Axis(float scale, float shift, int fixed, int moving) {
    const auto center = [](int side) { return 0.5f * static_cast<float>(side - 1); };
    begin = fixed;
    for (int i = 0; i < fixed; ++i) {
      const float at = scale * (static_cast<float>(i) - center(fixed)) + shift + center(moving);
      if (at < -0.5f || at > static_cast<float>(moving) - 0.5f) continue;
      begin = std::min(begin, i);
      end = i + 1;
      const float below = std::floor(at), f = at - below;
      const auto k = static_cast<size_t>(i);
      inside[k] = 1;
      first[k] = static_cast<int>(below) - 1 + margin;
      value[0][k] = ((-0.5f * f + 1) * f - 0.5f) * f;
      value[1][k] = (1.5f * f - 2.5f) * f * f + 1;
      value[2][k] = ((-1.5f * f + 2) * f + 0.5f) * f;
      value[3][k] = (0.5f * f - 0.5f) * f * f;
      slope[0][k] = (-1.5f * f + 2) * f - 0.5f;
      slope[1][k] = (4.5f * f - 5) * f;
      slope[2][k] = (-4.5f * f + 4) * f + 0.5f;
      slope[3][k] = (1.5f * f - 1) * f;
    }
  }
  int size() const { return std::max(end - begin, 0); }
};

/// The moving picture as it lies over the fixed one, row by row.
class Warped {
 public:
  /// `moving` is framed, and must outlive it.
  Warped(const Plane& fixed, const Plane& moving, const Warp& warp)
      : across(warp.scale, warp.x, fixed.width, moving.width),
        down(warp.scale, warp.y, fixed.height, moving.height),
        lanes((fixed.width + 7) / 8 * 8),
        moving_(moving) {}

  Axis across, down;
  int lanes;  // of a row that are computed: whole vectors, as the rest of one would take longer than all of it
  int pixels() const { return across.size() * down.size(); }

  /// Its values at row y of the fixed picture, which is within `down`, and their slopes; 0 beyond `across`.
  void row(int y, Row& value, Row& slope_x, Row& slope_y) const {
    Row along, change;
    columns(y, down.value, along);
    columns(y, down.slope, change);
#pragma omp simd
    for (int x = 0; x < lanes; ++x) {
      const auto k = static_cast<size_t>(x);
      const auto tap = static_cast<size_t>(across.first[k]);
      const float v0 = along[tap], v1 = along[tap + 1], v2 = along[tap + 2], v3 = along[tap + 3];
      value[k] = across.value[0][k] * v0 + across.value[1][k] * v1 + across.value[2][k] * v2 +
                 across.value[3][k] * v3;
      slope_x[k] = across.slope[0][k] * v0 + across.slope[1][k] * v1 + across.slope[2][k] * v2 +
                   across.slope[3][k] * v3;
      slope_y[k] = across.value[0][k] * change[tap] + across.value[1][k] * change[tap + 1] +
                   across.value[2][k] * change[tap + 2] + across.value[3][k] * change[tap + 3];
    }
  }

 private:
  /// What the filter makes of the columns of the framed picture.
  void columns(int y, const std::array<Row, 4>& weights, Row& out) const {
    const auto k = static_cast<size_t>(y);
    const int tap = down.first[k];
    const float w0 = weights[0][k], w1 = weights[1][k], w2 = weights[2][k], w3 = weights[3][k];
    const float *r0 = moving_.row(tap), *r1 = moving_.row(tap + 1), *r2 = moving_.row(tap + 2),
                *r3 = moving_.row(tap + 3);
#pragma omp simd
    for (int x = 0; x < stride; ++x)
      out[static_cast<size_t>(x)] = w0 * r0[x] + w1 * r1[x] + w2 * r2[x] + w3 * r3[x];
  }

  const Plane& moving_;
};

/// What a Gauss-Newton step needs of the pixels where both pictures are: sums over products of the fixed one t,
/// the warped one w and the derivatives j of w by scale, x and y.
struct Sums {
  float t = 0, w = 0, tt = 0, ww = 0, tw = 0;
  std::array<float, 3> j = {}, jt = {}, jw = {};
  std::array<float, 6> jj = {};  // 00, 01, 02, 11, 12, 22
};

Sums sums_of(const Plane& fixed, const Warped& warped) {
  float t1 = 0, w1 = 0, tt = 0, ww = 0, tw = 0, j0 = 0, j1 = 0, j2 = 0, jt0 = 0, jt1 = 0, jt2 = 0, jw0 = 0,
        jw1 = 0, jw2 = 0, jj00 = 0, jj01 = 0, jj02 = 0, jj11 = 0, jj12 = 0, jj22 = 0;
  const float center_x = 0.5f * static_cast<float>(fixed.width - 1),
              center_y = 0.5f * static_cast<float>(fixed.height - 1);
  Row w, sx, sy;
  for (int y = warped.down.begin; y < warped.down.end; ++y) {
    warped.row(y, w, sx, sy);
    const float* all = fixed.row(y);
    const float from_center = static_cast<float>(y) - center_y;
    Row by_scale;
    // Two loops, so that each has its sums in registers.
#pragma omp simd reduction(+ : t1, w1, tt, ww, tw, j1, j2, jt1, jt2, jw1, jw2)
    for (int x = 0; x < warped.lanes; ++x) {
      const auto k = static_cast<size_t>(x);
      const float t = all[x] * warped.across.inside[k];
      by_scale[k] = sx[k] * (static_cast<float>(x) - center_x) + sy[k] * from_center;
      t1 += t;
      w1 += w[k];
      tt += t * t;
      ww += w[k] * w[k];
      tw += t * w[k];
      j1 += sx[k];
      j2 += sy[k];
      jt1 += sx[k] * t;
      jt2 += sy[k] * t;
      jw1 += sx[k] * w[k];
      jw2 += sy[k] * w[k];
    }
#pragma omp simd reduction(+ : j0, jt0, jw0, jj00, jj01, jj02, jj11, jj12, jj22)
    for (int x = 0; x < warped.lanes; ++x) {
      const auto k = static_cast<size_t>(x);
      j0 += by_scale[k];
      jt0 += by_scale[k] * all[x];
      jw0 += by_scale[k] * w[k];
      jj00 += by_scale[k] * by_scale[k];
      jj01 += by_scale[k] * sx[k];
      jj02 += by_scale[k] * sy[k];
      jj11 += sx[k] * sx[k];
      jj12 += sx[k] * sy[k];
      jj22 += sy[k] * sy[k];
    }
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

/// Below which a picture is flat: a variance of a hundredth of the step between two values of a byte.
constexpr float least_variance = 0.01f / 255.0f / 255.0f;

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
    const Warped warped(fixed, moving, warp);
    if (2 * warped.pixels() < fixed.height * fixed.width) break;
    const Step step = step_of(sums_of(fixed, warped), warped.pixels());
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

/// A Gaussian blur; of a picture's border, the mean of what is within.
class Blur {
 public:
  explicit Blur(double sigma) : reach_(static_cast<int>(std::ceil(3 * sigma))) {
    for (int i = -reach_; i <= reach_; ++i)
      weights_[place(i)] = static_cast<float>(std::exp(-0.5 * i * i / (sigma * sigma)));
  }

  Plane operator()(const Plane& in) const {
    Plane out(in.height, in.width);
    Row shares;
    for (int x = 0; x < in.width; ++x) shares[static_cast<size_t>(x)] = 1 / weight_within(x, in.width);
    std::array<float, stride + 2 * most_reach> along = {};  // zero beyond the picture
    for (int y = 0; y < in.height; ++y) {
      std::fill_n(along.data() + reach_, in.width, 0.0f);
      const float share = 1 / weight_within(y, in.height);
      for (int from = std::max(0, y - reach_); from <= std::min(in.height - 1, y + reach_); ++from)
        add(weights_[place(from - y)] * share, in.row(from), in.width, along.data() + reach_);
      std::fill_n(out.row(y), in.width, 0.0f);
      for (int i = -reach_; i <= reach_; ++i)
        add(weights_[place(i)], along.data() + reach_ + i, in.width, out.row(y));
      for (int x = 0; x < in.width; ++x) out.row(y)[x] *= shares[static_cast<size_t>(x)];
    }
    return out;
  }

 private:
  static constexpr int most_reach = 9;

  size_t place(int i) const { return static_cast<size_t>(i + reach_); }
  float weight_within(int at, int side) const {
    float sum = 0;
    for (int i = std::max(0, at - reach_); i <= std::min(side - 1, at + reach_); ++i)
      sum += weights_[place(i - at)];
    return sum;
  }
  static void add(float weight, const float* in, int count, float* out) {
#pragma omp simd
    for (int i = 0; i < count; ++i) out[i] += weight * in[i];
  }

  int reach_;
  std::array<float, 2 * most_reach + 1> weights_ = {};
};

/// What is finer than a blur of 3 pixels and coarser than one of 1; of mean 0.
Plane detail(const Plane& plane) {
  static const Blur fine(1), coarse(3);
  Plane result = fine(plane);
  const Plane ground = coarse(plane);
  float sum = 0;
  for (int y = 0; y < plane.height; ++y)
    for (int x = 0; x < plane.width; ++x) sum += result.row(y)[x] -= ground.row(y)[x];
  const float mean = sum / static_cast<float>(plane.height * plane.width);
  for (int y = 0; y < plane.height; ++y)
    for (int x = 0; x < plane.width; ++x) result.row(y)[x] -= mean;
  return result;
}

double dot(const Plane& a, const Plane& b) {
  double sum = 0;
  for (int y = 0; y < a.height; ++y) {
    float of_row = 0;
#pragma omp simd reduction(+ : of_row)
    for (int x = 0; x < a.width; ++x) of_row += a.row(y)[x] * b.row(y)[x];
    sum += of_row;
  }
  return sum;
}

/// The second derivative, of which a blurred picture has lost some.
Plane laplacian(const Plane& plane) {
  Plane result(plane.height, plane.width);
  for (int y = 0; y < plane.height; ++y) {
    const float *row = plane.row(y), *above = plane.row(std::max(y - 1, 0)),
                *below = plane.row(std::min(y + 1, plane.height - 1));
    for (int x = 0; x < plane.width; ++x)
      result.row(y)[x] =
          above[x] + below[x] + row[std::max(x - 1, 0)] + row[std::min(x + 1, plane.width - 1)] - 4 * row[x];
  }
  return result;
}

/// Takes from a its part along a plane of length 1, or 0.
void subtract_part(Plane& a, const Plane& unit) {
  const auto part = static_cast<float>(dot(a, unit));
  for (int y = 0; y < a.height; ++y)
    for (int x = 0; x < a.width; ++x) a.row(y)[x] -= part * unit.row(y)[x];
}
/// To length 1; to 0 if the square of its length is not larger than that.
void normalize(Plane& a, double least_square) {
  const double square = dot(a, a);
  const auto factor = square > least_square ? static_cast<float>(1 / std::sqrt(square)) : 0.0f;
  for (int y = 0; y < a.height; ++y)
    for (int x = 0; x < a.width; ++x) a.row(y)[x] *= factor;
}

/// The multiple correlation of t with w, w^2 and the second derivative of w, all of them their detail; 0 where w is
/// a negative of t.
float correlation_of_detail(const Plane& original, const Plane& copy) {
  Plane squares = copy;
  for (Row& row : squares.rows)
    for (float& value : row) value *= value;
  const Plane t = detail(original);
  Plane w = detail(copy), q = detail(squares), l = detail(laplacian(copy));
  const double tt = dot(t, t), ww = dot(w, w), least = least_variance * copy.height * copy.width;
  if (tt < least || ww < least || dot(t, w) <= 0) return 0;
  // What adds next to nothing would be noise, scaled up.
  const double least_part = 1e-4 * ww;
  normalize(w, 0);
  subtract_part(q, w);
  normalize(q, least_part);
  subtract_part(l, w);
  subtract_part(l, q);
  normalize(l, least_part);
  double explained = 0;
  for (const Plane* regressor : {&w, &q, &l}) explained += std::pow(dot(t, *regressor), 2);
  return static_cast<float>(std::sqrt(std::min(explained / tt, 1.0)));
}

/// Of the pictures where they overlap, each from the other: which is the darker or more blurred print, is not known.
float correlation_of_detail(const Plane& fixed, const Warped& warped) {
  constexpr float hopeless = 0.95f;
  Plane t(warped.down.size(), warped.across.size()), w = t;
  Row value, ignored_x, ignored_y;
  for (int y = 0; y < t.height; ++y) {
    warped.row(y + warped.down.begin, value, ignored_x, ignored_y);
    std::copy_n(fixed.row(y + warped.down.begin) + warped.across.begin, t.width, t.row(y));
    std::copy_n(value.data() + warped.across.begin, t.width, w.row(y));
  }
  const float one_way = correlation_of_detail(t, w);
  return one_way < hopeless ? one_way : std::max(one_way, correlation_of_detail(w, t));
}

/// A picture at full and half resolution.
struct Levels {
  Plane whole, half;

  Levels(const Plane& at_full, const Plane& at_half) : whole(at_full), half(at_half) {}
  explicit Levels(const GrayThumbnail& picture)
      : whole(plane_of(picture.whole)), half(plane_of(picture.half)) {}
};
Levels mirror_image(const Levels& levels) { return {mirror_image(levels.whole), mirror_image(levels.half)}; }
Levels framed(const Levels& levels) { return {framed(levels.whole), framed(levels.half)}; }

/// The fit at half resolution, as a warp of the whole pictures.
Fit align_coarsely(const Levels& fixed, const Levels& moving) {
  constexpr int steps = 3;
  const Warp start = whole_over_whole(fixed.half, moving.half);
  Fit fit = align(fixed.half, moving.half, start, steps, 0);
  const auto twice = static_cast<float>(moving.whole.longer()) / static_cast<float>(moving.half.longer());
  fit.warp.scale *= whole_over_whole(fixed.whole, moving.whole).scale / start.scale;
  fit.warp.x *= twice;
  fit.warp.y *= twice;
  return fit;
}

/// What must not be compared by its detail: hardly more than a line of pixels, or all of one color.
bool has_detail(const GrayPicture& picture) {
  constexpr int least_side = 8, least_range = 2;
  const auto [low, high] = std::minmax_element(picture.pixels.begin(), picture.pixels.end());
  return std::min(picture.height, picture.width) >= least_side && *high - *low >= least_range;
}

bool nearly_equal(const GrayPicture& a, const GrayPicture& b) {
  return a.height == b.height && a.width == b.width &&
         std::equal(a.pixels.begin(), a.pixels.end(), b.pixels.begin(),
                    [](int x, int y) { return std::abs(x - y) <= 1; });
}

}  // namespace

Likeness likeness(const GrayThumbnail& a, const GrayThumbnail& b, float least_coarse) {
  constexpr int steps = 4;
  constexpr float tie = 0.02f;  // between a picture and its mirror image, if it is nearly symmetric
  if (!has_detail(a.whole) || !has_detail(b.whole))
    return nearly_equal(a.whole, b.whole) ? Likeness{1, 1} : Likeness{};
  // The smaller one is fixed, as the other has a value for each of its pixels; of two of a size, one or the other
  // in whatever order they come.
  const auto order = [](const GrayPicture& picture) {
    return std::tuple(picture.pixels.size(), std::tie(picture.pixels));
  };
  const bool swapped = order(b.whole) < order(a.whole);
  const Levels fixed(swapped ? b : a), moving(swapped ? a : b);
  const std::array<Levels, 2> sides = {framed(moving), framed(mirror_image(moving))};
  const std::array<Fit, 2> fits = {align_coarsely(fixed, sides[0]), align_coarsely(fixed, sides[1])};
  Likeness result{.coarse = std::max(fits[0].correlation, fits[1].correlation)};
  const float least = std::max(least_coarse, result.coarse - tie);
  for (size_t side = 0; side < sides.size(); ++side) {
    if (fits[side].correlation < least) continue;
    const Plane& whole = sides[side].whole;
    const Fit fit = align(fixed.whole, whole, fits[side].warp, steps, least_coarse);
    if (fit.correlation <= 0 || fit.correlation < least_coarse) continue;
    result.fine =
        std::max(result.fine, correlation_of_detail(fixed.whole, Warped(fixed.whole, whole, fit.warp)));
  }
  return result;
}

}  // namespace la
