#!/bin/sh
# What check_docs.sh finds: a block of code that is in no source, a name and a file that are gone, a dead link.
check=$(realpath "$(dirname "$0")/check_docs.sh")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/docs" "$root/la"
printf 'int one() {\n  return 1;\n}\n\nint two();\n' > "$root/la/a.cpp"
status=0

# expect WHAT TEXT: with this document (as of printf), the status of the check is that of WHAT (true or false).
expect() {
  printf "$2" > "$root/docs/a.md"
  sh "$check" "$root" > "$root/said" 2>&1
  found=$?
  if $1; then [ $found = 0 ] && return; else [ $found = 1 ] && grep -q '^docs/a.md:2: ' "$root/said" && return; fi
  echo "check_docs.sh: status $found for:" >&2
  printf "$2" >&2
  status=1
}

expect true 'Text.\n```cpp\nint one() {\n  return 1;\n}\n```\n'
expect true 'Text.\n```cpp\nint two();\n```\n'
expect true 'Text.\n```\nanything\n```\n'
expect true 'See [`la/a.cpp:one`](../la/a.cpp), [there](https://example.org/a.cpp), [above](#text).\n'
expect false 'Text.\n```cpp\nint one() {\n  return 2;\n}\n```\n'
expect false 'Text.\n```cpp\nint one() {\n}\n```\n'
expect false 'Text.\n```cpp\none() {\n```\n'
expect false 'Text.\nSee `la/a.cpp:three`.\n'
expect false 'Text.\nSee `la/a.cpp:on`.\n'
expect false 'Text.\nSee `la/b.cpp:one`.\n'
expect false 'Text.\nSee [here](../la/b.cpp).\n'
[ $status = 0 ] && echo "documents: the check finds what is no longer so"
exit $status
