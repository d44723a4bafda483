#!/bin/bash
# What parsing one request head costs: instructions (callgrind) and nanoseconds.
# usage: run.sh   (needs gcc and valgrind)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
gcc -std=gnu17 -D_GNU_SOURCE -O2 -g -I"$top" -o "$tmp/heads" "$here/heads.c" "$top/lib/http/http_head.c" \
	"$top/lib/base/str.c" "$top/lib/base/err.c" "$top/lib/base/mem.c" "$top/lib/base/buf.c"

# Instructions a head: the difference of 100 and 1,100 times, so that the start does not count.
instructions() {
	local few many
	few=$(count "$1" 100 "${2:-}")
	many=$(count "$1" 1100 "${2:-}")
	echo $(((many - few) / 1000))
}
count() {
	valgrind --tool=callgrind --callgrind-out-file="$tmp/out" "$tmp/heads" "$1" "$2" ${3:+"$3"} \
		>/dev/null 2>&1
	awk '/^(summary|totals):/ {print $2; exit}' "$tmp/out"
}

echo "| head | bytes | fields | instructions | a byte | ns | instructions, byte by byte |"
echo "| --- | --- | --- | --- | --- | --- | --- |"
for f in "$here"/*.head; do
	bytes=$(wc -c <"$f")
	fields=$(($(wc -l <"$f") - 2))
	n=$(instructions "$f")
	printf '| %s | %d | %d | %d | %s | %s | %d |\n' "$(basename "$f" .head)" "$bytes" "$fields" "$n" \
		"$(awk "BEGIN {printf \"%.1f\", $n / $bytes}")" "$("$tmp/heads" "$f" 300000)" \
		"$(instructions "$f" drip)"
done
