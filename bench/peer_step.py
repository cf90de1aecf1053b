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
    from torch import nn
    import torch.nn.functional as F
except ImportError:
    print("# peer_step: no comparison, this Python has no torch (package python3-torch)")
    sys.exit(0)


class Block(nn.Module):
    def __init__(self, inside, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = None
        if stride != 1 or inside != width:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += x if self.shortcut is None else self.shortcut(x)
        return F.relu(y, inplace=True)


class ResNet(nn.Module):
    def __init__(self, blocks, width, channels, stem):
        super().__init__()
        kernel, stride, padding = stem
        self.conv1 = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        layers, inside = [], width
        for stage, count in enumerate(blocks):
            for block in range(count):
                layers.append(Block(inside, width << stage, 2 if stage > 0 and block == 0 else 1))
                inside = width << stage
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(inside, 128)

    def forward(self, x):
        y = self.layers(F.relu(self.bn1(self.conv1(x)), inplace=True))
        return F.normalize(self.fc(y.mean((2, 3)).float()))


NETWORKS = {
    "resnet20": lambda c: ResNet([3, 3, 3], 16, c, (3, 1, 1)),
    "resnet20-wide": lambda c: ResNet([3, 3, 3], 32, c, (5, 2, 2)),
    "resnet18": lambda c: ResNet([2, 2, 2, 2], 64, c, (3, 1, 1)),
}


def main():
    name, size, channels, precision, batch, steps = sys.argv[1:]
    size, channels, batch, steps = int(size), int(channels), int(batch), int(steps)
    torch.manual_seed(1)
    network = NETWORKS[name](channels).to(memory_format=torch.channels_last)
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
