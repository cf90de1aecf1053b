#!/bin/sh
# check_install.sh: installs into a temporary prefix, builds the examples from there as a user would, once with pkg-config and
# once with CMake, and runs them: each must reach its accuracy. Nothing of the source folder may be needed.
set -e
source=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
# Threads that wait must not keep from working those of other programs, with which tests share the cores.
export GOMP_SPINCOUNT=5000
fail() { echo "install: $1" >&2; exit 1; }

# Not with the flags of a make that calls this.
env -u MAKEFLAGS -u MAKELEVEL make -C "$source" --no-print-directory install PREFIX="$prefix" CUDA=0 > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
cd "$work"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib

# What is installed says nothing of where it was built, and every header stands by itself.
! grep -rnE '# *include *"(tensor|autograd|layers|data|evaluation)/' "$prefix/include" || fail "headers include from the source folder"
! grep -rn fmt "$prefix/include" --include='*.h' -l | xargs -r grep -ln 'include *<fmt' || fail "fmt leaks into headers"
find "$prefix/include" -name '*.h' -print0 |
  xargs -0 -P "$(nproc)" -I HEADER g++ -std=c++20 -fsyntax-only -Wall -Wextra -Werror $(pkg-config --cflags la) -include HEADER -x c++ /dev/null ||
  fail "a header does not stand by itself"
for program in la_train la_eval la_embed la_export la_import la_cluster la_duplicates la_report la_detect; do
  "$prefix/bin/$program" --version > /dev/null || fail "$program does not start"
  man -l "$prefix/share/man/man1/$program.1" 2> /dev/null | grep -q -- "--help" || ! command -v man > /dev/null || fail "the manual of $program has no options"
done
batch=$("$prefix/bin/la_train" --help | sed -n 's/.*--batch INT=\([0-9]*\).*/\1/p')
grep -q -- "batch INT=$batch " "$prefix/share/man/man1/la_train.1" || fail "the manual has other values than --help"
"$prefix/bin/la_train" --preset quick --dry-run --limit 200 | grep -q "share/la/presets/quick.toml" || fail "presets are not found"
if [ "$(objdump -d "$prefix/lib/libla.so" | grep -c zmm)" = 0 ]; then fail "there is no code for AVX-512"; fi

# Examples, and the least accuracy in percent that each must reach.
expected() {
  case $1 in mnist) echo 78 ;; local_aggregation) echo 79 ;; own_loss) echo 72 ;; own_dataset) echo 75 ;; esac
}
cp -r "$prefix/share/la/examples" examples
for example in examples/*.cpp; do
  g++ -std=c++20 -O2 -Wall -Wextra -Werror "$example" -o "${example%.cpp}" $(pkg-config --cflags --libs la)
done
cat > examples/CMakeLists.txt << 'END'
cmake_minimum_required(VERSION 3.18)
project(examples CXX)
find_package(la 0.9 REQUIRED)
file(GLOB sources *.cpp)
foreach(source ${sources})
  get_filename_component(name ${source} NAME_WE)
  add_executable(cmake_${name} ${source})
  target_link_libraries(cmake_${name} la::la)
endforeach()
add_executable(static_mnist mnist.cpp)
target_link_libraries(static_mnist la::static)
END
cmake -S examples -B cmake -DCMAKE_PREFIX_PATH="$prefix" > "$work/log" 2>&1 && cmake --build cmake > "$work/log" 2>&1 || { cat "$work/log"; fail "CMake"; }
for example in examples/*.cpp; do
  name=$(basename "$example" .cpp)
  accuracy=$("examples/$name" | sed -n 's/^accuracy \([0-9.]*\) %$/\1/p')
  echo "install: $name reaches $accuracy %, at least $(expected "$name") is expected"
  awk "BEGIN { exit !(\"$accuracy\" >= $(expected "$name")) }" || fail "$name"
done
cmake/static_mnist | grep -q accuracy || fail "the static library"
echo "install: examples build with pkg-config and CMake, and run"
