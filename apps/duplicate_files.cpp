#include "apps/duplicate_files.h"

#include <algorithm>
#include <filesystem>
#include <tuple>

#include "apps/page/assets.h"
#include "apps/page/html.h"
#include "apps/page/thumbnails.h"
#include "data/codecs/codec.h"
#include "data/subset.h"
#include "tensor/format.h"
#include "tensor/io/csv.h"
#include "tensor/io/files.h"
#include "tensor/parallel.h"
#include "tensor/text.h"

namespace la {
namespace {

namespace fs = std::filesystem;

const char* yes_or_no(bool yes) { return yes ? "yes" : "no"; }

DuplicateFile describe(const Dataset& data, int64_t picture) {
  DuplicateFile file{.picture = picture};
  std::error_code none;
  const auto bytes = fs::file_size(data.name(picture), none);
  if (!none) {
    file.bytes = static_cast<int64_t>(bytes);
    file.exif = holds_exif(data.name(picture));
    file.link = fs::is_symlink(data.name(picture), none);
  }
  const Picture shown = data.picture(picture);
  file.height = shown.height;
  file.width = shown.width;
  return file;
}

/// Lower is better.
auto rank_to_keep(const DuplicateFile& file) {
  return std::tuple(file.link, !file.exif, -file.bytes, -int64_t{file.height} * file.width, file.picture);
}

float least_alike(const DuplicateGroup& group) {
  float least = 1;
  for (const DuplicateFile& file : group)
    if (!file.kept) least = std::min(least, file.likeness);
  return least;
}

std::string size_of(const DuplicateFile& file) {
  const std::string pixels = formatted("{} x {}", file.width, file.height);
  if (file.bytes == 0) return pixels;
  return formatted("{}, {:.0f} kB{}", pixels, std::max(1.0, static_cast<double>(file.bytes) / 1e3),
                   file.exif ? ", EXIF" : "");
}

/// What the page has of one picture, which is number `place` of the thumbnails.
std::string figure_of(const Dataset& data, const DuplicateFile& file, int64_t place,
                      const Thumbnails& thumbnails) {
  const int64_t on_sheet = place % thumbnails.per_sheet, sheet = place / thumbnails.per_sheet;
  const std::string name = escaped_html(printable(data.name(file.picture)));
  return formatted(
      "<figure class=\"{}\"><span class=\"sheet{}\" role=\"img\" aria-label=\"{}\" "
      "style=\"background-position: "
      "-{}px -{}px\"></span><figcaption>{}{:.4f}: {}<br>{}</figcaption></figure>\n",
      file.kept ? "kept" : "copy", sheet, name, on_sheet % thumbnails.columns * thumbnails.cell,
      on_sheet / thumbnails.columns * thumbnails.cell, file.kept ? "<b>kept</b>, " : "", file.likeness, name,
      size_of(file));
}

std::string style_of(const Thumbnails& thumbnails) {
  std::string style = formatted(
      ".group {{ display: flex; flex-wrap: wrap; gap: .5rem; border-bottom: 1px solid var(--line); padding: "
      ".5rem 0; }}\n"
      ".group figure {{ width: 13rem; overflow-wrap: anywhere; font-size: 13px; }}\n"
      ".group figure.kept {{ outline: 2px solid var(--accent); }}\n"
      ".group span {{ display: block; width: {0}px; height: {0}px; background-repeat: no-repeat; }}\n",
      thumbnails.cell);
  for (size_t sheet = 0; sheet < thumbnails.sheets.size(); ++sheet)
    style += formatted(".sheet{} {{ background-image: url(data:image/jpeg;base64,{}); }}\n", sheet,
                       base64(thumbnails.sheets[sheet]));
  return style;
}

}  // namespace

bool holds_exif(const std::string& file) {
  std::string bytes;
  try {
    bytes = read_file(file);
  } catch (const Error&) {
    return false;
  }
  using namespace std::literals;
  // In JPEG and HEIC, PNG, and WebP, before the data.
  if (bytes.find("Exif\0\0"sv) != std::string::npos) return true;
  if (bytes.starts_with("\x89PNG")) return bytes.find("eXIf") != std::string::npos;
  return bytes.starts_with("RIFF") && bytes.find("EXIF") != std::string::npos;
}

std::vector<DuplicateGroup> describe_groups(const Dataset& data, const ComparedPictures& pictures,
                                            const std::vector<std::vector<int32_t>>& groups, float least,
                                            const ProgressCallback& progress) {
  std::vector<DuplicateGroup> result(groups.size());
  const auto n = std::ssize(groups);
  constexpr int64_t block = 256;
  for (int64_t first = 0; first < n; first += block) {
    const int64_t last = std::min(first + block, n);
    parallel_for(last - first, 1, [&](int64_t begin, int64_t end) {
      for (auto g = static_cast<size_t>(first + begin); g < static_cast<size_t>(first + end); ++g) {
        std::vector<std::pair<DuplicateFile, int32_t>> files;
        for (const int32_t i : groups[g])
          files.emplace_back(describe(data, pictures.numbers[static_cast<size_t>(i)]), i);
        std::sort(files.begin(), files.end(),
                  [](const auto& a, const auto& b) { return rank_to_keep(a.first) < rank_to_keep(b.first); });
        const auto thumbnail = [&](int32_t i) { return pictures.thumbnails[static_cast<size_t>(i)]; };
        for (auto& [file, i] : files) {
          if (!result[g].empty())
            file.likeness = likeness(thumbnail(files.front().second), thumbnail(i)).fine;
          file.kept = result[g].empty() || file.likeness < least;
          result[g].push_back(file);
        }
      }
    });
    if (progress) progress("groups looked at", last, n);
  }
  return result;
}

void write_duplicate_table(const std::string& path, const Dataset& data,
                           const std::vector<DuplicateGroup>& groups) {
  AtomicFile table(path);
  table.write("group,file,keep,likeness,bytes,width,height,exif\n");
  for (size_t g = 0; g < groups.size(); ++g)
    for (const DuplicateFile& file : groups[g])
      table.write(formatted("{},{},{},{:.4f},{},{},{},{}\n", g, csv_field(data.name(file.picture)),
                            yes_or_no(file.kept), file.likeness, file.bytes, file.width, file.height,
                            yes_or_no(file.exif)));
  table.commit();
}

std::string duplicates_html(const Dataset& data, const std::vector<DuplicateGroup>& groups,
                            const std::vector<std::string>& about, const ProgressCallback& progress) {
  constexpr int64_t most_thumbnail_bytes = 7'000'000, most_pictures = 20'000;
  std::vector<size_t> order(groups.size());
  for (size_t g = 0; g < order.size(); ++g) order[g] = g;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return least_alike(groups[a]) < least_alike(groups[b]); });
  std::vector<int64_t> shown;
  size_t shown_groups = 0;
  for (; shown_groups < order.size() && std::ssize(shown) < most_pictures; ++shown_groups)
    for (const DuplicateFile& file : groups[order[shown_groups]]) shown.push_back(file.picture);
  const Subset pictures(data, shown);
  const Thumbnails thumbnails = make_thumbnails(pictures, most_thumbnail_bytes, progress);
  std::string body;
  for (const std::string& paragraph : about) body += formatted("<p>{}</p>\n", escaped_html(paragraph));
  int64_t place = 0;
  for (size_t i = 0; i < shown_groups; ++i) {
    const DuplicateGroup& group = groups[order[i]];
    body += formatted("<h3>Group {}</h3>\n<div class=\"group\">\n", order[i]);
    for (const DuplicateFile& file : group) body += figure_of(data, file, place++, thumbnails);
    body += "</div>\n";
  }
  if (shown_groups < order.size())
    body +=
        formatted("<p>{} more in {}.</p>\n",
                  counted(std::ssize(order) - static_cast<int64_t>(shown_groups), "group"), duplicates_table);
  return formatted(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, "
      "initial-scale=1\"><title>Near-duplicates</title>\n<style>\n{}{}</style></head>\n"
      "<body data-ready=\"yes\"><main><h1>Near-duplicates</h1>\n{}</main></body></html>\n",
      page_style(), style_of(thumbnails), body);
}

int64_t delete_duplicates(const Dataset& data, const std::vector<DuplicateGroup>& groups) {
  int64_t deleted = 0;
  for (const DuplicateGroup& group : groups)
    for (const DuplicateFile& copy : group) {
      if (copy.kept) continue;
      const std::string file = data.name(copy.picture);
      std::error_code error;
      check(fs::remove(file, error), "{}: cannot be deleted: {}; {} before it are", file,
            error ? error.message() : "it is not there", counted(deleted, "file"));
      ++deleted;
    }
  return deleted;
}

}  // namespace la
