// ONNX (https://onnx.ai): a network as a file that other programs run. It is written from a trace of one
// pass, so that any network of known functions can be exported.
#pragma once

#include <string>

#include "layers/onnx/traced_network.h"

namespace la {

/// The network as an ONNX file of opset 17, f32. Input "images": [N, C, S, S], pixels in [0, 1]; output
/// "embedding": [N, D], each row of length 1. Mean and stddev of the pixels are part of it. An Error that
/// names a function for which ONNX has no form here. The layers are further outputs, under their names: [N, C, H,
/// W], or [N, C] of vectors.
std::string to_onnx(Module& network, const InputFormat& input, const NamedLayers& layers = {});

}  // namespace la
