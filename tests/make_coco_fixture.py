"""Writes tests/fixtures/coco.json: random boxes and detections, with ties, crowds and a category without boxes, and what pycocotools
measures of them.

    python3 tests/make_coco_fixture.py        # in the root of the project; needs pycocotools and NumPy
"""
import contextlib
import io
import json
import os
import random

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

random.seed(7)
SIZE = 100


def box():
    x, y = random.randrange(70), random.randrange(70)
    return [x, y, random.randrange(8, SIZE - x), random.randrange(8, SIZE - y)]


def near(b):
    """A box that overlaps with b more or less."""
    x, y, w, h = (v + random.randrange(-6, 7) for v in b)
    x, y = max(x, 0), max(y, 0)
    return [x, y, max(min(w, SIZE - x), 1), max(min(h, SIZE - y), 1)]


images = [{"id": 100 + i, "file_name": f"{i}.png", "width": SIZE, "height": SIZE} for i in range(14)]
categories = [{"id": c, "name": name} for c, name in ((3, "one"), (5, "two"), (8, "three"), (9, "absent"))]
annotations, detections = [], []
for image in images[:-1]:  # the last one is empty
    for _ in range(random.randrange(1, 6)):
        b = box()
        annotations.append({"id": len(annotations) + 1, "image_id": image["id"], "category_id": random.choice((3, 5, 8)),
                            "bbox": b, "area": b[2] * b[3], "iscrowd": int(random.random() < 0.15)})
for annotation in annotations:
    for _ in range(random.randrange(0, 4)):
        detections.append({"image_id": annotation["image_id"], "bbox": near(annotation["bbox"]),
                           "category_id": annotation["category_id"] if random.random() < 0.8 else 3,
                           "score": random.randrange(1, 12) / 16})
for _ in range(15):
    detections.append({"image_id": random.choice(images)["id"], "category_id": random.choice((3, 5, 8, 9)), "bbox": box(),
                       "score": random.randrange(1, 8) / 16})

truth = COCO()
truth.dataset = {"images": images, "categories": categories, "annotations": annotations}
with contextlib.redirect_stdout(io.StringIO()):
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures", "coco.json")
with open(path, "w") as file:
    json.dump({"truth": truth.dataset, "detections": detections,
               "expected": dict(zip(("AP", "AP50", "AP75"), evaluation.stats[:3].tolist()))}, file)
    file.write("\n")
