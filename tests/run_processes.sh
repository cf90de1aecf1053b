#!/bin/sh
# run_processes.sh PROGRAM: runs the tests of several processes by 2, 3 and 4 of them.
program=$1
command -v mpirun > /dev/null || { echo "several processes: not tested, for there is no mpirun"; exit 0; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
root=""
[ "$(id -u)" = 0 ] && root=--allow-run-as-root
export OMP_NUM_THREADS=1
for count in 2 3 4; do
  mpirun $root --oversubscribe --bind-to none -np $count "$program" -ts=processes > "$log" 2>&1 || { cat "$log"; exit 1; }
  echo "several processes, $count of them: $(grep -a 'test cases' "$log" | head -n 1 | sed 's/.*test cases/test cases/')"
done
