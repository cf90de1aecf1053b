#include "la/traced_model.h"

#include "autograd/functions.h"

namespace la {

TracedModel trace(Model& model) {
  const int64_t size = model.view.size;
  TracedModel traced{.views = Tensor::zeros({1, size, size, model.channels}, DType::f32, model.device()),
                     .calls = {}};
  const NoGrad no_grad;
  model.module->set_training(false);
  Trace trace;
  l2_normalize((*model.module)(Variable(traced.views)));
  traced.calls = std::move(trace.calls);
  return traced;
}

std::string identity_of(const Tensor& x) { return fmt::format("{} {}", x.raw(), x.shape()); }

}  // namespace la
