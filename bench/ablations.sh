#!/bin/sh
# ablations.sh [FOLDER]: the authors' ablations (presets/ablations), in proportion, on Fashion-MNIST; prints docs/ablations.md.
# Each run is a folder in FOLDER (runs/ablations); what is there is not done again, and what was cut off goes on. PICTURES, EPOCHS,
# WARM_START and SEEDS are the size of it all, PROGRAMS says where la_train is; PRINT=1 trains nothing, and prints what is there.
folder=${1:-runs/ablations} programs=${PROGRAMS:-.}
pictures=${PICTURES:-10000} epochs=${EPOCHS:-6} warm_start=${WARM_START:-2} seeds=${SEEDS:-0 1 2}
steps_per_epoch=$((pictures / 64))

# of N: what N is of ImageNet's pictures, of these.
of() { echo $((($1 * pictures + 640583) / 1281167)); }

# The grid: a name, the options, what it is.
grid() {
  m=$(of 10000) phases="--warm-start-epochs $warm_start" k="--background $(of 4096)"
  cat << END
base|$phases $k --clusterings 1 --clusters $m|H = 1, m = 10,000, k = 4,096
clusters-1000|$phases $k --clusterings 1 --clusters $(of 1000)|m = 1,000
clusters-20000|$phases $k --clusterings 1 --clusters $(of 20000)|m = 20,000
clusterings-6|$phases $k --clusterings 6 --clusters $m|H = 6
clusterings-10|$phases $k --clusterings 10 --clusters $m|H = 10
clusters-30000|$phases $k --clusterings 10 --clusters $(of 30000)|H = 10, m = 30,000: the row of the paper
background-2048|$phases --clusterings 1 --clusters $m --background $(of 2048)|k = 2,048
background-8192|$phases --clusterings 1 --clusters $m --background $(of 8192)|k = 8,192
background-all|$phases --clusterings 6 --clusters $m --whole-background|k = N, H = 6
combine-any|$phases $k --clusterings 3 --clusters $(of 9000),$m,$(of 11000)|close in any of three clusterings, m = 9,000, 10,000, 11,000
combine-all|$phases $k --clusterings 3 --clusters $(of 9000),$m,$(of 11000) --combine-clusterings all|close in all of the same three
combine-mean|$phases $k --clusterings 3 --clusters $(of 1000),$m,$(of 20000) --combine-clusterings mean|mean of the ratios of m = 1,000, 10,000, 20,000
components|$phases $k --close-neighbors components|close are those that chains of nearest neighbors join
nearest-500|$phases $k --close-neighbors knn --close-count $(of 500)|close are the nearest 500
recluster-1000-steps|$phases $k --clusterings 1 --clusters $m --cluster-every $((steps_per_epoch * 1000 / 10009))steps|new clusters every 1,000 steps
ir|$k --warm-start-epochs $epochs|no LA: instance recognition throughout
supervised|--supervised|the labels in place of IR and LA
END
}

# finished RUN: whether the run has come to its end.
finished() { grep -q '"epoch":'"$epochs"',.*"knn200"' "$1/metrics.jsonl" 2> /dev/null; }

# train NAME SEED OPTIONS...: a run that isn't there yet, or goes on.
train() {
  run=$folder/$1-$2 seed=$2
  shift 2
  finished "$run" && return
  echo "$run" >&2
  if [ -e "$run/config.toml" ]; then
    "$programs/la_train" --resume --run "$run" > /dev/null
  else
    "$programs/la_train" --preset quick --limit "$pictures" --epochs "$epochs" --seed "$seed" \
      --run "$run" "$@" > /dev/null
  fi
}

# last KEY RUN: the last value of it, in percent.
last() { sed -n 's/.*"'"$1"'":\([0-9.e-]*\).*/\1/p' "$2/metrics.jsonl" | tail -n 1 | awk '{ printf "%.1f", 100 * $1 }'; }

# row NAME WHAT: a line of the table, from the seeds that are done.
row() {
  values=''
  for seed in $seeds; do
    finished "$folder/$1-$seed" && values="$values $(last knn200 "$folder/$1-$seed")"
  done
  echo "$values" | awk -v name="$1" -v what="$2" '{
    for (i = 1; i <= NF; ++i) { sum += $i; list = list (i > 1 ? ", " : "") $i }
    printf "| `%s` | %s | %s | %s |\n", name, what, NF ? sprintf("%.1f", sum / NF) : "not run", list
  }'
}

if [ -z "$PRINT" ]; then
  mkdir -p "$folder" || exit 1
  for seed in $seeds; do
    grid > "$folder/grid"
    while IFS='|' read -r name options _; do
      # shellcheck disable=SC2086
      train "$name" "$seed" $options < /dev/null || exit 1
    done < "$folder/grid"
  done
fi

cat << END
# Ablations

The authors' ablations ([original.md](original.md)) in proportion, on Fashion-MNIST: m and k are the same share of $pictures pictures as the
authors' of ImageNet's 1,281,167, whose numbers stand in the table. Network and recipe are those of \`presets/quick.toml\`, with $warm_start
epochs of IR and $((epochs - warm_start)) of LA. \`make ablations\` makes the runs that are missing, and this page.

Accuracy of 200 nearest neighbors, embeddings of the training pictures computed anew, in percent of 10,000 test pictures: the mean, and each
seed; where a row has fewer values than seeds, the last ones were not run. Raw pixels reach $(for run in "$folder"/base-*; do last pixel_knn200 "$run"; break; done) %.

| run | what it is | mean | seeds $seeds |
| --- | --- | --- | --- |
END
grid | while IFS='|' read -r name _ what; do row "$name" "$what"; done
