#!/usr/bin/python3
"""Measures what an inverted file would cost in recall: the bank is cut into the m cells of one k-means, and the neighbors
of a query are looked for only in the `nprobe` cells whose centroids are nearest to it.

    inverted_file.py [--held-out] [--seed 0] [--clusters M] [--iterations 20] FILE
                                                    a bank f32 [N, D]: a .npy, or a checkpoint of la_train (its la.bank)

Queries are 1,000 rows of the bank, each without itself among its neighbors; with --held-out they are taken out of the bank
before it is clustered. m is N / 43 and k is N / 313, as Local Aggregation has them for ImageNet (30,000 and 4,096 of
1,281,167), beside m = root of N and k = 10. Needs numpy.
"""
import argparse
import json
import math
import sys

import numpy as np

QUERIES = 1000
PROBES = (1, 2, 4, 8, 16, 32, 64)
IMAGENET, CLUSTERS, BACKGROUND = 1_281_167, 30_000, 4096
TEMPERATURE = 0.07   # of the loss, for the weight of what is found


def read_bank(path):
    if path.endswith(".npy"):
        return np.load(path).astype(np.float32)
    with open(path, "rb") as file:  # length of the header, u64; header in JSON; data
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        if "la.bank" not in header:
            sys.exit(f"inverted_file: {path} has no tensor la.bank")
        tensor = header["la.bank"]
        begin, end = tensor["data_offsets"]
        file.seek(begin, 1)
        return np.frombuffer(file.read(end - begin), "<f4").reshape(tensor["shape"])


def nearness(x, centroids):
    """What is largest for the centroid at the least distance: x . c - |c|^2 / 2."""
    return x @ centroids.T - 0.5 * (centroids * centroids).sum(1)


def nearest_centroids(x, centroids):
    blocks = (nearness(x[i:i + 4096], centroids).argmax(1) for i in range(0, len(x), 4096))
    return np.concatenate(list(blocks))


def kmeans(x, m, iterations, random):
    """Plain k-means from m different rows; an empty cell starts anew from some row. Returns centroids and labels."""
    centroids = x[random.choice(len(x), m, replace=False)]
    for _ in range(iterations):
        labels = nearest_centroids(x, centroids)
        order = labels.argsort(kind="stable")
        sizes = np.bincount(labels, minlength=m)
        present = sizes > 0
        starts = (sizes.cumsum() - sizes)[present]
        centroids = x[random.integers(len(x), size=m)]
        centroids[present] = np.add.reduceat(x[order], starts) / sizes[present, None]
    return centroids, nearest_centroids(x, centroids)


def exact_neighbors(bank, queries, own, k):
    """Rows and similarities [Q, k], the largest first."""
    scores = queries @ bank.T
    if own is not None:
        scores[np.arange(len(queries)), own] = -np.inf
    rows = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    found = np.take_along_axis(scores, rows, 1)
    order = (-found).argsort(1)
    return np.take_along_axis(rows, order, 1), np.take_along_axis(found, order, 1)


def measure(bank, queries, own, m, iterations, ks, random):
    """Recall depends only on the place that a neighbor's cell has among the query's cells, the nearest first."""
    centroids, labels = kmeans(bank, m, iterations, random)
    cells = (-nearness(queries, centroids)).argsort(1)
    places = cells.argsort(1)
    visited = np.bincount(labels, minlength=m)[cells].cumsum(1) / len(bank)
    rows, scores = exact_neighbors(bank, queries, own, max(ks))
    place_of_neighbor = np.take_along_axis(places, labels[rows], 1)
    weights = np.exp((scores - scores[:, :1]).astype(np.float64) / TEMPERATURE)
    weights /= weights.sum(1, keepdims=True)
    for nprobe in PROBES:
        if nprobe > m:
            break
        found = place_of_neighbor < nprobe
        recalls = [100 * found[:, :k].mean() for k in ks]
        weight = 100 * (weights * found).sum(1).mean()
        share = 100 * visited[:, nprobe - 1].mean()
        cells_of = [m, nprobe, *recalls, weight, share, share + 100 * m / len(bank)]
        print("| " + " | ".join(f"{c:,}" if isinstance(c, int) else f"{c:.1f}" for c in cells_of) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clusters", type=int, action="append", help="m, in place of the two")
    parser.add_argument("--iterations", type=int, default=20, help="of k-means; la_train makes 20")
    parser.add_argument("file")
    options = parser.parse_args()

    bank = read_bank(options.file)
    random = np.random.default_rng(options.seed)
    own = random.choice(len(bank), QUERIES, replace=False)
    queries = bank[own]
    if options.held_out:
        bank, own = np.delete(bank, own, axis=0), None
    n = len(bank)
    ks = (10, round(n * BACKGROUND / IMAGENET))
    print(f"{n:,} x {bank.shape[1]}, {QUERIES:,} queries{' held out' if options.held_out else ''}; "
          f"weight: of exp(s / {TEMPERATURE}) over the k = {ks[1]} nearest; shares and recall in %\n")
    head = ("m", "nprobe", *(f"recall, k = {k}" for k in ks), "weight", "rows scored", "with centroids")
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for m in options.clusters or (round(math.sqrt(n)), round(n * CLUSTERS / IMAGENET)):
        measure(bank, queries, own, m, options.iterations, ks, random)


main()
