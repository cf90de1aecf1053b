#include "apps/page/assets.h"

#include <string>

// The Makefile gives LA_D3, the file of the library, and LA_D3_LICENSE.
#define LA_EMBED(name, file)                                                                   \
  asm(".section .rodata\n" #name "_begin: .incbin \"" file "\"\n" #name "_end:\n.previous\n"); \
  extern const char name##_begin[] asm(#name "_begin"), name##_end[] asm(#name "_end");

LA_EMBED(la_page_template, "apps/page/report.html")
LA_EMBED(la_page_style, "apps/page/report.css")
LA_EMBED(la_page_report, "apps/page/report.js")
LA_EMBED(la_page_charts, "apps/page/charts.js")
LA_EMBED(la_page_pictures, "apps/page/pictures.js")
LA_EMBED(la_page_map, "apps/page/map.js")
LA_EMBED(la_page_refresh, "apps/page/refresh.js")
LA_EMBED(la_page_library, LA_D3)
LA_EMBED(la_page_library_license, LA_D3_LICENSE)

namespace la {
namespace {

std::string_view text(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

}  // namespace
#define LA_TEXT(name) text(name##_begin, name##_end)

std::string_view page_template() { return LA_TEXT(la_page_template); }
std::string_view page_style() { return LA_TEXT(la_page_style); }
std::string_view page_library() { return LA_TEXT(la_page_library); }
std::string_view page_library_license() { return LA_TEXT(la_page_library_license); }

std::string page_script() {
  std::string script;
  for (const std::string_view part :
       {LA_TEXT(la_page_report), LA_TEXT(la_page_charts), LA_TEXT(la_page_pictures), LA_TEXT(la_page_map),
        LA_TEXT(la_page_refresh)})
    script += part;
  return script + "show();\n";
}

}  // namespace la
