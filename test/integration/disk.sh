#!/bin/bash
# The node's disk: nearly full, nothing new is begun; without file systems of their own, gears have an advisory
# quota and are stopped beyond it; volumes are reserved in placement.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
export PINION_NODE_VOLUMES=plain
world_up
check "an app" p app create web php
check "its quota is advisory" until_true eval '[[ $(p app show web --json | jq -r .quota) == advisory ]]'
id=$(p app show web --json | jq -r .id)
data=$WORLD/data/node/gears/$id/data
check "a small profile" p admin profile set small --disk 64
p app delete web --yes >/dev/null
check "an app of 64 MB" p app create web php
id=$(p app show web --json | jq -r .id)
data=$WORLD/data/node/gears/$id/data
check "it serves" until_true serves web / ""
fallocate -l 90M "$data/much"
start=$SECONDS
check "beyond 110 % it is stopped" until_true eval '[[ $(status_of web /) != 200 ]]'
check "soon" test $((SECONDS - start)) -le 15
check "it is told why" until_true eval 'p events web | grep -q "110 %"'
rm "$data/much"
check "with room again it starts" eval 'until_true p app restart web && until_true serves web / ""'
export PINION_NODE_DISK_LOW=100
world_stop
world_start && login_admin
check "what runs goes on" until_true serves web / ""
check "no new gear on a full disk" eval 'out=$(p app create more static 2>&1); [[ $? -ne 0 && $out == *disk* ]] || { echo "$out"; false; }'
check "no build" eval 'clone web && ! push_app web x && grep -q "nearly full" "$WORLD/push.log" || { cat "$WORLD/push.log"; false; }'
unset PINION_NODE_DISK_LOW
export PINION_BROKER_DISK_OVERCOMMIT=1
world_stop
world_start && login_admin
p admin profile set large --disk 100000000 --user admin >/dev/null
check "volumes are reserved" eval 'out=$(curl -sS -u "admin:$(<"$WORLD/data/admin-password")" -X POST -H "Content-Type: application/json" -d "{\"name\":\"big\",\"cartridges\":[\"static\"],\"gear_size\":\"large\"}" "$BROKER/broker/rest/domain/it/applications"); [[ $out == *"free disk"* ]] || { echo "$out"; false; }'
check "delete" p app delete web --yes
done_testing
