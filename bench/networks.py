"""The networks of layers/ in PyTorch, for the benchmarks to compare with."""

import torch.nn.functional as F
from torch import nn


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inside, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = projection(inside, width, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += x if self.shortcut is None else self.shortcut(x)
        return F.relu(y, inplace=True)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inside, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.shortcut = projection(inside, 4 * width, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        y += x if self.shortcut is None else self.shortcut(x)
        return F.relu(y, inplace=True)


def projection(inside, outside, stride):
    if stride == 1 and inside == outside:
        return None
    return nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))


class ResNet(nn.Module):
    """stem: kernel, stride and padding of the first convolution; one of 7 is followed by pooling."""

    def __init__(self, block, blocks, width, channels, stem):
        super().__init__()
        kernel, stride, padding = stem
        layers = [nn.Conv2d(channels, width, kernel, stride, padding, bias=False), nn.BatchNorm2d(width),
                  nn.ReLU(inplace=True)]
        if kernel == 7:
            layers.append(nn.MaxPool2d(3, 2, 1))
        inside = width
        for stage, count in enumerate(blocks):
            for number in range(count):
                layers.append(block(inside, width << stage, 2 if stage > 0 and number == 0 else 1))
                inside = (width << stage) * block.expansion
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(inside, 128)

    def forward(self, x):
        return F.normalize(self.fc(self.features(x).mean((2, 3)).float()))


class AlexNet(nn.Module):
    """For pictures of 224 pixels; batch norm after every layer, no dropout."""

    def __init__(self, channels):
        super().__init__()

        def convolution(inside, outside, kernel, stride, padding):
            return [nn.Conv2d(inside, outside, kernel, stride, padding, bias=False), nn.BatchNorm2d(outside),
                    nn.ReLU(inplace=True)]

        self.features = nn.Sequential(*convolution(channels, 64, 11, 4, 2), nn.MaxPool2d(3, 2),
                                      *convolution(64, 192, 5, 1, 2), nn.MaxPool2d(3, 2),
                                      *convolution(192, 384, 3, 1, 1), *convolution(384, 384, 3, 1, 1),
                                      *convolution(384, 256, 3, 1, 1), nn.MaxPool2d(3, 2))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(9216, 4096, bias=False), nn.BatchNorm1d(4096),
                                        nn.ReLU(inplace=True), nn.Linear(4096, 4096, bias=False),
                                        nn.BatchNorm1d(4096), nn.ReLU(inplace=True), nn.Linear(4096, 128))

    def forward(self, x):
        return F.normalize(self.classifier(self.features(x)).float())


def make_network(name, channels, size):
    """As layers/networks.h: up to 64 pixels, the large ResNets have a small stem."""
    stem = (3, 1, 1) if size <= 64 else (7, 2, 3)
    return {
        "resnet20": lambda: ResNet(BasicBlock, [3, 3, 3], 16, channels, (3, 1, 1)),
        "resnet8-wide": lambda: ResNet(BasicBlock, [1, 1, 1], 32, channels, (5, 2, 2)),
        "resnet20-wide": lambda: ResNet(BasicBlock, [3, 3, 3], 32, channels, (5, 2, 2)),
        "resnet18": lambda: ResNet(BasicBlock, [2, 2, 2, 2], 64, channels, stem),
        "resnet50": lambda: ResNet(Bottleneck, [3, 4, 6, 3], 64, channels, stem),
        "alexnet": lambda: AlexNet(channels),
    }[name]()
