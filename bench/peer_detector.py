"""One training step of Faster R-CNN in torchvision's parts, as LA's original program trains it.

    python3 peer_detector.py [contiguous_format]    channels_last is faster: 17.8 s a step against 25.8 on a machine with AVX2

ResNet-50 with the map of layer3, and layer4 of stride 1 as the tail; one picture of 600 x 800, 20 classes, 9 anchors a position.
Batch norm keeps its statistics and trains scale and shift; conv1 and the convolutions of layer1 are frozen. Prints the name of
the step and its median time in ms; as a comment where the time goes: the map; proposals, with the choice of anchors and regions;
the head with the losses; backward with the update. If torchvision is not installed, it says so and prints nothing else.
"""

import sys
import time

from strong import restart_with_strong_settings

restart_with_strong_settings()

try:
    import torch
    from detector_boxes import anchor_boxes, decode, encode
    from torch import nn
    from torch.nn import functional
    from torchvision.models import resnet50
    from torchvision.ops import box_iou, nms, roi_align
except ImportError:
    print("# peer_detector: no comparison, this Python has no torchvision")
    sys.exit(0)

HEIGHT, WIDTH, STRIDE, CLASSES, OBJECTS = 600, 800, 16, 20, 4
SCALES, RATIOS = (8, 16, 32), (0.5, 1, 2)
ANCHORS_CHOSEN, MOST_RANKED, PROPOSALS, REGIONS = 256, 12000, 2000, 256
WARM_UP, STEPS = 2, 5
TO_EDGES = torch.tensor([0.0, 0.0, 1.0, 1.0])  # from first and last pixels to the edges that box_iou expects
DEVIATIONS = torch.tensor([0.1, 0.1, 0.2, 0.2])


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        net = resnet50(weights=None)
        net.layer4[0].conv2.stride = net.layer4[0].downsample[0].stride = (1, 1)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)
        self.body, self.tail = nn.Sequential(net.layer2, net.layer3), net.layer4
        anchors = len(SCALES) * len(RATIOS)
        self.rpn = nn.Sequential(nn.Conv2d(1024, 512, 3, padding=1), nn.ReLU(inplace=True))
        self.rpn_score, self.rpn_box = nn.Conv2d(512, 2 * anchors, 1), nn.Conv2d(512, 4 * anchors, 1)
        self.score, self.box = nn.Linear(2048, CLASSES + 1), nn.Linear(2048, 4 * (CLASSES + 1))
        for layer in (self.rpn[0], self.rpn_score, self.rpn_box, self.score, self.box):
            nn.init.normal_(layer.weight, 0, 0.001 if layer is self.box else 0.01)
            nn.init.zeros_(layer.bias)
        for layer in self.stem.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.requires_grad_(False)

    def propose(self, features):
        hidden = self.rpn(features)
        return [head(hidden)[0].permute(1, 2, 0).reshape(-1, size)
                for head, size in ((self.rpn_score, 2), (self.rpn_box, 4))]


def draw(rows, count):
    """Without replacement where there are enough."""
    if len(rows) < count:
        return rows[torch.randint(len(rows), (count,))]
    return rows[torch.randperm(len(rows))[:count]]


def choose_anchors(anchors, inside, objects):
    overlaps = box_iou(anchors[inside] + TO_EDGES, objects + TO_EDGES)
    largest, matches = overlaps.max(1)
    best = overlaps.max(0).values
    positive = ((overlaps == best) & (best > 0)).any(1) | (largest >= 0.7)
    positives, negatives = positive.nonzero()[:, 0], ((largest < 0.3) & ~positive).nonzero()[:, 0]
    positives = draw(positives, min(len(positives), ANCHORS_CHOSEN // 2))
    negatives = draw(negatives, min(len(negatives), ANCHORS_CHOSEN - len(positives)))
    return inside[torch.cat([positives, negatives])], len(positives), matches[positives]


def choose_regions(proposals, objects, classes):
    largest, matches = box_iou(proposals + TO_EDGES, objects + TO_EDGES).max(1)
    foreground, background = (largest >= 0.5).nonzero()[:, 0], (largest < 0.5).nonzero()[:, 0]
    count = min(len(foreground), REGIONS // 4) if len(background) > 0 else REGIONS
    parts = [draw(rows, size) for rows, size in ((foreground, count), (background, REGIONS - count)) if size > 0]
    rows = torch.cat(parts)
    labels = classes[matches[rows]]
    labels[count:] = 0
    return rows, labels, matches[rows]


def train_step(detector, sgd, picture, anchors, inside, objects, classes):
    """Times at the ends of the four parts."""
    times = [time.perf_counter()]
    features = detector.body(detector.stem(picture))
    times.append(time.perf_counter())

    logits, codes = detector.propose(features)
    chosen, positives, matches = choose_anchors(anchors, inside, objects)
    with torch.no_grad():
        boxes, scores = decode(anchors, codes, HEIGHT, WIDTH), functional.softmax(logits, 1)[:, 1]
        scores, order = scores.topk(min(MOST_RANKED, len(scores)))
        proposals = boxes[order]
        proposals = proposals[nms(proposals, scores, 0.7)[:PROPOSALS]]
        rows, labels, region_matches = choose_regions(proposals, objects, classes)
        regions = proposals[rows]
    times.append(time.perf_counter())

    pooled = roi_align(features, [regions], 7, 1 / STRIDE, 1)
    hidden = detector.tail(pooled).mean((2, 3))
    class_logits, class_codes = detector.score(hidden), detector.box(hidden).view(REGIONS, CLASSES + 1, 4)
    foreground = (labels > 0).nonzero()[:, 0]
    targets = encode(regions[foreground], objects[region_matches[foreground]]) / DEVIATIONS
    anchor_labels = (torch.arange(len(chosen)) < positives).long()
    positive = chosen[:positives]
    loss = (functional.cross_entropy(logits[chosen], anchor_labels) +
            functional.smooth_l1_loss(codes[positive], encode(anchors[positive], objects[matches]), reduction="sum",
                                      beta=1 / 9) / len(chosen) +
            functional.cross_entropy(class_logits, labels) +
            functional.smooth_l1_loss(class_codes[foreground, labels[foreground]], targets, reduction="sum") / REGIONS)
    times.append(time.perf_counter())

    sgd.zero_grad(set_to_none=True)
    loss.backward()
    sgd.step()
    times.append(time.perf_counter())
    return times, loss.item(), len(proposals), len(foreground)


def median(values):
    return sorted(values)[len(values) // 2]


def measure(memory_format):
    """The median time of a step, and of its parts, in ms."""
    torch.manual_seed(1)
    detector = Detector().eval().to(memory_format=memory_format)
    trained = [p for p in detector.parameters() if p.requires_grad]
    sgd = torch.optim.SGD([{"params": [p for p in trained if p.dim() > 1], "weight_decay": 1e-4},
                           {"params": [p for p in trained if p.dim() == 1]}], 1e-3, momentum=0.9)
    picture = torch.randn(1, 3, HEIGHT, WIDTH).to(memory_format=memory_format)
    anchors = anchor_boxes(-(-HEIGHT // STRIDE), -(-WIDTH // STRIDE), STRIDE, SCALES, RATIOS)
    inside = ((anchors[:, :2] >= 0).all(1) & (anchors[:, 2] < WIDTH) & (anchors[:, 3] < HEIGHT)).nonzero()[:, 0]
    first = torch.stack([torch.randint(WIDTH // 2, (OBJECTS,)), torch.randint(HEIGHT // 2, (OBJECTS,))], 1)
    objects = torch.cat([first, first + torch.randint(100, 250, (OBJECTS, 2))], 1).float()
    classes = torch.randint(1, CLASSES + 1, (OBJECTS,))
    parts = []
    for step in range(-WARM_UP, STEPS):
        times, loss, proposals, foreground = train_step(detector, sgd, picture, anchors, inside, objects, classes)
        if step >= 0:
            parts.append([1e3 * (b - a) for a, b in zip(times, times[1:])])
    total, split = median([sum(row) for row in parts]), [median(column) for column in zip(*parts)]
    print(f"# {memory_format}: {total:.0f} ms; map {split[0]:.0f}, proposals {split[1]:.0f}, head {split[2]:.0f}, backward and "
          f"update {split[3]:.0f}; last step {proposals} proposals, {foreground} foreground, loss {loss:.3f}", flush=True)
    return total


def main():
    total = measure(getattr(torch, sys.argv[1]) if len(sys.argv) > 1 else torch.channels_last)
    print(f"detection step f32\t{total:.3f}", flush=True)


main()
