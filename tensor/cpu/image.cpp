// Views of pictures on the CPU.
#include <cstring>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/indices.h"
#include "tensor/parallel.h"

namespace la {

void CpuBackend::make_views(const Tensor& pictures, const Tensor& rows, const Tensor& plans,
                            const ViewFormat& format, const Tensor& views) {
  check_indices("make_views", rows, pictures.size(0));
  const auto height = static_cast<int>(pictures.size(1)), width = static_cast<int>(pictures.size(2)),
             channels = static_cast<int>(pictures.size(3));
  const int64_t picture_bytes = int64_t{height} * width * channels;
  const int64_t view_floats = int64_t{format.size} * format.size * channels;
  parallel_for(rows.numel(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      ViewPlan plan;
      std::memcpy(&plan, plans.data<uint8_t>() + i * static_cast<int64_t>(sizeof plan), sizeof plan);
      const uint8_t* pixels = pictures.data<uint8_t>() + rows.data<int32_t>()[i] * picture_bytes;
      make_view({pixels, height, width, channels, nullptr}, plan, format,
                views.data<float>() + i * view_floats);
    }
  });
}

}  // namespace la
