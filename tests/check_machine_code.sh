#!/bin/sh
# check_machine_code.sh CUOBJDUMP OBJECT...: whether kernels that are made for packs (template argument 4 or 8) store 16 bytes at
# once. The compiler likes to split such a store into four, which nothing but the machine code shows: four stores of 32 bits side by
# side, from one register's address.
cuobjdump=$1
shift
for object in "$@"; do "$cuobjdump" -sass -arch sm_90 "$object"; done | awk '
  function number(text,  i, value) {
    for (i = 1; i <= length(text); ++i) value = 16 * value + index("0123456789abcdef", substr(text, i, 1)) - 1
    return value
  }
  /Function :/ { kernel = $3; kernels += kernel ~ /ILi[48]E/; delete seen; next }
  kernel ~ /ILi[48]E/ && /STG\.E [^1]/ {
    match($0, /\[R[0-9]+[^]]*\]/)
    address = substr($0, RSTART + 1, RLENGTH - 2)
    offset = 0
    if (match(address, /\+0x[0-9a-f]+/)) { offset = number(substr(address, RSTART + 3, RLENGTH - 3)); address = substr(address, 1, RSTART - 1) }
    seen[address, offset] = 1
    base = offset - offset % 16
    if (((address, base) in seen) && ((address, base + 4) in seen) && ((address, base + 8) in seen) && ((address, base + 12) in seen)) {
      if (!(kernel in split_stores)) print "a store of 16 bytes is split into four: " kernel > "/dev/stderr"
      split_stores[kernel] = failed = 1
      delete seen
    }
  }
  END {
    if (kernels == 0) { print "there is no such kernel for sm_90" > "/dev/stderr"; exit 1 }
    if (!failed) print "machine code: " kernels " kernels split no store"
    exit failed
  }'
