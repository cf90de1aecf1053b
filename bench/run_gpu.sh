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
# Of several lines with one name the best rate, or the least time, counts.
awk -F '\t' '
  FNR == NR { if ($0 !~ /^#/ && (!($1 in theirs) || ($3 == "ms" ? $2 < theirs[$1] : $2 > theirs[$1]))) theirs[$1] = $2; next }
  /^#/ { print; next }
  $1 in theirs { printf "%-24s %10.4g %-9s PyTorch %10.4g  ratio %.2f\n", $1, $2, $3, theirs[$1], $2 / theirs[$1]; next }
  { printf "%-24s %10.4g %s\n", $1, $2, $3 }' "$theirs" "$ours"
