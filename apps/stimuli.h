// Stimuli: which pictures of a folder are shown, in which order, as a list of names says it or a stimulus set of
// Brain-Score.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "tensor/io/csv.h"

namespace la {

/// A table in CSV with a row for each stimulus: its identifier, the name of its file, and whatever else is known of it.
struct StimulusSet {
  CsvTable table;
  int64_t id = 0, file = 0;  // the columns

  int64_t size() const { return static_cast<int64_t>(table.rows.size()); }
};

/// The columns are stimulus_id and filename, or what old sets call them. An Error for identifiers that are not there or
/// not unique.
StimulusSet read_stimulus_set(const std::string& path);

/// The pictures of a data set, read from `folder`, that a stimulus set names, as they lie in the folder, in its order;
/// one file may be several stimuli. `all` must outlive the result. An Error for a file that is not there.
std::unique_ptr<Dataset> shown_pictures(const Dataset& all, const std::string& folder,
                                        const StimulusSet& stimuli);
/// The same of a file with a name in each line, which may name a picture twice.
std::unique_ptr<Dataset> listed_pictures(const Dataset& all, const std::string& folder,
                                         const std::string& list);

}  // namespace la
