#!/bin/bash
# Gear profiles of an administrator: added, used, changed on a running gear without a restart, removed;
# and storage beside the profile's.
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
gear=$WORLD/data/node/gears/$id
room_mb() { df -m --output=used,avail "$gear" | awk 'END { print $1 + $2 }'; }
has_mb() { local mb; mb=$(room_mb); ((mb <= $1 && mb > $1 * 3 / 4)) || { false; }; }
check "its disk" has_mb 64
check "its files" test "$(df --output=itotal "$WORLD/data/node/gears/$id" | tail -1)" -le 4096
before=$(instance)
check "changed" p admin profile set tiny --memory 300
check "the running gear has it" until_true is_mb 300
check "without a restart" test "$(instance)" = "$before"

# --- the disk, while it is in use ---
fill_mb() { setpriv --reuid 1000 --regid 1000 --clear-groups dd if=/dev/zero bs=1M count="$1" status=none >"$gear/data/fill" 2>"$WORLD/fill"; }
check "100 MB do not fit" eval '! fill_mb 100'
check "a larger disk" p admin profile set tiny --disk 200
check "the running gear has it" until_true has_mb 200
check "now they do" fill_mb 100
check "a smaller disk" p admin profile set tiny --disk 64
check "nothing is lost" eval 'until_true eval "((\$(df -m --output=avail $gear | tail -1) == 0))" && (($(stat -c %s "$gear/data/fill") == 100 << 20))'
rm "$gear/data/fill"
check "and there is room again" until_true has_mb 64

# --- storage beside the profile's ---
check "not allowed at first" fails_with 2 "not allowed" p cartridge storage web static --add 1
check "the administrator allows it" p user set admin --max-storage 2
check "no such user" fails_with 4 "no user" p user set nobody --max-storage 2
check "nothing was said" fails_with 2 "give --max-gears" p user set admin
check "no number" fails_with 2 "whole GB" p cartridge storage web static --add 1TB
check "more than that is too much" fails_with 2 "at most 2 GB" p cartridge storage web static --set 3
check "add" p cartridge storage web static --add 1GB
check "the running gear has it" until_true has_mb $((1024 + 64))
check "add again" p cartridge storage web static --add 1
check "no more" fails_with 2 "at most 2 GB" p cartridge storage web static --add 1
check "it is shown" eval '[[ $(p cartridge storage web static --show --json | jq -r .additional_gear_storage) == 2 ]]'
check "with the group of gears" eval '[[ $(curl -sS --fail -u "admin:$(<"$WORLD/data/admin-password")" "$BROKER/broker/rest/domain/it/application/web/gear_groups" | jq -r ".data[0].additional_gear_storage") == 2 ]]'
check "and the user" eval 'curl -sS --fail -u "admin:$(<"$WORLD/data/admin-password")" "$BROKER/broker/rest/user" | jq -e ".data.capabilities.max_storage_per_gear == 2"'
check "the profile's change leaves it" p admin profile set tiny --disk 100
check "both count" until_true has_mb $((2048 + 100))
check "used" fill_mb 300
refused() { p cartridge storage web static --set 2 && fails_with 2 "does not fit" p cartridge storage web static --set 0; }
check "a shrink below that is refused, once the use is known" until_true refused
check "it is as it was" has_mb $((2048 + 100))
rm "$gear/data/fill"
check "with room it works" until_true p cartridge storage web static --remove 2GB
check "the gear has its profile's" until_true has_mb 100
check "and was not restarted" test "$(instance)" = "$before"
export PINION_BROKER_DISK_OVERCOMMIT=1
LISTEN=${BROKER#http://}
world_stop
world_start && login_admin
p user set admin --max-storage 100000 >/dev/null
check "a node without room is not overbooked" fails_with 2 "no room" p cartridge storage web static --set 100000
unset PINION_BROKER_DISK_OVERCOMMIT
world_stop
world_start && login_admin
check "it serves" until_true serves web / "<"
check "a disk as it was, after all that" until_true has_mb 100
check "in use" fails_with 2 "gears have the profile" p admin profile remove tiny
check "small changed" eval 'p admin profile set small --pids 300 && [[ $(field small pids) == 300 ]]'
check "and back" eval 'p admin profile remove small && [[ $(field small pids) == 250 ]]'
check "only once" fails_with 4 "usual" p admin profile remove small
check "delete" p app delete web --yes
check "removed" p admin profile remove tiny
check "it is gone" test -z "$(field tiny memory_mb)"
done_testing
