"""The work of bench_gpu in PyTorch, at its best: channels_last, bf16 autocast, fused SGD, torch.compile where it runs,
also with CUDA graphs. Prints the same lines: name, median, unit, separated by tabs.

    python3 peer_gpu.py [NAME ...]
"""

import os
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    print("# peer_gpu: no comparison, this Python has no torch")
    sys.exit(0)
from networks import make_network  # which needs torch

if not torch.cuda.is_available():
    print("# peer_gpu: no comparison, PyTorch sees no GPU")
    sys.exit(0)

GPU = torch.device("cuda")


def seconds_of(work, calls, rounds=7):
    """Median seconds of one call of `work`."""
    for _ in range(3):
        work()
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) / calls)
    return sorted(times)[len(times) // 2]


def report(name, value, unit):
    print(f"{name}\t{value:.4g}\t{unit}", flush=True)


# --- Yardsticks ------------------------------------------------------------------------------------------------------


def measure_copy():
    source = torch.ones(1 << 28, device=GPU)
    target = torch.empty_like(source)
    report("copy", 2 * source.numel() * 4 / seconds_of(lambda: target.copy_(source), 5) / 1e9, "GB/s")


def measure_matmul():
    n = 8192
    a, b = (torch.randn(n, n, device=GPU, dtype=torch.bfloat16) for _ in range(2))
    report("matmul_bf16", 2 * n**3 / seconds_of(lambda: a @ b.T, 5) / 1e12, "TFLOP/s")


# --- Augmentation of a batch on the GPU ------------------------------------------------------------------------------


def augment(pictures, rows, size):
    """Random resized crop, flip, grayscale, and jitter of brightness, contrast and saturation, vectorized over the batch."""
    x = pictures[rows].permute(0, 3, 1, 2).float().div_(255)
    n = x.shape[0]
    area = torch.empty(n, device=GPU).uniform_(0.2, 1)
    aspect = torch.exp(torch.empty(n, device=GPU).uniform_(-0.2877, 0.2877))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    flip = torch.where(torch.rand(n, device=GPU) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3, device=GPU)
    theta[:, 0, 0] = width * flip
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (2 * torch.rand(n, device=GPU) - 1) * (1 - width)
    theta[:, 1, 2] = (2 * torch.rand(n, device=GPU) - 1) * (1 - height)
    x = F.grid_sample(x, F.affine_grid(theta, (n, 3, size, size), align_corners=False), align_corners=False)
    luma = torch.tensor([0.299, 0.587, 0.114], device=GPU).view(1, 3, 1, 1)
    gray = (torch.rand(n, 1, 1, 1, device=GPU) < 0.2).float()
    x = gray * (x * luma).sum(1, keepdim=True) + (1 - gray) * x
    brightness, contrast, saturation = (torch.empty(n, 1, 1, 1, device=GPU).uniform_(0.6, 1.4) for _ in range(3))
    x = (x * brightness).clamp_(0, 1)
    x = (contrast * x + (1 - contrast) * (x * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True)).clamp_(0, 1)
    x = (saturation * x + (1 - saturation) * (x * luma).sum(1, keepdim=True)).clamp_(0, 1)
    return ((x - 0.45) / 0.25).contiguous(memory_format=torch.channels_last)


def measure_training(name, network, size, batch, on_gpu, mode):
    """mode: of torch.compile, or eager."""
    torch.backends.cudnn.benchmark = True
    network = network.to(GPU, memory_format=torch.channels_last)
    weights = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    sgd = torch.optim.SGD([{"params": weights, "weight_decay": 1e-4}, {"params": others}], lr=0.01, momentum=0.9,
                          fused=True)
    pictures = torch.randint(0, 256, (50000, size, size, 3), device=GPU, dtype=torch.uint8) if on_gpu else None
    fixed = torch.randn(batch, 3, size, size, device=GPU).to(memory_format=torch.channels_last)
    target = torch.randn(batch, 128, device=GPU)
    model = torch.compile(network, mode=mode) if mode != "eager" else network
    views = torch.compile(augment) if mode != "eager" else augment

    def step():
        images = views(pictures, torch.randint(0, 50000, (batch,), device=GPU), size) if on_gpu else fixed
        with torch.autocast("cuda", dtype=torch.bfloat16):
            v = model(images)
        loss = (v * target).mean()
        sgd.zero_grad(set_to_none=True)
        loss.backward()
        sgd.step()

    report(name, batch / seconds_of(step, 5 if size > 64 else 30), "images/s")


def best_training(name, network, size, batch, on_gpu):
    """Eager, compiled, and compiled with CUDA graphs, or what LA_PEER_MODES names; the best counts."""
    for mode in os.environ.get("LA_PEER_MODES", "eager default reduce-overhead").split():
        try:
            print(f"# {name}: " + ("eager" if mode == "eager" else f"torch.compile, mode {mode}"), flush=True)
            measure_training(name, make_network(network, 3, size), size, batch, on_gpu, mode)
        except Exception as error:  # torch.compile needs a compiler on the machine
            print(f"# {name}: failed: {str(error).splitlines()[0][:150]}", flush=True)
        torch._dynamo.reset()
        torch.cuda.empty_cache()


# --- Local Aggregation -----------------------------------------------------------------------------------------------

BANK, DIM, BATCH, BACKGROUND, LABELINGS, CLUSTERS = 1_281_167, 128, 256, 4096, 10, 30_000


def clustered_vectors(n):
    centers = torch.randn(10_000, DIM, device=GPU)
    return F.normalize(centers[torch.randint(0, 10_000, (n,), device=GPU)] + torch.randn(n, DIM, device=GPU))


def measure_la_step():
    bank = clustered_vectors(BANK)
    labels = torch.randint(0, CLUSTERS, (LABELINGS, BANK), device=GPU, dtype=torch.int32)
    own = torch.arange(BATCH, device=GPU) * 4999
    v = F.normalize(bank[own] + clustered_vectors(BATCH)).requires_grad_()

    def step():
        with torch.no_grad():
            near = torch.topk(v @ bank.T, BACKGROUND).indices
            close = (labels[:, near] == labels[:, own].unsqueeze(2)).any(0)
        logits = torch.einsum("bd,bkd->bk", v, bank[near]) / 0.07
        loss = (logits.logsumexp(1) - logits.masked_fill(~close, float("-inf")).logsumexp(1)).mean()
        v.grad = None
        loss.backward()
        with torch.no_grad():
            bank[own] = F.normalize(0.5 * bank[own] + 0.5 * v)

    report("la_step", 1e3 * seconds_of(step, 5), "ms")


def measure_top_k():
    scores = clustered_vectors(BATCH) @ clustered_vectors(BANK).T
    report("top_4096", 1e3 * seconds_of(lambda: torch.topk(scores, BACKGROUND), 5), "ms")


def measure_kmeans():
    x = clustered_vectors(BANK)
    centroids = x[:CLUSTERS].clone()

    def assign():
        half, labels = centroids.bfloat16(), []
        offset = -0.5 * (centroids * centroids).sum(1)
        for part in x.split(16384):
            labels.append(((part.bfloat16() @ half.T).float() + offset).argmax(1))
        return torch.cat(labels)

    seconds = seconds_of(assign, 2, 3)
    report("kmeans_assign", 1e3 * seconds, "ms")
    report("kmeans_assign_rate", 2 * BANK * CLUSTERS * DIM / seconds / 1e12, "TFLOP/s")
    labels = assign()

    def update():
        sums = torch.zeros_like(centroids).index_add_(0, labels, x)
        return sums / torch.bincount(labels, minlength=CLUSTERS).clamp(min=1).unsqueeze(1)

    report("kmeans_update", 1e3 * seconds_of(update, 2, 3), "ms")


MEASUREMENTS = {
    "copy": measure_copy,
    "matmul_bf16": measure_matmul,
    "resnet50_step": lambda: best_training("resnet50_step", "resnet50", 224, 256, False),
    "resnet18_small_step": lambda: best_training("resnet18_small_step", "resnet18", 32, 512, True),
    "top_4096": measure_top_k,
    "la_step": measure_la_step,
    "kmeans": measure_kmeans,
}

print(f"# PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, {torch.cuda.get_device_name()}")
for chosen in sys.argv[1:] or MEASUREMENTS:
    MEASUREMENTS[chosen]()
