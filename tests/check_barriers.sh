#!/bin/sh
# check_barriers.sh PROGRAM: shows that the tests of kernels find every missing barrier. Runs them once to learn which
# barriers they meet, and requires that these are all in the sources; then once for each without it, in forward order and,
# if that passes, in reverse order: one of them must fail.
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LA_TEST_DEVICE=cuda OMP_NUM_THREADS=1

run() { "$program" -ts=devices -tc="ops:*" "$@" > /dev/null 2>&1; }

LA_LIST_BARRIERS=$work/met run || { echo "the tests fail with all barriers in place" >&2; exit 1; }
sort -u "$work/met" > "$work/sites"
grep -nE '__sync(threads|warp)\(' tensor/cuda/*.cu tensor/cuda/*.h | grep -vE '^[^:]*:[0-9]+: *//' | cut -d: -f1,2 | sort -u > "$work/all"
status=0
comm -13 "$work/sites" "$work/all" | while read -r site; do echo "never met: $site"; done | grep . && status=1

count=0
while read -r site; do
  count=$((count + 1))
  if LA_SKIP_BARRIER=$site run --abort-after=1 && LA_SKIP_BARRIER=$site LA_EMULATED_ORDER=reverse run --abort-after=1; then
    echo "not missed: $site"
    status=1
  fi
done < "$work/sites"
[ $status = 0 ] && echo "each of $count barriers is missed by the tests when it is left out"
exit $status
