#include "layers/head.h"

#include "layers/layers.h"

namespace la {

std::unique_ptr<Module> make_head(HeadKind kind, int64_t in, int64_t dim) {
  if (kind == HeadKind::none) {
    check(dim == 0 || in == dim,
          "without a head, an embedding of the network's {} features cannot have {} dimensions", in, dim);
    return std::make_unique<Sequential>();
  }
  if (kind == HeadKind::linear) return std::make_unique<Linear>(in, dim);
  auto head = std::make_unique<Sequential>();
  const Linear::Options without_bias{.bias = false};  // the batch norm that follows has its own
  if (kind == HeadKind::linear_bn) head->append<Linear>(in, dim, without_bias).append<BatchNorm2d>(dim);
  if (kind == HeadKind::mlp)
    head->append<Linear>(in, in, without_bias)
        .append<BatchNorm2d>(in, BatchNorm2d::Options{.relu = true})
        .append<Linear>(in, dim);
  return head;
}

}  // namespace la
