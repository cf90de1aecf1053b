"""The environment in which PyTorch and faiss are fastest on a CPU. It is read when their libraries load, so a program
that lacks it starts itself anew with it."""
import os
import sys


def best_instructions():
    """PyTorch takes what it is told: AVX-512 is an illegal instruction on a machine that has none."""
    with open("/proc/cpuinfo") as file:
        return "avx512" if "avx512bw" in file.read() else "avx2"


STRONG = {
    "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),
    "ATEN_CPU_CAPABILITY": best_instructions(),
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
}


def restart_with_strong_settings():
    if any(os.environ.get(name) is None for name in STRONG):
        os.execve(sys.executable, [sys.executable] + sys.argv, {**STRONG, **os.environ})
