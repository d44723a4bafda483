#!/bin/sh
# How many durable writes a second, from how many clients? Prints JSON.
# usage: bench/store/run.sh [--builddir DIR] [--dir DIR] [--seconds N]; DIR: built without sanitizers.
set -eu
builddir=.
if [ "${1:-}" = --builddir ]; then
	builddir=$2
	shift 2
fi
make -s -C "$builddir" bench/store/bench_store >&2
exec "$builddir/bench/store/bench_store" "$@"
