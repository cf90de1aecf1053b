"""Makes what bench_data reads: FOLDER/jpeg, 200 JPEG files of 500 x 375 pixels with as much detail as photographs, and
FOLDER/tree, 200,000 empty files in 1,000 folders."""

import os
import sys

import numpy as np
from PIL import Image


def main():
    folder = sys.argv[1]
    random = np.random.default_rng(0)
    os.makedirs(f"{folder}/jpeg")
    for i in range(200):
        coarse = Image.fromarray(random.integers(0, 256, (47, 63, 3), dtype=np.uint8)).resize((500, 375), Image.BICUBIC)
        fine = np.asarray(coarse, np.int16) + random.normal(0, 12, (375, 500, 3)).astype(np.int16)
        Image.fromarray(fine.clip(0, 255).astype(np.uint8)).save(f"{folder}/jpeg/{i:03}.jpg", quality=88)
    for i in range(1000):
        os.makedirs(f"{folder}/tree/n{i:08}")
        for j in range(200):
            open(f"{folder}/tree/n{i:08}/n{i:08}_{j}.JPEG", "w").close()


main()
