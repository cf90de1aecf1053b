"""Writes tests/fixtures/detector.safetensors: ten steps of training a small Faster R-CNN in PyTorch.

    python3 tests/make_detector_fixture.py    (as make_fixtures.py, whose file format and numbers it takes)

The network is resnet8-wide: its map of stride 4 is the output of layer2, its tail is layer3 with stride 1 and the mean over
positions. The definitions are those of py-faster-rcnn, as LA's original program trains it, but for the draws: what is drawn
at random there is the beginning of the list here (`choose`), so that everything is determined. Boxes are the first and the
last pixel: x1, y1, x2, y2.

Inputs, none of which is in the file but the objects: picture i is numbers_of(10001 + i) as [1, 64, 96, 3]; parameter p of the
metadata's list "parameters" begins as numbers_of(p), scaled as tests/test_networks.cpp does for "network.*", and by 0.05 for
the others. The three pictures are used in turn. The rate is 0.01, at which ten steps change losses by a third and more.

The file: "objects.<i>" [count, 5], boxes and classes (1 to 3) of picture i; "losses" [steps, 4]: cross-entropy and boxes of the
proposal network, cross-entropy and boxes of the regions; "anchors" [steps, 2] and "regions" [steps, 2], how many of the chosen
are objects and background; "norms" of the parameters after the last step, "changes", the norms of what the steps have added to
them, and "gradient_norms" of the first step; of the first step too "proposals" [count, 4], "region_rows" (of proposals) and
"region_labels" [regions]. Results are computed in double precision; "error.<name>" in the metadata is how far the worst of nine
runs in f32 is from that, relative to the value plus a hundredth of the largest.

The objects are drawn with the seed of the first 440 at which decisions stay farthest from a tie: in all ten steps the runs in
f32 choose what double precision chooses, and each step has foreground and background among its regions. The program checks
both, and that decisions keep the distances of LEAST_MARGINS.
"""
import os
import sys

import numpy
import torch
from torch import nn
from torch.nn import functional

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
from detector_boxes import anchor_boxes, decode, encode  # noqa: E402
from make_fixtures import FOLDER, Block, numbers_of, write_safetensors

SEED = 128
STEPS, RATE, MOMENTUM, DECAY = 10, 0.01, 0.9, 1e-4
HEIGHT, WIDTH, STRIDE, CLASSES = 64, 96, 4, 3
SCALES, RATIOS = (4, 8), (0.5, 1, 2)
ANCHORS_CHOSEN, REGIONS, POOLED = 256, 32, 7
MOST_RANKED, PROPOSALS = 12000, 50
DEVIATIONS = (0.1, 0.1, 0.2, 0.2)
FROZEN = ("network.conv1.weight", "network.layer1.0.conv1.weight", "network.layer1.0.conv2.weight")


# ---- Boxes -------------------------------------------------------------------------------------------------------------


def overlaps_of(a, b, extent):
    """[a, b]: intersections over unions of boxes whose sides are x2 - x1 + extent."""
    areas_a, areas_b = ((x[:, 2] - x[:, 0] + extent) * (x[:, 3] - x[:, 1] + extent) for x in (a, b))
    low, high = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    intersections = (high - low + extent).clamp(min=0).prod(2)
    unions = areas_a[:, None] + areas_b[None] - intersections
    return torch.where(unions > 0, intersections / unions, torch.zeros_like(unions))


# ---- Decisions ---------------------------------------------------------------------------------------------------------


# How far the nearest decision has to be from falling out differently: overlaps, scores, and samples in pixels of the map. In
# f32 scores are off by 1e-7 and boxes by 1e-5 pixels; after ten steps up to 2e-6 and 2e-4, where a ReLU falls out differently,
# but then scores lie farther apart: by 1.6e-6 in the first step, and by 2.8e-6 to 4.9e-6 in the last three.
LEAST_MARGINS = {"anchor": 1e-4, "score": 1.5e-6, "suppression": 2e-4, "region": 5e-3, "sample": 5e-3}


class Margins(dict):
    """The least distance of each kind of decision from its threshold."""

    def note(self, kind, distances):
        if distances.numel() > 0:
            self[kind] = min(self.get(kind, float("inf")), distances.abs().min().item())


def choose(rows, count):
    """The first, from the beginning again where there are fewer."""
    return rows[torch.arange(count) % len(rows)]


def choose_anchors(anchors, objects, margins):
    """Rows of the chosen anchors, the positive ones first; how many those are; and the object of each."""
    inside = ((anchors[:, :2] >= 0).all(1) & (anchors[:, 2] < WIDTH) & (anchors[:, 3] < HEIGHT)).nonzero()[:, 0]
    overlaps = overlaps_of(anchors[inside], objects[:, :4], 1)
    largest, matches = overlaps.max(1).values, first_largest(overlaps)
    best = overlaps.max(0).values
    is_best = (overlaps == best) & (best > 0)
    positive = is_best.any(1) | (largest >= 0.7)
    negative = (largest < 0.3) & ~positive
    margins.note("anchor", largest - 0.7)
    margins.note("anchor", largest - 0.3)
    margins.note("anchor", (best - overlaps)[~is_best])
    positives, negatives = positive.nonzero()[:, 0], negative.nonzero()[:, 0]
    positives = choose(positives, min(len(positives), ANCHORS_CHOSEN // 2))
    negatives = choose(negatives, min(len(negatives), ANCHORS_CHOSEN - len(positives)))
    chosen = torch.cat([positives, negatives])
    return inside[chosen], len(positives), matches[chosen]


def first_largest(x):
    """[rows]: the column of each row's largest element, the first of equal ones."""
    return (x == x.max(1, keepdim=True).values).int().cumsum(1).eq(0).sum(1)


def suppress(boxes, scores, margins):
    """Rows of the boxes, best first, that overlap none of the better ones kept by more than 0.7."""
    order = torch.sort(scores, descending=True, stable=True).indices[:MOST_RANKED]
    boxes, scores, kept = boxes[order], scores[order], []
    largest, row = torch.zeros_like(scores), 0  # overlap of each box with a kept one
    while row < len(boxes):
        kept.append(row)
        if len(kept) > PROPOSALS:  # the first that finds no place
            break
        overlaps = overlaps_of(boxes[row:row + 1], boxes, 0)[0]
        margins.note("score", (scores[row] - scores)[row + 1:][overlaps[row + 1:] > 0.7])
        largest = torch.maximum(largest, overlaps)
        free = (largest[row + 1:] <= 0.7).nonzero()[:, 0]
        next_row = row + 1 + free[0].item() if len(free) > 0 else len(boxes)
        margins.note("suppression", largest[row + 1:next_row + 1] - 0.7)
        row = next_row
    margins.note("score", scores[kept].diff())
    return order[kept[:PROPOSALS]]


def choose_regions(proposals, objects, margins):
    """Rows of the chosen proposals, the foreground first; their labels; and the object of each."""
    overlaps = overlaps_of(proposals, objects[:, :4], 1)
    largest, matches = overlaps.max(1).values, first_largest(overlaps)
    is_foreground = largest >= 0.5
    margins.note("region", largest - 0.5)
    margins.note("region", -overlaps[is_foreground].sort(1).values.diff()[:, -1:])
    foreground, background = is_foreground.nonzero()[:, 0], (~is_foreground).nonzero()[:, 0]
    count = min(len(foreground), REGIONS // 4) if len(background) > 0 else REGIONS
    if count > 0:
        foreground = choose(foreground, count)
    if count < REGIONS:
        background = choose(background, REGIONS - count)
    rows = torch.cat([foreground, background])
    labels = objects[matches[rows], 4].long()
    labels[count:] = 0
    return rows, labels, matches[rows]


# ---- The detector ------------------------------------------------------------------------------------------------------


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 5, 2, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.layer1 = nn.Sequential(Block(32, 32, 1, (3, 3), False))
        self.layer2 = nn.Sequential(Block(32, 64, 2, (3, 3), False))
        self.layer3 = nn.Sequential(Block(64, 128, 1, (3, 3), False))


class ProposalNetwork(nn.Module):
    def __init__(self, anchors):
        super().__init__()
        self.conv = nn.Conv2d(64, 32, 3, padding=1)
        self.score = nn.Conv2d(32, 2 * anchors, 1)
        self.box = nn.Conv2d(32, 4 * anchors, 1)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = Network()
        self.rpn = ProposalNetwork(len(SCALES) * len(RATIOS))
        self.score = nn.Linear(128, CLASSES + 1)
        self.box = nn.Linear(128, 4 * (CLASSES + 1))

    def map(self, picture):
        net = self.network
        return net.layer2(net.layer1(functional.relu(net.bn1(net.conv1(picture)))))

    def propose(self, features):
        """A row for each anchor: [anchors, 2] logits and [anchors, 4] codes."""
        hidden = functional.relu(self.rpn.conv(features))
        return [head(hidden)[0].permute(1, 2, 0).reshape(-1, size)
                for head, size in ((self.rpn.score, 2), (self.rpn.box, 4))]

    def classify(self, regions):
        """[regions, classes] logits and [regions, classes, 4] codes."""
        features = self.network.layer3(regions).mean((2, 3))
        return self.score(features), self.box(features).view(-1, CLASSES + 1, 4)


def initialize(detector):
    for number, (name, p) in enumerate(detector.named_parameters()):
        value = numbers_of(number, p.shape)
        if not name.startswith("network."):
            p.data = value * numpy.float32(0.05)
        elif p.dim() > 1:
            p.data = value * numpy.sqrt(numpy.float32(3) / numpy.float32(p[0].numel()))
        else:
            p.data = 1 + value / 2 if name.endswith("weight") else value / 4
        p.requires_grad_(name not in FROZEN)


def crop(features, boxes, margins):
    """[boxes, channels, POOLED, POOLED]: bilinear samples from corner to corner of each box; outside the map 0."""
    _, _, rows, columns = features.shape
    steps = torch.arange(POOLED, dtype=boxes.dtype) / (POOLED - 1)

    def neighbors(low, high, pixels):
        """Of each sample along an axis the pixel before it, the one after it and their weights, [boxes, POOLED] each."""
        low, high = low[:, None] / STRIDE, high[:, None] / STRIDE
        places = torch.where(steps == 1, high, low + steps * (high - low))
        margins.note("sample", places - (pixels - 1))
        margins.note("sample", places[places != 0])
        is_inside = ((places >= 0) & (places <= pixels - 1)).to(boxes.dtype)
        before = places.floor().clamp(0, pixels - 1)
        share = places - before
        before = before.long()
        return (before, (1 - share) * is_inside), ((before + 1).clamp(max=pixels - 1), share * is_inside)

    result = 0
    for y, weights_y in neighbors(boxes[:, 1], boxes[:, 3], rows):
        for x, weights_x in neighbors(boxes[:, 0], boxes[:, 2], columns):
            weights = weights_y[:, :, None] * weights_x[:, None, :]
            result = result + features[0][:, y[:, :, None], x[:, None, :]] * weights
    return result.transpose(0, 1)


def smooth_l1(x, sigma):
    sizes, square = x.abs(), sigma ** 2
    return torch.where(sizes < 1 / square, square / 2 * x * x, sizes - 0.5 / square).sum()


def losses_of(detector, picture, objects, margins):
    """The four losses, and what has been decided on the way."""
    features = detector.map(picture)
    anchors = anchor_boxes(*features.shape[2:], STRIDE, SCALES, RATIOS).to(picture.dtype)
    logits, codes = detector.propose(features)
    chosen, count, matches = choose_anchors(anchors, objects, margins)
    anchor_labels = (torch.arange(len(chosen)) < count).long()
    positive = chosen[:count]
    anchor_targets = encode(anchors[positive], objects[matches[:count], :4])

    with torch.no_grad():
        boxes, scores = decode(anchors, codes, HEIGHT, WIDTH), functional.softmax(logits, 1)[:, 1]
        kept = suppress(boxes, scores, margins)
        proposals = boxes[kept]
        rows, labels, matches = choose_regions(proposals, objects, margins)
        region_targets = encode(proposals[rows], objects[matches, :4]) / picture.new_tensor(DEVIATIONS)

    class_logits, class_codes = detector.classify(crop(features, proposals[rows], margins))
    foreground = (labels > 0).nonzero()[:, 0]
    foreground_codes = class_codes[foreground, labels[foreground]]
    losses = torch.stack([
        functional.cross_entropy(logits[chosen], anchor_labels),
        smooth_l1(codes[positive] - anchor_targets, 3) / len(chosen),
        functional.cross_entropy(class_logits, labels),
        smooth_l1(foreground_codes - region_targets[foreground], 1) / len(rows),
    ])
    decisions = {"chosen": chosen, "positives": count, "kept": kept, "proposals": proposals, "region_rows": rows,
                 "region_labels": labels}
    return losses, decisions


# ---- Ten steps ---------------------------------------------------------------------------------------------------------


def random_objects(seed):
    """Two or three objects of different classes in each picture, 14 to 40 pixels wide and high."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high):
        return torch.randint(low, high + 1, (), generator=generator).item()

    pictures = []
    for count in (2, 3, 2):
        classes = torch.randperm(CLASSES, generator=generator)[:count] + 1
        rows = []
        for kind in classes.tolist():
            width, height = draw(14, 40), draw(14, 40)
            x, y = draw(0, WIDTH - width), draw(0, HEIGHT - height)
            rows.append([x, y, x + width - 1, y + height - 1, kind])
        pictures.append(torch.tensor(rows, dtype=torch.int32))
    return pictures


def norms_of(tensors):
    return torch.stack([x.detach().double().norm() for x in tensors])


def train(objects, dtype, disturb=lambda x: x):
    """The results, the decisions of each step and how near the nearest of them was."""
    detector, margins, decisions, losses = Detector(), Margins(), [], []
    initialize(detector)
    for p in detector.parameters():
        p.data = disturb(p.data.to(dtype))
    detector.to(dtype).eval()
    before = [p.detach().clone() for p in detector.parameters()]
    trained = [p for p in detector.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD([{"params": [p for p in trained if p.dim() > 1], "weight_decay": DECAY},
                                 {"params": [p for p in trained if p.dim() == 1]}], RATE, MOMENTUM)
    for step in range(STEPS):
        turn = step % len(objects)
        picture = disturb(numbers_of(10001 + turn, (1, HEIGHT, WIDTH, 3)).to(dtype)).permute(0, 3, 1, 2)
        four, decided = losses_of(detector, picture, objects[turn].to(dtype), margins)
        optimizer.zero_grad()
        four.sum().backward()
        if step == 0:
            gradients = norms_of(torch.zeros(()) if p.grad is None else p.grad for p in detector.parameters())
        optimizer.step()
        losses.append(four.detach().double())
        decisions.append(decided)
    after = list(detector.parameters())
    results = {"losses": torch.stack(losses), "gradient_norms": gradients, "norms": norms_of(after),
               "changes": norms_of(a - b for a, b in zip(after, before)), "proposals": decisions[0]["proposals"].double()}
    return results, decisions, margins


def same_decisions(a, b):
    return all(torch.equal(x[key], y[key]) for x, y in zip(a, b) for key in ("chosen", "kept", "region_rows",
                                                                             "region_labels"))


def errors_of_single_precision(objects, exact, decisions, runs=9):
    """In the worst of a few runs, whose inputs differ in the last bit; in half of them convolutions are summed otherwise."""
    noise, errors = torch.Generator().manual_seed(SEED), {}

    def last_bit(x):
        return x * (1 + torch.randint(-1, 2, x.shape, generator=noise).to(x.dtype) * 2.0 ** -23)

    for run in range(runs):
        with torch.backends.mkldnn.flags(enabled=run % 2 == 0):
            single, decided, _ = train(objects, torch.float32, last_bit if run > 0 else lambda x: x)
        assert same_decisions(decided, decisions), f"run {run} decides otherwise: take other objects"
        for key, value in exact.items():
            error = (single[key] - value).abs() / (value.abs() + value.abs().max() / 100)
            errors[key] = max(errors.get(key, 0.0), error.max().item())
    return errors


def main():
    objects = random_objects(SEED)
    exact, decisions, margins = train(objects, torch.float64)
    for kind, least in LEAST_MARGINS.items():
        assert margins[kind] >= least, f"{kind}: a decision with a margin of {margins[kind]:.1e}, expected {least:.1e}"
    errors = errors_of_single_precision(objects, exact, decisions)

    counts = {"anchors": [[d["positives"], len(d["chosen"]) - d["positives"]] for d in decisions],
              "regions": [[(d["region_labels"] > 0).sum().item(), (d["region_labels"] == 0).sum().item()] for d in decisions]}
    assert all(min(row) > 0 for row in counts["regions"]), "a step without foreground or background: take other objects"
    tensors = {key: value.float() for key, value in exact.items()}
    tensors.update({key: torch.tensor(value, dtype=torch.int32) for key, value in counts.items()})
    tensors.update({key: decisions[0][key].int() for key in ("region_rows", "region_labels")})
    tensors.update({f"objects.{i}": rows for i, rows in enumerate(objects)})
    metadata = {"parameters": " ".join(name for name, _ in Detector().named_parameters()), "rate": str(RATE)}
    metadata.update({"error." + key: f"{error:.1e}" for key, error in errors.items()})
    write_safetensors(os.path.join(FOLDER, "detector.safetensors"),
                      {key: value.numpy() for key, value in tensors.items()}, metadata)
    print("losses", exact["losses"].sum(1).numpy().round(4), "regions", counts["regions"], "margins", margins,
          "errors", errors, sep="\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
