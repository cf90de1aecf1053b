#include "apps/cluster_files.h"

#include <fcntl.h>

#include <algorithm>
#include <filesystem>

#include "apps/contact_sheet.h"
#include "tensor/format.h"
#include "tensor/io/csv.h"
#include "tensor/io/files.h"
#include "tensor/text.h"

namespace la {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view cluster_prefix = "cluster-";

std::string numbered(int64_t number, int64_t largest, size_t least_digits) {
  return formatted("{:0{}}", number, std::max(least_digits, formatted("{}", largest).size()));
}

bool is_numbered(std::string_view name, std::string_view ending) {
  if (!name.starts_with(cluster_prefix) || !name.ends_with(ending)) return false;
  name.remove_prefix(cluster_prefix.size());
  name.remove_suffix(ending.size());
  return !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos;
}

/// "0012-" and the name; of one that is longer than file systems take, its end.
std::string ranked_name(const std::string& rank, std::string name) {
  constexpr size_t most = 255;  // bytes
  const size_t room = most - rank.size() - 1;
  size_t cut = name.size() > room ? name.size() - room : 0;
  const auto goes_on = [&](size_t i) { return (static_cast<unsigned char>(name[i]) & 0xc0) == 0x80; };
  while (cut > 0 && cut < name.size() && goes_on(cut)) ++cut;  // a letter of several bytes stays whole
  return rank + "-" + name.substr(cut);
}

/// Puts a picture's file at a place.
void place_file(const std::string& file, const std::string& place, FolderContent content) {
  std::error_code error;
  const fs::path target = fs::canonical(file, error);
  if (!error && content == FolderContent::links) fs::create_symlink(target, place, error);
  if (!error && content == FolderContent::copies) fs::copy_file(target, place, error);
  check(!error, "cannot make '{}' of '{}': {}", place, file, error.message());
}

void write_file(const std::string& path, const std::string& bytes) {
  OpenFile file(path, O_WRONLY | O_CREAT | O_EXCL);
  write_at(file, path, 0, bytes.data(), bytes.size());
}

}  // namespace

std::string PictureClusters::cluster_name(int64_t cluster) const {
  return std::string(cluster_prefix) + numbered(cluster, size() - 1, 2);
}

bool is_cluster_file(const std::string& name) {
  return name == table_file || name == centroids_file || is_numbered(name, ".png");
}

bool is_cluster_folder(const std::string& name) { return is_numbered(name, ""); }

void write_cluster_table(const std::string& path, const PictureClusters& pictures) {
  AtomicFile file(path);
  file.write("file,cluster,distance,rank\n");
  const ClusterMembers& clusters = pictures.clusters;
  for (size_t i = 0; i < pictures.pictures.size(); ++i)
    file.write(formatted("{},{},{:.6f},{}\n", csv_field(pictures.data.name(pictures.pictures[i])),
                         clusters.labels[i], clusters.distances[i], clusters.ranks[i]));
  file.commit();
}

void write_cluster_sheets(const StagedFolder& folder, const PictureClusters& pictures, int64_t shown,
                          const ProgressCallback& progress) {
  for (int64_t c = 0; c < pictures.size(); ++c) {
    ContactSheet sheet;
    for (const int32_t member : pictures.clusters.members[static_cast<size_t>(c)]) {
      if (sheet.size() == shown) break;
      const int64_t picture = pictures.picture(member);
      const std::string name = fs::path(pictures.data.name(picture)).filename();
      const auto i = static_cast<size_t>(member);
      sheet.add({pictures.data.picture(picture),
                 formatted("{}: {:.3f}", pictures.clusters.ranks[i], pictures.clusters.distances[i]), name});
    }
    if (sheet.size() > 0) sheet.write(folder.path(pictures.cluster_name(c) + ".png"));
    progress("contact sheets", c + 1, pictures.size());
  }
}

void write_cluster_folders(const StagedFolder& folder, const PictureClusters& pictures, FolderContent content,
                           const ProgressCallback& progress) {
  const bool has_files = !pictures.data.listing().empty();
  const std::vector<std::vector<int32_t>>& all = pictures.clusters.members;
  int64_t done = 0;
  for (int64_t c = 0; c < pictures.size(); ++c) {
    const std::vector<int32_t>& members = all[static_cast<size_t>(c)];
    if (members.empty()) continue;
    const std::string place = folder.path(pictures.cluster_name(c));
    make_folders(place);
    for (size_t i = 0; i < members.size(); ++i) {
      const int64_t picture = pictures.picture(members[i]);
      const std::string file = pictures.data.name(picture), name = fs::path(file).filename();
      const std::string rank = numbered(static_cast<int64_t>(i) + 1, std::ssize(members), 4);
      if (has_files)
        place_file(file, place + "/" + ranked_name(rank, name), content);
      else
        write_file(place + "/" + ranked_name(rank, name + ".png"), png_of(pictures.data.picture(picture)));
      progress("files in folders", ++done, std::ssize(pictures.pictures));
    }
  }
}

}  // namespace la
