#!/bin/sh
# Measures on a GPU, beside PyTorch where $PYTHON (python3) has it: run_gpu.sh FOLDER_OF_BENCH_GPU [NAME ...]
build=$1
shift
here=$(dirname "$0")
python=${PYTHON:-python3}
ours=$(mktemp) theirs=$(mktemp)
trap 'rm -f "$ours" "$theirs"' EXIT

echo "GPU       $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader)"
echo "commit    $(cat "$here/commit" 2> /dev/null || git -C "$here" rev-parse --short HEAD 2> /dev/null)"
"$build/bench_gpu" "$@" > "$ours" || exit 1
"$python" "$here/peer_gpu.py" "$@" > "$theirs"
grep '^#' "$theirs"
sh "$here/compare.sh" "$ours" "$theirs"
