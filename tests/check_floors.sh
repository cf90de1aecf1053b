#!/bin/sh
# check_floors.sh [ROOT]: the order of the floors. A file includes only from its own floor and from those below it, sub-folders
# included, and only tensor/ knows the backends.
cd "${1:-$(dirname "$0")/..}" || exit 2
status=0

# The includes of our own headers in a folder and all below it, as file:line:#include "...".
includes() { grep -rnE '^ *# *include *"' --include='*.h' --include='*.cpp' --include='*.cu' "$1" 2> /dev/null; }

complain() {
  echo "$1" >&2
  echo "$2" >&2
  status=1
}

# allowed FLOOR BELOW...: complains about includes in FLOOR of other floors than itself and those named.
allowed() {
  floor=$1
  floors=$(echo "$@" | tr ' ' '|')
  bad=$(includes "$floor" | grep -vE "# *include *\"($floors)/")
  [ -z "$bad" ] || complain "$floor/ may include only from: $*" "$bad"
}

allowed tensor
allowed autograd tensor
allowed layers autograd tensor
allowed data tensor
allowed evaluation layers autograd data tensor
allowed la evaluation layers autograd data tensor
allowed apps la evaluation layers autograd data tensor

for floor in autograd layers data evaluation la apps; do
  backends=$(includes $floor | grep -E '"tensor/(backend|cpu/|cuda/)')
  [ -z "$backends" ] || complain "only tensor/ knows the backends:" "$backends"
done
[ $status = 0 ] && echo "floors: every include points to its own floor or below"
exit $status
