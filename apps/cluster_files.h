// What la_cluster writes: a table of the clusters, a contact sheet of each, and folders of their pictures.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "evaluation/cluster_members.h"
#include "tensor/io/staged_folder.h"
#include "tensor/progress_callback.h"

namespace la {

/// Pictures of a data set in clusters.
struct PictureClusters {
  const Dataset& data;
  std::vector<int64_t> pictures;  // the number in the data set of each vector
  ClusterMembers clusters;

  int64_t size() const { return static_cast<int64_t>(clusters.members.size()); }
  /// The picture of a member.
  int64_t picture(int32_t member) const { return pictures[static_cast<size_t>(member)]; }
  /// "cluster-07", with as many digits as the largest number needs, at least two.
  std::string cluster_name(int64_t cluster) const;
};

inline constexpr const char *table_file = "clusters.csv", *centroids_file = "centroids.npy";

/// Whether a file or folder has a name that la_cluster gives.
bool is_cluster_file(const std::string& name);
bool is_cluster_folder(const std::string& name);

/// clusters.csv: a line for each picture: file, cluster, distance, rank.
void write_cluster_table(const std::string& path, const PictureClusters& pictures);

/// cluster-07.png and so on: of each cluster the most typical pictures.
void write_cluster_sheets(const StagedFolder& folder, const PictureClusters& pictures, int64_t shown,
                          const ProgressCallback& progress);

enum class FolderContent { links, copies };
/// cluster-07/ and so on: of each picture a link to its file, or a copy, or a PNG file where it has none.
/// Their names are the rank and the picture's name.
void write_cluster_folders(const StagedFolder& folder, const PictureClusters& pictures, FolderContent content,
                           const ProgressCallback& progress);

}  // namespace la
