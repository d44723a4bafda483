#!/bin/sh
# How long does the network of an instance take, and does that grow with their number? Needs root.
# usage: bench/net/run.sh [--builddir DIR] [COUNT…]; DIR: built without sanitizers.
set -eu
builddir=.
if [ "${1:-}" = --builddir ]; then
	builddir=$2
	shift 2
fi
make -s -C "$builddir" bench/net/net_bench >&2
[ $# -gt 0 ] || set -- 10 100 1000
for count in "$@"; do
	echo "== $count instances"
	"$builddir/bench/net/net_bench" "$count"
done
