#include "layers/onnx/onnx.h"

#include <map>

#include "tensor/format.h"
#include "tensor/io/protobuf.h"

namespace la {
namespace {

// The numbers of fields and types, from onnx.proto.
enum ModelField { ir_version = 1, producer_name = 2, graph = 7, opset_import = 8 };
enum OpsetField { opset_domain = 1, opset_version = 2 };
enum GraphField {
  graph_node = 1,
  graph_name = 2,
  graph_initializer = 5,
  graph_input = 11,
  graph_output = 12
};
enum NodeField { node_input = 1, node_output = 2, node_name = 3, node_op_type = 4, node_attribute = 5 };
enum AttributeField {
  attribute_name = 1,
  attribute_f = 2,
  attribute_i = 3,
  attribute_ints = 8,
  attribute_type = 20
};
enum AttributeType { type_float = 1, type_int = 2, type_ints = 7 };
enum TensorField { tensor_dims = 1, tensor_data_type = 2, tensor_name = 8, tensor_raw_data = 9 };
enum DataType { data_float = 1, data_int64 = 7 };
enum ValueField { value_name = 1, value_type = 2 };

constexpr int64_t ir = 8, opset = 17;

/// The attributes of a node.
class Attributes {
 public:
  Attributes& add(const char* name, int64_t value) {
    return append(
        Message().text(attribute_name, name).integer(attribute_i, value).integer(attribute_type, type_int));
  }
  Attributes& add(const char* name, float value) {
    return append(
        Message().text(attribute_name, name).real(attribute_f, value).integer(attribute_type, type_float));
  }
  Attributes& add(const char* name, const std::vector<int64_t>& values) {
    Message attribute;
    attribute.text(attribute_name, name);
    for (const int64_t value : values) attribute.integer(attribute_ints, value);
    return append(attribute.integer(attribute_type, type_ints));
  }
  const std::vector<Message>& all() const { return all_; }

 private:
  Attributes& append(const Message& attribute) {
    all_.push_back(attribute);
    return *this;
  }
  std::vector<Message> all_;
};

/// [N, H, W, C] as [N, C, H, W], for weights and shapes alike: what is innermost comes second.
Tensor channels_second(const Tensor& x) {
  const int64_t n = x.size(0), positions = x.size(1) * x.size(2), channels = x.size(3);
  Tensor y({n, channels, x.size(1), x.size(2)});
  const float* from = x.data<float>();
  float* to = y.data<float>();
  for (int64_t i = 0; i < n; ++i)
    for (int64_t p = 0; p < positions; ++p)
      for (int64_t c = 0; c < channels; ++c)
        to[(i * channels + c) * positions + p] = from[(i * positions + p) * channels + c];
  return y;
}

// Pictures are [N, C, H, W] in ONNX; all else is as here.
class Graph {
 public:
  /// The name of a value: of an input or output of an earlier call, or else of a constant, which
  /// becomes an initializer.
  std::string name_of(const Tensor& x) {
    const auto found = names_.find(identity_of(x));
    if (found != names_.end()) return found->second;
    const Tensor host = x.to(Device::cpu());
    return names_[identity_of(x)] = constant(host.rank() == 4 ? channels_second(host) : host);
  }
  /// Whether it is an input or output of a call.
  bool has(const Tensor& x) const { return names_.contains(identity_of(x)); }
  void set_name(const Tensor& x, const std::string& name) { names_[identity_of(x)] = name; }

  std::string constant(const Tensor& x) {
    return initializer(x.shape(), data_float, {static_cast<const char*>(x.raw()), x.bytes()});
  }
  std::string constant(const std::vector<int64_t>& values) {
    return initializer({static_cast<int64_t>(values.size())}, data_int64,
                       {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(int64_t)});
  }

  /// Appends a node; returns the name of its output.
  std::string node(const char* op, const std::vector<std::string>& inputs, const Attributes& attributes = {},
                   std::string output = "") {
    if (output.empty()) output = formatted("{}_{}", op, ++count_);
    Message node;
    for (const std::string& input : inputs) node.text(node_input, input);
    node.text(node_output, output).text(node_name, output).text(node_op_type, op);
    for (const Message& attribute : attributes.all()) node.message(node_attribute, attribute);
    graph_.message(graph_node, node);
    return output;
  }

  /// extents: -1 is the batch.
  void declare(int field, const char* name, const std::vector<int64_t>& extents) {
    Message shape;
    for (const int64_t extent : extents)
      shape.message(1, extent < 0 ? Message().text(2, "N") : Message().integer(1, extent));
    const Message type = Message().message(1, Message().integer(1, data_float).message(2, shape));
    graph_.message(field, Message().text(value_name, name).message(value_type, type));
  }

  std::string model() {
    graph_.text(graph_name, "embedding");
    return Message()
        .integer(ir_version, ir)
        .text(producer_name, "local aggregation")
        .message(graph, graph_)
        .message(opset_import, Message().text(opset_domain, "").integer(opset_version, opset))
        .bytes();
  }

 private:
  std::string initializer(const Shape& shape, int type, std::string_view data) {
    const std::string name = formatted("constant_{}", ++count_);
    Message tensor;
    for (const int64_t extent : shape) tensor.integer(tensor_dims, extent);
    tensor.integer(tensor_data_type, type).text(tensor_name, name).text(tensor_raw_data, data);
    graph_.message(graph_initializer, tensor);
    return name;
  }

  Message graph_;
  std::map<std::string, std::string> names_;
  int count_ = 0;
};

Attributes window(const PoolGeometry& g) {
  return Attributes()
      .add("kernel_shape", {g.kernel, g.kernel})
      .add("strides", {g.stride, g.stride})
      .add("pads", {g.padding, g.padding, g.padding, g.padding})
      .add("ceil_mode", int64_t{g.ceil_mode});
}

std::string write_conv2d(Graph& graph, const TracedCall& call) {
  const auto g = std::get<ConvGeometry>(call.options);
  return graph.node("Conv", {graph.name_of(call.inputs[0]), graph.name_of(call.inputs[1])},
                    Attributes()
                        .add("strides", {g.stride, g.stride})
                        .add("pads", {g.padding, g.padding, g.padding, g.padding})
                        .add("dilations", {g.dilation, g.dilation}));
}

std::string write_batch_norm(Graph& graph, const TracedCall& call) {
  const auto options = std::get<BatchNormOptions>(call.options);
  std::vector<std::string> inputs;
  for (int i = 0; i < 5; ++i) inputs.push_back(graph.name_of(call.inputs[static_cast<size_t>(i)]));
  std::string y = graph.node("BatchNormalization", inputs, Attributes().add("epsilon", options.epsilon));
  if (const Tensor& residual = call.inputs[5]; residual.defined())
    y = graph.node("Add", {y, graph.name_of(residual)});
  return options.relu ? graph.node("Relu", {y}) : y;
}

/// [N, H, W, C] or [N, C] plus [C].
std::string write_add_bias(Graph& graph, const TracedCall& call) {
  const Tensor bias = call.inputs[1].to(Device::cpu());
  const bool picture = call.output.rank() == 4;
  return graph.node(
      "Add", {graph.name_of(call.inputs[0]), graph.constant(picture ? bias.reshape({1, -1, 1, 1}) : bias)});
}

/// Flattening, in the order of [H, W, C].
std::string write_reshape(Graph& graph, const TracedCall& call) {
  const Tensor& x = call.inputs[0];
  check(call.output.rank() == 2 && call.output.size(0) == x.size(0),
        "ONNX: reshape from {} to {}; only [N, ...] to [N, the rest] can be written", x.shape(),
        call.output.shape());
  std::string name = graph.name_of(x);
  if (x.rank() == 4)
    name = graph.node("Transpose", {name}, Attributes().add("perm", std::vector<int64_t>{0, 2, 3, 1}));
  return graph.node("Reshape", {name, graph.constant({0, -1})});
}

std::string write_scale_channels(Graph& graph, const TracedCall& call) {
  const std::string s = graph.node("Reshape", {graph.name_of(call.inputs[1]), graph.constant({0, -1, 1, 1})});
  return graph.node("Mul", {graph.name_of(call.inputs[0]), s});
}

std::string write_scale(Graph& graph, const TracedCall& call) {
  return graph.node("Mul", {graph.name_of(call.inputs[0]),
                            graph.constant(Tensor::full({1}, std::get<float>(call.options)))});
}

/// For functions that are one node with their inputs, and perhaps constant attributes.
std::string write_node(Graph& graph, const TracedCall& call, const char* op,
                       const Attributes& attributes = {}) {
  std::vector<std::string> inputs;
  for (const Tensor& input : call.inputs) inputs.push_back(graph.name_of(input));
  return graph.node(op, inputs, attributes);
}

using WriteCall = std::string (*)(Graph&, const TracedCall&);

const std::map<std::string, WriteCall>& writers() {
  static const std::map<std::string, WriteCall> table{
      {"conv2d", write_conv2d},
      {"batch_norm_inference", write_batch_norm},
      {"add_bias", write_add_bias},
      {"reshape", write_reshape},
      {"scale_channels", write_scale_channels},
      {"scale", write_scale},
      {"relu", [](Graph& g, const TracedCall& c) { return write_node(g, c, "Relu"); }},
      {"sigmoid", [](Graph& g, const TracedCall& c) { return write_node(g, c, "Sigmoid"); }},
      {"add", [](Graph& g, const TracedCall& c) { return write_node(g, c, "Add"); }},
      {"multiply", [](Graph& g, const TracedCall& c) { return write_node(g, c, "Mul"); }},
      {"linear",
       [](Graph& g, const TracedCall& c) {
         return write_node(g, c, "Gemm", Attributes().add("transB", int64_t{1}));
       }},
      {"max_pool2d",
       [](Graph& g, const TracedCall& c) {
         return write_node(g, c, "MaxPool", window(std::get<PoolGeometry>(c.options)));
       }},
      {"avg_pool2d",
       [](Graph& g, const TracedCall& c) {
         return write_node(g, c, "AveragePool", window(std::get<PoolGeometry>(c.options)));
       }},
      {"global_avg_pool",
       [](Graph& g, const TracedCall& c) {
         return g.node("Flatten", {write_node(g, c, "GlobalAveragePool")});
       }},
      {"l2_normalize",
       [](Graph& g, const TracedCall& c) {
         return write_node(g, c, "LpNormalization",
                           Attributes().add("axis", int64_t{1}).add("p", int64_t{2}));
       }},
  };
  return table;
}

Tensor per_channel(const std::vector<float>& values) {
  return Tensor::from(values, {1, static_cast<int64_t>(values.size()), 1, 1});
}

}  // namespace

std::string to_onnx(Module& network, const InputFormat& input, const NamedLayers& layers) {
  const TracedNetwork traced = trace(network, input, layers);

  Graph graph;
  constexpr const char* images = "images";
  constexpr const char* embedding = "embedding";
  graph.declare(graph_input, images, {-1, input.channels, input.size, input.size});
  graph.declare(graph_output, embedding, {-1, traced.calls.back().output.size(1)});
  graph.set_name(traced.images,
                 graph.node("Div", {graph.node("Sub", {images, graph.constant(per_channel(input.mean))}),
                                    graph.constant(per_channel(input.stddev))}));
  for (const TracedCall& call : traced.calls) {
    const auto found = writers().find(call.function);
    check(found != writers().end(), "ONNX: there is no form for the function {}", call.function);
    graph.set_name(call.output, found->second(graph, call));
  }
  graph.node("Identity", {graph.name_of(traced.calls.back().output)}, {}, embedding);
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto& name = layers[i].first;
    const Tensor& output = traced.layers[i];
    check(output.defined() && graph.has(output), "ONNX: layer {} gives no output of its own", name);
    std::vector<int64_t> extents{-1, output.size(output.rank() - 1)};
    if (output.rank() == 4) extents.insert(extents.end(), {output.size(1), output.size(2)});
    graph.declare(graph_output, name.c_str(), extents);
    graph.node("Identity", {graph.name_of(output)}, {}, name);
  }
  return graph.model();
}

}  // namespace la
