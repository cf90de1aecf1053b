#!/bin/sh
# make_bundle.sh BUILD FOLDER: puts programs, tests, benchmarks, presets, the shared libraries that a bare host may lack, and
# Fashion-MNIST into FOLDER, and that into FOLDER.tar.xz.
set -e
build=$1 folder=$2
data=/usr/share/datasets/fashion-mnist
rm -rf "$folder" "$folder.tar.xz"
mkdir -p "$folder/lib" "$folder/data/fashion-mnist" "$folder/tests" "$folder/tensor"
cp "$build/la_train" "$build/la_eval" "$build/run_tests" "$build/bench_gpu" "$build/bench_ops" "$folder"
strip "$folder/la_train" "$folder/la_eval" "$folder/run_tests" "$folder/bench_gpu" "$folder/bench_ops"
cp "$build/libkernel_times.so" "$folder/lib"
cp -r presets bench "$folder"
cp -r tests/fixtures "$folder/tests"
cp tensor/ops.h "$folder/tensor"
cp bundle/run-all bundle/run-step bundle/environment "$folder"
git rev-parse --short HEAD > "$folder/bench/commit"
cp "$data"/*-ubyte.gz "$folder/data/fashion-mnist"
# All libraries but those of glibc and the compiler's loader, which every host has.
ldd "$folder/la_train" | awk '/=> \// {print $3}' | grep -vE '/(libc|libm|libdl|librt|libpthread)\.so' |
  while read -r library; do cp -L "$library" "$folder/lib"; done
tar -C "$(dirname "$folder")" -cJf "$folder.tar.xz" "$(basename "$folder")"
echo "$folder.tar.xz: $(du -m "$folder.tar.xz" | cut -f 1) MiB"
