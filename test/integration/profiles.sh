#!/bin/bash
# Gear profiles of an administrator: added, used, changed on a running gear without a restart, removed.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_up
field() { p admin profile list --json | jq -r --arg n "$1" --arg f "$2" '.[] | select(.name == $n) | .[$f]'; }
check "the usual ones" test "$(p admin profile list --json | jq -r 'map(.name) | join(" ")')" = "small medium large"
check "no such name" fails_with 2 "name" p admin profile set 'No!'
check "limits too small" fails_with 2 "memory_mb" p admin profile set tiny --memory 1
check "no such user" fails_with 2 "no user" p admin profile set tiny --user nobody
check "nothing of it" test -z "$(field tiny memory_mb)"
check "a new one" p admin profile set tiny --memory 200 --cpu 50 --pids 60 --disk 64 --files 3000 --user admin
check "what was not given is as in small" test "$(field tiny nofile)" = "$(field small nofile)"
check "the user has it" eval 'curl -sS --fail -u "admin:$(<"$WORLD/data/admin-password")" "$BROKER/broker/rest/user" | jq -e ".data.capabilities.gear_sizes | index(\"tiny\")"'
check "the domain allows it" curl -sS --fail -o /dev/null -u "admin:$(<"$WORLD/data/admin-password")" -X PUT -H "Content-Type: application/json" \
	-d '{"allowed_gear_sizes":["small","tiny"]}' "$BROKER/broker/rest/domain/it"
check "an app of it" curl -sS --fail -o /dev/null -u "admin:$(<"$WORLD/data/admin-password")" -X POST -H "Content-Type: application/json" \
	-d '{"name":"web","cartridges":["static"],"gear_size":"tiny"}' "$BROKER/broker/rest/domain/it/applications"
check "it serves" until_true serves web / "<"
id=$(p app show web --json | jq -r .id)
instance() { ls "$WORLD/data/node/gears/$id/inst" | grep -v spare; }
limit() { cat /sys/fs/cgroup/{memory/,,unified/}pinion/"$(node_tag)/$id"/*/{memory.limit_in_bytes,memory.max} 2>/dev/null | grep -v max | head -1; }
is_mb() { [[ $(limit) -eq $(($1 << 20)) ]]; }
check "its memory" until_true is_mb 200
check "its disk" test "$(($(df --output=size -m "$WORLD/data/node/gears/$id" | tail -1)))" -le 64
check "its files" test "$(df --output=itotal "$WORLD/data/node/gears/$id" | tail -1)" -le 4096
before=$(instance)
check "changed" p admin profile set tiny --memory 300
check "the running gear has it" until_true is_mb 300
check "without a restart" test "$(instance)" = "$before"
check "in use" fails_with 2 "gears have the profile" p admin profile remove tiny
check "small changed" eval 'p admin profile set small --pids 300 && [[ $(field small pids) == 300 ]]'
check "and back" eval 'p admin profile remove small && [[ $(field small pids) == 250 ]]'
check "only once" fails_with 4 "usual" p admin profile remove small
check "delete" p app delete web --yes
check "removed" p admin profile remove tiny
check "it is gone" test -z "$(field tiny memory_mb)"
done_testing
