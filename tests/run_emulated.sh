#!/bin/sh
# run_emulated.sh PROGRAM: runs the tests of kernels on the host, the threads of a block in forward and in reverse order, side
# by side; in the first, only the device's work may touch its memory; the second shares work out as for a large GPU, and lets
# blocks take turns at their barriers.
program=$1
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export LA_TEST_DEVICE=cuda OMP_NUM_THREADS=1 LA_EMULATED_PROTECT=1
for order in forward reverse; do
  [ $order = reverse ] && unset LA_EMULATED_PROTECT && export LA_EMULATED_MULTIPROCESSORS=132 LA_EMULATED_BLOCKS=4
  LA_EMULATED_ORDER=$order "$program" -ts=devices > "$logs/$order" 2>&1 &
  eval "$order=$!"
done
status=0
wait "$forward" || status=1
wait "$reverse" || status=1
for order in forward reverse; do
  echo "kernels on the host, threads in $order order"
  [ $status = 0 ] && tail -n 3 "$logs/$order" || cat "$logs/$order"
done
exit $status
