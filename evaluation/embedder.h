// Embedder: what a trained network makes of pictures: their embeddings, and the activations of its layers; by one process, or by
// several that share the pictures.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "evaluation/model.h"
#include "evaluation/pca.h"
#include "tensor/collectives.h"
#include "tensor/progress_callback.h"

namespace la {

struct EmbedderOptions {
  std::vector<std::string> layers = {};  // names for find_module
  bool whole = false;                    // activations [N, H, W, C] as they are, not their means [N, C]
  bool no_crop = false;                  // of whole pictures, squeezed where they are not square
  /// Empty, or FILE of FILE.<layer>.pca.safetensors: the activations become coordinates along these components.
  std::string project = {};
  /// Empty, or the name of a list whose pictures must all be readable; one that is not is then an Error.
  std::string list = {};

  std::string components_of(const std::string& layer) const {
    return project + "." + layer + ".pca.safetensors";
  }
};

/// Pictures that follow one another, but for those that cannot be read.
struct EmbeddedPictures {
  std::vector<int32_t> numbers;
  std::vector<Tensor>
      outputs;  // a row for each, f32: the embeddings v [n, D], then the activations of each layer
};

class Embedder {
 public:
  /// An Error for a layer that the network does not have, or components that cannot be read. `model` must outlive it.
  Embedder(Model& model, EmbedderOptions options);

  /// Of views as plain_views makes them, f32 [N, S, S, C]; not projected.
  std::vector<Tensor> outputs_of_views(const Tensor& views) const;
  /// Of pictures begin to end (exclusive). An Error if embeddings are not finite.
  EmbeddedPictures pictures(const Dataset& data, int64_t begin, int64_t end) const;
  /// Of all pictures of the data set, in their order, told to `take` on the first process. Each process computes every R-th block
  /// of them, so that what a picture becomes does not depend on who computes it. `progress` is told on all of them.
  void all_pictures(const Dataset& data, Collectives& ranks,
                    const std::function<void(const EmbeddedPictures&)>& take,
                    const ProgressCallback& progress) const;

 private:
  void project(std::vector<Tensor>& outputs) const;
  EmbeddedPictures agreed_pictures(const Dataset& data, int64_t begin, int64_t end, Collectives& ranks) const;

  Model& model_;
  EmbedderOptions options_;
  std::vector<PrincipalComponents> components_;  // of each layer, or none
  std::vector<Module*> modules_;                 // of the layers, and the network
};

}  // namespace la
