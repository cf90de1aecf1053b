"""The convolutions of bench_layers in PyTorch, whose kernels on a CPU are oneDNN's; channels_last.

    python3 peer_layers.py FILE    FILE: what bench_layers printed

Prints a line for each: its name and the median time in ms. If PyTorch is not installed, it says so and prints nothing else.
"""

import re
import sys
import time

from strong import restart_with_strong_settings

restart_with_strong_settings()

try:
    import torch
    from torch.nn.functional import conv2d
except ImportError:
    print("# peer_layers: no comparison, this Python has no torch (package python3-torch)")
    sys.exit(0)

LINE = re.compile(r"(f32|bf16) conv (\d+)x\d+ (\d+)->(\d+) at (\d+)x\d+ /(\d+) batch (\d+) (forward|data|weight)")


def median_ms(work):
    work()
    work()
    times, start = [], time.perf_counter()
    while len(times) < 5 or (len(times) < 50 and time.perf_counter() - start < 0.5):
        begin = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - begin))
    return sorted(times)[len(times) // 2]


def run(dtype, kernel, inside, outside, extent, stride, batch, which):
    kind = torch.float32 if dtype == "f32" else torch.bfloat16

    def random(*shape):
        return torch.randn(*shape).to(kind).to(memory_format=torch.channels_last)

    x, weight = random(batch, inside, extent, extent), random(outside, inside, kernel, kernel)
    padding = kernel // 2
    dy = random(*conv2d(x, weight, None, stride, padding).shape)

    def gradient(of_x, of_weight):
        torch.ops.aten.convolution_backward(dy, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1,
                                            [of_x, of_weight, False])

    return {
        "forward": lambda: conv2d(x, weight, None, stride, padding),
        "data": lambda: gradient(True, False),
        "weight": lambda: gradient(False, True),
    }[which]


def main():
    torch.manual_seed(1)
    with torch.no_grad(), open(sys.argv[1]) as lines:
        for found in filter(None, map(LINE.match, lines)):
            dtype, *numbers, which = found.groups()
            print(f"{found.group()}\t{median_ms(run(dtype, *map(int, numbers), which)):.3f}", flush=True)


main()
