"""The work of bench_step in PyTorch: python3 peer_step.py NETWORK SIZE CHANNELS f32|bf16 BATCH STEPS

Prints the same line: median and best images/s, and the peak memory in MiB. channels_last, and bf16 by autocast. If
PyTorch is not installed, it says so and prints nothing else.
"""

import resource
import sys
import time

from strong import restart_with_strong_settings

restart_with_strong_settings()

try:
    import torch
except ImportError:
    print("# peer_step: no comparison, this Python has no torch (package python3-torch)")
    sys.exit(0)


from networks import make_network  # which needs torch


def main():
    name, size, channels, precision, batch, steps = sys.argv[1:]
    size, channels, batch, steps = int(size), int(channels), int(batch), int(steps)
    torch.manual_seed(1)
    network = make_network(name, channels, size).to(memory_format=torch.channels_last)
    weights = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    sgd = torch.optim.SGD([{"params": weights, "weight_decay": 1e-4}, {"params": others}], lr=0.01, momentum=0.9)
    images = torch.randn(batch, channels, size, size).to(memory_format=torch.channels_last)
    target = torch.randn(batch, 128)
    rates = []
    for step in range(-2, steps):
        begin = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            v = network(images)
        loss = (v.float() * target).mean()
        sgd.zero_grad(set_to_none=True)
        loss.backward()
        sgd.step()
        if step >= 0:
            rates.append(batch / (time.perf_counter() - begin))
    rates.sort()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{rates[len(rates) // 2]:.1f}\t{rates[-1]:.1f}\t{peak}")


main()
