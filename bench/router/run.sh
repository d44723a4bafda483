#!/bin/sh
# What the router costs beside HAProxy, pair by pair. See README.md; --help tells the options.
# The bench has a session of its own, for its priority: what ends us has to be passed on.
python3 "$(dirname "$0")/router_bench.py" "$@" &
trap 'kill $!' INT TERM
wait $! || { rc=$?; [ "$rc" -le 128 ] || wait $!; exit "$rc"; }
