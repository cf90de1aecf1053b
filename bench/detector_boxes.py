"""Boxes of a detector in PyTorch, as py-faster-rcnn has them: x1, y1, x2, y2 are first and last pixels.

For peer_detector.py, and for tests/make_detector_fixture.py.
"""

import torch


def anchor_boxes(rows, columns, stride, scales, ratios):
    """[rows * columns * ratios * scales, 4]: sides are rounded before they are scaled."""
    base, center = [], (stride - 1) / 2
    for ratio in ratios:
        width = round((stride * stride / ratio) ** 0.5)
        height = round(width * ratio)
        for scale in scales:
            x, y = (width * scale - 1) / 2, (height * scale - 1) / 2
            base.append([center - x, center - y, center + x, center + y])
    y, x = torch.meshgrid(stride * torch.arange(rows), stride * torch.arange(columns), indexing="ij")
    return (torch.stack([x, y, x, y], -1)[:, :, None] + torch.tensor(base)).view(-1, 4)


def centers_and_sides(boxes):
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes[:, :2] + sides / 2, sides


def encode(boxes, objects):
    (centers, sides), (object_centers, object_sides) = centers_and_sides(boxes), centers_and_sides(objects)
    return torch.cat([(object_centers - centers) / sides, torch.log(object_sides / sides)], 1)


def decode(boxes, codes, height, width):
    """Into a picture of that size."""
    centers, sides = centers_and_sides(boxes)
    centers, halves = codes[:, :2] * sides + centers, torch.exp(codes[:, 2:]) * sides / 2
    corners = torch.cat([centers - halves, centers + halves], 1)
    return torch.minimum(corners.clamp_(min=0), corners.new_tensor([width - 1, height - 1] * 2))
