#!/bin/sh
# make_man.sh PROGRAM VERSION: a manual page made from what the program says with --help.
set -e
name=$(basename "$1")
escape() { sed 's/\\/\\e/g; s/-/\\-/g; s/^\([.'"'"']\)/\\\&\1/'; }
help=$(COLUMNS=79 "$1" --help)
summary=$(echo "$help" | sed '/^Usage:/,$d' | tr '\n' ' ' | sed 's/\. *$//')
cat << END
.TH $name 1 "" "Local Aggregation $2"
.SH NAME
$name \\- $(echo "$summary" | escape)
.SH SYNOPSIS
$(echo "$help" | sed -n 's/^Usage: //p' | escape)
.SH OPTIONS
.nf
$(echo "$help" | sed '1,/^Usage:/d' | escape)
.fi
END
