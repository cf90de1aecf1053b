#include "tensor/cuda/cudnn_graph.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "tensor/cuda/library.h"
#include "tensor/cuda/runtime.h"
#include "tensor/format.h"

namespace la::cuda::cudnn {

struct OperationGraph {
  Operation operation;
  Descriptor graph;
};

namespace {

struct Functions {
#define LA_CUDNN_FUNCTION(name) \
  decltype(cudnn##name)* name = cudnn_library().symbol<decltype(cudnn##name)>("cudnn" #name)
  LA_CUDNN_FUNCTION(Create);
  LA_CUDNN_FUNCTION(SetStream);
  LA_CUDNN_FUNCTION(GetErrorString);
  LA_CUDNN_FUNCTION(GetLastErrorString);
  LA_CUDNN_FUNCTION(BackendCreateDescriptor);
  LA_CUDNN_FUNCTION(BackendDestroyDescriptor);
  LA_CUDNN_FUNCTION(BackendSetAttribute);
  LA_CUDNN_FUNCTION(BackendGetAttribute);
  LA_CUDNN_FUNCTION(BackendFinalize);
  LA_CUDNN_FUNCTION(BackendExecute);
#undef LA_CUDNN_FUNCTION
};

const Functions& functions() {
  static const Functions all;
  return all;
}

void check_cudnn(cudnnStatus_t status, std::string_view what) {
  if (status == CUDNN_STATUS_SUCCESS) [[likely]]
    return;
  std::array<char, 512> details{};
  functions().GetLastErrorString(details.data(), details.size());
  fail("cuDNN: {}: {} {}", what, functions().GetErrorString(status), details.data());
}

cudnnHandle_t handle() {
  static const cudnnHandle_t only = [] {
    cudnnHandle_t result = nullptr;
    check_cudnn(functions().Create(&result), "starting");
    check_cudnn(functions().SetStream(result, stream()), "setting the stream");
    return result;
  }();
  return only;
}

/// Of an operation for the GPU that is there, or for a described one.
Descriptor operation_graph(const Operation& operation, bool is_there = true) {
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  if (is_there) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle());
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation.operation);
  graph.finalize();
  return graph;
}

/// The engines, with their settings, that this mode of the heuristics proposes; none where it has no answer.
std::vector<Descriptor> proposed_engines(const Descriptor& graph, cudnnBackendHeurMode_t mode,
                                         const Descriptor* device = nullptr) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
  if (device != nullptr) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *device);
  if (!heuristics.try_finalize()) return {};
  return heuristics.get_descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
}

/// Modes of the heuristics, best first.
constexpr cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_B, CUDNN_HEUR_MODE_FALLBACK};

Descriptor engine_of(const Descriptor& engine_config) {
  return engine_config.get_descriptor(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
}

Proposal proposal(const Descriptor& engine_config) {
  const Descriptor engine = engine_of(engine_config);
  return {.engine = engine.get_int64(CUDNN_ATTR_ENGINE_GLOBAL_INDEX),
          .notes = engine.get_notes(),
          .workspace_bytes = engine_config.get_int64(CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE)};
}

cudnnDataType_t data_type(DType dtype) {
  check(dtype == DType::f32 || dtype == DType::bf16, "cuDNN: expected f32 or bf16, got {}", dtype);
  return dtype == DType::f32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
}

}  // namespace

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  check_cudnn(functions().BackendCreateDescriptor(type, &handle_), "making a descriptor");
}

Descriptor::~Descriptor() {
  if (handle_ != nullptr) functions().BackendDestroyDescriptor(handle_);
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                     const void* values) {
  const cudnnStatus_t status = functions().BackendSetAttribute(handle_, name, type, count, values);
  if (status != CUDNN_STATUS_SUCCESS) check_cudnn(status, formatted("setting attribute {}", int{name}));
}

void Descriptor::finalize() { check_cudnn(functions().BackendFinalize(handle_), "checking a description"); }

bool Descriptor::try_finalize() { return functions().BackendFinalize(handle_) == CUDNN_STATUS_SUCCESS; }

int64_t Descriptor::get_int64(cudnnBackendAttributeName_t name) const {
  int64_t value = 0, count = 0;
  check_cudnn(functions().BackendGetAttribute(handle_, name, CUDNN_TYPE_INT64, 1, &count, &value),
              "asking for a number");
  return value;
}

Descriptor Descriptor::get_descriptor(cudnnBackendAttributeName_t name,
                                      cudnnBackendDescriptorType_t type) const {
  Descriptor result(type);  // cuDNN fills a descriptor that the caller has made
  int64_t count = 0;
  check_cudnn(functions().BackendGetAttribute(handle_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
                                              &result.handle_),
              "asking for a descriptor");
  return result;
}

std::vector<Descriptor> Descriptor::get_descriptors(cudnnBackendAttributeName_t name,
                                                    cudnnBackendDescriptorType_t type) const {
  const auto get = [&](int64_t most, int64_t* count, cudnnBackendDescriptor_t* values) {
    check_cudnn(
        functions().BackendGetAttribute(handle_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, count, values),
        "asking for descriptors");
  };
  int64_t count = 0;
  get(0, &count, nullptr);
  std::vector<Descriptor> result;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (int64_t i = 0; i < count; ++i) handles.push_back(result.emplace_back(type).get());
  if (!handles.empty()) get(std::ssize(handles), &count, handles.data());
  while (std::ssize(result) > count) result.pop_back();
  return result;
}

std::vector<cudnnBackendNumericalNote_t> Descriptor::get_notes() const {
  std::vector<cudnnBackendNumericalNote_t> notes(CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  int64_t count = 0;
  check_cudnn(
      functions().BackendGetAttribute(handle_, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                      std::ssize(notes), &count, notes.data()),
      "asking for an engine's numerical notes");
  notes.resize(static_cast<size_t>(std::min(count, std::ssize(notes))));
  return notes;
}

Descriptor tensor(const TensorSpec& spec) {
  const auto [n, c, h, w] = spec.extents;
  Descriptor result(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  result.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, spec.id);
  result.set(CUDNN_ATTR_TENSOR_DATA_TYPE, data_type(spec.dtype));
  result.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, int64_t{alignment});
  result.set(CUDNN_ATTR_TENSOR_DIMENSIONS, spec.extents);
  result.set(CUDNN_ATTR_TENSOR_STRIDES, std::array{h * w * c, int64_t{1}, w * c, c});
  result.finalize();
  return result;
}

Plan::Plan(std::shared_ptr<const OperationGraph> graph, Descriptor engine_config, Descriptor plan)
    : graph_(std::move(graph)),
      engine_config_(std::move(engine_config)),
      plan_(std::move(plan)),
      workspace_bytes_(static_cast<size_t>(plan_.get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE))) {}

void Plan::run(std::span<const Binding> bindings, void* workspace) const {
  std::vector<int64_t> ids;
  std::vector<void*> pointers;
  for (const Binding& binding : bindings) {
    ids.push_back(binding.id);
    pointers.push_back(binding.pointer);
  }
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointers);
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, std::array{workspace});
  pack.finalize();
  check_cudnn(functions().BackendExecute(handle(), plan_.get(), pack.get()), "running a plan");
}

bool Demands::deterministic() const {
  return std::find(forbidden.begin(), forbidden.end(), CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) !=
         forbidden.end();
}

bool Demands::are_met_by(std::span<const cudnnBackendNumericalNote_t> notes) const {
  const auto has = [&](cudnnBackendNumericalNote_t note) {
    return std::find(notes.begin(), notes.end(), note) != notes.end();
  };
  return std::none_of(forbidden.begin(), forbidden.end(), has) &&
         std::all_of(required.begin(), required.end(), has);
}

Descriptor described_device(std::string_view json) {
  Descriptor device(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  device.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, json);
  device.finalize();
  return device;
}

std::vector<Proposal> proposals_for(const Descriptor& device, const Operation& operation) {
  const Descriptor graph = operation_graph(operation, false);
  std::vector<Proposal> proposals;
  for (cudnnBackendHeurMode_t mode : modes)
    for (const Descriptor& engine_config : proposed_engines(graph, mode, &device))
      proposals.push_back(proposal(engine_config));
  return proposals;
}

std::vector<Plan> make_plans(Operation operation, const Demands& demands, size_t most_workspace,
                             size_t count) {
  Descriptor description = operation_graph(operation);
  const auto graph = std::make_shared<const OperationGraph>(std::move(operation), std::move(description));
  std::vector<Plan> plans;
  for (cudnnBackendHeurMode_t mode : modes)
    for (Descriptor& engine_config : proposed_engines(graph->graph, mode)) {
      if (plans.size() == count) return plans;
      if (!demands.are_met_by(engine_of(engine_config).get_notes())) continue;
      Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle());
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, engine_config);
      if (!plan.try_finalize()) continue;
      Plan candidate(graph, std::move(engine_config), std::move(plan));
      if (candidate.workspace_bytes() <= most_workspace) plans.push_back(std::move(candidate));
    }
  return plans;
}

}  // namespace la::cuda::cudnn
