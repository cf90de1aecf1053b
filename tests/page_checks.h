// What tests expect of every page that a browser shows.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "tensor/format.h"
#include "tests/browser.h"

namespace la {

/// Where a person wants to see what a test has seen: the folder LA_SCREENSHOTS.
inline void keep_screenshot(Browser& browser, const std::string& name) {
  if (const char* folder = std::getenv("LA_SCREENSHOTS"); folder != nullptr)
    browser.screenshot(formatted("{}/{}.png", folder, name));
}

inline void check_no_complaints(Browser& browser) {
  for (const std::string& complaint : browser.complaints()) FAIL_CHECK(complaint);
}

/// Text against what is behind it (WCAG 2): the least contrast of all elements with text of their own.
inline constexpr const char* least_contrast = R"((() => {
  const channels = text => text.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) { const c = channels(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
    return [255, 255, 255]; };
  let least = 21;
  for (const e of document.querySelectorAll('h1, h2, h3, p, pre, a, button, summary, figcaption, li, th, label')) {
    const a = luminance(channels(getComputedStyle(e).color)), b = luminance(ground(e));
    least = Math.min(least, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
  }
  return least;
})())";

/// What every page must be: silent, no wider than the window, with names for all that can be operated.
inline void check_page(Browser& browser, const Browser::View& view) {
  check_no_complaints(browser);
  CHECK(browser.evaluate("document.documentElement.scrollWidth") <= view.width);
  CHECK(browser.evaluate(least_contrast) >= 4.5);
  CHECK(browser.evaluate(
            "[...document.querySelectorAll('button, canvas[tabindex], input, svg[role]')].filter(e => "
            "!(e.getAttribute('aria-label') || e.textContent.trim())).length") == 0);
  CHECK(browser.evaluate(
            "[...document.querySelectorAll('select')].filter(e => e.labels.length === 0).length") == 0);
}

}  // namespace la
