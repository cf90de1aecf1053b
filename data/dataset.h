// Data sets: pictures by number, with labels where there are any. A new format is one file that makes a
// Dataset, and one line in the table of dataset.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/decode.h"
#include "tensor/image/picture.h"
#include "tensor/tensor.h"

namespace la {

constexpr int unlabeled = -1;

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  /// Of every picture: 1 (grey) or 3 (red, green, blue).
  virtual int channels() const = 0;
  /// Picture i; may be called from several threads at once.
  virtual Picture picture(int64_t i) const = 0;
  /// The same; an Error, which names it, unless it has pixels, of that many channels.
  Picture checked_picture(int64_t i) const;
  /// What a view of size x size pixels of a crop needs of picture i; `choose` is told how
  /// large the picture is.
  virtual Excerpt excerpt(int64_t i, int size, const ChooseCrop& choose) const;
  virtual bool has_labels() const = 0;
  /// A number from 0, or `unlabeled`.
  virtual int label(int64_t i) const = 0;
  /// What a user knows picture i by: its file, or its number.
  virtual std::string name(int64_t i) const;
  /// The path of the file that holds picture i and nothing else; empty where it has none.
  virtual std::string file(int64_t) const { return ""; }
  /// "60000 pictures, 28x28x1".
  virtual std::string description() const = 0;
  /// What the data set holds in memory.
  virtual size_t memory_bytes() const = 0;

  // Pictures in files may turn out to be damaged, or gone, when they are read: a BadPicture is thrown, and a
  // loader takes another. A data set that throws it should remember which they are (is_bad), tell of each once
  // (take_warnings), and make an Error of too many, as those of picture files do.

  /// Whether picture i is known to be bad.
  virtual bool is_bad(int64_t) const { return false; }
  /// What was wrong with those that were found since the last call: a line for each.
  virtual std::vector<std::string> take_warnings() const { return {}; }
  /// The list of files as text, for DataOptions::listings; empty where there are none.
  virtual std::string listing() const { return ""; }
};

/// A data set in memory, all of whose pictures have the same size.
class PictureArray : public Dataset {
 public:
  /// pictures: u8 [N, H, W, C]; labels: N of them, or none.
  PictureArray(Tensor pictures, std::vector<int> labels);

  int64_t size() const override { return pictures_.size(0); }
  int channels() const override { return static_cast<int>(pictures_.size(3)); }
  Picture picture(int64_t i) const override;
  bool has_labels() const override { return !labels_.empty(); }
  int label(int64_t i) const override;
  std::string description() const override;
  size_t memory_bytes() const override { return pictures_.bytes(); }
  const Tensor& pictures() const { return pictures_; }  // u8 [N, H, W, C]

 private:
  Tensor pictures_;
  std::vector<int> labels_;
};

struct DataSource {
  std::string name;
  std::unique_ptr<Dataset> train;
  std::unique_ptr<Dataset> test;        // may be null
  std::vector<std::string> notes = {};  // for the user: what was found, but is not used, and why
};

struct DataOptions {
  std::string path;             // folder
  std::string format = "auto";  // "idx", "cifar10", "cifar100", "stl10", "places205", "folder"; "auto" looks
  /// Use only so many training pictures: the first, or of picture files as many evenly spread over the list;
  /// 0 is all.
  int64_t limit = 0;
  std::string val = {};  // with "folder": the test pictures, if they are not in path/val
  double val_split =
      0;  // with "folder": share of each class to be set apart for testing, where there is no other
  double max_bad =
      0.01;  // share of the pictures that may be bad, if they are more than a few, before it is an Error
  DecodeOptions decode = {};  // of picture files
  /// Folder with pictures-train.txt and pictures-test.txt, sealed lists of an earlier run (tensor/seal.h).
  /// Their files may have moved since: they are looked for below `path` too.
  std::string listings = {};
};

/// The format that "auto" recognizes in a folder: "folder" unless it has the files of another one.
std::string recognize_format(const std::string& path);

/// Opens a data set. A file that is missing, truncated or contradicts itself is an Error that names it.
DataSource open_data(const DataOptions& options);

}  // namespace la
