"""What bench_map measures, of openTSNE and umap-learn: python3 peer_map.py VECTORS.npy [PERPLEXITY]"""

import sys
import time

try:
    import numpy as np
    import umap
    from openTSNE import TSNE
except ImportError as missing:
    print(f"# peer_map: no comparison, this Python has no {missing.name}")
    sys.exit(0)

K, SAMPLE = 12, 6000


def trustworthiness(x, places):
    """As in evaluation/tsne.h."""
    n, sample = len(x), min(SAMPLE, len(x))
    intruders = 0
    for i in (np.arange(sample) * n // sample):
        similarities = x @ x[i]
        similarities[i] = np.inf
        distances = ((places - places[i]) ** 2).sum(1)
        distances[i] = -1
        for j in np.argpartition(distances, K)[:K + 1]:
            intruders += max((similarities > similarities[j]).sum() - K, 0)
    return 1 - 2 * intruders / (sample * K * (2 * n - 3 * K - 1))


def measure(name, x, method):
    begin = time.perf_counter()
    places = np.asarray(method(x), np.float64)
    seconds = time.perf_counter() - begin
    print(f"{name}: {seconds:.1f} s, trustworthiness {trustworthiness(x, places):.5f}", flush=True)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("peer_map: expected a file of vectors, and perhaps a perplexity")
    x = np.load(sys.argv[1])
    perplexity = float(sys.argv[2]) if len(sys.argv) == 3 else 30
    measure(f"openTSNE, perplexity {perplexity:g}", x, TSNE(n_jobs=-1, random_state=0, perplexity=perplexity).fit)
    # With a seed it works on one thread.
    measure("umap-learn", x, umap.UMAP(metric="cosine", random_state=0).fit_transform)


main()
