"""Whether xarray reads the assemblies that la_embed writes, with its coordinates, and the numbers that .npy files have: trains on
small pictures of noise, and embeds a stimulus set of them. Needs xarray, PIL, and netCDF4 or h5netcdf; without them, and with a
la_embed without netCDF, nothing is compared, and that is said.

    python3 check_xarray.py FOLDER_OF_PROGRAMS
"""

import importlib.util
import os
import subprocess
import sys
import tempfile

SIZE, PICTURES = 24, 70  # more than are embedded at once
COLUMNS = {"stimulus_id": [], "filename": [], "object_name": [], "size": [], "filename_bytes": []}


def missing(*modules):
    return [name for name in modules if importlib.util.find_spec(name) is None]


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if "this build has no netCDF" in done.stderr:
        print("xarray: not compared, this la_embed has no netCDF")
        sys.exit(0)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr}")


def make_stimuli(folder, table):
    import csv
    random = np.random.default_rng(1)
    for i in reversed(range(PICTURES)):
        Image.fromarray(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(f"{folder}/{i}.png")
        for column, value in zip(COLUMNS.values(), (f"stimulus {i}", f"{i}.png", f'a "{i % 3}",\nä' if i else "", i / 2, f"{i:03}")):
            column.append(value)
    with open(table, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS.keys(), *zip(*COLUMNS.values())])


def compare(work, engine):
    import xarray
    with xarray.open_dataset(f"{work}/x.nc", engine=engine) as file:
        names = set(file.data_vars)
    with xarray.open_dataarray(f"{work}/x.nc", engine=engine) as activations:
        a = activations.load()
    same = names == {"activations"} and a.dims == ("presentation", "neuroid") and a.dtype == np.float32
    same = same and set(a.coords) == {*COLUMNS, "neuroid_id", "layer", "channel", "y", "x"}
    for name, values in COLUMNS.items():
        same = same and a.coords[name].dims == ("presentation",) and a.coords[name].values.tolist() == values
    for layer, file in (("embedding", "v.npy"), ("layer2", "v.layer2.npy")):
        ours, theirs = np.load(f"{work}/{file}"), a.sel(neuroid=a.layer == layer)
        if ours.ndim == 4:
            ours = ours[:, theirs.y.values, theirs.x.values, theirs.channel.values]
        same = same and np.array_equal(theirs.values, ours) and len(set(theirs.neuroid_id.values)) == ours.shape[1]
    print(f"xarray with {engine}: {a.sizes['presentation']} presentations, {a.sizes['neuroid']} neuroids"
          f"{'' if same else ', which differ from what was written'}")
    return same


def main():
    programs = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as work:
        os.mkdir(f"{work}/pictures")
        make_stimuli(f"{work}/pictures", f"{work}/set.csv")
        run(f"{programs}/la_train", "--data", f"{work}/pictures", "--run", f"{work}/run", "--network", "resnet20", "--image-size",
            str(SIZE), "--dim", "8", "--batch", "8", "--epochs", "1", "--warm-start-epochs", "1", "--clusters", "2", "--background",
            "8", "--ir-loss", "softmax", "--device", "cpu", "--threads", "1")
        for out in ("x.nc", "v.npy"):
            run(f"{programs}/la_embed", f"{work}/run", f"{work}/pictures", "--stimuli", f"{work}/set.csv", "--layers", "layer2",
                "--whole", "--out", f"{work}/{out}", "--device", "cpu", "--threads", "1")
        sys.exit(0 if all([compare(work, engine) for engine in engines]) else 1)


# What xarray reads netCDF with.
engines = [engine for engine, modules in (("netcdf4", ["netCDF4"]), ("h5netcdf", ["h5netcdf", "h5py"])) if not missing(*modules)]
if absent := missing("xarray", "PIL") + ([] if engines else ["netCDF4"]):
    print(f"xarray: not compared, this Python has no {absent[0]}")
    sys.exit(0)
import numpy as np
from PIL import Image

main()
