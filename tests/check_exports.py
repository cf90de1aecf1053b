"""Whether onnxruntime and PyTorch compute from exported models the embeddings, and PyTorch the activations, that la_embed writes: trains every network
for two steps on small pictures of noise, exports it, and compares. Needs numpy and PIL, and either onnxruntime and onnx,
or torch and safetensors; what is missing is not compared, and said.

    python3 check_exports.py FOLDER_OF_PROGRAMS [NETWORK ...]
"""

import importlib.util
import os
import subprocess
import sys
import tempfile

SIZE, TOLERANCE = 64, 1e-4


def missing(*modules):
    return [name for name in modules if importlib.util.find_spec(name) is None]


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def make_pictures(folder):
    """Of several sizes and modes; some are as large as the network's view."""
    random = np.random.default_rng(1)
    sizes = [(SIZE, SIZE, 3)] * 8 + [(100, 80, 3), (70, 200, 4), (50, 40, 3), (90, 90, 4)]
    for i, size in enumerate(sizes):
        Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(f"{folder}/{i:02}.png")
    return [f"{folder}/{i:02}.png" for i in range(len(sizes))]


def train(programs, network, pictures, work):
    run(f"{programs}/la_train", "--data", pictures, "--network", network, "--image-size", str(SIZE), "--batch", "6",
        "--epochs", "1", "--warm-start-epochs", "1", "--precision", "f32", "--device", "cpu", "--background", "4",
        "--clusters", "2", "--run", work)
    run(f"{programs}/la_embed", work, pictures, "--out", f"{work}/v.npy", "--device", "cpu")
    return np.load(f"{work}/v.npy")


def with_onnx(programs, work, views):
    import onnx
    import onnxruntime
    model = f"{work}/model.onnx"
    run(f"{programs}/la_export", work, "--onnx", model)
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(["embedding"], {"images": views})[0]


def with_torch(programs, work):
    """The network that the loader makes, and what makes its views of picture files."""
    import torch
    run(f"{programs}/la_export", work, "--torch", f"{work}/torch", "--force")
    specification = importlib.util.spec_from_file_location("la_network", f"{work}/torch/la_network.py")
    loader = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loader)
    network = loader.Network(f"{work}/torch")
    return network, lambda files: torch.stack([network.view(Image.open(file)) for file in files])


def activations(programs, work, model, views):
    """Of a stage and of a layer before it: what hooks of PyTorch see, and what la_embed writes."""
    names = [name for name, _ in model.network["layers"] if name != "embedding"]
    names = [names[-1], next(name for name in names if name.endswith((".0", ".conv1")))]
    seen = {}
    for name in names:
        model.get_submodule(name).register_forward_hook(lambda layer, given, output, name=name: seen.update({name: output}))
    model(views)
    run(f"{programs}/la_embed", work, f"{os.path.dirname(work)}/pictures", "--out", f"{work}/a.npy", "--layers", ",".join(names),
        "--whole", "--device", "cpu")
    for name in names:
        theirs, ours = seen[name].detach().numpy(), np.load(f"{work}/a.{name}.npy")
        ours = ours.transpose(0, 3, 1, 2) if ours.ndim == 4 else ours
        yield name, theirs / np.abs(ours).max(), ours / np.abs(ours).max()


def plain_views(files):
    """Of pictures that are as large as the view."""
    return np.stack([np.asarray(Image.open(file), np.float32).transpose(2, 0, 1) / 255 for file in files])


def main():
    programs = os.path.abspath(sys.argv[1])
    networks = sys.argv[2:] or [line.split()[0] for line in run(f"{programs}/la_train", "--list-networks").splitlines()[1:]]
    no_onnx, no_torch = missing("onnx", "onnxruntime"), missing("torch", "safetensors")
    for name, absent in (("onnx", no_onnx), ("torch", no_torch)):
        if absent:
            print(f"{name}: not compared, this Python has no {absent[0]}")
    failed = False

    def compare(name, network, theirs, ours):
        nonlocal failed
        worst = float(np.abs(theirs - ours).max())
        failed |= not worst <= TOLERANCE
        print(f"{name}: {network:<30} differs by {worst:.1e}{'' if worst <= TOLERANCE else '  TOO MUCH'}", flush=True)

    for network in networks if not (no_onnx and no_torch) else []:
        with tempfile.TemporaryDirectory() as work:
            os.mkdir(f"{work}/pictures")
            files = make_pictures(f"{work}/pictures")
            ours = train(programs, network, f"{work}/pictures", f"{work}/run")
            if not no_onnx:
                compare("onnx", network, with_onnx(programs, f"{work}/run", plain_views(files[:8])), ours[:8])
            if not no_torch:
                model, views = with_torch(programs, f"{work}/run")
                compare("torch", network, model(views(files)).detach().numpy(), ours)
                for name, theirs, ours in activations(programs, f"{work}/run", model, views(files)):
                    compare("torch", f"{network} {name}", theirs, ours)
    sys.exit(failed)


if absent := missing("numpy", "PIL"):
    print(f"exports: not compared, this Python has no {absent[0]}")
    sys.exit(0)
import numpy as np
from PIL import Image

main()
