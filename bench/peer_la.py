#!/usr/bin/python3
"""Does the work of bench_la with PyTorch and faiss, on the vectors that it wrote, and prints the same rows.

    peer_la.py FILE

A line is: name, median and least time in ms, separated by tabs; a line that starts with # explains.
"""
import sys

from strong import restart_with_strong_settings

restart_with_strong_settings()

try:
    import faiss
    import numpy as np
    import torch
except ImportError as missing:
    print(f"# peer_la: no comparison, this Python has no {missing.name} (packages python3-torch, python3-faiss)")
    sys.exit(0)

import time

PICTURES, QUERIES, DIM, BATCH = 60000, 10000, 128, 128
BACKGROUND, LABELINGS, CLUSTERS, NOISE, KNN = 4096, 3, 600, 4096, 200
TEMPERATURE = 0.07


class Times:
    """Times of the parts of something that is done again and again."""

    def __init__(self):
        self.rows = {}

    def measure(self, name, part):
        start = time.perf_counter()
        result = part()
        self.rows.setdefault(name, []).append((time.perf_counter() - start) * 1e3)
        return result

    def print(self):
        for name, times in self.rows.items():
            times.sort()
            print(f"{name}\t{times[len(times) // 2]:.3f}\t{times[0]:.3f}", flush=True)


def time_kmeans(bank):
    times = Times()

    def run():
        kmeans = faiss.Kmeans(DIM, CLUSTERS, niter=20, nredo=1, max_points_per_centroid=10**9, seed=0)
        kmeans.train(bank)
        distances, _ = kmeans.index.search(bank, 1)  # the labels, which Local Aggregation needs
        return distances.sum(dtype=np.float64)

    for _ in range(3):
        inertia = times.measure("kmeans_20", run)
    times.print()
    print(f"# k-means inertia {inertia:.1f}")


def time_exact_neighbors(bank, others):
    times = Times()
    index = faiss.IndexFlatIP(DIM)
    index.add(bank)
    for _ in range(3):
        times.measure("knn_10000", lambda: index.search(others, KNN))
    times.print()


def local_aggregation_step(bank, v, own, labels):
    """The loss of a batch, its gradient with respect to the embeddings v, and the update of the bank."""
    v = v.detach().requires_grad_(True)
    scores, indices = torch.topk(v @ bank.t(), BACKGROUND, dim=1, sorted=False)
    with torch.no_grad():
        close = torch.zeros(indices.shape, dtype=torch.bool)
        for labeling in labels:
            close |= labeling[indices] == labeling[own][:, None]
        close |= indices == own[:, None]
    logits = scores / TEMPERATURE
    loss = (torch.logsumexp(logits, 1) - torch.logsumexp(logits.masked_fill(~close, -1e30), 1)).mean()
    loss.backward()
    with torch.no_grad():
        fresh = 0.5 * bank[own] + 0.5 * v
        bank[own] = fresh / fresh.norm(dim=1, keepdim=True)
    return v.grad


def nce_step(bank, v, candidates):
    """The logistic loss over a picture and its noise samples, and its gradient with respect to v."""
    v = v.detach().requires_grad_(True)
    rows = bank.index_select(0, candidates.reshape(-1)).view(BATCH, 1 + NOISE, DIM)
    logits = torch.bmm(rows, v[:, :, None])[:, :, 0] / TEMPERATURE - 10.0
    sign = torch.ones(1 + NOISE)
    sign[0] = -1.0
    torch.nn.functional.softplus(logits * sign).sum(1).mean().backward()
    return v.grad


def softmax_step(scores, own):
    scores = scores.detach().requires_grad_(True)
    torch.nn.functional.cross_entropy(scores / TEMPERATURE, own).backward()
    return scores.grad


def time_training(bank, others):
    bank = torch.from_numpy(bank.copy())
    own = torch.arange(BATCH) * 461
    v = torch.nn.functional.normalize(bank[own] + torch.from_numpy(others[:BATCH]))
    labels = torch.randint(CLUSTERS, (LABELINGS, PICTURES))
    candidates = torch.randint(PICTURES, (BATCH, 1 + NOISE))
    product = torch.empty(BATCH, PICTURES)
    times = Times()
    for _ in range(15):
        torch.matmul(v, bank.t(), out=product)
        times.measure("softmax_cross_entropy", lambda: softmax_step(product, own))
        times.measure("nce", lambda: nce_step(bank, v, candidates))
    for _ in range(30):
        times.measure("la_step", lambda: local_aggregation_step(bank, v, own, labels))
        times.measure("bank_product", lambda: torch.matmul(v, bank.t(), out=product))
    times.print()


def main():
    if len(sys.argv) != 2:
        sys.exit("peer_la: expected one argument, the file that bench_la wrote")
    values = np.fromfile(sys.argv[1], dtype=np.float32).reshape(-1, DIM)
    if len(values) != PICTURES + QUERIES:
        sys.exit(f"peer_la: {sys.argv[1]} has {len(values)} vectors, expected {PICTURES + QUERIES}")
    bank, others = values[:PICTURES], values[PICTURES:]
    print(f"# PyTorch {torch.__version__}, faiss {faiss.__version__}, {torch.get_num_threads()} threads")
    time_kmeans(bank)
    time_exact_neighbors(bank, others)
    time_training(bank, others)


main()
