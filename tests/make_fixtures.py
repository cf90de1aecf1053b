"""Writes tests/fixtures/*.safetensors: what PyTorch computes for our layers, losses and a short training.

    python3 tests/make_fixtures.py        # in the root of the project; needs PyTorch and NumPy, no torchvision

The program was run with PyTorch 1.13; its output is part of the project, so that the tests need no PyTorch.

A file is in the safetensors format: the length of the header (8 bytes, little-endian), the header in JSON, the data.
Images are stored [N, H, W, C], as the project has them; convolution weights and their gradients [O, I, H, W], as
PyTorch has them (layers/state_dict.h converts). Results are computed in double precision and stored as f32. How far
PyTorch's own f32 is from them, in the worst element of each tensor and of 17 runs, is in the metadata as
"error.<name>": the tests derive their tolerances from it.
"""
import copy
import json
import os
import struct

import numpy
import torch
from torch import nn
from torch.nn import functional

SEED = 56  # of the first 60: the one whose ReLUs stay farthest from their kinks (4e-5), where f32 could fall out differently
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")


# ---- The file format -----------------------------------------------------------------------------------------------


def write_safetensors(path, tensors, metadata):
    names = {numpy.dtype("float32"): "F32", numpy.dtype("int32"): "I32", numpy.dtype("uint8"): "U8"}
    header, data = {"__metadata__": metadata}, b""
    for name, array in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        block = numpy.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + len(block)]}
        data += block
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def nhwc(x):
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x


def save(name, inputs, compute):
    """inputs: tensors that the test reads as they are. compute(dtype, disturb): a dict of results in that type, after
    `disturb` has been applied to the inputs."""
    noise = torch.Generator().manual_seed(SEED)

    def last_bit(x):
        """x in f32 with the last bit of some elements changed: an algorithm in f32 is as good as exact on such x."""
        change = torch.randint(-1, 2, x.shape, generator=noise)
        return x * (1 + change.to(x.dtype) * 2.0 ** -23)

    exact = compute(torch.float64, lambda x: x)
    singles = [compute(torch.float32, lambda x: x)]
    for run in range(16):
        with torch.backends.mkldnn.flags(enabled=run % 2 == 0):  # two implementations, with other orders of sums
            singles.append(compute(torch.float32, last_bit))
    tensors = {key: value.detach().numpy() for key, value in inputs.items()}
    metadata, scale = {}, max(value.abs().max().item() for value in exact.values())
    for key, value in exact.items():
        error = max((single[key].double() - value).abs().max().item() for single in singles)
        # More than that is no rounding: a ReLU or a maximum that falls out differently. Then take another seed.
        assert error <= 1e-5 * scale, f"{name}: {key} differs by {error} in f32"
        metadata["error." + key] = f"{error:.1e}"
        tensors[key] = value.detach().float().numpy()
    write_safetensors(os.path.join(FOLDER, name + ".safetensors"), tensors, metadata)


# ---- Layers and blocks ---------------------------------------------------------------------------------------------


def conv3x3(inside, outside, stride=1):
    return nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)


def conv1x1(inside, outside, stride=1):
    return nn.Conv2d(inside, outside, 1, stride, bias=False)


class Block(nn.Module):
    """The four residual blocks. kernels: of the convolutions; the 3x3 one that comes first has the stride. projects: even
    where the shortcut could be the identity."""

    def __init__(self, inside, width, stride, kernels, pre_activation, projects=False):
        super().__init__()
        self.pre_activation, self.count = pre_activation, len(kernels)
        expansion = 1 if len(kernels) == 2 else 4
        channels = [inside] + [width] * (len(kernels) - 1) + [width * expansion]
        for i, kernel in enumerate(kernels):
            make = conv3x3 if kernel == 3 else conv1x1
            setattr(self, f"conv{i + 1}", make(channels[i], channels[i + 1], stride if i == kernels.index(3) else 1))
            setattr(self, f"bn{i + 1}", nn.BatchNorm2d(channels[i] if pre_activation else channels[i + 1]))
        self.downsample = None
        if projects or stride != 1 or inside != channels[-1]:
            projection = conv1x1(inside, channels[-1], stride)
            self.downsample = projection if pre_activation else nn.Sequential(projection,
                                                                              nn.BatchNorm2d(channels[-1]))

    def forward(self, x):
        y, shortcut = x, x if self.downsample is None else None
        for i in range(1, self.count + 1):
            conv, bn = getattr(self, f"conv{i}"), getattr(self, f"bn{i}")
            if self.pre_activation:
                activated = functional.relu(bn(y))
                if i == 1 and shortcut is None:
                    shortcut = self.downsample(activated)
                y = conv(activated)
            else:
                y = bn(conv(y))
                y = functional.relu(y) if i < self.count else y
        if shortcut is None:
            shortcut = self.downsample(x)
        return y + shortcut if self.pre_activation else functional.relu(y + shortcut)


class ResNet(nn.Module):
    """original: as LA's original program has it: the first block of each stage projects, and the stem pools as
    TensorFlow does with padding "SAME"."""

    def __init__(self, blocks, width, kernels, large_stem, pre_activation, dim, original=False):
        super().__init__()
        self.large_stem, self.pre_activation, self.original = large_stem, pre_activation, original
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False) if large_stem else conv3x3(3, width)
        expansion = 1 if len(kernels) == 2 else 4
        features = width * 2 ** (len(blocks) - 1) * expansion
        self.bn1 = nn.BatchNorm2d(features if pre_activation else width)
        self.stages, inside = len(blocks), width
        for s, count in enumerate(blocks):
            stage = []
            for b in range(count):
                stride = 2 if s > 0 and b == 0 else 1
                stage.append(Block(inside, width * 2 ** s, stride, kernels, pre_activation, original and b == 0))
                inside = width * 2 ** s * expansion
            setattr(self, f"layer{s + 1}", nn.Sequential(*stage))
        self.fc = nn.Linear(features, dim)

    def forward(self, x):
        y = self.conv1(x)
        if not self.pre_activation:
            y = functional.relu(self.bn1(y))
        if self.large_stem and self.original:
            total = 2 * (-(-y.shape[2] // 2) - 1) + 3 - y.shape[2]  # so that the windows are half as many as the pixels
            before, after = total // 2, total - total // 2
            y = functional.pad(y, (before, after, before, after), value=float("-inf"))
            y = functional.max_pool2d(y, 3, 2)
        elif self.large_stem:
            y = functional.max_pool2d(y, 3, 2, 1)
        for s in range(self.stages):
            y = getattr(self, f"layer{s + 1}")(y)
        if self.pre_activation:
            y = functional.relu(self.bn1(y))
        return self.fc(y.mean((2, 3)))


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def randomize(module):
    """Convolutions as He initializes them; batch norm with scales, shifts and statistics that are not trivial."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
            nn.init.normal_(layer.running_mean, 0, 0.5)
            nn.init.uniform_(layer.running_var, 0.5, 2)


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items() if "num_batches" not in name}


def save_module(name, module, shape):
    """Forward and backward in training mode, then forward in evaluation mode if it differs."""
    randomize(module)
    state = state_of(module)
    x = torch.randn(shape)
    dy = torch.randn_like(module(x))

    def compute(dtype, disturb):
        module.load_state_dict({key: disturb(value) for key, value in state.items()}, strict=False)
        module.to(dtype).train()
        module.zero_grad()
        leaf = disturb(x.to(dtype)).clone().requires_grad_()
        y = module(leaf)
        y.backward(disturb(dy.to(dtype)))
        results = {"y": nhwc(y), "dx": nhwc(leaf.grad)}
        results.update({"grad." + key: p.grad.clone() for key, p in module.named_parameters()})
        results.update({"after." + key: b.clone() for key, b in module.named_buffers() if "running" in key})
        if any(True for _ in module.buffers()):
            module.eval()
            results["y_eval"] = nhwc(module(disturb(x.to(dtype)))).detach()
        return results

    inputs = {"x": nhwc(x), "dy": nhwc(dy)}
    inputs.update({"state." + key: value for key, value in state.items()})
    save(name, inputs, compute)


def save_modules():
    image = (2, 3, 5, 4)
    save_module("conv2d", nn.Conv2d(3, 5, 3, stride=2, padding=1), image)
    save_module("conv2d_dilated", nn.Conv2d(3, 4, 3, padding=2, dilation=2, bias=False), image)
    save_module("linear", nn.Linear(7, 5), (4, 7))
    save_module("batch_norm", nn.BatchNorm2d(3), image)
    save_module("relu", nn.ReLU(), image)
    save_module("sigmoid", nn.Sigmoid(), image)
    save_module("max_pool2d", nn.MaxPool2d(3, 2, 1), image)
    save_module("avg_pool2d", nn.AvgPool2d(3, 2, 1, count_include_pad=False), image)
    save_module("global_avg_pool", Lambda(lambda x: x.mean((2, 3))), image)
    features = (2, 3, 5, 4)
    for form, pre_activation in (("", False), ("pre_activation_", True)):
        save_module(form + "basic_block", Block(3, 3, 1, (3, 3), pre_activation), features)
        save_module(form + "basic_block_stride", Block(3, 4, 2, (3, 3), pre_activation), features)
        save_module(form + "bottleneck", Block(8, 2, 1, (1, 3, 1), pre_activation), (2, 8, 4, 3))
        save_module(form + "bottleneck_stride", Block(3, 2, 2, (1, 3, 1), pre_activation), features)
    save_module("resnet_bottleneck", ResNet((1,), 2, (1, 3, 1), True, False, 5), (2, 3, 14, 13))
    save_module("resnet_pre_activation", ResNet((1, 1), 2, (3, 3), False, True, 5), (2, 3, 6, 5))


# ---- Losses, from the equations ------------------------------------------------------------------------------------


def local_aggregation_loss(v, bank, background, close, tau):
    """-log( P(C and B | v) / P(B | v) ), P(i | v) = exp(bank_i . v / tau) / sum_j exp(bank_j . v / tau)."""
    p = torch.softmax(v @ bank.t() / tau, dim=1)
    of_background = p.gather(1, background)
    return -torch.log((of_background * close).sum(1) / of_background.sum(1)).mean()


def instance_softmax_loss(v, bank, pictures, tau):
    p = torch.softmax(v @ bank.t() / tau, dim=1)
    return -torch.log(p.gather(1, pictures[:, None])).mean()


def instance_nce_loss(v, bank, candidates, z, tau):
    """candidates: the picture, then m noise pictures; h = P / (P + m / N)."""
    p = torch.exp((bank[candidates] * v[:, None, :]).sum(2) / tau) / z
    h = p / (p + (candidates.shape[1] - 1) / bank.shape[0])
    return -(torch.log(h[:, 0]) + torch.log(1 - h[:, 1:]).sum(1)).mean()


def save_losses():
    batch, size, dim, k, m, tau, z = 5, 90, 12, 30, 20, 0.07, 5000.0
    bank = functional.normalize(torch.randn(size, dim))
    v = functional.normalize(torch.randn(batch, dim) + 2 * bank[:batch])
    pictures = torch.tensor([3, 0, 77, 89, 3])
    background = torch.topk(v @ bank.t(), k).indices.sort(1).values
    close = (torch.rand(batch, k) < 0.2).float()
    close[:, 0] = 1
    candidates = torch.cat([pictures[:, None], torch.randint(size, (batch, m))], 1)
    similarities = torch.gather((v.double() @ bank.double().t()).float(), 1, background)

    def compute(dtype, disturb):
        results = {}
        losses = {"local_aggregation": lambda x, b: local_aggregation_loss(x, b, background, close.to(dtype), tau),
                  "instance_softmax": lambda x, b: instance_softmax_loss(x, b, pictures, tau),
                  "instance_nce": lambda x, b: instance_nce_loss(x, b, candidates, z, tau)}
        for name, loss in losses.items():
            leaf = disturb(v.to(dtype)).clone().requires_grad_()
            value = loss(leaf, disturb(bank.to(dtype)))
            value.backward()
            results[name] = value.detach().reshape(1)
            results[name + ".dv"] = leaf.grad
        return results

    save("losses", {"v": v, "bank": bank, "pictures": pictures.int(), "background": background.int(),
                    "similarities": similarities, "close": close.byte(), "candidates": candidates.int()}, compute)


# ---- The networks, as they are ---------------------------------------------------------------------------------------


class NormalizedClassifier(nn.Module):
    """Two hidden layers with batch norm; the layers' names are the numbers that they have here."""

    def __init__(self, inside, dim):
        super().__init__()
        for name, layer in {"0": nn.Linear(inside, 4096, bias=False), "1": nn.BatchNorm1d(4096),
                            "2": nn.Linear(4096, 4096, bias=False), "3": nn.BatchNorm1d(4096),
                            "5": nn.Linear(4096, dim)}.items():
            self.add_module(name, layer)

    def forward(self, x):
        layer = self._modules
        y = functional.relu(layer["1"](layer["0"](x)))
        return layer["5"](functional.relu(layer["3"](layer["2"](y))))


class AlexNet(nn.Module):
    """The fully connected layers see the picture's positions as torchvision's do, channels first."""

    def __init__(self, dim, first_padding=2):
        super().__init__()
        features = []
        for inside, outside, kernel, stride, padding, pools in ((3, 64, 11, 4, first_padding, True),
                                                                (64, 192, 5, 1, 2, True),
                                                                (192, 384, 3, 1, 1, False),
                                                                (384, 384, 3, 1, 1, False),
                                                                (384, 256, 3, 1, 1, True)):
            features += [nn.Conv2d(inside, outside, kernel, stride, padding, bias=False), nn.BatchNorm2d(outside),
                         nn.ReLU()]
            features += [nn.MaxPool2d(3, 2)] if pools else []
        self.features = nn.Sequential(*features)
        self.classifier = NormalizedClassifier(ALEXNET_POSITIONS * 256, dim)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Vgg16(nn.Module):
    """Batch norm stands after every convolution, or as in LA's original program after the last of each block and the
    two hidden layers; what it follows has no bias there."""

    def __init__(self, dim, original):
        super().__init__()
        features, inside = [], 3
        for outside, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for i in range(count):
                norm = not original or i == count - 1
                features.append(nn.Conv2d(inside, outside, 3, padding=1, bias=not (original and norm)))
                features += [nn.BatchNorm2d(outside), nn.ReLU()] if norm else [nn.ReLU()]
                inside = outside
            features.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*features)
        if original:
            self.classifier = NormalizedClassifier(VGG_POSITIONS * 512, dim)
        else:
            self.classifier = nn.Sequential(nn.Linear(VGG_POSITIONS * 512, 4096), nn.ReLU(), nn.Dropout(0),
                                            nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0), nn.Linear(4096, dim))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


ALEXNET_SIZE, ALEXNET_POSITIONS = 95, 4  # pixels; of the last map, so that the order of positions counts
ORIGINAL_ALEXNET_SIZE = 99               # whose first convolution does not pad
VGG_SIZE, VGG_POSITIONS = 64, 4


def numbers_of(number, shape):
    """Pseudorandom, uniform in [-1, 1), the same in the tests: multiplicative hashing of the element's place."""
    place = numpy.arange(int(numpy.prod(shape)), dtype=numpy.uint64) + numpy.uint64(number << 32)
    x = place * numpy.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> numpy.uint64(29))) * numpy.uint64(0xBF58476D1CE4E5B9)
    return torch.from_numpy((x >> numpy.uint64(40)).astype(numpy.float32) / 2 ** 23 - 1).reshape(shape)


def save_networks():
    """For each network, on four small pictures, with pseudorandom parameters: the embedding, and the norm of each
    parameter's gradient."""
    batch, dim = 4, 4

    def resnet(blocks, kernels, pre_activation, large_stem=False, width=64, original=False):
        return ResNet(blocks, width, kernels, large_stem, pre_activation, dim, original)

    basic, bottleneck = (3, 3), (1, 3, 1)
    networks = {"alexnet": (AlexNet(dim), ALEXNET_SIZE), "original-alexnet": (AlexNet(dim, 0), ORIGINAL_ALEXNET_SIZE),
                "vgg16": (Vgg16(dim, True), VGG_SIZE), "vgg16_bn": (Vgg16(dim, False), VGG_SIZE),
                "resnet20": (resnet((3, 3, 3), basic, False, width=16), 16),
                "resnet18-large": (resnet((2, 2, 2, 2), basic, False, True), 65),
                # The stem's maps are of 36 and of 33 pixels, which it pads otherwise.
                "original-resnet18": (resnet((2, 2, 2, 2), basic, True, True, original=True), 72),
                "original-resnet50": (resnet((3, 4, 6, 3), bottleneck, True, True, original=True), 65)}
    for form, pre_activation in (("", False), ("preact-", True)):
        networks[form + "resnet18"] = (resnet((2, 2, 2, 2), basic, pre_activation), 16)
        networks[form + "resnet34"] = (resnet((3, 4, 6, 3), basic, pre_activation), 16)
        networks[form + "resnet50"] = (resnet((3, 4, 6, 3), bottleneck, pre_activation), 16)
        networks[form + "resnet101"] = (resnet((3, 4, 23, 3), bottleneck, pre_activation), 16)

    for name, (network, size) in networks.items():
        for number, (key, p) in enumerate(network.named_parameters()):
            fan_in = p[0].numel() if p.dim() > 1 else 1
            value = numbers_of(number, p.shape)
            p.data = value * (3 / fan_in) ** 0.5 if p.dim() > 1 else 1 + value / 2 if key.endswith("weight") else value / 4
        dy = numbers_of(10000, (batch, dim))
        x = numbers_of(10001, (batch, size, size, 3)).permute(0, 3, 1, 2)
        errors, results = compare_precisions(network, x, dy)
        metadata = {"parameters": " ".join(key for key, _ in network.named_parameters()), "image_size": str(size)}
        metadata.update({"error." + key: f"{error:.1e}" for key, error in errors.items()})
        write_safetensors(os.path.join(FOLDER, f"network_{name}.safetensors"),
                          {key: value.detach().float().numpy() for key, value in results.items()}, metadata)


def compare_precisions(network, x, dy):
    """The errors of f32 in the worst of a few runs, and the results of double precision. An error is relative to the
    value plus a hundredth of the largest, for some are almost zero: such as the gradient of a bias before batch norm.
    In so deep networks ReLUs fall out differently, which changes gradients; that is part of the error."""

    def compute(dtype, disturbance=0.0):
        twin = copy.deepcopy(network).to(dtype).train()
        y = twin((x * (1 + disturbance)).to(dtype))
        y.backward(dy.to(dtype))
        return {"y": y, "gradient_norms": torch.stack([p.grad.double().norm() for p in twin.parameters()])}

    exact, errors = compute(torch.float64), {}
    for run in range(4):
        single = compute(torch.float32, run * 2.0 ** -23)
        for key, value in exact.items():
            error = (single[key].double() - value).abs() / (value.abs() + value.abs().max() / 100)
            errors[key] = max(errors.get(key, 0.0), error.max().item())
    return errors, exact


# ---- Ten steps of training ---------------------------------------------------------------------------------------------


def save_training():
    """Instance recognition with the full softmax, SGD with momentum, and the bank's update, on two batches in turn.
    Weight decay acts on the weights of convolutions and linear layers only."""
    steps, batch, dim, tau, rate = 10, 8, 8, 0.2, 0.03
    net = ResNet((1, 1, 1), 2, (3, 3), False, False, dim)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    state = state_of(net)
    pictures = torch.randint(256, (2 * batch, 12, 12, 3), dtype=torch.uint8)
    bank_before = functional.normalize(torch.randn(2 * batch, dim))

    def compute(dtype, disturb):
        net.load_state_dict({key: disturb(value) for key, value in state.items()}, strict=False)
        net.to(dtype).train()
        decays = [p for p in net.parameters() if p.dim() > 1]
        others = [p for p in net.parameters() if p.dim() == 1]
        optimizer = torch.optim.SGD([{"params": decays, "weight_decay": 1e-4}, {"params": others}], rate,
                                    momentum=0.9)
        bank = disturb(bank_before.to(dtype))
        losses = []
        for step in range(steps):
            rows = torch.arange(batch) + (step % 2) * batch
            x = disturb((pictures[rows].to(dtype) - 128) / 64)
            v = functional.normalize(net(x.permute(0, 3, 1, 2)))
            loss = instance_softmax_loss(v, bank, rows, tau)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            bank = bank.clone()
            bank[rows] = functional.normalize(0.5 * bank[rows] + 0.5 * v.detach())
            losses.append(loss.item())
        results = {"losses": torch.tensor(losses, dtype=dtype), "bank_after": bank}
        results.update({"after." + key: value for key, value in state_of(net).items()})
        return results

    inputs = {"pictures": pictures, "bank": bank_before}
    inputs.update({"state." + key: value for key, value in state.items()})
    save("training", inputs, compute)


# ---- Optimizers --------------------------------------------------------------------------------------------------------


def save_optimizers():
    """Ten steps with given gradients. Weight decay acts on the weight, not on the bias."""
    random = torch.Generator().manual_seed(SEED)
    steps, rate, shapes = 10, 0.05, {"weight": (6, 9), "bias": (5,)}
    start = {key: torch.randn(shape, generator=random) for key, shape in shapes.items()}
    gradients = {key: torch.randn(steps, *shape, generator=random) for key, shape in shapes.items()}

    def run(dtype, disturb, make_optimizer, max_norm=None):
        parameters = {key: nn.Parameter(disturb(value.to(dtype).clone())) for key, value in start.items()}
        optimizer = make_optimizer(parameters["weight"], parameters["bias"])
        for step in range(steps):
            for key, parameter in parameters.items():
                parameter.grad = disturb(gradients[key][step].to(dtype).clone())
            if max_norm is not None:
                nn.utils.clip_grad_norm_(parameters.values(), max_norm)
            optimizer.step()
        return parameters

    def sgd(weight, bias):
        return torch.optim.SGD([{"params": [weight], "weight_decay": 0.01}, {"params": [bias]}], rate, momentum=0.9,
                               nesterov=True)

    def adamw(weight, bias):
        return torch.optim.AdamW([{"params": [weight], "weight_decay": 0.1}, {"params": [bias], "weight_decay": 0}], rate)

    def compute(dtype, disturb):
        results = {}
        for name, arguments in {"sgd_nesterov": (sgd,), "adamw": (adamw,), "adamw_clipped": (adamw, 2.0)}.items():
            for key, value in run(dtype, disturb, *arguments).items():
                results[f"{name}.{key}"] = value
        return results

    save("optimizers", {**start, **{"gradients." + key: value for key, value in gradients.items()}}, compute)


if __name__ == "__main__":
    os.makedirs(FOLDER, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    save_modules()
    save_losses()
    save_training()
    save_networks()
    save_optimizers()
