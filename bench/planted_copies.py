"""How many copies la_duplicates finds, and how many of its pairs are copies: among the 60,000 training pictures of
Fashion-MNIST, or among pictures in color with the detail of photographs, 1,000 copies are planted.

    planted_copies.py plant FOLDER [--photos]      writes the pictures; needs numpy and pillow
    planted_copies.py score FOLDER/.../duplicates.csv
"""
import argparse
import csv
import gzip
import os
from collections import Counter, defaultdict

KINDS = ["cropped", "mirrored", "rescaled", "recolored", "recompressed"]


def fashion_pictures():
    import numpy as np

    with gzip.open("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)


def photos(random, count=2000):
    """Colored blobs with fine detail, 160 x 120."""
    import numpy as np
    from PIL import Image

    for _ in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((160, 120), Image.BICUBIC)
        fine = np.asarray(coarse, np.int16) + random.normal(0, 12, (120, 160, 3)).astype(np.int16)
        yield fine.clip(0, 255).astype(np.uint8)


def write_copy(image, kind, path, random):
    """Saves a copy by other code than la_duplicates has for its own: Pillow's."""
    import numpy as np
    from PIL import Image

    width, height = image.size
    if kind == "recompressed":
        return image.save(path + ".jpg", quality=int(random.integers(50, 91)))
    if kind == "cropped":
        share = random.uniform(0.75, 1) ** 0.5
        w, h = (min(side - 1, round(side * share)) for side in (width, height))
        x, y = (int(random.integers(0, all - part + 1)) for all, part in ((width, w), (height, h)))
        image = image.crop((x, y, x + w, y + h))
    elif kind == "mirrored":
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    elif kind == "rescaled":
        scale = 0.75 * 2 ** random.uniform(0, 1)
        image = image.resize((round(scale * width), round(scale * height)), Image.BICUBIC)
    else:
        gamma, span = random.uniform(0.7, 1.4), random.uniform(0.7, 1)
        tone = random.uniform(0, 1 - span) + span * (np.asarray(image) / 255) ** gamma
        image = Image.fromarray(np.uint8(255 * tone + 0.5))
    image.save(path + ".png")


def plant(folder, color):
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    pictures = list(photos(random)) if color else fashion_pictures()
    os.makedirs(folder)
    for i, pixels in enumerate(pictures):
        head = b"P6 160 120 255\n" if color else b"P5 28 28 255\n"
        with open(f"{folder}/{i:05}.{'ppm' if color else 'pgm'}", "wb") as file:
            file.write(head + pixels.tobytes())
    for j, i in enumerate(random.choice(len(pictures), 1000, replace=False)):
        kind = KINDS[j % len(KINDS)]
        write_copy(Image.fromarray(pictures[i]), kind, f"{folder}/{i:05}-{kind}", random)


def nearly_equal(a, b):
    """Whether two pictures of Fashion-MNIST differ by at most 3 of 255 gray levels in the mean, one of them perhaps mirrored and of
    other brightness and contrast: the data set has some twice itself."""
    import numpy as np

    a, b = (np.fromfile(path, np.uint8)[-784:].reshape(28, 28).astype(float) for path in (a, b))
    for mirrored in (b, b[:, ::-1]):
        slope, shift = np.polyfit(a.ravel(), mirrored.ravel(), 1)
        if np.abs(slope * a + shift - mirrored).mean() <= 3:
            return True
    return False


def score(table):
    """A copy is found if its original is in its group; a group of n is n - 1 pairs, right as far as they have one original."""
    groups = defaultdict(list)
    with open(table, newline="") as file:
        for row in csv.DictReader(file):
            groups[row["group"]].append(row["file"])
    found, right, wrong, own = Counter(), 0, 0, 0
    for files in groups.values():
        names = [os.path.basename(file) for file in files]
        originals = Counter(name[:5] for name in names)
        found.update(name[6:].split(".")[0] for name in names if "-" in name and originals[name[:5]] > 1)
        right += len(files) - len(originals)
        wrong += len(originals) - 1
        firsts = [f"{os.path.dirname(files[0])}/{original}.pgm" for original in originals]
        if os.path.exists(firsts[0]):
            own += sum(nearly_equal(firsts[0], other) for other in firsts[1:])
    print(f"recall {sum(found.values()) / 1000:.3f}:", ", ".join(f"{kind} {found[kind] / 200:.3f}" for kind in KINDS))
    print(f"precision {right / (right + wrong):.3f}: of {right + wrong} pairs, {wrong} are no planted copies; {own} of these are twice in "
          f"the data set; without them {right / (right + wrong - own):.3f}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("what", choices=["plant", "score"])
parser.add_argument("path")
parser.add_argument("--photos", action="store_true")
arguments = parser.parse_args()
if arguments.what == "plant":
    plant(arguments.path, arguments.photos)
else:
    score(arguments.path)
