// What la_eval has measured, as a table on the terminal and as a file for other programs.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "evaluation/density.h"
#include "evaluation/readout.h"
#include "la/model.h"
#include "tensor/collectives.h"

namespace la {

/// A JSON object: "data" and "path" of the pictures, and "evaluations", one for each checkpoint, selection of
/// pictures and size of view, each with its "knn" and "readout". What is measured again takes the place of
/// the old; all else stays. The file is written after each addition.
class EvalResults {
 public:
  /// path: the file; empty: eval-<data>.json beside the checkpoint. An Error if it exists and is no such file
  /// of these pictures, unless it may be overwritten. Of several processes the first alone prints and writes.
  EvalResults(const Model& model, const DataSource& data, const std::string& folder, std::string path,
              bool overwrite, const Collectives& ranks);
  ~EvalResults();

  const std::string& path() const { return path_; }
  void add_knn(const std::string& vectors, int64_t k, float temperature, double top1);
  /// by_category: empty where there are no test pictures.
  void add_density(int64_t local, int64_t background, const Densities& densities,
                   const std::vector<CategoryDensity>& by_category);
  void add_readout(const std::string& labels, const ReadoutOptions& options,
                   const std::vector<StageReadout>& stages);

 private:
  nlohmann::ordered_json& mine();
  void write() const;

  bool tells_;
  std::string path_;
  std::unique_ptr<nlohmann::ordered_json> all_;  // the file
  size_t number_ = 0;                            // of this evaluation in it
  std::string knn_shown_;                        // which vectors the table under way is of
};

}  // namespace la
