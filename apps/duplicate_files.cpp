#include "apps/duplicate_files.h"

#include <algorithm>
#include <filesystem>
#include <tuple>

#include "apps/page/assets.h"
#include "apps/page/html.h"
#include "apps/page/thumbnails.h"
#include "apps/result_folder.h"
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

/// A BadPicture if it cannot be read.
DuplicateFile describe(const Dataset& data, int64_t picture) {
  const Picture shown = data.picture(picture);
  DuplicateFile file{.picture = picture, .height = shown.height, .width = shown.width};
  const std::string path = data.file(picture);
  std::error_code none;
  const auto bytes = fs::file_size(path, none);
  if (none) return file;
  file.bytes = static_cast<int64_t>(bytes);
  file.exif = holds_exif(path);
  file.link = fs::is_symlink(path, none);
  return file;
}

int64_t pixels_of(const DuplicateFile& file) { return int64_t{file.height} * file.width; }

/// Lower is better.
auto rank_to_keep(const DuplicateFile& file, int64_t most_pixels) {
  const bool is_original = file.exif && 2 * pixels_of(file) >= most_pixels;
  return std::tuple(file.link, !is_original, -file.bytes, -pixels_of(file), file.picture);
}

/// The group of some of the compared pictures.
DuplicateGroup group_of(const Dataset& data, const ComparedPictures& pictures,
                        const std::vector<int32_t>& members, const Likeness& least) {
  struct Member {
    DuplicateFile file;
    const GrayThumbnail* thumbnail;
  };
  std::vector<Member> found;
  int64_t most_pixels = 0;
  for (const int32_t i : members) try {
      const auto place = static_cast<size_t>(i);
      found.push_back({describe(data, pictures.numbers[place]), &pictures.thumbnails[place]});
      most_pixels = std::max(most_pixels, pixels_of(found.back().file));
    } catch (const BadPicture&) {  // which the data set remembers
    }
  std::sort(found.begin(), found.end(), [&](const Member& a, const Member& b) {
    return rank_to_keep(a.file, most_pixels) < rank_to_keep(b.file, most_pixels);
  });
  DuplicateGroup group;
  for (Member& member : found) {
    if (!group.empty()) {
      member.file.likeness = likeness(*found.front().thumbnail, *member.thumbnail, least.coarse).fine;
      member.file.kept = member.file.likeness < least.fine;
    }
    group.push_back(member.file);
  }
  return group;
}

/// Where a path leads, but for its last part.
fs::path place_of(const std::string& path) {
  std::error_code ignored;
  return fs::weakly_canonical(fs::absolute(path, ignored).parent_path(), ignored) / fs::path(path).filename();
}

/// A file of its own with so many bytes.
bool is_as_described(const DuplicateFile& file, const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(fs::symlink_status(path, error)) &&
         static_cast<int64_t>(fs::file_size(path, error)) == file.bytes && !error;
}

/// Why a copy must stay where it is; empty if nothing is against moving it from there.
std::string reason_to_stay(const Dataset& data, const DuplicateGroup& group, const DuplicateFile& copy,
                           const std::string& from) {
  const std::string path = data.file(copy.picture), first = data.file(group.front().picture);
  if (path.empty()) return "it is not in a file of its own";
  if (!is_as_described(group.front(), first))
    return first + ", which was to be kept, is a link or has changed";
  if (!is_as_described(copy, path)) return "it is a link or has changed";
  const fs::path place = place_of(path);
  if (!place.string().starts_with(from)) return "it is not in " + from;
  for (const DuplicateFile& other : group)
    if (&other != &copy && other.kept && place == place_of(data.file(other.picture)))
      return "it is to be kept too";
  return "";
}

/// By copying, where file systems differ.
void move_file(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  check(!error && !fs::exists(to, error), "cannot move '{}' to '{}': {}", from.string(), to.string(),
        error ? error.message() : "there is such a file");
  fs::rename(from, to, error);
  if (error != std::errc::cross_device_link) {
    check(!error, "cannot move '{}' to '{}': {}", from.string(), to.string(), error.message());
    return;
  }
  error.clear();
  if (fs::copy_file(from, to, error) && !error) fs::remove(from, error);
  check(!error, "cannot move '{}' to '{}': {}", from.string(), to.string(), error.message());
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
  // The marks of JPEG and HEIC, of PNG and of WebP; they may be anywhere in the file.
  if (bytes.find("Exif\0\0"sv) != std::string::npos) return true;
  if (bytes.starts_with("\x89PNG")) return bytes.find("eXIf") != std::string::npos;
  return bytes.starts_with("RIFF") && bytes.find("EXIF") != std::string::npos;
}

std::vector<DuplicateGroup> describe_groups(const Dataset& data, const ComparedPictures& pictures,
                                            const std::vector<std::vector<int32_t>>& groups,
                                            const Likeness& least, const ProgressCallback& progress) {
  std::vector<DuplicateGroup> result(groups.size());
  const auto n = std::ssize(groups);
  constexpr int64_t block = 256;
  for (int64_t first = 0; first < n; first += block) {
    const int64_t last = std::min(first + block, n);
    parallel_for(last - first, 1, [&](int64_t begin, int64_t end) {
      for (auto g = static_cast<size_t>(first + begin); g < static_cast<size_t>(first + end); ++g)
        result[g] = group_of(data, pictures, groups[g], least);
    });
    if (progress) progress("groups looked at", last, n);
  }
  std::erase_if(result, [](const DuplicateGroup& group) { return group.size() < 2; });
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

MovedFiles move_copies(const Dataset& data, const std::vector<DuplicateGroup>& groups,
                       const std::string& pictures, const std::string& to, const ProgressCallback& progress) {
  const std::string from = full_path(pictures);
  MovedFiles moved;
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const DuplicateFile& copy : groups[g]) {
      if (copy.kept) continue;
      std::string reason = reason_to_stay(data, groups[g], copy, from);
      const fs::path place = place_of(data.file(copy.picture));
      if (reason.empty()) try {
          move_file(place, fs::path(to) / place.lexically_relative(from));
          ++moved.files;
          moved.bytes += copy.bytes;
        } catch (const Error& error) {
          reason = error.what();
        }
      if (!reason.empty())
        moved.left.push_back(formatted("{}: left where it is: {}", data.name(copy.picture), reason));
    }
    progress("groups moved", static_cast<int64_t>(g) + 1, std::ssize(groups));
  }
  return moved;
}

}  // namespace la
