#!/bin/bash
# A reboot of the node: all processes, mounts, namespaces and the run directory are gone at once.
# Everything comes back by itself, with its data, in order of start priority; what was stopped is as
# before.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
export PINION_ROUTER_TRAFFIC_INTERVAL=100
world_up

# The power fails: by id, only what belongs to this world.
power_off() {
	local tag dir pid run
	tag=$(node_tag) run=$(run_dir)
	pid=$(pgrep -P "$UP")
	kill -KILL "$UP" $pid 2>/dev/null
	wait "$UP" 2>/dev/null || true
	UP=
	pid=$(pgrep -f "pinion-resolver.*$run")
	[[ -z $pid ]] || kill -KILL $pid
	while read -r dir; do
		for pid in $(cat "$dir/cgroup.procs" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null; done
	done < <(find /sys/fs/cgroup -type d -path "*/pinion/$tag*")
	until_true no_process "$tag" || return 1
	find /sys/fs/cgroup -depth -type d -path "*/pinion/$tag*" -exec rmdir {} + 2>/dev/null
	ip -o link | grep -oE "pn$tag[^:@]*" | while read -r dir; do ip link delete "$dir" 2>/dev/null; done
	grep -F -e "$WORLD/" -e "$run" /proc/mounts | awk '{print $2}' | sort -r | while read -r dir; do umount -l "$dir"; done
	losetup -l -n -O NAME,BACK-FILE | grep -F "$WORLD/" | awk '{print $1}' | while read -r dir; do losetup -d "$dir" 2>/dev/null; done
	rm -rf "$run"
}
no_process() { ! cat $(find /sys/fs/cgroup -path "*/pinion/$1*" -name cgroup.procs) 2>/dev/null | grep -q .; }

for i in last first middle; do
	check "an app $i" p app create "$i" nodejs
done
clone middle
cat >"$WORLD/middle/server.js" <<'JS'
const fs = require("node:fs"), file = process.env.OPENSHIFT_DATA_DIR + "count";
const n = Number(fs.existsSync(file) ? fs.readFileSync(file) : 0) + 1;
fs.writeFileSync(file, String(n));
require("node:http").createServer((q, r) => r.end("start " + n)).listen(process.env.PORT, process.env.HOST);
JS
check "push" push_app middle "counts its starts"
check "it counts" serves middle / "start 1"
check "one is stopped" eval 'p app create off static && p app stop off'
check "one sleeps" eval 'p app create nap static && p idle nap'
check "another" p app create early static
gear() { p app show "$1" --json | jq -r .id; }
# priority APP N: as the administrator writes it, on the node.
priority() { echo "$2" >"$WORLD/data/node/gears/$(gear "$1")/base/0/.start_priority"; }
check "their order" eval 'priority last 900; priority nap 200; priority early 50; priority first 10'
ORDER=$(for i in first early middle nap last; do gear "$i"; done)

lines=$(wc -l <"$WORLD/up.log")
check "the power fails" power_off
check "nothing runs any more" eval '[[ -z $(left_of "^(cgroup|mount|namespace)") ]]'
LISTEN=${BROKER#http://} ROUTER_LISTEN=${ROUTER#http://} world_start
check "it is there again" until_true login_admin
check "the first app serves" until_true eval '[[ $(status_of first /) == 200 ]]'
check "the middle one serves, with its data" until_true eval '[[ $(get middle /) == "start "[23] ]]'
check "the last one serves" until_true eval '[[ $(status_of last /) == 200 ]]'
check "what was stopped is" test "$(status_of off /)" = 503
check "what slept serves" until_true eval '[[ $(status_of nap /) == 200 ]]'
tail -n +"$((lines + 1))" "$WORLD/up.log" | grep -o "instance_boots .*gear=[0-9a-f]*" | sed 's/.*gear=//' >"$WORLD/order"
check "they came in the order of ~/.start_priority" test "$(cat "$WORLD/order")" = "$ORDER"
check "a push works as ever" push_app middle "after the reboot"
check "it is served" serves middle / "start "
world_stop
check "nothing is left" nothing_left '^(cgroup|mount|loop|link|namespace)'
done_testing
