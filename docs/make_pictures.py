#!/usr/bin/python3
"""Draws the README's pictures from finished runs (needs python3-numpy).

  make_pictures.py neighbors RUN OUT.png        pictures of Fashion-MNIST with their nearest by pixels and by embedding
  make_pictures.py accuracy OUT.svg NAME=RUN... kNN accuracy over the epochs
"""
import glob
import gzip
import json
import struct
import sys
import zlib

import numpy as np

DATA = "/usr/share/datasets/fashion-mnist/train-"


def read_idx(path, header):
    return np.frombuffer(gzip.open(path).read(), np.uint8, offset=header)


def read_bank(run):
    """The memory bank [N, D] of a run's newest checkpoint."""
    path = sorted(glob.glob(run + "/checkpoint-*.safetensors"))[-1]
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        entry = json.loads(file.read(size))["la.bank"]
        begin, end = entry["data_offsets"]
        file.seek(8 + size + begin)
        return np.frombuffer(file.read(end - begin), np.float32).reshape(entry["shape"])


def write_png(path, pixels):
    """pixels: u8 [H, W, 3]."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                   + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b""))


def neighbors(run, out, queries=10, shown=9):
    """One line a class: its first picture, the nearest by pixels and by embedding; a frame tells right from wrong."""
    images = read_idx(DATA + "images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    labels = read_idx(DATA + "labels-idx1-ubyte.gz", 8)
    pixels = images.reshape(len(images), -1).astype(np.float32)
    pixels -= pixels.mean(0)
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
    chosen = [np.flatnonzero(labels == c)[0] for c in range(queries)]

    def nearest(vectors):
        scores = vectors[chosen] @ vectors.T
        scores[np.arange(queries), chosen] = -2
        return np.argsort(-scores, axis=1, kind="stable")[:, :shown]

    tile, gap = 34, 16
    sheet = np.full((queries * tile, (1 + 2 * shown) * tile + 2 * gap, 3), 255, np.uint8)

    def place(row, x, picture, color):
        cell = sheet[row * tile:(row + 1) * tile, x:x + tile]
        cell[1:-1, 1:-1] = color
        cell[3:-3, 3:-3] = 255 - images[picture][..., None]

    right, wrong, neutral = (70, 160, 90), (215, 60, 50), (120, 120, 120)
    for row, (query, by_pixels, by_embedding) in enumerate(zip(chosen, nearest(pixels), nearest(read_bank(run)))):
        place(row, 0, query, neutral)
        for start, found in ((tile + gap, by_pixels), ((1 + shown) * tile + 2 * gap, by_embedding)):
            for i, picture in enumerate(found):
                place(row, start + i * tile, picture, right if labels[picture] == labels[query] else wrong)
    write_png(out, sheet)


def accuracy(out, runs):
    """One line a run, from its first epoch on."""
    curves = {}
    for argument in runs:
        name, run = argument.split("=", 1)
        with open(run + "/metrics.jsonl") as file:
            points = [json.loads(line) for line in file]
        curves[name] = [(p["epoch"], 100 * p["knn200"]) for p in points if "knn200" in p and p["epoch"] > 0]
    every = [point for curve in curves.values() for point in curve]
    last = max(x for x, _ in every)
    low, high = int(min(y for _, y in every)), int(max(y for _, y in every)) + 1
    width, height, left, bottom = 640, 320, 50, 40
    to_x = lambda x: left + (width - left - 20) * (x - 1) / max(last - 1, 1)
    to_y = lambda y: height - bottom - (height - bottom - 20) * (y - low) / (high - low)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
           'font-size="12"><rect width="100%" height="100%" fill="white"/>']
    for y in range(low, high + 1, max(1, (high - low) // 8)):
        svg.append(f'<line x1="{left}" x2="{width - 20}" y1="{to_y(y):.1f}" y2="{to_y(y):.1f}" stroke="#ddd"/>'
                   f'<text x="{left - 6}" y="{to_y(y) + 4:.1f}" text-anchor="end">{y} %</text>')
    for x in range(1, last + 1, max(1, last // 10)):
        svg.append(f'<text x="{to_x(x):.1f}" y="{height - bottom + 16}" text-anchor="middle">{x}</text>')
    svg.append(f'<text x="{(left + width) / 2}" y="{height - 6}" text-anchor="middle">epochs</text>')
    for i, (name, curve) in enumerate(curves.items()):
        color = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")[i % 4]
        line = " ".join(f"{to_x(x):.1f},{to_y(y):.1f}" for x, y in curve)
        svg.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>'
                   f'<text x="{width - 200}" y="{height - bottom - 20 - 18 * i}" fill="{color}">{name}</text>')
    with open(out, "w") as file:
        file.write("\n".join(svg) + "\n</svg>\n")


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "neighbors":
        neighbors(*sys.argv[2:])
    elif len(sys.argv) > 3 and sys.argv[1] == "accuracy":
        accuracy(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(__doc__)
