#!/bin/sh
# Measures everything, beside PyTorch and faiss where /usr/bin/python3 has them. `make bench` calls it with the folder of
# the programs. Ours and theirs take turns, so that a machine that others use too slows both; the ratios count.
build=$1
here=$(dirname "$0")
python=${PYTHON:-/usr/bin/python3}
export OMP_NUM_THREADS=$(nproc)

echo "machine   $(grep -m 1 'model name' /proc/cpuinfo | cut -d: -f2 | tr -s ' '), $(nproc) cores"
echo "commit    $(git -C "$here" rev-parse --short HEAD 2> /dev/null)"

# median COLUMN of the lines of a file
median() { sort -n "$1" | awk '{v[NR] = $1} END {if (NR) print v[int((NR + 1) / 2)]}'; }

# step NETWORK SIZE CHANNELS PRECISION BATCH STEPS: images/s and peak memory in MiB, five turns each (TURNS)
step() {
  ours=$(mktemp) theirs=$(mktemp)
  for turn in $(seq ${TURNS:-5}); do
    "$build/bench_step" "$@" >> "$ours"
    "$python" "$here/peer_step.py" "$@" | grep -v '^#' >> "$theirs"
  done
  awk -v name="$1 $2 $4 batch $5" -v a="$(median "$ours")" -v b="$(median "$theirs")" \
    -v memory_a="$(cut -f 3 "$ours" | sort -n | head -n 1)" -v memory_b="$(cut -f 3 "$theirs" | sort -n | head -n 1)" 'BEGIN {
    if (b == "") printf "%-30s %8.1f images/s, %5d MiB\n", name, a, memory_a
    else printf "%-30s %8.1f images/s, %5d MiB  PyTorch %8.1f, %5d MiB  ratios %.2f, %.2f\n", name, a, memory_a, b, memory_b,
      a / b, memory_a / memory_b }'
  rm -f "$ours" "$theirs"
}

echo
echo "training step (forward, backward, update)"
step resnet20 28 1 f32 128 12
step resnet20 28 1 bf16 128 12
step resnet18 32 3 f32 128 3
step resnet18 32 3 bf16 128 3
TURNS=3
step resnet18 224 3 f32 32 3
step resnet50 224 3 f32 16 3
step alexnet 224 3 f32 64 3
TURNS=5

echo
echo "convolutions, in ms"
layers=$(mktemp)
"$build/bench_layers" > "$layers.ours"
"$python" "$here/peer_layers.py" "$layers.ours" > "$layers.theirs"
awk -F '\t' 'FNR == NR {if ($0 !~ /^#/) theirs[$1] = $2; next}
  $1 in theirs {printf "%-60s %9.2f  PyTorch %9.2f  ratio %.2f\n", $1, $2, theirs[$1], $2 / theirs[$1]}' "$layers.theirs" "$layers.ours"
rm -f "$layers" "$layers.ours" "$layers.theirs"

echo
echo "Local Aggregation's own work, in ms; PyTorch and faiss on the same vectors"
vectors=$(mktemp)
"$build/bench_la" "$vectors" > "$vectors.ours"
"$python" "$here/peer_la.py" "$vectors" > "$vectors.theirs"
awk -F '\t' 'FNR == NR {if ($0 !~ /^#/) theirs[$1] = $2; else print; next}
  /^#/ {print; next}
  {if ($1 in theirs) printf "%-28s %9.2f  peer %9.2f  ratio %.2f\n", $1, $2, theirs[$1], $2 / theirs[$1]
   else printf "%-28s %9.2f\n", $1, $2}' "$vectors.theirs" "$vectors.ours"
rm -f "$vectors" "$vectors.ours" "$vectors.theirs"

echo
echo "object detection, in ms; torchvision on the same boxes"
boxes=$(mktemp)
for turn in 1 2 3; do
  "$build/bench_detection" "$boxes" >> "$boxes.ours"
  "$python" "$here/peer_detection.py" "$boxes" >> "$boxes.theirs"
done
"$build/bench_detector" >> "$boxes.ours"  # minutes
"$python" "$here/peer_detector.py" >> "$boxes.theirs"
sort "$boxes.ours" "$boxes.theirs" | grep '^#' | uniq
awk -F '\t' '/^#/ {next}
  FNR == NR {if (!($1 in theirs) || $2 < theirs[$1]) theirs[$1] = $2; next}
  {if (!($1 in ours)) order[++n] = $1; if (!($1 in ours) || $2 < ours[$1]) ours[$1] = $2}
  END {for (i = 1; i <= n; ++i) {
    name = order[i]
    if (name in theirs) printf "%-34s %9.2f  torchvision %9.2f  ratio %.2f\n", name, ours[name], theirs[name], ours[name] / theirs[name]
    else printf "%-34s %9.2f\n", name, ours[name]}}' "$boxes.theirs" "$boxes.ours"
rm -f "$boxes" "$boxes.ours" "$boxes.theirs"

# Pictures as cameras make them, 500 x 375, and a tree of 200,000 empty files.
echo
echo "picture files, one thread: listing a tree, decoding, views of 224 pixels"
pictures=$(mktemp -d)
"$python" "$here/make_pictures.py" "$pictures" > /dev/null 2>&1
"$build/bench_data" "$pictures/tree"
"$build/bench_data" "$pictures/jpeg" 1000 > "$pictures/ours"
"$python" "$here/peer_data.py" "$pictures/jpeg" 400 > "$pictures/theirs"
awk -F '\t' 'FNR == NR {if ($0 !~ /^#/) theirs[$1] = $2; else print; next}
  $1 in theirs {printf "%-28s %9.1f  PIL %9.1f  ratio %.2f\n", $1, $2, theirs[$1], $2 / theirs[$1]}' "$pictures/theirs" "$pictures/ours"
rm -rf "$pictures"
