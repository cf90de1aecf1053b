#include "data/device_loader.h"

#include "tensor/ops.h"

namespace la {
namespace {

/// Views that the loader's threads make, copied to the device while it works on those before.
class UploadingLoader final : public DeviceLoader {
 public:
  UploadingLoader(const Dataset& data, const AugmentationOptions& augmentation, const LoaderOptions& options)
      : DeviceLoader(data, options.device),
        loader_(data, augmentation, options),
        uploader_(make_uploader(options.device)),
        indices_({options.own_places().size()}, DType::i32, options.device) {
    const int64_t size = augmentation.size;
    if (!options.device.is_cpu())
      images_ =
          Tensor({options.own_places().size(), size, size, data.channels()}, options.dtype, options.device);
  }

  int64_t steps_per_epoch() const override { return loader_.steps_per_epoch(); }
  void start_epoch(int64_t epoch, int64_t first_step) override { loader_.start_epoch(epoch, first_step); }
  double seconds_waited() const override { return loader_.seconds_waited(); }

  void next() override {
    const Batch batch = loader_.next();
    indices_.copy_from_host(batch.indices.raw());
    const Tensor images = uploader_->upload(batch.images);
    if (indices_.device().is_cpu())
      images_ = images;
    else
      ops::copy_into(images_, images);
  }
  Tensor indices() const override { return indices_; }
  Tensor images() const override { return images_; }

 private:
  Loader loader_;
  std::unique_ptr<Uploader> uploader_;
  Tensor indices_, images_;
};

/// Pictures that stay on the device, where the views are made. The host only says which, and how.
class ResidentLoader final : public DeviceLoader {
 public:
  ResidentLoader(const PictureArray& data, const AugmentationOptions& augmentation,
                 const LoaderOptions& options)
      : DeviceLoader(data, options.device),
        data_(data.pictures().to(options.device)),
        augmentation_(augmentation),
        format_(format_of_views(augmentation, data.channels())),
        seed_(options.seed),
        seed_of_views_(options.seed_of_views()),
        dtype_(options.dtype),
        batch_(options.batch),
        first_place_(options.own_places().begin),
        indices_({options.own_places().size()}, DType::i32, options.device),
        plans_({options.own_places().size(), static_cast<int64_t>(sizeof(ViewPlan))}, DType::u8,
               options.device) {}

  int64_t steps_per_epoch() const override { return data_.size(0) / batch_; }
  void start_epoch(int64_t epoch, int64_t first_step) override {
    epoch_ = epoch;
    step_ = first_step;
    order_ = epoch_order(data_.size(0), seed_, epoch);
  }
  double seconds_waited() const override { return 0.0; }

  void next() override {
    check(step_ < steps_per_epoch() && !order_.empty(),
          "the loader has no further batch; start_epoch comes first");
    const int32_t* chosen = order_.data() + step_++ * batch_ + first_place_;
    std::vector<ViewPlan> plans;
    for (int64_t i = 0; i < indices_.numel(); ++i)
      plans.push_back(plan_augmentation(augmentation_, static_cast<int>(data_.size(1)),
                                        static_cast<int>(data_.size(2)), seed_of_views_, epoch_, chosen[i]));
    indices_.copy_from_host(chosen);
    plans_.copy_from_host(plans.data());
  }
  Tensor indices() const override { return indices_; }
  Tensor images() const override {
    return ops::cast(ops::make_views(data_, indices_, plans_, format_), dtype_);
  }

 private:
  Tensor data_;  // u8 [N, H, W, C]
  AugmentationOptions augmentation_;
  ViewFormat format_;
  uint64_t seed_, seed_of_views_;
  DType dtype_;
  int64_t batch_, first_place_;
  int64_t epoch_ = 0, step_ = 0;
  std::vector<int32_t> order_;  // of the epoch
  Tensor indices_, plans_;      // of the step
};

}  // namespace

DeviceLoader::DeviceLoader(const Dataset& data, Device device) {
  if (!data.has_labels()) return;
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < data.size(); ++i) labels.push_back(data.label(i));
  labels_ = Tensor::from(labels, {data.size()}, device);
}

Tensor DeviceLoader::labels() const {
  check(labels_.defined(), "the data set has no labels");
  return ops::gather_rows(labels_, indices());
}

bool fits_on_device(const Dataset& data, Device device) {
  const auto* array = dynamic_cast<const PictureArray*>(&data);
  return array != nullptr && !device.is_cpu() && array->pictures().bytes() <= memory_size(device) / 4;
}

std::unique_ptr<DeviceLoader> make_device_loader(const Dataset& data, const AugmentationOptions& augmentation,
                                                 const LoaderOptions& options) {
  if (fits_on_device(data, options.device))
    return std::make_unique<ResidentLoader>(dynamic_cast<const PictureArray&>(data), augmentation, options);
  return std::make_unique<UploadingLoader>(data, augmentation, options);
}

}  // namespace la
