"""What bench_data measures, with PIL: decoding, and the views that torchvision's transforms make of PIL pictures
(RandomResizedCrop, RandomHorizontalFlip, ColorJitter, RandomGrayscale, ToTensor, Normalize). Uses torchvision where it is
installed, else the same calls of PIL and numpy. One thread.

    python3 peer_data.py FOLDER VIEWS
"""

import math
import os
import random
import sys
import time

try:
    import numpy as np
    from PIL import Image, ImageEnhance, ImageOps
except ImportError:
    print("# peer_data: no comparison, this Python has no PIL or numpy")
    sys.exit(0)

SIZE, MEAN, STDDEV = 224, np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def crop(image):
    width, height = image.size
    for _ in range(10):
        area = width * height * random.uniform(0.2, 1)
        aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            x, y = random.randint(0, width - w), random.randint(0, height - h)
            return image.crop((x, y, x + w, y + h)).resize((SIZE, SIZE), Image.BILINEAR)
    return image.resize((SIZE, SIZE), Image.BILINEAR)


def shift_hue(image, by):
    h, s, v = image.convert("HSV").split()
    shifted = np.asarray(h) + np.uint8(int(by * 255) % 256)
    return Image.merge("HSV", (Image.fromarray(shifted, "L"), s, v)).convert("RGB")


def plain_view(image):
    image = crop(image)
    if random.random() < 0.5:
        image = ImageOps.mirror(image)
    if random.random() < 0.2:
        image = image.convert("L").convert("RGB")
    steps = [
        lambda i: ImageEnhance.Brightness(i).enhance(random.uniform(0.6, 1.4)),
        lambda i: ImageEnhance.Contrast(i).enhance(random.uniform(0.6, 1.4)),
        lambda i: ImageEnhance.Color(i).enhance(random.uniform(0.6, 1.4)),
        lambda i: shift_hue(i, random.uniform(-0.4, 0.4)),
    ]
    random.shuffle(steps)
    for step in steps:
        image = step(image)
    values = np.asarray(image, np.float32) / 255
    return ((values - MEAN) / STDDEV).transpose(2, 0, 1).copy()


def make_view():
    """The transform, and what it is called."""
    try:
        import torch
        from torchvision import transforms as t
    except ImportError:
        return plain_view, "PIL, as torchvision calls it"
    torch.set_num_threads(1)
    return t.Compose([
        t.RandomResizedCrop(SIZE, (0.2, 1)), t.RandomHorizontalFlip(), t.RandomGrayscale(0.2),
        t.ColorJitter(0.4, 0.4, 0.4, 0.4), t.ToTensor(), t.Normalize(MEAN.tolist(), STDDEV.tolist())
    ]), "torchvision on PIL"


def rate(work, files, count):
    begin = time.perf_counter()
    for i in range(count):
        work(files[i % len(files)])
    return count / (time.perf_counter() - begin)


def main():
    folder, count = sys.argv[1], int(sys.argv[2])
    files = sorted(os.path.join(where, f) for where, _, names in os.walk(folder) for f in names)
    view, name = make_view()
    print(f"# peer: {name}")
    print(f"decode\t{rate(lambda f: Image.open(f).convert('RGB'), files, count):.4g}\tpictures/s")
    print(f"view\t{rate(lambda f: view(Image.open(f).convert('RGB')), files, count):.4g}\tviews/s")


main()
