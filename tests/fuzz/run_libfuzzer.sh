#!/bin/sh
# run_libfuzzer.sh PROGRAM SECONDS CORPORA: fuzzes each reader for so long, guided by coverage, from the files of
# corpora.tar.xz on. What it learns is kept in a folder a reader below CORPORA; a file that ends the program is left in
# CORPORA as READER-crash-..., and the status is 1. To pack what was learnt: PROGRAM -merge=1 NEW_FOLDER CORPORA/READER.
program=$1 seconds=$2 corpora=$3
status=0
mkdir -p "$corpora"
tar -xJf "$(dirname "$0")/corpora.tar.xz" -C "$corpora"
for reader in $(LA_FUZZ=list "$program"); do
  mkdir -p "$corpora/$reader"
  log=$corpora/$reader.log
  LA_FUZZ=$reader "$program" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 \
    -artifact_prefix="$corpora/$reader-" "$corpora/$reader" tests/pictures > "$log" 2>&1 || {
    status=1
    grep -m 1 -E 'ERROR|SUMMARY' "$log"
  }
  echo "fuzz: $reader: $(awk '/number_of_executed_units/ {print $2}' "$log") files, coverage $(grep -oE 'cov: [0-9]+' "$log" | tail -n 1 | cut -c 6-)"
done
exit $status
