#!/usr/bin/env python3
"""Writes files of tests/refused_pictures/ whose boxes say other sizes than the pictures in them have. Needs pillow 12 or
later, pillow-heif, numpy and 6 GB of memory; the tests need only the files."""
import argparse
import io
import struct

import numpy as np
from PIL import Image
import pillow_heif

from heif_boxes import box, clean_aperture, grid, put_together, take_apart, with_property, with_size

pillow_heif.register_heif_opener()
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", nargs="?", default="tests/refused_pictures")
folder = parser.parse_args().folder


def write(name, data):
    with open(f"{folder}/{name}", "wb") as file:
        file.write(data)


def saved(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


# --- Tiles whose pixels do not cover the picture

ramp = Image.fromarray((np.mgrid[0:64, 0:64].sum(0) * 2).astype(np.uint8)).convert("RGB")
tile = take_apart(saved(ramp, "HEIF", quality=50))[0]
write("grid_small_tiles.heic", grid(b"heic", with_size(tile, 128, 128), 2, 256, 128))
write("grid_cropped_tiles.heic", grid(b"heic", with_property(tile, clean_aperture(32, 32, 0, 0, 64, 64)), 2, 128, 64))
tile = take_apart(saved(ramp.crop((0, 0, 64, 32)), "HEIF", quality=50))[0]
write("grid_turned_tiles.heic", grid(b"heic", with_property(tile, box(b"irot", b"\1")), 2, 128, 32))

# --- 16384 x 12288 pixels, more than are read, of which the boxes say that they are 26 x 18

vast = Image.new("L", (16384, 12288), 128)
options = {"quality": 10, "speed": 10, "subsampling": "4:0:0", "autotiling": False}
write("hidden_size.avif", put_together(b"avif", [with_size(take_apart(saved(vast, "AVIF", **options))[0], 26, 18)]))
data = bytearray(saved(vast, "AVIF", save_all=True, append_images=[Image.new("L", vast.size, 129)], **options))
for kind, value in ((b"ispe", struct.pack(">II", 26, 18)), (b"tkhd", struct.pack(">II", 26 << 16, 18 << 16))):
    at = data.find(kind)
    while at >= 0:
        end = at - 4 + struct.unpack(">I", data[at - 4:at])[0]
        data[end - 8:end] = value
        at = data.find(kind, end)
write("hidden_size_of_sequence.avif", bytes(data).replace(b"\0\0av01", b"\0\0free", 1))  # the sequence alone, not the item
