#!/bin/sh
# detection.sh [FOLDER]: a detector on a network that LA has trained, beside the same from random weights, on a small world of
# Fashion-MNIST (tests/detection_world.h); prints a table. Each run is a folder in FOLDER (runs/detection); what is there is not
# done again, and what was cut off goes on. SEEDS are those of the detectors; PROGRAMS says where la_train and la_detect are,
# BUILD where make_detection_world.
folder=${1:-runs/detection} programs=${PROGRAMS:-.} build=${BUILD:-build} seeds=${SEEDS:-0 1 2}
world=$folder/world network=$folder/network

# go_on PROGRAM RUN ARGUMENTS...: a run that isn't there yet, or goes on.
go_on() {
  program=$1 run=$2
  shift 2
  echo "$run" >&2
  if [ -e "$run/config.toml" ]; then
    "$programs/$program" --resume --run "$run" > /dev/null
  else
    "$programs/$program" --run "$run" "$@" > /dev/null
  fi
}

# detect NAME SEED OPTIONS...
detect() {
  run=$folder/$1-$2 seed=$2
  shift 2
  [ -e "$run/results-test/results.json" ] ||
    go_on la_detect "$run" "$network" --preset small-world --data "$world" --seed "$seed" "$@"
}

# measure KEY RUN: in percent.
measure() { sed -n 's/.*"'"$1"'": \([0-9.e-]*\).*/\1/p' "$2/results-test/results.json" | awk '{ printf "%.1f", 100 * $1 }'; }

mkdir -p "$folder"
[ -e "$world/ImageSets/Main/test.txt" ] || "$build/make_detection_world" "$world" || exit
grep -q '"epoch":6,.*"knn200"' "$network/metrics.jsonl" 2> /dev/null ||
  go_on la_train "$network" --preset quick --epochs 6 --warm-start-epochs 2 || exit
for seed in $seeds; do
  detect trained "$seed" || exit
  # Each at the best of the rates 0.0025, 0.005, 0.01 and 0.02; from random weights, 0.01 learns nothing here.
  detect random "$seed" --from-scratch --learning-rate 0.005 || exit
done

echo "| seed | random weights: AP50, AP | weights of LA: AP50, AP | gain in AP50 |"
echo "| --- | --- | --- | --- |"
for seed in $seeds; do
  for key in coco_ap50 coco_ap; do
    echo "$seed" "$(measure "$key" "$folder/random-$seed")" "$(measure "$key" "$folder/trained-$seed")"
  done | tr '\n' ' '
  echo
done | awk '{
    printf "| %s | %s, %s | %s, %s | %+.1f |\n", $1, $2, $5, $3, $6, $3 - $2
    a += $2; b += $5; c += $3; d += $6; n += 1
  } END { printf "| mean | %.1f, %.1f | **%.1f**, %.1f | **%+.1f** |\n", a / n, b / n, c / n, d / n, (c - a) / n }'
