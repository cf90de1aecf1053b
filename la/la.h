// All of the library: what a program of one's own includes.
#pragma once

#if __cplusplus < 202002L
#error "the library is written in C++20: compile with -std=c++20"
#endif

// Arrays, devices, and what is computed with them.
#include "tensor/clock.h"
#include "tensor/device.h"
#include "tensor/error.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tensor/tensor.h"
#include "tensor/version.h"

// Differentiable functions and optimizers.
#include "autograd/adamw.h"
#include "autograd/functions.h"
#include "autograd/gradient_check.h"
#include "autograd/lars.h"
#include "autograd/sgd.h"
#include "autograd/variable.h"

// Layers and networks.
#include "layers/backbone.h"
#include "layers/detection/losses.h"
#include "layers/import.h"
#include "layers/import_tensorflow.h"
#include "layers/initializers.h"
#include "layers/layers.h"
#include "layers/module.h"
#include "layers/networks.h"
#include "layers/onnx/onnx.h"
#include "layers/onnx/torch.h"
#include "layers/state_dict.h"

// Pictures.
#include "data/augmentation.h"
#include "data/dataset.h"
#include "data/detection.h"
#include "data/device_loader.h"
#include "data/loader.h"
#include "data/subset.h"

// How good what was learnt is.
#include "evaluation/average_precision.h"
#include "evaluation/cluster_agreement.h"
#include "evaluation/cluster_members.h"
#include "evaluation/cluster_number.h"
#include "evaluation/density.h"
#include "evaluation/detector_trainer.h"
#include "evaluation/duplicates.h"
#include "evaluation/features.h"
#include "evaluation/health.h"
#include "evaluation/knn.h"
#include "evaluation/neighbor_graph.h"
#include "evaluation/pca.h"
#include "evaluation/picture_copies.h"
#include "evaluation/readout.h"
#include "evaluation/stored_detector.h"
#include "evaluation/tsne.h"

// Local Aggregation.
#include "la/checkpoint.h"
#include "la/kmeans.h"
#include "la/losses.h"
#include "la/memory_bank.h"
#include "la/model.h"
#include "la/neighborhoods.h"
#include "la/neighbors.h"
#include "la/trainer.h"
