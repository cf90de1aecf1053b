// cuDNN's graph API, as far as convolutions need it. A computation is described by descriptors (tensors, an
// operation on them, the graph of the operation); cuDNN's heuristics propose engines that can run it, best
// first; an engine that can be prepared here becomes a plan, which is run on pointers.
// https://docs.nvidia.com/deeplearning/cudnn/latest/developer/graph-api.html
#pragma once

#include <cudnn_graph.h>

#include <array>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/dtype.h"

namespace la::cuda::cudnn {

/// An object of cuDNN: attributes are set, then finalize() checks and freezes it.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Descriptor();

  cudnnBackendDescriptor_t get() const { return handle_; }

  // Each type of value has its own tag in cuDNN, which checks it.
  void set(cudnnBackendAttributeName_t name, int64_t value) { set(name, CUDNN_TYPE_INT64, 1, &value); }
  void set(cudnnBackendAttributeName_t name, std::span<const int64_t> values) {
    set(name, CUDNN_TYPE_INT64, static_cast<int64_t>(values.size()), values.data());
  }
  void set(cudnnBackendAttributeName_t name, float value) { set(name, CUDNN_TYPE_FLOAT, 1, &value); }
  void set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
    set(name, CUDNN_TYPE_DATA_TYPE, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, cudnnConvolutionMode_t value) {
    set(name, CUDNN_TYPE_CONVOLUTION_MODE, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, cudnnBackendHeurMode_t value) {
    set(name, CUDNN_TYPE_HEUR_MODE, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, cudnnHandle_t value) { set(name, CUDNN_TYPE_HANDLE, 1, &value); }
  void set(cudnnBackendAttributeName_t name, std::string_view text) {
    set(name, CUDNN_TYPE_CHAR, static_cast<int64_t>(text.size()), text.data());
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.handle_);
  }
  void set(cudnnBackendAttributeName_t name, std::span<void* const> pointers) {
    set(name, CUDNN_TYPE_VOID_PTR, static_cast<int64_t>(pointers.size()), pointers.data());
  }

  void finalize();
  /// False where cuDNN says that it does not support this.
  bool try_finalize();

  int64_t get_int64(cudnnBackendAttributeName_t name) const;
  /// The descriptor that this one refers to, or all of a list; of that type.
  Descriptor get_descriptor(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type) const;
  std::vector<Descriptor> get_descriptors(cudnnBackendAttributeName_t name,
                                          cudnnBackendDescriptorType_t type) const;
  /// What an engine does that its results depend on.
  std::vector<cudnnBackendNumericalNote_t> get_notes() const;

 private:
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
           const void* values);

  cudnnBackendDescriptor_t handle_ = nullptr;
};

/// A tensor by its extents N, C, H, W (of weights O, I, KH, KW), stored as [N, H, W, C], 16-byte aligned. The
/// id ties it to a pointer when a plan is run.
struct TensorSpec {
  int64_t id;
  DType dtype;
  std::array<int64_t, 4> extents;
};
constexpr size_t alignment = 16;
Descriptor tensor(const TensorSpec& spec);

/// One operation and everything that it refers to.
struct Operation {
  std::vector<Descriptor> parts;  // tensors and options
  Descriptor operation;
};
struct OperationGraph;

/// A pointer for a tensor's id.
struct Binding {
  int64_t id;
  void* pointer;
};

/// What is asked of an engine.
struct Demands {
  std::vector<cudnnBackendNumericalNote_t> forbidden, required;

  /// Whether they forbid what may give other bytes in another run.
  bool deterministic() const;
  bool are_met_by(std::span<const cudnnBackendNumericalNote_t> notes) const;
};

/// A prepared way to run an operation.
class Plan {
 public:
  size_t workspace_bytes() const { return workspace_bytes_; }
  /// Enqueues the operation. `workspace` has workspace_bytes() bytes.
  void run(std::span<const Binding> bindings, void* workspace) const;

 private:
  friend std::vector<Plan> make_plans(Operation, const Demands&, size_t, size_t);
  Plan(std::shared_ptr<const OperationGraph> graph, Descriptor engine_config, Descriptor plan);

  std::shared_ptr<const OperationGraph> graph_;  // what the plan refers to lives as long as the plan
  Descriptor engine_config_;
  Descriptor plan_;
  size_t workspace_bytes_;
};

/// A way to run an operation, as cuDNN's heuristics propose it.
struct Proposal {
  int64_t engine;  // cuDNN's number of it
  std::vector<cudnnBackendNumericalNote_t> notes;
  int64_t workspace_bytes;
};

/// A GPU in cuDNN's description of it (JSON), in place of one that is there.
Descriptor described_device(std::string_view json);

/// What the heuristics propose for such a GPU, best first.
std::vector<Proposal> proposals_for(const Descriptor& device, const Operation& operation);

/// Up to `count` plans whose engines meet the demands and whose workspace has at most `most_workspace` bytes,
/// the one that cuDNN expects to be fastest first.
std::vector<Plan> make_plans(Operation operation, const Demands& demands, size_t most_workspace,
                             size_t count);

}  // namespace la::cuda::cudnn
