#!/bin/sh
# install.sh BUILD DESTDIR PREFIX VERSION SONAME LIBRARIES: puts what was built in BUILD under DESTDIR/PREFIX: programs, their
# manual and presets; the library with its headers, and what pkg-config and CMake need to find it.
set -e
build=$1 prefix=$3 version=$4 soname=$5 libraries=$6
to=$2$prefix
mkdir -p "$to/bin" "$to/lib/pkgconfig" "$to/lib/cmake/la" "$to/include/la" "$to/share/man/man1" "$to/share/la"

cp -r presets examples "$to/share/la"
for program in "$build"/la_*; do
  name=$(basename "$program")
  install -m 755 "$program" "$to/bin/$name"
  sh install/make_man.sh "$to/bin/$name" "$version" > "$to/share/man/man1/$name.1"  # with the values of the presets
done

install -m 644 "$build/libla.a" "$to/lib/libla.a"
install -m 755 "$build/libla.so.$version" "$to/lib/libla.so.$version"
ln -sf "libla.so.$version" "$to/lib/$soname"
ln -sf "$soname" "$to/lib/libla.so"

# The headers that la/la.h includes, and those that they include. Those of la/ stand in include/la, all others below it.
headers=la/la.h
while :; do
  more=$({ echo "$headers"; echo "$headers" | xargs sed -n 's/^ *# *include *"\(.*\)".*/\1/p'; } | tr ' ' '\n' | sort -u)
  [ "$more" = "$headers" ] && break
  headers=$more
done
for header in $headers; do
  case $header in
    la/*) target=$to/include/$header ;;
    *) target=$to/include/la/$header ;;
  esac
  mkdir -p "$(dirname "$target")"
  sed 's,^\( *# *include *"\)\(tensor\|autograd\|layers\|data\|evaluation\)/,\1la/\2/,' "$header" > "$target"
done

for file in la.pc la-config.cmake la-config-version.cmake; do
  case $file in
    la.pc) folder=$to/lib/pkgconfig ;;
    *) folder=$to/lib/cmake/la ;;
  esac
  sed "s,@PREFIX@,$prefix,g; s,@VERSION@,$version,g; s,@SONAME@,$soname,g; s,@LIBRARIES@,$libraries,g" \
    "install/$file.in" > "$folder/$file"
done
echo "installed in $to"
