#include "apps/stimuli.h"

#include <filesystem>
#include <initializer_list>
#include <map>
#include <sstream>

#include "data/subset.h"
#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tensor/text.h"

namespace la {
namespace {

/// The first of these columns that the table has.
int64_t column_of(const CsvTable& table, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const int64_t column = table.find(name); column >= 0) return column;
  std::string there;
  for (const std::string& column : table.columns) there += (there.empty() ? "" : ", ") + printable(column);
  fail("{}: has no column {}, but {}", table.path, *names.begin(), there);
}

/// Pictures by their names, and by those that they have in their folder.
class PictureNumbers {
 public:
  PictureNumbers(const Dataset& all, const std::string& folder) : folder_(folder) {
    for (int64_t i = 0; i < all.size(); ++i) {
      numbers_[all.name(i)] = i;
      numbers_[std::filesystem::path(all.name(i)).lexically_relative(folder)] = i;
    }
  }

  /// An Error that names the line of the file that asks for it.
  int64_t find(const std::string& name, const std::string& file, int64_t line) const {
    const auto found = numbers_.find(name);
    check(found != numbers_.end(), "{}: line {}: there is no picture {} in {}", file, line, printable(name),
          folder_);
    return found->second;
  }

 private:
  std::string folder_;
  std::map<std::string, int64_t> numbers_;
};

}  // namespace

StimulusSet read_stimulus_set(const std::string& path) {
  StimulusSet stimuli{.table = read_csv(path)};
  const CsvTable& table = stimuli.table;
  stimuli.id = column_of(table, {"stimulus_id", "image_id"});
  stimuli.file = column_of(table, {"filename", "image_file_name"});
  check(stimuli.size() > 0, "{}: names no picture", path);
  std::map<std::string, int64_t> lines;  // of identifiers
  const std::vector<std::string> ids = table.texts(stimuli.id);
  for (size_t i = 0; i < ids.size(); ++i) {
    check(!ids[i].empty(), "{}: line {}: has no stimulus_id", path, table.lines[i]);
    const auto [first, is_new] = lines.emplace(ids[i], table.lines[i]);
    check(is_new, "{}: line {}: the stimulus_id {} stands in line {} already, expected unique ones", path,
          table.lines[i], printable(ids[i]), first->second);
  }
  return stimuli;
}

std::unique_ptr<Dataset> shown_pictures(const Dataset& all, const std::string& folder,
                                        const StimulusSet& stimuli) {
  const PictureNumbers numbers(all, folder);
  const std::vector<std::string> files = stimuli.table.texts(stimuli.file);
  std::vector<int64_t> rows;
  for (size_t i = 0; i < files.size(); ++i)
    rows.push_back(numbers.find(files[i], stimuli.table.path, stimuli.table.lines[i]));
  return std::make_unique<Subset>(all, std::move(rows));
}

std::unique_ptr<Dataset> listed_pictures(const Dataset& all, const std::string& folder,
                                         const std::string& list) {
  const PictureNumbers numbers(all, folder);
  std::vector<int64_t> rows;
  std::istringstream lines(read_file(list));
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) rows.push_back(numbers.find(line, list, number));
  }
  check(!rows.empty(), "{}: names no picture", list);
  return std::make_unique<Subset>(all, std::move(rows));
}

}  // namespace la
