#!/bin/sh
# compare.sh OURS [THEIRS]: a line for each measurement of bench_gpu (name, value, unit, separated by tabs), beside that of
# peer_gpu.py where there is one. Of several lines with one name the best rate, or the least time, counts.
[ -e "$1" ] || exit 0
theirs=$2
[ -e "$theirs" ] || theirs=/dev/null
awk -F '\t' '
  function better(unit, a, b) { return unit == "ms" ? a < b : a > b }
  FILENAME == peer { if ($0 !~ /^#/ && NF == 3 && (!($1 in theirs) || better($3, $2, theirs[$1]))) theirs[$1] = $2; next }
  /^#/ { print; next }
  NF < 3 { next }  # cut short
  $1 in theirs { printf "%-24s %10.4g %-9s PyTorch %10.4g  ratio %.2f\n", $1, $2, $3, theirs[$1], $2 / theirs[$1]; next }
  { printf "%-24s %10.4g %s\n", $1, $2, $3 }' peer="$theirs" "$theirs" "$1"
