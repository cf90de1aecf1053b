"""Whether onnxruntime computes from exported models the embeddings that la_embed writes: trains every network for two
steps on small pictures of noise, exports it, and compares. Needs onnxruntime, onnx, numpy and PIL; without them it says
so and ends well.

    python3 check_onnx.py FOLDER_OF_PROGRAMS [NETWORK ...]
"""

import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime
    from PIL import Image
except ImportError as missing:
    print(f"onnx: not compared, this Python has no {missing.name}")
    sys.exit(0)

SIZE, TOLERANCE = 64, 1e-4


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def make_pictures(folder):
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (12, SIZE, SIZE, 3), dtype=np.uint8)
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(f"{folder}/{i:02}.png")
    return pixels


def difference(programs, network, pictures, pixels, work):
    """The largest difference of a component of an embedding."""
    run(f"{programs}/la_train", "--data", pictures, "--network", network, "--image-size", str(SIZE), "--batch", "6",
        "--epochs", "1", "--warm-start-epochs", "1", "--precision", "f32", "--device", "cpu", "--background", "4",
        "--clusters", "2", "--run", f"{work}/{network}")
    run(f"{programs}/la_export", f"{work}/{network}", "--onnx", f"{work}/{network}.onnx")
    run(f"{programs}/la_embed", f"{work}/{network}", pictures, "--out", f"{work}/{network}.npy", "--device", "cpu")
    onnx.checker.check_model(f"{work}/{network}.onnx", full_check=True)
    session = onnxruntime.InferenceSession(f"{work}/{network}.onnx", providers=["CPUExecutionProvider"])
    images = (pixels.astype(np.float32) / 255).transpose(0, 3, 1, 2)
    theirs = session.run(["embedding"], {"images": images})[0]
    return float(np.abs(theirs - np.load(f"{work}/{network}.npy")).max())


def main():
    programs = os.path.abspath(sys.argv[1])
    networks = sys.argv[2:] or [line.split()[0] for line in run(f"{programs}/la_train", "--list-networks").splitlines()[1:]]
    failed = False
    with tempfile.TemporaryDirectory() as work:
        pictures = f"{work}/pictures"
        os.mkdir(pictures)
        pixels = make_pictures(pictures)
        for network in networks:
            worst = difference(programs, network, pictures, pixels, work)
            failed |= not worst <= TOLERANCE
            print(f"onnx: {network:<18} differs by {worst:.1e}{'' if worst <= TOLERANCE else '  TOO MUCH'}", flush=True)
    sys.exit(failed)


main()
