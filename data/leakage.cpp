#include "data/leakage.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "data/formats.h"
#include "tensor/io/checksum.h"

namespace la {
namespace {

namespace fs = std::filesystem;

std::string file_of(const PictureList& list, int64_t i) {
  return list.root + "/" + std::string(list.path(i));
}

/// Bytes of a regular file, 0 if it is none or is gone.
int64_t size_of(const std::string& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(size);
}

/// Empty if it cannot be read.
std::string content_of(const std::string& path) try { return read_file(path); } catch (const Error&) {
  return "";
}

}  // namespace

void check_apart(const PictureList& train, const PictureList& test) {
  std::error_code ignored;
  const std::string a = fs::weakly_canonical(train.root, ignored).string() + "/",
                    b = fs::weakly_canonical(test.root, ignored).string() + "/";
  if (!a.starts_with(b) && !b.starts_with(a)) return;  // no folder of the one is within the other
  std::set<std::string> files;
  for (int64_t i = 0; i < train.size(); ++i) files.insert(a + std::string(train.path(i)));
  int64_t shared = 0;
  for (int64_t i = 0; i < test.size(); ++i) shared += files.contains(b + std::string(test.path(i))) ? 1 : 0;
  check(
      shared == 0,
      "{} of the {} test pictures in {} are training pictures too: they would be recognized, not classified",
      shared, test.size(), test.root);
}

SameContent find_same_content(const PictureList& train, const PictureList& test) {
  constexpr int64_t most_pictures = 1000, most_bytes = int64_t{1} << 26;
  std::map<int64_t, std::vector<int64_t>> of_size;  // test pictures
  SameContent result;
  result.looked_at = std::min(most_pictures, test.size());
  for (int64_t i = 0; i < result.looked_at; ++i) {
    const int64_t picture = i * test.size() / result.looked_at, size = size_of(file_of(test, picture));
    if (size > 0 && size <= most_bytes) of_size[size].push_back(picture);
  }

  std::map<int64_t, uint32_t> checksums;  // of test pictures, once they are asked for
  std::set<int64_t> found;
  for (int64_t i = 0; i < train.size(); ++i) {
    const std::string file = file_of(train, i);
    const auto candidates = of_size.find(size_of(file));
    if (candidates == of_size.end()) continue;
    const std::string content = content_of(file);
    const uint32_t sum = crc32_of(content.data(), content.size());
    for (const int64_t picture : candidates->second) {
      const std::string other = file_of(test, picture);
      if (!checksums.contains(picture)) {
        const std::string bytes = content_of(other);
        checksums[picture] = crc32_of(bytes.data(), bytes.size());
      }
      if (checksums[picture] != sum || found.contains(picture) || content_of(other) != content) continue;
      if (found.empty()) {
        result.test = other;
        result.train = file;
      }
      found.insert(picture);
    }
  }
  result.found = static_cast<int64_t>(found.size());
  return result;
}

}  // namespace la
