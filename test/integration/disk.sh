#!/bin/bash
# The node's disk: nearly full, nothing new is begun; without file systems of their own, gears have an advisory
# quota and are stopped beyond it; volumes are reserved in placement.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
export PINION_NODE_VOLUMES=plain
# The node's directory is a file system of 1 GB, so that it can be filled.
world_new
SMALL=$(mktemp "${TMPDIR:-/tmp}/pinion-disk.XXXXXX")
finish() { world_stop; umount "$WORLD/data/node"; world_end; rm -f "$SMALL"; }
trap finish EXIT
mkdir -p "$WORLD/data/node"
truncate -s 1G "$SMALL" && mkfs.ext4 -q -F -m 0 "$SMALL" && mount -o loop,discard "$SMALL" "$WORLD/data/node" || exit 1
world_start && login_admin && p domain create it >/dev/null || { echo "not ok 1 - pinion up"; exit 1; }
check "a small profile" p admin profile set small --disk 64
check "an app" p app create web php
check "its quota is advisory" until_true eval '[[ $(p app show web --json | jq -r .quota) == advisory ]]'
id=$(p app show web --json | jq -r .id)
data=$WORLD/data/node/gears/$id/data
check "and the user is told" eval 'p app show web | grep -q "Disk quota *advisory"'
check "with the gear, and the administrator with the node" eval 'p status | grep -q advisory && curl -sS --fail -u "admin:$(<"$WORLD/data/admin-password")" "$BROKER/broker/rest/domain/it/application/web/gear_groups" | jq -e ".data[0].gears[0].quota == \"advisory\""'
check "it serves" until_true serves web / ""
fallocate -l 90M "$data/much"
in_5_s() { local DEADLINE=5; until_true "$@"; }
check "beyond 110 % it is stopped within 5 s of the write" in_5_s eval '[[ $(status_of web /) != 200 ]]'
check "it is told why" until_true eval 'p events web | grep -q "110 %"'
check "the app shows it" eval 'p app show web | grep -q "Notice *stopped: it uses more than 110 %"'
check "the administrator sees it" eval 'p status | grep -q "stopped: it uses more than 110 %"'
check "what starts says so" eval 'out=$(p app restart web 2>&1); [[ $? -ne 0 && $out == *"110 %"* ]] || { echo "$out"; false; }'
rm "$data/much"
check "the notice goes" until_true eval 'p events web | grep -q "now there is room"'
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

# --- the biggest growers are frozen ---
unset PINION_BROKER_DISK_OVERCOMMIT PINION_NODE_VOLUMES
world_stop
world_start && login_admin
p admin profile set small --disk 300 >/dev/null
check "an app that will grow" p app create grow nodejs
check "its neighbour" p app create calm static
check "clone" clone grow
cat >"$WORLD/grow/server.js" <<'JS'
const fs = require("node:fs"), file = process.env.OPENSHIFT_DATA_DIR + "/much";
let timer, n = 0;
const add = () => { const fd = fs.openSync(file, "a"); fs.writeSync(fd, Buffer.alloc(1 << 20, n++)); fs.fsyncSync(fd); fs.closeSync(fd); };
require("node:http").createServer((q, r) => {
	if (q.url === "/grow") timer = setInterval(add, 200);
	if (q.url === "/stop") clearInterval(timer);
	r.end("grown " + n);
}).listen(process.env.PORT, process.env.HOST);
JS
check "push" push_app grow "a grower"
free_mb() { df -m --output=avail "$WORLD/data/node" | tail -1; }
fallocate -l $(($(free_mb) - 48))M "$WORLD/data/node/ballast"
touch "$WORLD/asking"
/usr/bin/python3 "$PINION_SRCDIR/test/lib/load.py" "$ROUTER" "calm-it.$DOMAIN" "$WORLD/asking" 2 >"$WORLD/load.json" &
LOAD=$!
check "at 5 % no new gear" eval '! p app create more static >"$WORLD/out" 2>&1 && grep -q disk "$WORLD/out"'
check "and no build" eval '! push_app grow again && grep -q "nearly full" "$WORLD/push.log"'
check "it grows" get grow /grow
check "at 2 % it is frozen" until_true eval 'p events grow | grep -q "was frozen: the node.s disk is nearly full"'
check "there is room left" eval '(($(free_mb) > 0))'
check "the app shows it" eval 'p app show grow | grep -q "Notice *frozen"'
check "the administrator sees it" eval 'p status | grep -q "frozen: the node.s disk"'
still() { local n; n=$(free_mb); sleep 1.5; (($(free_mb) >= n)); }
check "it grows no more" still
kill -9 "$(child_pid pinion-node)"
check "a node that dies meanwhile knows it" until_true eval 'p status | grep -q "frozen: the node.s disk"'
check "still" still
rm "$WORLD/data/node/ballast"
check "with room it thaws" until_true eval 'get grow /stop | grep -q grown'
check "it is told" until_true eval 'p events grow | grep -q "may go on: it was frozen"'
check "the notice is gone" eval '! p app show grow | grep -q Notice'
rm "$WORLD/asking"
wait "$LOAD"
check "the neighbour lost no request" eval 'jq -e "(.failures | length) == 0 and .requests > 20" "$WORLD/load.json" || { cat "$WORLD/load.json"; false; }'
check "builds go again" push_app grow "once more"
check "delete" eval 'p app delete grow --yes && p app delete calm --yes'
check "nothing is left" nothing_left "gears/"
done_testing
