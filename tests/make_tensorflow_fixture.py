"""Writes tests/fixtures/tensorflow.index and its data: variables of several types in two data files, as TensorFlow's own code writes them.

    python3 tests/make_tensorflow_fixture.py        # in the root of the project; needs TensorFlow (2.21 was used)
"""
import glob
import os
import tempfile

import numpy
import tensorflow as tf

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")
first = {"a/kernel": numpy.arange(24, dtype=numpy.float32).reshape(2, 3, 4) / 4, "a/kernel/Momentum": numpy.zeros((2, 3, 4), numpy.float32),
         "count": numpy.int64(12345678901), "empty": numpy.zeros((0, 5), numpy.float32)}
second = {"half": numpy.array([0.5, -2, 65504], numpy.float16), "double": numpy.array([[1e-3], [0.1]]),
          "int": numpy.array([-3, 7], numpy.int32)}
second.update({f"layer_with_a_long_name_{i:02}/bias": numpy.full(3, i, numpy.float32) for i in range(40)})

with tempfile.TemporaryDirectory() as work:
    parts = []
    for number, variables in enumerate((first, second)):
        parts.append(os.path.join(work, f"part{number}"))
        tf.raw_ops.SaveV2(prefix=parts[-1], tensor_names=list(variables), shape_and_slices=[""] * len(variables),
                          tensors=[tf.constant(v) for v in variables.values()])
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=os.path.join(FOLDER, "tensorflow"))
print(sorted(os.path.basename(p) for p in glob.glob(os.path.join(FOLDER, "tensorflow*"))))
