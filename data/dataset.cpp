#include "data/dataset.h"

#include <filesystem>

#include "data/formats.h"
#include "tensor/format.h"
#include "tensor/text.h"

namespace la {
namespace {

struct Format {
  const char* name;
  const char*
      telltale;     // a file that only a folder of this format has; none for the last, which takes the rest
  bool compressed;  // whether it may be there with .gz
  DataSource (*open)(const DataOptions& options);
};

constexpr Format formats[] = {
    {"idx", "train-images-idx3-ubyte", true, open_idx},
    {"cifar10", "data_batch_1.bin", false, open_cifar10},
    {"cifar100", "train.bin", false, open_cifar100},
    {"stl10", "unlabeled_X.bin", false, open_stl10},
    {"places205", "train_places205.csv", false, open_places205},
    {"places205", "trainvalsplit_places205/train_places205.csv", false, open_places205},
    {"folder", nullptr, false, open_folder},
};

const Format& find_format(const std::string& path, const std::string& name) {
  std::string known;
  for (const Format& format : formats) {
    if (name == format.name) return format;
    const std::string telltale = path + "/" + (format.telltale != nullptr ? format.telltale : "");
    const bool there = format.telltale == nullptr || file_exists(telltale) ||
                       (format.compressed && file_exists(telltale + ".gz"));
    if (name == "auto" && there) return format;
    if (!known.ends_with(format.name)) known += formatted("{}{}", known.empty() ? "" : ", ", format.name);
  }
  fail("unknown data format \"{}\"; expected auto, or one of {}", name, known);
}

/// What makes a folder without pictures one that holds data.
std::string telltales() {
  std::string text;
  for (const Format& format : formats)
    if (format.telltale != nullptr) text += formatted(", nor {} ({})", format.telltale, format.name);
  return text;
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
  return formatted("{}, {}x{}x{}{}", counted(size(), "picture"), pictures_.size(1), pictures_.size(2),
                   pictures_.size(3), has_labels() ? "" : ", no labels");
}

Picture Dataset::checked_picture(int64_t i) const {
  Picture p = picture(i);
  check(p.pixels != nullptr && p.height > 0 && p.width > 0 && p.channels == channels(),
        "{}: a picture of {} x {} pixels of {} channels{}; expected pixels, of {} channels", name(i),
        p.height, p.width, p.channels, p.pixels == nullptr ? ", at no address" : "", channels());
  return p;
}

Excerpt Dataset::excerpt(int64_t i, int, const ChooseCrop& choose) const {
  const Picture all = checked_picture(i);
  return {all, choose(all.height, all.width)};
}

std::string Dataset::name(int64_t i) const { return formatted("{}", i); }

std::string recognize_format(const std::string& path) { return find_format(path, "auto").name; }

DataSource open_data(const DataOptions& options) {
  const std::string& path = options.path;
  std::error_code ignored;
  check(std::filesystem::exists(path, ignored), "{}: there is no such folder of pictures", path);
  const Format& format = find_format(path, options.format);
  check(options.val.empty() || format.open == open_folder, "`val` is for folders of pictures; {} is {}", path,
        format.name);
  check(options.val_split == 0 || format.open == open_folder,
        "`val_split` is for folders of pictures; {} is {}", path, format.name);
  DataSource source = format.open(options);
  check(source.train->size() > 0, "{}: has no pictures{}", path,
        options.format == "auto" ? " (.jpg, .png ...) at any depth" + telltales() : "");
  source.name = std::filesystem::path(path).lexically_normal().filename().string();
  if (source.name.empty())
    source.name = std::filesystem::path(path).lexically_normal().parent_path().filename().string();
  return source;
}

}  // namespace la
