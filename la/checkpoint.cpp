#include "la/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "tensor/format.h"
#include "tensor/io/files.h"

namespace la {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "checkpoint-", model_prefix = "model-", suffix = ".safetensors";

struct Found {
  int epoch;
  int64_t step;
  std::string path;
};

std::string file_name(std::string_view kind, int epoch, int64_t step) {
  return formatted("{}{:05}-{:09}{}", kind, epoch, step, suffix);
}

/// Epoch and step of a file name; nothing if save_checkpoint would not have made this name.
std::optional<Found> parse(const fs::path& path) {
  const std::string name = path.filename();
  if (!name.starts_with(prefix)) return {};
  Found found{0, 0, path};
  const char* const end = name.data() + name.size();
  const auto epoch = std::from_chars(name.data() + prefix.size(), end, found.epoch);
  if (epoch.ec != std::errc() || epoch.ptr == end) return {};
  const auto step = std::from_chars(epoch.ptr + 1, end, found.step);
  if (step.ec != std::errc() || name != file_name(prefix, found.epoch, found.step)) return {};
  return found;
}

/// The checkpoints of a folder, newest first, whether intact or not.
std::vector<Found> checkpoints(const std::string& folder) {
  std::vector<Found> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (const auto checkpoint = parse(it->path())) found.push_back(*checkpoint);
  check(!error, "cannot list the folder '{}': {}", folder, error.message());
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    return std::tie(a.epoch, a.step) > std::tie(b.epoch, b.step);
  });
  return found;
}

void remove_file(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  check(!error, "cannot remove '{}': {}", path.string(), error.message());
}

void remove_stale_temporaries(const std::string& folder) {
  const std::string ending = std::string(suffix) + std::string(AtomicFile::temporary_suffix);
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    const bool ours = name.starts_with(prefix) || name.starts_with(model_prefix);
    if (ours && name.ends_with(ending)) stale.push_back(entry.path());
  }
  for (const fs::path& path : stale) remove_file(path);
}

void write_finite(const std::string& path, const std::vector<NamedTensor>& tensors,
                  const std::vector<TensorPieces>& pieces, const Metadata& metadata, Collectives& ranks) {
  std::string problem;
  try {
    check_finite(path, tensors);
    for (const TensorPieces& t : pieces)
      for (const auto& [first, values] : t.pieces) check_finite(path, {{t.name, values}});
  } catch (const Error& error) {
    problem = formatted(
        "{}: the training has diverged, and this is not saved; a lower `learning_rate` may help, and the "
        "checkpoint before can be resumed",
        error.what());
  }
  ranks.agree("whether embeddings are finite", problem);
  write_safetensors(path, tensors, pieces, metadata, ranks);
}

}  // namespace

void check_finite(const std::string& path, const std::vector<NamedTensor>& tensors) {
  for (const NamedTensor& t : tensors) {
    check(!t.tensor.defined() || is_finite(t.tensor), "{}: '{}' has values that are not finite", path,
          t.name);
  }
}

std::string save_checkpoint(const std::string& folder, int epoch, int64_t step,
                            const std::vector<NamedTensor>& tensors, const Metadata& metadata) {
  return save_checkpoint(folder, epoch, step, tensors, {}, metadata, alone());
}

std::string save_checkpoint(const std::string& folder, int epoch, int64_t step,
                            const std::vector<NamedTensor>& tensors, const std::vector<TensorPieces>& pieces,
                            const Metadata& metadata, Collectives& ranks) {
  const std::string path = fs::path(folder) / file_name(prefix, epoch, step);
  write_finite(path, tensors, pieces, metadata, ranks);
  if (ranks.rank() != 0) return path;

  // A later one can only be one that newest_checkpoint has passed over as damaged.
  bool kept_one_before = false;
  for (const Found& other : checkpoints(folder)) {
    if (other.path == path) continue;
    const bool before = std::tie(other.epoch, other.step) < std::tie(epoch, step);
    if (before && !kept_one_before)
      kept_one_before = true;
    else
      remove_file(other.path);
  }
  remove_stale_temporaries(folder);
  return path;
}

std::string save_model(const std::string& folder, int epoch, int64_t step,
                       const std::vector<NamedTensor>& tensors, const Metadata& metadata) {
  const std::string path = fs::path(folder) / file_name(model_prefix, epoch, step);
  write_finite(path, tensors, {}, metadata, alone());
  return path;
}

std::optional<Checkpoint> newest_checkpoint(const std::string& folder,
                                            const std::function<void(const std::string&)>& warn,
                                            const KeepTensor& keep) {
  const std::vector<Found> found = checkpoints(folder);
  for (const Found& candidate : found) {
    try {
      SafetensorsFile file = read_safetensors(candidate.path, Checksum::required, keep);
      check_finite(candidate.path, file.tensors);
      return Checkpoint{candidate.epoch, candidate.step, std::move(file)};
    } catch (const Error& error) {
      warn(formatted("passing over a damaged checkpoint: {}", error.what()));
    }
  }
  check(found.empty(), "none of the {} checkpoints in '{}' is intact", found.size(), folder);
  return {};
}

std::optional<Checkpoint> newest_checkpoint(const std::string& folder,
                                            const std::function<void(const std::string&)>& warn,
                                            const KeepTensor& keep, Collectives& ranks) {
  if (ranks.alone()) return newest_checkpoint(folder, warn, keep);
  std::optional<Checkpoint> newest;
  std::string problem;
  try {
    if (ranks.rank() == 0) newest = newest_checkpoint(folder, warn, keep);
  } catch (const Error& error) {
    problem = error.what();
  }
  ranks.agree("problems with checkpoints", problem);
  const std::string path = ranks.broadcast("the newest checkpoint", newest ? newest->file.path : "", 0);
  if (path.empty()) return {};
  try {
    const std::optional<Found> found = parse(path);
    check(found.has_value(), "'{}' is no name of a checkpoint", path);
    if (!newest)
      newest = Checkpoint{found->epoch, found->step, read_safetensors(path, Checksum::unread, keep)};
  } catch (const Error& error) {
    problem = error.what();
  }
  ranks.agree("problems with the checkpoint", problem);
  return newest;
}

}  // namespace la
