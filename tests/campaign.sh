#!/bin/bash
# campaign.sh [SECONDS [SEED]]: a campaign of faults. A tiny training is done undisturbed; then, until the time is over
# (3600 s), it is killed, interrupted, given a full disk and damaged files, and must reach the very same bytes. SEED
# chooses the faults. PROGRAMS=FOLDER says where the programs are, DATA=FOLDER where Fashion-MNIST is; ROUNDS=n ends after
# n rounds, KINDS='kill signal ...' leaves out other kinds. The status is 1 if there is a finding; its folder is kept.
seconds=${1:-3600} seed=${2:-$(($(date +%s) % 1000000))}
programs=$(realpath "${PROGRAMS:-$(dirname "$0")/..}") data=${DATA:-/usr/share/datasets/fashion-mnist}
all_kinds='kill signal full damage text two inputs'
read -ra kinds <<< "${KINDS:-kill kill kill kill kill $all_kinds}" # half of them are kills
patience=600 most_kept=5 # seconds after which a program hangs, also on a busy machine; findings
declare -A rounds kills faults differences
findings=0 found=0 round=0 limit='' first=''
work=$(mktemp -d) || exit 1
run=$work/round/run disk=$work/disk input=$work/round/input.safetensors
mkdir "$work/round" "$disk"

# Ends what still runs, and leaves only the findings and what is needed to look into them.
clean_up() {
  [ -z "$first" ] || kill -KILL "$first" 2> /dev/null
  umount "$disk" 2> /dev/null
  if [ $findings -gt 0 ]; then rm -rf "$work"/{round,disk,raw}; else rm -rf "$work"; fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# random N: sets r to a number from 0 to N - 1. random_moment PERCENT: sets moment to a number of seconds, up to so much of
# the time that the training takes.
random() { r=$(((RANDOM << 15 | RANDOM) % $1)); }
one_in() { random "$1" && [ "$r" = 0 ]; }
random_moment() { random $((duration * $1 / 100)) && printf -v moment '%d.%06d' $((r / 1000000)) $((r % 1000000)); }
count() { eval "$1[$kind]=\$(($1[$kind] + 1))"; } # rounds, kills, faults or differences

# call [SIGNAL MOMENT] PROGRAM ARGUMENT...: sets status, and leaves what was printed in out and err. The signal comes after
# so many seconds. With a number in limit no file can get longer than so many KiB.
call() {
  local signal=TERM moment=$patience line
  [[ $1 = la_* ]] || { signal=$1 moment=$2 && shift 2; }
  line=(timeout --foreground --preserve-status -k "$patience" -s "$signal" "$moment" "$programs/$1" "${@:2}")
  (
    [ -z "$limit" ] || { trap '' XFSZ && ulimit -f "$limit"; }
    exec "${line[@]}"
  ) > "$work/round/out" 2> "$work/round/err" < /dev/null
  status=$?
  { echo "\$ ${limit:+ulimit -f $limit; }${line[*]}" && cat "$work"/round/{out,err} && echo "status $status"; } >> "$work/round/story"
}

# Sets command to what goes on with the training, or begins it, also again if it was killed before it had a configuration.
next_command() {
  command=(la_train --resume --run "$run")
  [ ! -e "$run/config.toml" ] || return 0
  rm -rf "$run"
  command=(la_train --data "$work/pictures" --image-size 16 --network resnet20 --dim 32 --epochs 4 --warm-start-epochs 2 --batch 32
    --clusters 12 --clusterings 2 --cluster-iterations 10 --background 32 --eval-every 1 --device cpu --threads 1 --run "$run")
}
train() { next_command && call "$@" "${command[@]}"; } # [SIGNAL MOMENT]

# finding WHAT: counts it and keeps the folder of the round. A round has one at most.
finding() {
  [ $found = 0 ] || return 0
  found=1 findings=$((findings + 1)) && count differences
  echo "$kind: $1; once more: KINDS=$kind ROUNDS=1 PROGRAMS=$programs $0 600 $((seed + round))"
  [ $findings -le $most_kept ] || return 0
  [ "$run" = "$work/round/run" ] || cp -r "$run" "$work/round"
  mv "$work/round" "$work/finding-$findings" && mkdir "$work/round"
  echo "  kept: $work/finding-$findings (story: the commands and what they printed; before: the run with the damage)"
}

# expect_refusal [FILE]: the program has ended with status 1 or 2 and one line, which names the file.
expect_refusal() {
  [[ $status = [12] && $(wc -l < "$work/round/err") = 1 ]] && grep -qF "${1:-la_}" "$work/round/err" ||
    finding "status $status, expected 1 and one line${1:+ that names $1}"
}

# What two trainings have in common: checkpoint, metrics without times and rates, names of other files.
same_checkpoint() { cmp -s "$run/$checkpoint" "$work/reference/$checkpoint"; }
metrics_of() { sed -E 's/"(time|clustering_seconds|images_per_second)":("[^"]*"|[^,}]*)//g' "$1/metrics.jsonl"; }
files_of() { find "$1" -mindepth 1 ! -name 'checkpoint-*' -printf '%f\n' | sort; }

# Lets the training end undisturbed and compares it with the reference.
finish() {
  [ $found = 0 ] || return 0
  train
  [ $status = 0 ] || finding "status $status of what should go on to the end"
  same_checkpoint || finding 'another checkpoint in the end'
  [ "$(metrics_of "$run")" = "$(metrics_of "$work/reference")" ] || finding 'other metrics in the end'
  [ "$(files_of "$run")" = "$(files_of "$work/reference")" ] || finding 'other files in the end'
}

# strike SIGNAL STATUS PERCENT: sends the signal at a random moment; fails if the training ended before.
strike() {
  random_moment "$3"
  train "$1" "$moment"
  [ $status = "$2" ] && count kills && return 0
  [ $status = 0 ] || finding "status $status, expected 0 or $2"
  return 1
}

# Up to eight kills in a row, at any moment or rather early ones.
round_kill() {
  local percent
  random 4 && percent=$((120 / (r + 1)))
  for _ in 1 2 3 4 5 6 7 8; do strike KILL 137 $percent || break; done
  finish
}

# Ctrl-C, and what a system sends that shuts down.
round_signal() {
  for _ in 1 2 3; do
    if one_in 2; then strike INT 130 120; else strike TERM 143 120; fi || break
  done
  finish
}

# A disk that is full after so many pages, or, also where that is not permitted, files that cannot get longer. Half of the
# disks have room for so many checkpoints and a few pages, so that it is not only checkpoints that do not fit.
round_full() {
  local pages=$(($(stat -c %s "$work/reference/$checkpoint") / 4096 + 1)) whole
  one_in 3 || ! mount -t tmpfs -o size=1m none "$disk" 2> /dev/null || run=$disk/run
  for _ in 1 2 3; do
    random 4 && whole=$((r * pages))
    if one_in 2; then random $((pages * 4)); else random 12; fi
    if [ "$run" != "$disk/run" ]; then
      limit=$((r + 1))
    else
      mount -o remount,size=$(((r < 12 ? r + whole : r) * 4 + 4))k "$disk" 2> /dev/null # fails if there is more already
    fi
    train
    [ $status != 0 ] || break
    count faults
    expect_refusal "$run"
    ! compgen -G "$run/*.tmp" > /dev/null || finding 'a temporary file is left'
  done
  limit=''
  mount -o remount,size=1g "$disk" 2> /dev/null
  finish
  umount "$disk" 2> /dev/null
  run=$work/round/run
}

# damage FILE: cuts the end off, makes a hole of zeros, or flips a bit or a byte; the beginning is met more often.
damage() {
  local size at byte
  cp "$1" "$work/round/intact" && size=$(stat -c %s "$1")
  if [ "$size" -gt 4096 ] && one_in 3; then random 4096; else random "$size"; fi
  at=$r byte=$(od -An -v -tu1 -j "$r" -N 1 "$1")
  random 4
  case $r in
    0) truncate -s "$at" "$1" ;;
    1) random $((size - at < 4096 ? size - at : 4096)) && head -c $((r + 1)) /dev/zero ;;
    2) random 8 && printf '%b' "\\0$(printf %o $((byte ^ 1 << r)))" ;;
    3) random 255 && printf '%b' "\\0$(printf %o $((byte ^ (r + 1))))" ;;
  esac | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
  ! cmp -s "$1" "$work/round/intact" || { damage "$1" && return; } # there were zeros before
  count faults
  echo "damaged: $1 from byte $at" >> "$work/round/story"
}

# go_on_damaged FILE...: the training goes on with the files damaged.
go_on_damaged() {
  local file
  for file; do damage "$file"; done
  cp -r "$run" "$work/round/before"
  call la_train --resume --run "$run"
}

# Damaged checkpoints: the newest, or all.
round_damage() {
  local checkpoints
  strike KILL 137 110
  checkpoints=("$run"/checkpoint-*.safetensors)
  if [ ! -e "${checkpoints[0]}" ]; then
    true
  elif [ ${#checkpoints[@]} = 1 ] || one_in 4; then
    go_on_damaged "${checkpoints[@]}"
    expect_refusal "$run"
    rm -f "${checkpoints[@]}"
  else
    go_on_damaged "${checkpoints[-1]}"
    [ $status = 0 ] || finding "status $status with one of two checkpoints damaged"
    grep -qF "damaged checkpoint: cannot read '${checkpoints[-1]}'" "$work/round/out" || finding 'no word of a damaged checkpoint'
  fi
  finish
}

# A damaged file of another kind: one clear line, or a word of it, or the same bytes in the end.
round_text() {
  local files=(config.toml metrics.jsonl log.txt pictures-train.txt pictures-test.txt) damaged
  strike KILL 137 100
  random ${#files[@]} && damaged=${files[r]}
  if [ ! -s "$run/$damaged" ] || [ ! -e "$run/config.toml" ]; then finish && return; fi
  go_on_damaged "$run/$damaged"
  if [ $status != 0 ]; then
    expect_refusal
  elif ! same_checkpoint && ! grep -qE '^(warning|bad picture)' "$work/round/out"; then
    finding "another checkpoint in the end, and no word of the damage to $damaged"
  fi
}

# Two programs in one folder: the first is stopped at a random moment while the second runs, or they begin at once. One of
# them is refused, unless the first has ended before.
round_two() {
  local ended='' of_first
  next_command
  random_moment 100
  "$programs/${command[0]}" "${command[@]:1}" > "$work/round/out-1" 2> "$work/round/err-1" < /dev/null &
  first=$!
  if ! one_in 3; then
    sleep "$moment"
    kill -STOP $first 2> /dev/null && ! grep -q '^done in' "$work/round/out-1" || ended=1
    [ ! -e "$run/config.toml" ] || command=(la_train --resume --run "$run")
  fi
  status='' && [ $ended ] || { call "${command[@]}" && count faults; }
  kill -CONT $first 2> /dev/null
  wait $first
  of_first=$? first=''
  { cat "$work"/round/*-1 && echo "status $of_first of the first, stopped after $moment s"; } >> "$work/round/story"
  case $of_first,$status in
    0, | 0,[12]) [ $ended ] || expect_refusal "$run" ;;
    [12],0) cp "$work/round/err-1" "$work/round/err" && status=$of_first && expect_refusal "$run" ;;
    *) finding "status $of_first and ${status:-none} of two programs, expected 0 of one" ;;
  esac
  finish
}

# use PROGRAM: lets it make a file of the checkpoint, in the folder output.
use() {
  local output=$work/round/output cpu='--device cpu --threads 1'
  rm -rf "$output" && mkdir "$output"
  case $1 in
    la_embed) call "$1" "$input" "$work/pictures/test" --out "$output/v.npy" $cpu ;;
    la_eval) call "$1" "$input" --data "$work/pictures" --knn-only --out "$output/v.json" $cpu ;;
    la_export) call "$1" "$input" --onnx "$output/v.onnx" ;;
  esac
}

# Damaged checkpoints for the other programs: one line and no output; what the intact one gives if it is only the name of
# the checksum that is damaged.
round_inputs() {
  for program in la_embed la_eval la_export; do
    cp "$work/reference/$checkpoint" "$input"
    damage "$input"
    use "$program"
    if [ $status = 0 ] && diff -r "$work/round/output" "$work/output-$program" > /dev/null; then continue; fi
    expect_refusal "$input"
    [ -z "$(ls -A "$work/round/output")" ] || finding "an output of $program is left"
  done
}

# Writes 160 pictures as files; trains with them, measures how long that takes, and keeps what the programs make of it.
prepare() {
  local labels i folder begin took
  [ -e "$data/train-labels-idx1-ubyte.gz" ] || { echo "$data: has no Fashion-MNIST; DATA=FOLDER says where it is" && exit 1; }
  gunzip -c "$data/train-images-idx3-ubyte.gz" 2> /dev/null | head -c $((16 + 160 * 784)) | tail -c +17 > "$work/raw"
  read -ra labels <<< "$(gunzip -c "$data/train-labels-idx1-ubyte.gz" | tail -c +9 | head -c 160 | od -An -v -tu1 | tr -d '\n')"
  for ((i = 0; i < 160; ++i)); do
    folder=$work/pictures/$([ $i -lt 128 ] && echo train || echo test)/${labels[i]}
    mkdir -p "$folder"
    { printf 'P5\n28 28\n255\n' && tail -c +$((i * 784 + 1)) "$work/raw" | head -c 784; } > "$folder/$i.pgm"
  done
  for _ in 1 2 3; do # the shortest counts: others may use the machine
    rm -rf "$run"
    begin=$(date +%s%N)
    train
    [ $status = 0 ] || { cat "$work/round/err" && exit 1; }
    took=$((($(date +%s%N) - begin) / 1000)) # microseconds
    [ "$took" -gt "${duration:-$took}" ] || duration=$took
  done
  mv "$run" "$work/reference"
  checkpoint=$(cd "$work/reference" && printf '%s\n' checkpoint-* | tail -n 1)
  cp "$work/reference/$checkpoint" "$input"
  for program in la_embed la_eval la_export; do
    use $program
    [ $status = 0 ] || { cat "$work/round/err" && exit 1; }
    mv "$work/round/output" "$work/output-$program"
  done
}

start=$(date +%s)
next=$((start + 60))
prepare
echo "seed $seed; the training takes $((duration / 1000)) ms; in $work"
for ((; $(date +%s) < start + seconds && round < ${ROUNDS:-1000000}; ++round)); do
  RANDOM=$((seed + round))
  random ${#kinds[@]} && kind=${kinds[r]}
  count rounds
  found=0
  rm -rf "$work/round" && mkdir "$work/round"
  round_"$kind"
  [ "$(date +%s)" -ge $next ] || continue
  echo "$(($(date +%s) - start)) s: round $((round + 1)), $(($(IFS=+ && echo "${kills[*]}"))) kills, $findings findings"
  next=$(($(date +%s) + 60))
done
printf '%-8s%8s%8s%8s%13s\n' kind rounds kills faults differences
for kind in $all_kinds; do
  printf '%-8s%8d%8d%8d%13d\n' "$kind" "${rounds[$kind]}" "${kills[$kind]}" "${faults[$kind]}" "${differences[$kind]}"
done
[ $findings = 0 ]
