#include "apps/run/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include <nlohmann/json.hpp>

#include "tensor/error.h"

namespace la {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// True if the folder was made by this very call, false if something of that name existed.
bool make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) == 0) return true;
  check(errno == EEXIST, "cannot make the run folder '{}': {}", path, std::strerror(errno));
  return false;
}

/// Letters, digits, '.', '_' and '-' of a text; the rest becomes '-'.
std::string plain(std::string text) {
  for (char& c : text)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_') c = '-';
  return text;
}

/// Epoch and step of a line of metrics.jsonl; the largest numbers if it has none.
std::pair<int64_t, int64_t> place_of(const ordered_json& line) {
  const auto number = [&](const char* key) {
    if (!line.is_object()) return INT64_MAX;
    const auto found = line.find(key);
    return found != line.end() && found->is_number_integer() ? found->get<int64_t>() : INT64_MAX;
  };
  return {number("epoch"), number("step")};
}

/// Calls f(line, object) for each line of metrics.jsonl, with its end; the object is discarded if the line is
/// no whole one.
template <class F>
void for_each_line(const std::string& path, F f) {
  if (!fs::exists(path)) return;
  const std::string text = read_file(path);
  for (size_t begin = 0; begin < text.size();) {
    const size_t newline = text.find('\n', begin);
    const size_t end = newline == text.npos ? text.size() : newline + 1;
    const std::string line = text.substr(begin, end - begin);
    f(line, newline == text.npos ? ordered_json(ordered_json::value_t::discarded)
                                 : ordered_json::parse(line, nullptr, false));
    begin = end;
  }
}

}  // namespace

std::string run_name(const std::string& data, const std::string& network) {
  fs::path path = fs::path(data).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return formatted("{}-{}", plain(path.filename()), plain(network));
}

RunFolder::RunFolder(std::string path) : path_(std::move(path)), lock_(path_ + "/lock", O_RDWR | O_CREAT) {
  if (::flock(lock_.descriptor(), LOCK_EX | LOCK_NB) == 0) return;
  check(errno != EWOULDBLOCK, "another program is training in the run folder '{}'", path_);
  fail("cannot lock the run folder '{}': {}", path_, std::strerror(errno));
}

void RunFolder::check_absent(const std::string& path) {
  std::error_code ignored;
  check(path.empty() || !fs::exists(path, ignored) || has_no_run(path),
        "the run folder '{}' exists already: choose another --run, or continue it with --resume", path);
}

bool RunFolder::has_no_run(const std::string& path) {
  std::error_code error;
  for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename();
    if (name != "lock" && !name.starts_with("pictures-") && !name.ends_with(AtomicFile::temporary_suffix))
      return false;
  }
  return !error;
}

bool RunFolder::in_use(const std::string& path) {
  const std::string lock = path + "/lock";
  if (!file_exists(lock)) return false;
  const OpenFile file(lock, O_RDONLY);
  if (::flock(file.descriptor(), LOCK_SH | LOCK_NB) == 0) return false;  // and free again when it is closed
  check(errno == EWOULDBLOCK, "cannot see whether '{}' is locked: {}", lock, std::strerror(errno));
  return true;
}

RunFolder RunFolder::create(const std::string& path, const std::string& name) {
  if (!path.empty()) {
    const fs::path normal = fs::path(path).lexically_normal();
    make_folders(normal.has_filename() ? normal.parent_path() : normal.parent_path().parent_path());
    check_absent(path);
    make_folder(path);  // if it is there, it is locked before anything is written to it
    RunFolder folder(path);
    check_absent(path);  // somebody else may have begun there meanwhile
    return folder;
  }
  make_folders("runs");
  for (int number = 1;; ++number)
    if (const std::string free = formatted("runs/{}-{}", name, number); make_folder(free))
      return RunFolder(free);
}

RunFolder RunFolder::open(const std::string& path) {
  check(fs::is_directory(path), "there is no run folder '{}'", path);
  return RunFolder(path);
}

void RunFolder::write_config(std::string_view toml) const { write_text_file(config_path(), toml); }

void RunFolder::log(std::string_view line) const { append_line(log_path(), std::string(line)); }

void RunFolder::append_metrics(const Metrics& fields) const {
  ordered_json object;
  for (const auto& [name, value] : fields)
    std::visit([&, &key = name](const auto& v) { object[key] = v; }, value);
  append_line(metrics_path(), object.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

bool RunFolder::has_metric(std::string_view key, int epoch, int64_t step) const {
  bool found = false;
  for_each_line(metrics_path(), [&](const std::string&, const ordered_json& object) {
    found = found || (place_of(object) == std::pair(int64_t{epoch}, step) && object.contains(key));
  });
  return found;
}

int64_t RunFolder::truncate_metrics(int epoch, int64_t step) const {
  std::string kept;
  int64_t dropped = 0, damaged = 0;
  for_each_line(metrics_path(), [&](const std::string& line, const ordered_json& object) {
    const auto place = place_of(object);
    if (place <= std::pair(int64_t{epoch}, step)) {
      kept += line;
      return;
    }
    ++dropped;
    damaged += place.second == INT64_MAX && line.ends_with('\n') ? 1 : 0;
  });
  if (dropped > 0) write_text_file(metrics_path(), kept);
  return damaged;
}

}  // namespace la
