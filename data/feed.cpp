#include "data/feed.h"

#include "tensor/ops.h"

namespace la {
namespace {

/// Views that the loader's threads make, copied to the device while it works on those before.
class LoaderFeed final : public Feed {
 public:
  LoaderFeed(const Dataset& data, const AugmentationOptions& options, int64_t batch, int threads,
             uint64_t seed, Device device)
      : loader_(data, options, batch, threads, seed),
        uploader_(make_uploader(device)),
        pictures_({batch}, DType::i32, device) {
    if (!device.is_cpu())
      images_ = Tensor({batch, options.size, options.size, data.channels()}, DType::f32, device);
  }

  int64_t steps_per_epoch() const override { return loader_.steps_per_epoch(); }
  void start_epoch(int64_t epoch, int64_t first_step) override { loader_.start_epoch(epoch, first_step); }
  double seconds_waited() const override { return loader_.seconds_waited(); }

  void next() override {
    const Batch batch = loader_.next();
    pictures_.copy_from_host(batch.indices.raw());
    const Tensor images = uploader_->upload(batch.images);
    if (pictures_.device().is_cpu())
      images_ = images;
    else
      ops::copy_into(images_, images);
  }
  Tensor pictures() const override { return pictures_; }
  Tensor images() const override { return images_; }

 private:
  Loader loader_;
  std::unique_ptr<Uploader> uploader_;
  Tensor pictures_, images_;
};

}  // namespace

std::unique_ptr<Feed> make_feed(const Dataset& data, const AugmentationOptions& options, int64_t batch,
                                int threads, uint64_t seed, Device device) {
  return std::make_unique<LoaderFeed>(data, options, batch, threads, seed, device);
}

}  // namespace la
