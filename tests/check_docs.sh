#!/bin/sh
# check_docs.sh [ROOT]: whether what the documents say of the code is still there. In README.md, CONTRIBUTING.md and docs/*.md
#   - each block fenced by ```cpp occurs, line by line, in a source that is compiled;
#   - each `folder/file.cpp:name` names a file that has the word `name`;
#   - each link to a file of the repository leads to one.
cd "${1:-$(dirname "$0")/..}" || exit 2
documents=$(ls README.md CONTRIBUTING.md docs/*.md 2> /dev/null)
sources=$(find tensor autograd layers data evaluation la apps bench docs examples tests \
  -name '*.h' -o -name '*.cpp' -o -name '*.cu' 2> /dev/null)

awk '
  function complain(text) { print FILENAME ":" line ": " text > "/dev/stderr"; failed = 1 }
  function is_file(path) { if ((getline first < path) < 0) return 0; close(path); return 1 }

  function check_block(file, found) {
    for (file in text) if (index(text[file], "\n" block)) found = 1
    if (!found) complain("this block of C++ is in no source")
    ++blocks
  }
  function check_names(rest, name, part, words) {
    while (match(rest, /[a-z0-9_\/]+\.(h|cpp|cu|sh):[A-Za-z_][A-Za-z0-9_]*/)) {
      name = substr(rest, RSTART, RLENGTH); rest = substr(rest, RSTART + RLENGTH)
      split(name, part, ":")
      ++names
      if (!(part[1] in text)) { complain("there is no source " part[1]); continue }
      words = text[part[1]]
      gsub(/[^A-Za-z0-9_]+/, " ", words)
      if (!index(words " ", " " part[2] " ")) complain(part[1] " has no " part[2])
    }
  }
  function check_links(rest, path, folder) {
    while (match(rest, /\]\([^)]*\)/)) {
      path = substr(rest, RSTART + 2, RLENGTH - 3); rest = substr(rest, RSTART + RLENGTH)
      sub(/#.*/, "", path)
      if (path == "" || path ~ /^[a-z]+:/) continue
      folder = FILENAME; if (!sub(/[^\/]*$/, "", folder)) folder = ""
      if (!is_file(folder path)) complain("there is no file " folder path)
      ++links
    }
  }

  FILENAME !~ /\.md$/ { if (FNR == 1) text[FILENAME] = "\n"; text[FILENAME] = text[FILENAME] $0 "\n"; next }
  FNR == 1 { fence = "" }
  /^```/ {
    if (fence == "") { fence = $0; block = ""; line = FNR }
    else { if (fence == "```cpp") check_block(); fence = "" }
    next
  }
  fence != "" { block = block $0 "\n"; next }
  { line = FNR; check_names($0); check_links($0) }

  END {
    if (!failed) print "documents: " blocks + 0 " blocks of code, " names + 0 " names and " links + 0 " links are in order"
    exit failed
  }
' $sources $documents
