#!/usr/bin/python3
"""Computes what a training step of ResNet-50 with Local Aggregation would take on 1 to 1,024 GPUs, for 1e6 to 1e9 pictures:
time, memory, and the number of pictures at which the search of the bank outgrows the network.

    scaling.py

A model, not a measurement: constants of one GPU are measured (bench/results/2026-11-26-h200.md), those of links are
published, and whatever is an estimate is called one. The GPU is an H100 SXM; what memory bounds is scaled from the H200 by
the ratio of their bandwidths; what arithmetic bounds is not scaled, for both have the same multiprocessors. Nothing
overlaps.
"""
import math

# ---- The method: presets/imagenet-resnet50.toml ------------------------------------------------------------------------
DIM = 128                # D
CLUSTERINGS = 10         # H
BACKGROUND = 4096        # k; for all N, so that B_i stays a neighborhood of as many pictures
ITERATIONS = 20          # of k-means, once an epoch
IMAGENET = 1_281_167     # its N
IMAGENET_CLUSTERS = 30_000  # its m
BATCH_OF_GPU = 256       # the measured one
WHOLE_BATCH = 4096       # of the second table

# ---- Published: NVIDIA's data sheets of H100 SXM, H200 and DGX H100 ------------------------------------------------------
H100_BANDWIDTH = 3.35e12  # bytes/s
H200_BANDWIDTH = 4.8e12
H100_MEMORY = 80e9        # bytes
BF16_PEAK = 989e12        # FLOP/s, dense; of both GPUs
NVLINK = 450e9            # bytes/s a GPU, each direction (900 GB/s both)
NETWORK = 50e9            # bytes/s a GPU: 400 Gbit/s, one adapter for each of the eight
GPUS_OF_NODE = 8
# Links are taken at these rates, which real collectives only approach; ours go through MPI and the host's memory today.
# Seconds of a hop of a ring: what NCCL's own cost model takes for its protocol LL128 (src/graph/tuning.cc).
NVLINK_HOP = 1.9e-6
NETWORK_HOP = 4.0e-6

# ---- Measured on one H200, in seconds: bench/results/2026-11-26-h200.md --------------------------------------------------
BY_MEMORY = H200_BANDWIDTH / H100_BANDWIDTH      # how much longer an H100 takes for what memory bounds
COPY = 4229e9 / H200_BANDWIDTH * H100_BANDWIDTH  # bytes/s: a copy reached 4229 GB/s, and the H100 reaches the same share
PRODUCT = 739e12                                 # FLOP/s of a large product in bf16, 75 % of the peak
STEP_H200 = 256 / 8653                           # of ResNet-50, 224 pixels, bf16, batch 256
STEP_ARITHMETIC = 4.4e-3 + 9.5e-3                # of which convolutions; the rest, batch norm above all, is bound by memory
# FLOP of a picture, forward and backward: the weight gradients of 256 are 2.1 TFLOP, a third of all
PICTURE_FLOP = 3 * 2.1e12 / 256
# LA's part of a step, N = IMAGENET, batch 256, k = 4096: kernels that visit each score ...
SCORES = 0.57e-3 + 0.42e-3 + 0.32e-3  # estimates, which read the bank once; candidates listed; scores counted
# ... and those that visit each neighbor in a list: computed in f32, sums of rows, and all others, small ones included
LISTS = 0.19e-3 + 0.12e-3 + 0.28e-3
SCORE_BUFFER = 2 << 30                # bytes of scores at once (memory_budget of tensor/cuda/nearest.cu)
ASSIGNMENT, MEANS = 33.7e-3, 0.37e-3  # k-means, N = IMAGENET, m = 30,000: one iteration

# ---- Measured on a CPU, or estimated ------------------------------------------------------------------------------------
PARAMETERS = 23_508_032 + DIM * 2048 + DIM  # ResNet-50 without its last layer, and LA's
STATISTICS = 53_120                         # running means and variances
# Bytes of a picture: docs/results.md has 1,670 MiB for 16 in f32, with weights, gradients and momentum. Half of it in bf16
# is an estimate.
ACTIVATIONS = ((1670 << 20) - 3 * 4 * PARAMETERS) / 16 / 2
LEAST_STEP = 2e-3        # an estimate: some 600 kernels of a few microseconds, however few the pictures
LIST_BYTES = 14          # of a neighbor in a list: score, row, weight, two masks (4 + 4 + 4 + 1 + 1); others come and go
VIEWS_OF_CORE = 817      # views of 224 pixels a second, of a CPU core (docs/results.md)


# ---- Collectives: a ring in each node of g GPUs, and g rings between the nodes, each with a g-th of the bytes ------------

def split(ranks):
    """GPUs of a node that take part, and nodes."""
    g = min(ranks, GPUS_OF_NODE)
    return g, ranks // g


def reduce_scatter(size, ranks):
    """Seconds: (g - 1) / g of the bytes over NVLink, then (n - 1) / n of the g-th part over the network, for n nodes."""
    g, nodes = split(ranks)
    return ((g - 1) / g * size / NVLINK + (g - 1) * NVLINK_HOP +
            (nodes - 1) / nodes * size / g / NETWORK + (nodes - 1) * NETWORK_HOP)


all_gather = reduce_scatter  # the same way backward; `size` is what all have together


def all_reduce(size, ranks):
    return reduce_scatter(size, ranks) + all_gather(size, ranks)  # 2 (R - 1) / R x bytes


# ---- Terms of a step, in seconds, of each rank ---------------------------------------------------------------------------

def network(pictures):
    step = STEP_ARITHMETIC + (STEP_H200 - STEP_ARITHMETIC) * BY_MEMORY
    return max(LEAST_STEP, step * pictures / 256)


def gradients(ranks):
    """f32, and the running statistics."""
    return all_reduce(4 * (PARAMETERS + STATISTICS), ranks)


def exchange(batch, ranks):
    """What LA sends (the table in docs/cluster.md), with as many shards as ranks."""
    embeddings = all_gather(4 * batch * DIM, ranks) + reduce_scatter(4 * batch * DIM, ranks)
    histograms = 4 * all_reduce(256 * 4 * batch, ranks)
    ties_and_sums = 3 * all_gather(4 * ranks * batch, ranks)
    labels_and_numbers = all_reduce(4 * batch * CLUSTERINGS, ranks) + all_gather(4 * batch, ranks)
    return embeddings + histograms + ties_and_sums + labels_and_numbers


def bank_read(rows):
    return 4 * DIM * rows / COPY


def search(batch, rows):
    """By the kernels as they are: batch x rows scores, which are written and read; the bank is read for lengths, and once
    for each group of queries whose scores fit into the buffer."""
    bank_h200 = 4 * DIM * IMAGENET / 4229e9
    of_score = (SCORES - bank_h200) * BY_MEMORY / (256 * IMAGENET)
    group = min(batch, max(1, SCORE_BUFFER // int(4 * rows)))
    return batch * rows * of_score + (1 + math.ceil(batch / group)) * bank_read(rows)


def least_search(batch, rows):
    """2 batch rows D FLOP as fast as a large product, or the bank read once: a search that stores no scores."""
    return max(2 * batch * rows * DIM / PRODUCT, bank_read(rows))


def lists(batch, rows):
    """By the kernels as they are: each rank lists k of its own rows for each picture of the whole batch."""
    return batch * min(BACKGROUND, rows) * LISTS * BY_MEMORY / (256 * BACKGROUND)


def least_lists(batch, ranks):
    """If a rank listed only what belongs to the k nearest of all: k / R of a picture, on average."""
    return lists(batch / ranks, BACKGROUND)


def clusters(n, power):
    """m, which grows as N to that power: 1 keeps clusters of 43 pictures."""
    return IMAGENET_CLUSTERS * (n / IMAGENET) ** power


def clustering(n, batch, ranks, power):
    """k-means of an epoch, H times 20 iterations, shared by its N / batch steps."""
    m, share = clusters(n, power), n / ranks / IMAGENET
    iteration = share * (ASSIGNMENT * m / IMAGENET_CLUSTERS + MEANS * BY_MEMORY)
    iteration += all_reduce(4 * m * (DIM + 1), ranks)
    return CLUSTERINGS * ITERATIONS * iteration * batch / n


def memory(n, batch, ranks):
    """Bytes: the network; the bank and its labels; scores, lists and what is exchanged; centroids, sums and a copy."""
    rows, m = n / ranks, clusters(n, 0.5)
    of_network = PARAMETERS * (3 * 4 + 2)  # weights, gradients and momentum in f32; weights in bf16
    of_network += ACTIVATIONS * batch / ranks
    bank = rows * (4 * DIM + 4 * CLUSTERINGS)
    scores = min(SCORE_BUFFER, 4 * batch * rows)
    of_lists = LIST_BYTES * batch * min(BACKGROUND, rows)
    exchanged = batch * (2 * 4 * DIM + 256 * 4 + 3 * 4 * ranks) if ranks > 1 else 0
    return of_network + bank + scores + of_lists + exchanged + 3 * 4 * m * DIM


# ---- Tables --------------------------------------------------------------------------------------------------------------

SIZES = (10**6, 10**7, 10**8, 10**9)
GPUS = (1, 8, 64, 256, 1024)


def print_table(title, batch_of):
    print(f"\n{title}\n")
    head = ("N", "GPUs", "network", "gradients", "exchange", "search", "lists", "k-means", "step", "images/s",
            "least step", "memory, GB")
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for n in SIZES:
        for ranks in GPUS:
            batch, rows = batch_of(ranks), n / ranks
            always = [network(batch / ranks), gradients(ranks), exchange(batch, ranks)]
            of_kernels = [search(batch, rows), lists(batch, rows)]
            kmeans = clustering(n, batch, ranks, 0.5)
            step = sum(always) + sum(of_kernels) + kmeans
            least = sum(always) + least_search(batch, rows) + least_lists(batch, ranks) + kmeans
            needed = memory(n, batch, ranks)
            cells = [f"1e{round(math.log10(n))}", f"{ranks:,}"]
            cells += [f"{1e3 * t:,.1f}" for t in always + of_kernels + [kmeans, step]]
            cells += [f"{batch / step:,.0f}", f"{1e3 * least:,.1f}"]
            cells += [f"{needed / 1e9:,.0f}" + (" (too much)" if needed > H100_MEMORY else "")]
            print("| " + " | ".join(cells) + " |")


def crossing(seconds_of_search):
    """The N at which that takes as long as the network, with 256 pictures a GPU; found by halving an interval."""
    low, high = 1e4, 1e12
    while high / low > 1.0001:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if seconds_of_search(middle) < network(BATCH_OF_GPU) else (low, middle)
    return low


def print_crossings():
    print("\nThe N at which it costs as much as the network, forward and backward, with 256 pictures a GPU:\n")

    def show(what, n):
        print(f"  {n:8.2g}  {what}")

    b = BATCH_OF_GPU
    show(f"search, FLOP: 2 N D = {PICTURE_FLOP:.3g} of the network", PICTURE_FLOP / (2 * DIM))
    show("search, time, 2 N D FLOP at the published peak", network(b) / b * BF16_PEAK / (2 * DIM))
    show("search, time, 2 N D FLOP as fast as a large product, no scores stored, 64 GPUs",
         crossing(lambda n: least_search(b * 64, n / 64)))
    for ranks in GPUS[1:]:
        show(f"search, time, by the kernels as they are, {ranks:,} GPUs", crossing(lambda n: search(b * ranks, n / ranks)))
    kmeans_flop = 2 * DIM * CLUSTERINGS * ITERATIONS * IMAGENET_CLUSTERS / IMAGENET
    show(f"k-means, FLOP, m = N / 43: {kmeans_flop:.0f} N of a picture", PICTURE_FLOP / kmeans_flop)
    show("k-means, time, m = N / 43, 64 GPUs", crossing(lambda n: clustering(n, b * 64, 64, 1)))
    show("k-means, time, m growing as the root of N, 64 GPUs", crossing(lambda n: clustering(n, b * 64, 64, 0.5)))

    ranks = next(r for r in range(1, 10**4) if lists(b * r, BACKGROUND) > network(b))
    print(f"\nThe lists, k of each rank for each picture of the whole batch, cost as much from {ranks} GPUs on, for any N.")


def main():
    b = BATCH_OF_GPU
    rate = b / network(b)
    print(f"ResNet-50, 224 pixels, bf16, on H100 SXM: {rate:,.0f} images/s of a GPU without LA (measured on an H200: "
          f"{256 / STEP_H200:,.0f}).\n"
          f"Making views of JPEG files, not counted: {rate / VIEWS_OF_CORE:.0f} CPU cores a GPU.\n"
          f"D = {DIM}, H = {CLUSTERINGS}, k = {BACKGROUND}, m = {IMAGENET_CLUSTERS:,} x root(N / {IMAGENET:,}).\n"
          f"Times are ms a step. search, lists: the kernels as they are. least step: a search that stores no scores,\n"
          f"and lists of only what is among the k nearest of all.")
    print_table(f"Batch of {b} a GPU", lambda ranks: b * ranks)
    print_table(f"Whole batch of {WHOLE_BATCH:,}", lambda ranks: WHOLE_BATCH)
    print_crossings()


if __name__ == "__main__":
    main()
