"""Writes tests/fixtures/detection.safetensors: what torchvision's ops of object detection give for small inputs.

    python3 tests/make_detection_fixtures.py    (needs torch, torchvision, safetensors)

As make_fixtures.py: results in double precision, and how far torchvision's own f32 is from them. It was run with torchvision
0.29.2; its output is part of the project.
"""

import torch
import torchvision
from safetensors.torch import save_file
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou, clip_boxes_to_image, nms, roi_align

GRIDS = {"fixed": (1.0, 2, True), "adaptive": (0.5, -1, False), "adaptive_aligned": (0.25, -1, True)}


def random_boxes(count, extent, generator):
    corners = extent * torch.rand(count, 2, 2, generator=generator)
    return torch.cat([corners.min(1).values, corners.max(1).values + 1], 1)


def compute(inputs, dtype):
    x = inputs["x"].to(dtype).permute(0, 3, 1, 2).contiguous().requires_grad_()
    results = {}
    for name, (scale, ratio, aligned) in GRIDS.items():
        rois = torch.cat([inputs["pictures"][:, None].to(dtype), inputs["regions"].to(dtype)], 1)
        y = roi_align(x, rois, 5, scale, ratio, aligned)
        results["roi_align." + name] = y.permute(0, 2, 3, 1)
        (dx,) = torch.autograd.grad(y, x, inputs["dy"].to(dtype).permute(0, 3, 1, 2))
        results["roi_align." + name + ".dx"] = dx.permute(0, 2, 3, 1)
    boxes, anchors, codes = (inputs[key].to(dtype) for key in ("boxes", "anchors", "codes"))
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    results["encoded"] = coder.encode_single(boxes, anchors)
    results["decoded"] = coder.decode_single(codes, anchors)
    results["clipped"] = clip_boxes_to_image(boxes, (40, 30))
    results["iou"] = box_iou(boxes, anchors)
    return results


def main():
    generator = torch.Generator().manual_seed(5)
    inputs = {
        "x": torch.randn(2, 9, 12, 6, generator=generator),
        "regions": random_boxes(7, 14, generator) - 2,
        "pictures": torch.randint(0, 2, (7,), generator=generator, dtype=torch.int32),
        "dy": torch.randn(7, 5, 5, 6, generator=generator),
        "boxes": random_boxes(60, 45, generator),
        "anchors": random_boxes(60, 45, generator),
        "codes": 3 * torch.randn(60, 4, generator=generator),
        "scores": torch.rand(60, generator=generator),
    }
    exact, single = compute(inputs, torch.float64), compute(inputs, torch.float32)
    metadata = {"error." + key: str((single[key].double() - value).abs().max().item()) for key, value in exact.items()}
    tensors = {**inputs, **{key: value.detach().float() for key, value in exact.items()}}
    for threshold in ("0.3", "0.7"):
        kept = nms(inputs["boxes"], inputs["scores"], float(threshold))
        tensors["nms." + threshold] = kept.int()
    metadata["torchvision"] = torchvision.__version__
    save_file({key: value.contiguous() for key, value in tensors.items()}, "tests/fixtures/detection.safetensors", metadata)


main()
