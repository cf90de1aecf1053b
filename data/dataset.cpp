#include "data/dataset.h"

#include <filesystem>

#include "data/formats.h"

namespace la {
namespace {

struct Format {
  const char* name;
  const char* telltale;  // a file that only a folder of this format has
  bool compressed;       // whether it may be there with .gz
  DataSource (*open)(const std::string& folder, int64_t limit);
};

constexpr Format formats[] = {
    {"idx", "train-images-idx3-ubyte", true, open_idx},
    {"cifar10", "data_batch_1.bin", false, open_cifar10},
    {"cifar100", "train.bin", false, open_cifar100},
    {"stl10", "unlabeled_X.bin", false, open_stl10},
};

const Format& find_format(const std::string& path, const std::string& name) {
  for (const Format& format : formats) {
    const std::string telltale = path + "/" + format.telltale;
    const bool there = file_exists(telltale) || (format.compressed && file_exists(telltale + ".gz"));
    if (name == format.name || (name == "auto" && there)) return format;
  }
  std::string known;
  for (const Format& format : formats)
    known += fmt::format("{}{} ({})", known.empty() ? "" : ", ", format.name, format.telltale);
  if (name == "auto") fail("{}: no data set was recognized there; each is known by a file: {}", path, known);
  fail("unknown data format \"{}\"; expected auto, or one of {}", name, known);
}

}  // namespace

PictureArray::PictureArray(Tensor pictures, std::vector<int> labels)
    : pictures_(std::move(pictures)), labels_(std::move(labels)) {
  check(pictures_.rank() == 4 && pictures_.dtype() == DType::u8,
        "pictures are {} {}, expected u8 [N, H, W, C]", pictures_.dtype(), pictures_.shape());
  check(labels_.empty() || static_cast<int64_t>(labels_.size()) == size(), "{} labels for {} pictures",
        labels_.size(), size());
}

Picture PictureArray::picture(int64_t i) const {
  check(i >= 0 && i < size(), "picture {} of a data set of {}", i, size());
  const auto picture_bytes = static_cast<int64_t>(pictures_.bytes()) / size();
  return {pictures_.data<uint8_t>() + i * picture_bytes, static_cast<int>(pictures_.size(1)),
          static_cast<int>(pictures_.size(2)), channels(), nullptr};
}

int PictureArray::label(int64_t i) const {
  check(i >= 0 && i < size(), "label {} of a data set of {}", i, size());
  return has_labels() ? labels_[static_cast<size_t>(i)] : unlabeled;
}

std::string PictureArray::description() const {
  return fmt::format("{} pictures, {}x{}x{}{}", size(), pictures_.size(1), pictures_.size(2),
                     pictures_.size(3), has_labels() ? "" : ", no labels");
}

DataSource open_data(const std::string& path, const std::string& format, int64_t limit) {
  std::error_code ignored;
  check(std::filesystem::is_directory(path, ignored), "{}: there is no such folder of pictures", path);
  DataSource source = find_format(path, format).open(path, limit);
  check(source.train->size() > 0, "{}: there are no training pictures", path);
  source.name = std::filesystem::path(path).lexically_normal().filename().string();
  if (source.name.empty())
    source.name = std::filesystem::path(path).lexically_normal().parent_path().filename().string();
  return source;
}

}  // namespace la
