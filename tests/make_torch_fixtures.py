"""Writes tests/fixtures/torch_zip.pth and torch_old.pth: the same tensors of several types, shapes and layouts among other values, as
torch.save writes them in both of its formats.

    python3 tests/make_torch_fixtures.py        # in the root of the project; needs PyTorch (1.13 was used)
"""
import argparse
import collections
import os

import torch

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")


class Bank:
    """An object of a class that no reader knows."""

    def __init__(self):
        self._bank = torch.arange(6.0).reshape(3, 2) / 8


row = torch.arange(24.0).reshape(2, 3, 4) / 4
state = collections.OrderedDict([
    ("module.float", row),
    ("module.turned", row.permute(2, 0, 1)),
    ("module.part", row[:, 1:, ::2]),
    ("module.half", torch.tensor([0.5, -2.0, 65504.0, 6e-8, float("inf")], dtype=torch.half)),
    ("module.bfloat16", torch.tensor([1.0, -0.15625, 3e38], dtype=torch.bfloat16)),
    ("module.double", torch.tensor([[1e-3], [0.1]], dtype=torch.double)),
    ("module.count", torch.tensor(12345678901)),
    ("module.int", torch.tensor([-3, 7], dtype=torch.int)),
    ("module.mask", torch.tensor([True, False])),
    ("module.empty", torch.zeros(0, 5)),
    ("module.parameter", torch.nn.Parameter(torch.tensor([2.5]))),
])
checkpoint = {"epoch": 7, "best": 0.75, "state_dict": state, "args": argparse.Namespace(lr=0.03, words=("a", "b")), "memory_bank": Bank(),
              "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "nesterov": False}]},
              "none": None, "list": [torch.full((2,), 3.0), {"inner": torch.tensor([4.0])}]}
torch.save(checkpoint, os.path.join(FOLDER, "torch_zip.pth"))
torch.save(checkpoint, os.path.join(FOLDER, "torch_old.pth"), _use_new_zipfile_serialization=False)
