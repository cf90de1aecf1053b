"""Whether TensorBoard reads what la_train --tensorboard writes: trains on small pictures of noise, goes on from the checkpoint
before the last, and compares what TensorBoard then has with metrics.jsonl. Needs tensorboard; without it, nothing is compared,
and that is said.

    python3 check_tensorboard.py FOLDER_OF_PROGRAMS
"""

import glob
import importlib.util
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

SIDE, PICTURES, GALLERIES = 12, 120, 8


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr}")


def write_pictures(folder):
    noise = random.Random(1)
    with open(f"{folder}/train-images-idx3-ubyte", "wb") as file:
        file.write(struct.pack(">4I", 0x803, PICTURES, SIDE, SIDE) + bytes(noise.randrange(256) for _ in range(PICTURES * SIDE * SIDE)))
    with open(f"{folder}/train-labels-idx1-ubyte", "wb") as file:
        file.write(struct.pack(">2I", 0x801, PICTURES) + bytes(i % 4 for i in range(PICTURES)))


def numbers_of(run_folder):
    """Of each field of metrics.jsonl, steps and values."""
    numbers = {}
    for line in open(f"{run_folder}/metrics.jsonl"):
        fields = json.loads(line)
        for name, value in fields.items():
            if name not in ("epoch", "step") and isinstance(value, (int, float)):
                numbers.setdefault(name, []).append((fields["step"], value))
    return numbers


def compare(run_folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator, IMAGES, SCALARS, TENSORS
    events = EventAccumulator(run_folder, size_guidance={SCALARS: 0, IMAGES: 0, TENSORS: 0})
    events.Reload()
    shown = {tag.split("/")[-1]: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    expected = numbers_of(run_folder)
    same = shown.keys() == expected.keys() and all(
        [step for step, _ in shown[name]] == [step for step, _ in expected[name]] and
        all(abs(a - b) <= 1e-6 * abs(b) for (_, a), (_, b) in zip(shown[name], expected[name])) for name in expected)
    evaluations = [step for step, _ in expected["effective_rank"]]
    pictures = events.Tags()["images"]
    same = same and len(pictures) == GALLERIES and all(
        [image.step for image in events.Images(tag)] == evaluations and
        all(image.encoded_image_string.startswith(b"\x89PNG") for image in events.Images(tag)) for tag in pictures)
    print(f"tensorboard: {len(shown)} curves, {sum(map(len, shown.values()))} values, {len(pictures)} galleries"
          f"{'' if same else ', which differ from metrics.jsonl'}")
    return same


def main():
    if importlib.util.find_spec("tensorboard") is None:
        print("tensorboard: not compared, this Python has no tensorboard")
        return
    programs = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as work:
        write_pictures(work)
        run(f"{programs}/la_train", "--tensorboard", "--data", work, "--run", f"{work}/run", "--network", "resnet8-wide",
            "--dim", "8", "--batch", "8", "--epochs", "3", "--warm-start-epochs", "1", "--clusters", "6", "--background", "20",
            "--ir-loss", "softmax", "--device", "cpu", "--threads", "1")
        whole = compare(f"{work}/run")
        os.remove(max(glob.glob(f"{work}/run/checkpoint-*")))
        run(f"{programs}/la_train", "--resume", "--run", f"{work}/run")
        resumed = compare(f"{work}/run")
    sys.exit(0 if whole and resumed else 1)


if __name__ == "__main__":
    main()
