#!/bin/sh
# The order of the floors: a file includes only from its own folder and from floors below it, and only tensor/ includes
# the backends' headers.
status=0

# allowed FOLDER FLOOR...: complains about includes in FOLDER of other floors than those named.
allowed() {
  folder=$1
  shift
  pattern=$(echo "$@" | tr ' ' '|')
  bad=$(grep -nE '^#include "[a-z]+/' "$folder"/*.h "$folder"/*.cpp "$folder"/*.cu 2>/dev/null | grep -vE "#include \"($pattern)/[^/]*\"")
  if [ -n "$bad" ]; then
    echo "$folder/ may include only from: $*" >&2
    echo "$bad" >&2
    status=1
  fi
}

allowed tensor/cpu tensor tensor/cpu
allowed tensor/cuda tensor tensor/cuda tensor/cuda/emulated
allowed autograd autograd tensor
allowed layers layers autograd tensor
allowed data data data/codecs tensor
allowed data/codecs data/codecs tensor
allowed la la layers autograd data tensor
allowed apps apps la layers autograd data tensor

backends=$(grep -nE '#include "tensor/backend.h"|#include "tensor/(cpu|cuda)/' autograd/* layers/* data/*.* data/codecs/* la/* apps/* 2>/dev/null)
if [ -n "$backends" ]; then
  echo "only tensor/ knows the backends:" >&2
  echo "$backends" >&2
  status=1
fi
[ $status = 0 ] && echo "floors: every include points to its own floor or below"
exit $status
