"""The work of bench_detection in torchvision; its roi_align stands beside crop_and_resize too, of which it has none.

    python3 peer_detection.py FILE    FILE: the boxes and scores that bench_detection wrote

Prints a line for each: its name and the median time in ms. If torchvision is not installed, it says so and prints nothing else.
"""

import sys
import time

from strong import restart_with_strong_settings

restart_with_strong_settings()

try:
    import torch
    from torchvision.ops import nms, roi_align
except ImportError:
    print("# peer_detection: no comparison, this Python has no torchvision")
    sys.exit(0)

PROPOSALS, REGIONS, HEIGHT, WIDTH, CHANNELS, STRIDE = 12000, 256, 38, 50, 1024, 16


def report(name, work):
    work()
    times, start = [], time.perf_counter()
    while len(times) < 5 or (len(times) < 50 and time.perf_counter() - start < 1):
        begin = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - begin))
    print(f"{name}\t{sorted(times)[len(times) // 2]:.3f}", flush=True)


def report_regions(boxes, ratio, name):
    x = torch.randn(1, CHANNELS, HEIGHT, WIDTH, requires_grad=True)
    rois = torch.cat([torch.zeros(REGIONS, 1), boxes], 1)
    y = roi_align(x, rois, 7, 1 / STRIDE, ratio)
    dy = torch.randn_like(y)
    with torch.no_grad():
        report(name + " f32 forward", lambda: roi_align(x, rois, 7, 1 / STRIDE, ratio))
    report(name + " f32 backward", lambda: torch.autograd.grad(y, x, dy, retain_graph=True))


def main():
    torch.manual_seed(1)
    values = torch.from_file(sys.argv[1], size=9 * PROPOSALS)
    spread, grouped = (values[4 * PROPOSALS * i : 4 * PROPOSALS * (i + 1)].view(-1, 4) for i in range(2))
    scores = values[8 * PROPOSALS :]
    for name, boxes in (("spread", spread), ("grouped", grouped)):
        for threshold in (0.7, 0.5):
            print(f"# {name} at {threshold}: {len(nms(boxes, scores, threshold))} kept")
            report(f"nms {name} {threshold}", lambda: nms(boxes, scores, threshold))
    # As many samples a cell as crop_and_resize has: one.
    report_regions(spread[:REGIONS], 1, "crop_and_resize")
    report_regions(spread[:REGIONS], 2, "roi_align")


main()
