#include "apps/options/common_options.h"

namespace la {

void add_picture_options(OptionTable& t, DataOptions& o) {
  t.add("format", o.format,
        "idx, cifar10, cifar100, stl10, places205 or folder (picture files at any depth); auto recognizes "
        "it");
  t.add("limit", o.limit, at_least(0),
        "use only so many pictures: the first, or files spread over the folder; 0: all");
  t.add("max-bad", o.max_bad, share,
        "share of the picture files that may be damaged or gone; 5 always may, unless it is 0")
      .on_resume = Option::OnResume::free;
  t.add("max-pixels", o.decode.max_pixels, between(1, 500e6),
        "pixels of a picture file, up to 12 bytes of memory each, of AVIF 24; larger ones are bad");
}

void add_test_picture_options(OptionTable& t, DataOptions& o) {
  t.add("val", o.val, "folder of test pictures, for picture folders that have no val/ beside train/")
      .on_resume = Option::OnResume::free;
  t.add("val-split", o.val_split, between(0, 0.9),
        "share of each class to be set apart for testing, where a picture folder has no test pictures");
}

void add_machine_options(OptionTable& t, std::string& device, int& threads) {
  t.add("device", device, {"auto", "cpu", "cuda"}, "where to compute; auto takes a GPU if there is one")
      .on_resume = Option::OnResume::free;
  t.add("threads", threads, between(0, 1024), "threads that compute; 0: one a core").on_resume =
      Option::OnResume::free;
}

void add_loader_threads(OptionTable& t, int& threads) {
  t.add("loader-threads", threads, between(1, 1024), "threads that prepare batches ahead").on_resume =
      Option::OnResume::free;
}

}  // namespace la
