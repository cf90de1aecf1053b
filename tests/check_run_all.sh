#!/bin/sh
# Whether the bundle's run-all ends in time with its table, though programs hang, crash and print nothing: it is given
# programs that do.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
here=$PWD
cd "$folder" || exit 1
mkdir bench bin
cp "$here"/bundle/* .
cp "$here/bench/compare.sh" bench
echo commit > bench/commit

program() { # FILE: what it does is read from the input
  { echo '#!/bin/sh'; cat; } > "$1"
  chmod +x "$1"
}
program run_tests <<'END'
case "$*" in
  *-ts=devices*) printf '[doctest] listing\n=====\nhangs, for ever\ncrashes\nprints nothing\nfails with "quotes" and $dollar\n' ;;
  *-ts=*) ;;
  *hangs*) trap '' TERM; while :; do sleep 1; done ;;
  *crashes*) kill -SEGV $$ ;;
  *quotes*) echo 'assertions: 3 | 2 passed | 1 failed'; exit 1 ;;
esac
END
program bench_gpu <<'END'
case $1 in
  copy) printf 'copy\t4000\tGB/s\n' ;;
  la_step) printf 'half a line'; kill -KILL $$ ;;
  kmeans) exit 7 ;;
esac
END
echo 'exit 3' | program la_train
echo 'echo "a GPU, driver 1"' | program bin/nvidia-smi
echo 'exit 1' | program bin/python3 # no PyTorch

begin=$(date +%s)
PATH=$PWD/bin:$PATH OUT=$PWD/out LA_TEST_SECONDS=3 ./run-all 20 probe tests training bench > table 2>&1
status=$?
seconds=$(($(date +%s) - begin))

problem() {
  echo "run-all: $1; its table was:"
  cat table
  exit 1
}
[ $status = 1 ] || problem "its status is $status, expected 1"
[ $seconds -le 20 ] || problem "it took $seconds s of 20"
[ "$(wc -l < table)" -le 60 ] || problem 'its table is longer than 60 lines'
[ "$(ls out | wc -l)" -le 8 ] || problem 'it left more than 8 files'
for line in 'a GPU, driver 1' 'copy .*4000 GB/s' 'hangs. for ever .*time up' 'crashes .*FAILED' 'fails with .*FAILED' \
  'bench la_step .*FAILED' 'bench kmeans .*FAILED' 'la_train .*FAILED'; do
  grep -q "$line" table || problem "no line with '$line'"
done
grep -q 'prints nothing .*passed' out/steps.txt || problem 'a test that prints nothing did not pass'
for wrong in 'soon' '20 tsets'; do
  ./run-all $wrong > table 2>&1
  status=$?
  [ $status = 2 ] && [ "$(wc -l < table)" = 1 ] || problem "its status for '$wrong' is $status, expected 2 and one line"
done
echo "run-all ends with its table in $seconds s, whatever its programs do"
