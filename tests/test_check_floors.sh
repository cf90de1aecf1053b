#!/bin/sh
# What check_floors.sh finds: an include that goes up, from a floor or from a room of it, and one of a backend.
check=$(realpath "$(dirname "$0")/check_floors.sh")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/tensor/io" "$root/tensor/cpu" "$root/layers/onnx" "$root/la" "$root/data" "$root/evaluation"
status=0

# expect WHAT LINE FILE: with the line in the file, the check's status is that of WHAT (true or false).
expect() {
  echo "$2" > "$root/$3"
  sh "$check" "$root" > "$root/said" 2>&1
  found=$?
  rm "$root/$3"
  if $1; then [ $found = 0 ] && return; else [ $found = 1 ] && grep -q "$3:1:" "$root/said" && return; fi
  echo "check_floors.sh: '$2' in $3: status $found" >&2
  status=1
}

expect true '#include "tensor/tensor.h"' la/a.cpp
expect true '#include "tensor/io/files.h"' layers/onnx/a.h
expect true '#include "tensor/cpu/cpu_backend.h"' tensor/a.cpp
expect true '#include <vector>' tensor/io/a.h
expect false '#include "la/config.h"' tensor/io/a.h
expect false '#include "la/config.h"' layers/onnx/a.cpp
expect false '  #  include "apps/run/progress.h"' la/a.cpp
expect false '#include "layers/module.h"' data/a.h
expect false '#include "la/memory_bank.h"' evaluation/a.h
expect false '#include "files.h"' tensor/io/a.cpp
expect false '#include "tensor/backend.h"' la/a.cpp
expect false '#include "tensor/cuda/kernel.h"' evaluation/a.cpp
[ $status = 0 ] && echo "floors: the check finds includes that go up"
exit $status
