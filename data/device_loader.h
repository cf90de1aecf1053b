// DeviceLoader: brings the views of each training step's pictures to the device that trains.
#pragma once

#include <memory>

#include "data/loader.h"
#include "tensor/uploader.h"

namespace la {

class DeviceLoader {
 public:
  virtual ~DeviceLoader() = default;

  /// As those of Loader.
  virtual int64_t steps_per_epoch() const = 0;
  virtual void start_epoch(int64_t epoch, int64_t first_step) = 0;
  virtual double seconds_waited() const = 0;

  /// Makes indices() and images() those of the next step, in order. On a GPU this enqueues the copies and
  /// does not wait for them.
  virtual void next() = 0;
  /// Which pictures of the data set they are, those at the own places of the batch: i32 [B], the same tensor at every step.
  virtual Tensor indices() const = 0;
  /// Their labels, i32 [B]; an Error if the data set has none.
  Tensor labels() const;
  /// Their augmented views, of the options' dtype: [B, S, S, C]. Only a function of tensors that stay the
  /// same, so that work which calls it can be recorded on devices that record.
  virtual Tensor images() const = 0;

 protected:
  DeviceLoader(const Dataset& data, Device device);

 private:
  Tensor labels_;  // i32 [N], on the device; undefined where there are none
};

/// Whether all pictures stay on the device while it trains, as u8: they are in memory, and take at most a
/// quarter of the memory of a GPU.
bool fits_on_device(const Dataset& data, Device device);

/// A loader for options.device. `data` must outlive it. Pictures that fit stay on the device, which then
/// makes the views; of others, the loader's threads make them.
std::unique_ptr<DeviceLoader> make_device_loader(const Dataset& data, const AugmentationOptions& augmentation,
                                                 const LoaderOptions& options);

}  // namespace la
