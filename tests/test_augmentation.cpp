// Augmentation: what chance decides, and what the pictures become, beside plain loops in double precision.
#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <tuple>

#include "data/augmentation.h"
#include "tensor/image/pixel.h"
#include "tensor/image/resize.h"
#include "tensor/random.h"
#include "tests/bounded.h"
#include "tests/own_picture.h"

using namespace la;

namespace {

AugmentationOptions options_for(int size, int channels) {
  AugmentationOptions options{.size = size};
  options.mean.assign(static_cast<size_t>(channels), 0.0f);
  options.stddev.assign(static_cast<size_t>(channels), 1.0f);
  return options;
}

ViewPlan identity_plan(float width, float height) { return {.crop = {0, 0, width, height}}; }

auto all_of(const ViewPlan& p) {
  return std::tuple(p.crop.x, p.crop.y, p.crop.width, p.crop.height, p.flip, p.grayscale, p.brightness,
                    p.contrast, p.saturation, p.hue, p.order);
}

/// Largest deviation of a frequency in n independent draws from its probability that happens less than once
/// in 10^9 times (Hoeffding: P(deviation >= t) <= 2 exp(-2 n t^2)).
double frequency_bound(int n) { return std::sqrt(std::log(2e9) / (2.0 * n)); }

}  // namespace

// ---- The plan -------------------------------------------------------------------------------------------

TEST_CASE("a plan is a function of seed, epoch and picture") {
  const AugmentationOptions options;
  const auto plan = [&](uint64_t seed, int64_t epoch, int64_t index) {
    return all_of(plan_augmentation(options, 40, 50, seed, epoch, index));
  };
  const auto first = plan(1, 2, 3);
  CHECK(plan(1, 2, 4) != first);
  CHECK(plan(1, 3, 3) != first);
  CHECK(plan(2, 2, 3) != first);
  CHECK(plan(1, 3, 2) != first);  // epoch and index are not confused
  CHECK(plan(1, 2, 3) == first);
}

TEST_CASE("a crop lies within the picture, with an area and an aspect that the options allow") {
  constexpr double slack = 8 * f32_roundoff;  // of the few roundings between a draw and the crop
  for (const auto& [height, width] : {std::pair{28, 28}, {32, 48}, {100, 75}, {1, 1}}) {
    const AugmentationOptions options;
    for (int64_t i = 0; i < 3000; ++i) {
      const ViewPlan p = plan_augmentation(options, height, width, 9, 0, i);
      const double w = p.crop.width, h = p.crop.height, share = w * h / (height * width);
      REQUIRE(p.crop.x >= 0);
      REQUIRE(p.crop.y >= 0);
      REQUIRE(p.crop.x + w <= width * (1 + slack));
      REQUIRE(p.crop.y + h <= height * (1 + slack));
      REQUIRE(share >= options.crop_min_area * (1 - slack));
      REQUIRE(share <= 1 + slack);
      REQUIRE(w / h <= 4.0 / 3 * (1 + slack));
      REQUIRE(w / h >= 3.0 / 4 * (1 - slack));
    }
  }
}

TEST_CASE("areas, aspects and places of crops have the distributions asked") {
  constexpr int n = 20000;
  const double bound = frequency_bound(n);
  AugmentationOptions squares{.crop_max_aspect = 1.0f};  // every area from 0.2 to 1 fits
  const AugmentationOptions options{.crop_min_area = 0.2f};
  int small = 0, left = 0, high = 0, broad = 0;
  for (int64_t i = 0; i < n; ++i) {
    const ViewPlan square = plan_augmentation(squares, 64, 64, 3, 0, i);
    small += square.crop.width * square.crop.height < 0.4f * 64 * 64;
    left += square.crop.x < 0.25f * (64 - square.crop.width);
    high += square.crop.y < 0.75f * (64 - square.crop.height);
    const ViewPlan any = plan_augmentation(options, 64, 64, 3, 0, i);
    broad += any.crop.width > any.crop.height;  // as often as not in a square picture
  }
  CHECK(std::abs(small / double{n} - 0.25) < bound);
  CHECK(std::abs(left / double{n} - 0.25) < bound);
  CHECK(std::abs(high / double{n} - 0.75) < bound);
  CHECK(std::abs(broad / double{n} - 0.5) < bound);
}

TEST_CASE(
    "a crop of fixed size is a square of 7/8 of the shorter side, anywhere or within the central square") {
  constexpr int n = 20000, height = 64, width = 128;
  int left = 0, central_left = 0;
  for (int64_t i = 0; i < n; ++i) {
    const ViewPlan p = plan_augmentation({.fixed_crop = FixedCrop::anywhere}, height, width, 5, 0, i);
    const ViewPlan c = plan_augmentation({.fixed_crop = FixedCrop::central}, height, width, 5, 0, i);
    for (const ViewPlan& plan : {p, c}) {
      REQUIRE(plan.crop.width == 56);
      REQUIRE(plan.crop.height == 56);
      REQUIRE(plan.crop.y >= 0);
      REQUIRE(plan.crop.y <= 8);
    }
    REQUIRE(p.crop.x >= 0);
    REQUIRE(p.crop.x <= 72);
    REQUIRE(c.crop.x >= 32);  // the central square goes from 32 to 96
    REQUIRE(c.crop.x <= 40);
    left += p.crop.x < 18;
    central_left += c.crop.x < 34;
  }
  CHECK(std::abs(left / double{n} - 0.25) < frequency_bound(n));
  CHECK(std::abs(central_left / double{n} - 0.25) < frequency_bound(n));
}

TEST_CASE("where no crop of the allowed aspect has the area drawn, it is the largest centered one") {
  AugmentationOptions options;
  for (int64_t i = 0; i < 20; ++i) {  // at least 0.2 * 1000 pixels do not fit into a height of 5 at 4 : 3
    const ViewPlan wide = plan_augmentation(options, 5, 200, 1, 0, i);
    CHECK(wide.crop.height == 5.0f);
    CHECK(wide.crop.width == doctest::Approx(20.0 / 3));
    CHECK(wide.crop.y == 0.0f);
    CHECK(wide.crop.x == doctest::Approx((200 - 20.0 / 3) / 2));
    const ViewPlan tall = plan_augmentation(options, 200, 5, 1, 0, i);
    CHECK(tall.crop.width == 5.0f);
    CHECK(tall.crop.height == doctest::Approx(20.0 / 3));
  }
}

TEST_CASE("flips, greys and orders happen as often as asked; factors stay in their ranges") {
  constexpr int n = 20000;
  AugmentationOptions options{.flip = 0.3f, .jitter = 0.4f, .grayscale = 0.8f};
  int flips = 0, greys = 0, both = 0;
  std::array<std::array<int, 4>, 4> at{};  // how often a step stands at a place
  double brightness = 0, hue = 0;
  for (int64_t i = 0; i < n; ++i) {
    const ViewPlan p = plan_augmentation(options, 28, 28, 5, 1, i);
    flips += p.flip;
    greys += p.grayscale;
    both += p.flip && p.grayscale;
    for (size_t place = 0; place < 4; ++place) ++at[p.order[place]][place];
    for (const float factor : {p.brightness, p.contrast, p.saturation}) {
      REQUIRE(factor >= 0.6f);
      REQUIRE(factor <= 1.4f);
    }
    REQUIRE(std::abs(p.hue) <= 0.4f);
    brightness += p.brightness;
    hue += p.hue;
  }
  const double bound = frequency_bound(n);
  CHECK(std::abs(flips / double{n} - 0.3) < bound);
  CHECK(std::abs(greys / double{n} - 0.8) < bound);
  CHECK(std::abs(both / double{n} - 0.3 * 0.8) < bound);
  for (const auto& step : at)
    for (const int count : step) CHECK(std::abs(count / double{n} - 0.25) < bound);
  // Hoeffding for means of numbers from an interval of width 0.8.
  CHECK(std::abs(brightness / n - 1) < 0.8 * bound);
  CHECK(std::abs(hue / n) < 0.8 * bound);
}

TEST_CASE("probabilities of 0 and 1, and no jitter, leave nothing to chance") {
  AugmentationOptions never{.flip = 0, .jitter = 0, .grayscale = 0}, always{.flip = 1, .grayscale = 1};
  never.crop_min_area = 1;
  never.crop_max_aspect = 1;
  for (int64_t i = 0; i < 100; ++i) {
    const ViewPlan p = plan_augmentation(never, 16, 16, 5, 1, i);
    const ViewPlan identity = identity_plan(16, 16);
    ViewPlan same_order = p;
    same_order.order = identity.order;
    CHECK(all_of(same_order) == all_of(identity));
    CHECK(plan_augmentation(always, 16, 16, 5, 1, i).flip);
    CHECK(plan_augmentation(always, 16, 16, 5, 1, i).grayscale);
  }
}

// ---- Views ----------------------------------------------------------------------------------------------

namespace {

std::vector<float> view_of(const Picture& picture, const ViewPlan& plan, const AugmentationOptions& options) {
  std::vector<float> view(static_cast<size_t>(options.size * options.size * picture.channels));
  augment(picture, plan, options, view.data());
  return view;
}

using BoundedColor = std::array<Bounded, 3>;

std::vector<BoundedColor> colors_of(const OwnPicture& own) {
  std::vector<BoundedColor> colors;
  for (size_t i = 0; i < own.pixels.size(); i += 3) {
    BoundedColor color;
    for (size_t c = 0; c < 3; ++c) color[c] = Bounded(own.pixels[i + c]) / Bounded(255);
    colors.push_back(color);
  }
  return colors;
}

Bounded clamped(const Bounded& x) { return {std::clamp(x.value, 0.0, 1.0), x.error}; }

Bounded luma(const BoundedColor& p) {
  return Bounded(0.299).rounded() * p[0] + Bounded(0.587).rounded() * p[1] + Bounded(0.114).rounded() * p[2];
}

/// What each step is defined as (torchvision's ColorJitter and Grayscale).
void brighten(std::vector<BoundedColor>& view, double factor) {
  for (BoundedColor& p : view)
    for (Bounded& x : p) x = clamped(Bounded(factor) * x);
}
void mix(Bounded& x, const Bounded& other, double factor) {
  x = clamped(Bounded(factor) * x + (Bounded(1) - Bounded(factor)) * other);
}
void contrast(std::vector<BoundedColor>& view, double factor) {
  Sum sum;
  for (const BoundedColor& p : view) sum.add(luma(p));
  const Bounded mean = sum.total() / Bounded(static_cast<double>(view.size()));
  for (BoundedColor& p : view)
    for (Bounded& x : p) mix(x, mean, factor);
}
void saturate(std::vector<BoundedColor>& view, double factor) {
  for (BoundedColor& p : view) {
    const Bounded grey = luma(p);
    for (Bounded& x : p) mix(x, grey, factor);
  }
}
void lose_color(std::vector<BoundedColor>& view) {
  for (BoundedColor& p : view) p.fill(luma(p));
}

/// Hue in degrees, saturation and value, and back, as Smith (1978) and every textbook have it.
std::array<double, 3> turn_hue(const std::array<double, 3>& rgb, double shift) {
  const auto [r, g, b] = rgb;
  const double value = std::max({r, g, b}), range = value - std::min({r, g, b});
  if (range == 0) return rgb;
  double degrees = value == r   ? 60 * (g - b) / range
                   : value == g ? 60 * (b - r) / range + 120
                                : 60 * (r - g) / range + 240;
  degrees = std::fmod(degrees + 360 * shift + 720, 360);
  const double saturation = range / value, fraction = std::fmod(degrees / 60, 1);
  const double p = value * (1 - saturation), q = value * (1 - saturation * fraction);
  const double t = value * (1 - saturation * (1 - fraction));
  switch (static_cast<int>(degrees / 60)) {
    case 0:
      return {value, t, p};
    case 1:
      return {q, value, p};
    case 2:
      return {p, value, t};
    case 3:
      return {p, q, value};
    case 4:
      return {t, p, value};
    default:
      return {value, p, q};
  }
}

/// A turn of the hue in f32 makes fewer than 64 roundings of numbers that, relative to the range of the
/// channels, are at most 8.
constexpr double hue_error = 64 * f32_roundoff;

void check_view(const std::vector<float>& view, const std::vector<BoundedColor>& expected) {
  REQUIRE(view.size() == 3 * expected.size());
  int wrong = 0;
  double widest = 0;
  for (size_t i = 0; i < view.size(); ++i) {
    const Bounded& x = expected[i / 3][i % 3];
    wrong += !(std::abs(view[i] - x.value) <= x.error);
    widest = std::max(widest, x.error);
  }
  CHECK(wrong == 0);
  CHECK(widest < 4e-4);  // a tenth of a grey level
}

}  // namespace

TEST_CASE("a picture has one channel or three") {
  const OwnPicture own(4, 4, 2);
  std::vector<float> out(32);
  CHECK_THROWS_AS(resize_crop(own.picture, {0, 0, 4, 4}, 4, false, out.data()), Error);
  const OwnPicture grey(4, 4, 1);  // and options for as many
  CHECK_THROWS_AS(augment(grey.picture, identity_plan(4, 4), options_for(4, 3), out.data()), Error);
  CHECK_THROWS_AS(center_view(grey.picture, options_for(4, 3), out.data()), Error);
}

TEST_CASE("a plan that changes nothing gives exactly the normalized picture") {
  for (const int channels : {1, 3}) {
    const OwnPicture own(11, 11, channels);
    AugmentationOptions options = options_for(11, channels);
    for (size_t c = 0; c < options.mean.size(); ++c) {
      options.mean[c] = 0.25f + 0.125f * static_cast<float>(c);
      options.stddev[c] = 0.3f - 0.01f * static_cast<float>(c);
    }
    std::vector<float> unit;  // apart from the loop below, so that no fused operation skips its rounding
    for (const uint8_t pixel : own.pixels) unit.push_back(static_cast<float>(pixel) * (1.0f / 255.0f));
    std::vector<float> expected;
    for (size_t i = 0; i < unit.size(); ++i) {
      const size_t c = i % static_cast<size_t>(channels);
      expected.push_back((unit[i] - options.mean[c]) / options.stddev[c]);
    }
    CHECK(view_of(own.picture, identity_plan(11, 11), options) == expected);
    std::vector<float> center(expected.size());
    center_view(own.picture, options, center.data());
    CHECK(center == expected);

    ViewPlan mirror = identity_plan(11, 11);
    mirror.flip = true;
    const std::vector<float> mirrored = view_of(own.picture, mirror, options);
    int wrong = 0;
    for (int y = 0; y < 11; ++y)
      for (int x = 0; x < 11; ++x)
        for (int c = 0; c < channels; ++c)
          wrong += mirrored[static_cast<size_t>((y * 11 + x) * channels + c)] !=
                   expected[static_cast<size_t>((y * 11 + 10 - x) * channels + c)];
    CHECK(wrong == 0);
  }
}

TEST_CASE("the view for evaluation is the middle of larger pictures") {
  for (const auto& [height, width] : {std::pair{32, 32}, {24, 40}, {50, 16}}) {
    const OwnPicture own(height, width, 1);
    const AugmentationOptions options = options_for(12, 1);
    const float side = static_cast<float>(std::min(height, width)) * 7 / 8;
    const Crop crop{(static_cast<float>(width) - side) / 2, (static_cast<float>(height) - side) / 2, side,
                    side};
    std::vector<float> view(144), expected(144);
    center_view(own.picture, options, view.data());
    resize_crop(own.picture, crop, 12, false, expected.data());
    CHECK(view == expected);
  }
}

TEST_CASE("brightness, contrast, saturation and lost color are what they are defined as") {
  using Step = void (*)(float factor, ViewPlan& plan, std::vector<BoundedColor>& expected);
  const Step steps[] = {[](float factor, ViewPlan& plan, std::vector<BoundedColor>& expected) {
                          plan.brightness = factor;
                          brighten(expected, factor);
                        },
                        [](float factor, ViewPlan& plan, std::vector<BoundedColor>& expected) {
                          plan.contrast = factor;
                          contrast(expected, factor);
                        },
                        [](float factor, ViewPlan& plan, std::vector<BoundedColor>& expected) {
                          plan.saturation = factor;
                          saturate(expected, factor);
                        },
                        // BoundedColor is lost first; then there is nothing to saturate or to turn.
                        [](float factor, ViewPlan& plan, std::vector<BoundedColor>& expected) {
                          plan.grayscale = true;
                          plan.contrast = factor;
                          plan.saturation = 1.3f;
                          plan.hue = 0.3f;
                          lose_color(expected);
                          contrast(expected, factor);
                        }};
  const OwnPicture own(16, 16, 3);
  for (const Step step : steps) {
    for (const float factor : {0.0f, 0.6f, 0.95f, 1.0f, 1.4f, 2.0f}) {
      ViewPlan plan = identity_plan(16, 16);
      std::vector<BoundedColor> expected = colors_of(own);
      step(factor, plan, expected);
      check_view(view_of(own.picture, plan, options_for(16, 3)), expected);
    }
  }
}

TEST_CASE("the hue turns as through HSV") {
  OwnPicture own(16, 16, 3);
  const uint8_t corners[] = {0,   0, 0, 255, 255, 255, 255, 0, 0,   0,   255, 0,  0,   0,
                             255, 7, 7, 7,   255, 255, 0,   0, 255, 255, 255, 0,  255, 1,
                             0,   0, 9, 9,   200, 9,   200, 9, 200, 9,   9,   50, 60,  60};
  std::copy(std::begin(corners), std::end(corners), own.pixels.begin());
  const AugmentationOptions options = options_for(16, 3);
  for (const float shift : {-0.5f, -0.4f, -1.0f / 3, -0.07f, 0.1f, 0.25f, 0.4f, 0.5f}) {
    ViewPlan plan = identity_plan(16, 16);
    plan.hue = shift;
    std::vector<BoundedColor> expected = colors_of(own);
    for (BoundedColor& p : expected) {
      const auto turned = turn_hue({p[0].value, p[1].value, p[2].value}, shift);
      for (size_t c = 0; c < 3; ++c) p[c] = {turned[c], hue_error};
    }
    check_view(view_of(own.picture, plan, options), expected);
  }
  const pixel::Rgb green = pixel::shift_hue({1, 0, 0}, 1.0f / 3);  // red, a third of the circle further
  CHECK(green.r < hue_error);
  CHECK(green.g > 1 - hue_error);
  CHECK(green.b < hue_error);
}

TEST_CASE("the steps happen in the order of the plan") {
  const OwnPicture own(16, 16, 3);
  const AugmentationOptions options = options_for(16, 3);
  const std::function<void(std::vector<BoundedColor>&)> steps[] = {
      [](std::vector<BoundedColor>& view) { brighten(view, 1.375); },
      [](std::vector<BoundedColor>& view) { contrast(view, 1.25); },
      [](std::vector<BoundedColor>& view) { saturate(view, 0.625); }, [](std::vector<BoundedColor>&) {}};
  ViewPlan plan = identity_plan(16, 16);
  plan.brightness = 1.375f;
  plan.contrast = 1.25f;
  plan.saturation = 0.625f;
  std::vector<std::vector<float>> views;
  do {
    std::vector<BoundedColor> expected = colors_of(own);
    for (const uint8_t step : plan.order) steps[step](expected);
    views.push_back(view_of(own.picture, plan, options));
    check_view(views.back(), expected);
  } while (std::next_permutation(plan.order.begin(), plan.order.end()));
  CHECK(views.size() == 24);
  CHECK(views.front() != views.back());
}

TEST_CASE("views without color ignore what changes colors") {
  const OwnPicture own(12, 12, 1);
  AugmentationOptions options = options_for(10, 1);
  ViewPlan plain = identity_plan(12, 12);
  plain.brightness = 0.8f;
  plain.contrast = 1.3f;
  ViewPlan colored = plain;
  colored.saturation = 0.5f;
  colored.hue = 0.3f;
  colored.grayscale = true;
  CHECK(view_of(own.picture, plain, options) == view_of(own.picture, colored, options));

  OwnPicture threefold(12, 12, 3);  // the same in three channels
  for (size_t i = 0; i < threefold.pixels.size(); ++i) threefold.pixels[i] = own.pixels[i / 3];
  std::vector<BoundedColor> expected = colors_of(threefold);
  saturate(expected, 0.5);
  for (BoundedColor& p : expected)
    for (Bounded& x : p) x.error += hue_error;
  ViewPlan colors_only = identity_plan(12, 12);
  colors_only.saturation = 0.5f;
  colors_only.hue = 0.3f;
  check_view(view_of(threefold.picture, colors_only, options_for(12, 3)), expected);
}

TEST_CASE("the ten crops are the center and the corners of a picture, and their mirror images") {
  // 256 x 320 pixels as the original resizes them: squares of 224 pixels.
  const std::array<std::pair<float, float>, 5> places{
      {{16, 48}, {0, 0}, {0, 96}, {32, 0}, {32, 96}}};  // y, x
  for (int number = 0; number < 10; ++number) {
    const ViewPlan plan = plan_ten_crop(number, 256, 320);
    CHECK(plan.crop.y == places[static_cast<size_t>(number % 5)].first);
    CHECK(plan.crop.x == places[static_cast<size_t>(number % 5)].second);
    CHECK(plan.crop.height == 224);
    CHECK(plan.crop.width == 224);
    CHECK(plan.flip == (number >= 5));
  }
  CHECK_THROWS_AS(plan_ten_crop(10, 256, 320), Error);
}
