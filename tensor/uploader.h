// Uploader: brings arrays from the host to a device while the device works on others.
#pragma once

#include <memory>

#include "tensor/tensor.h"

namespace la {

class Uploader {
 public:
  virtual ~Uploader() = default;
  /// The host tensor on the device, from a memory of two arrays that are filled in turn: valid for work that
  /// is enqueued before the next call. It is kept until it has been copied, and must not change before; the
  /// host copies none that Tensor::for_upload has made.
  virtual Tensor upload(const Tensor& host) = 0;
};

/// On the CPU, upload() returns the tensor itself.
std::unique_ptr<Uploader> make_uploader(Device device);

}  // namespace la
