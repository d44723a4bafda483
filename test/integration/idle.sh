#!/bin/bash
# Sleep: by itself after the configured time, and by command; frozen, memory given back, stopped.
# The next request wakes it, whichever daemon is down or was killed meanwhile; what is used (a
# request under way, an open WebSocket) does not sleep; exempt applications do not.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
export PINION_ROUTER_TRAFFIC_INTERVAL=100
world_up

sleep_of() { p app show "$1" --json | jq -r .sleep; }
is_level() { [[ $(sleep_of "$1") == "$2" ]]; }
gear_state() { [[ $(curl -sS -H "Authorization: Bearer $(jq -r .token "$XDG_CONFIG_HOME/pinion/login.json")" \
	"$BROKER/broker/rest/domain/it/application/$1/gear_groups" | jq -r '.data[0].gears[0].state') == "$2" ]]; }
event() { p events "$1" --json | jq -e --arg k "$2" 'any(.[]; .kind == $k)'; }
# daemon NAME: its process id, of this world only.
daemon() { pgrep -P "$UP" -f "$1" | head -1; }
is_other() { local now; now=$(daemon "$1") && [[ -n $now && $now != "$2" ]]; }
# is every process of the app frozen? Its counter stands still.
counts() { get "$1" /count; }

check "an app" p app create web nodejs
clone web
cat >"$WORLD/web/server.js" <<'JS'
const http = require("node:http");
let ticks = 0;
setInterval(() => ticks++, 10);
const s = http.createServer((q, r) => {
	if (q.url === "/count") return r.end(String(ticks));
	if (q.url === "/slow") return setTimeout(() => r.end("slow"), 4000);
	r.end("pid " + process.pid + " up " + Math.round(process.uptime() * 1000));
});
s.on("upgrade", (q, sock) => {
	sock.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n");
	sock.pipe(sock);
});
s.listen(process.env.PORT, process.env.HOST);
JS
check "push" push_app web "counts"
check "it serves" serves web / "pid "

check "put it to sleep" p idle web
check "it says so" is_level web frozen
check "its gear too" gear_state web idle
check "that is told" event web idled
check "a request wakes it" serves web / "pid "
check "it is awake" until_true is_level web awake
check "its gear is started" until_true gear_state web started
check "that is told" event web woken

before=$(counts web)
check "sleep again" p idle web
sleep 1.5
after=$(counts web)
check "it stood still meanwhile ($before, $after)" test $((after - before)) -lt 100
until_true is_level web awake

# swap of the test's own, where the machine offers a device for it
ZRAM=
swap_on() {
	local n
	n=$(cat /sys/class/zram-control/hot_add 2>/dev/null) && [[ -n $n ]] || return 1
	ZRAM=/dev/zram$n
	[[ -b $ZRAM ]] && echo 256M >"/sys/block/zram$n/disksize" && mkswap "$ZRAM" >/dev/null && swapon -p 10 "$ZRAM"
}
swap_off() {
	[[ -n $ZRAM ]] || return 0
	swapoff "$ZRAM" 2>/dev/null
	echo "${ZRAM#/dev/zram}" >/sys/class/zram-control/hot_remove
	ZRAM=
}
# what is charged to the instance, MB
memory_of() {
	local dir
	dir=$(find /sys/fs/cgroup -type d -path "*/pinion/*/$(p ps web --json | jq -r '.instances[0].instance')" |
		while read -r d; do [[ ! -e $d/memory.usage_in_bytes && ! -e $d/memory.current ]] || echo "$d"; done | head -1)
	echo $(($(cat "$dir/memory.usage_in_bytes" 2>/dev/null || cat "$dir/memory.current") >> 20))
}
trap 'swap_off; world_end' EXIT
if swap_on; then
	get web / >/dev/null
	before=$(memory_of)
	check "its memory is given back" p idle web --level reclaimed
	check "it says so" is_level web reclaimed
	after=$(memory_of)
	check "nearly all of it ($before MB, then $after MB)" test $((after * 4)) -lt "$before"
	check "a request wakes it" serves web / "pid "
	until_true is_level web awake
	swap_off
else
	echo "# its memory is not given back: no zram device can be added"
fi
get web / >"$WORLD/running"
check "stopped" p idle web --level stopped
check "it says so" is_level web stopped
check "nothing of it runs" gear_state web idle
check "a request starts it" serves web / "pid "
check "it was started anew" test "$(get web / | cut -d' ' -f4)" -lt "$(cut -d' ' -f4 <"$WORLD/running")" -o \
	"$(cut -d' ' -f4 <"$WORLD/running")" -lt 20000
until_true is_level web awake
check "stopped again" p idle web --level stopped
for i in 1 2 3 4 5 6 7 8; do get web / >"$WORLD/held.$i" & done
wait $(jobs -p | grep -vx "$UP")
check "eight at once are all held and answered" test "$(cat "$WORLD"/held.* | grep -o 'pid ' | wc -l)" = 8
until_true is_level web awake

check "frozen, and the broker is killed" p idle web
# pinion up starts it again; stopped, it stays away while the request is made
BROKER_PID=$(daemon pinion-broker)
kill -STOP "$BROKER_PID"
check "it wakes without a broker" serves web / "pid "
kill -KILL "$BROKER_PID"
check "the broker is back" until_true login_admin
check "it learns of the wake" until_true is_level web awake
check "it still serves" serves web / "pid "

check "stopped, and the broker is away" p idle web --level stopped
BROKER_PID=$(daemon pinion-broker)
kill -STOP "$BROKER_PID"
check "it starts without a broker" serves web / "pid "
check "and goes on serving" serves web / "pid "
NODE_PID=$(daemon pinion-node)
kill -KILL "$NODE_PID"
check "the node daemon is back" until_true is_other pinion-node "$NODE_PID"
check "it is not put to sleep again" serves web / "pid "
sleep 1
check "still not" serves web / "pid "
kill -CONT "$BROKER_PID"
check "the broker learns of it" until_true is_level web awake
check "it serves" serves web / "pid "

for level in frozen stopped; do
	check "$level, the broker is away, and the router is killed" p idle web --level "$level"
	BROKER_PID=$(daemon pinion-broker) ROUTER_PID=$(daemon pinion-router)
	kill -STOP "$BROKER_PID"
	kill -KILL "$ROUTER_PID"
	check "another router has its table from the disk, and wakes by itself" until_true serves web / "pid "
	check "it is another" is_other pinion-router "$ROUTER_PID"
	check "the broker has not run meanwhile" grep -q "^State:.T" "/proc/$BROKER_PID/status"
	kill -CONT "$BROKER_PID"
	check "and learns of it" until_true is_level web awake
done

check "frozen, and the node daemon is killed" p idle web
NODE_PID=$(daemon pinion-node)
kill -KILL "$NODE_PID"
check "a request waits for the node and is answered" serves web / "pid "
check "it is awake" until_true is_level web awake
check "frozen, and the router is killed" p idle web
ROUTER_PID=$(daemon pinion-router)
kill -KILL "$ROUTER_PID"
check "the router is back" until_true serves web / "pid "
check "and woke it" until_true is_level web awake

check "idle wakes" p idle web
check "unidle wakes it" p unidle web
check "it is awake" is_level web awake
check "restart of a frozen app" eval 'p idle web && p app restart web && serves web / "pid "'
check "stop of a frozen app" eval 'p idle web && p app stop web && p app start web && serves web / "pid "'
check "a push to a frozen app" eval 'p idle web && push_app web "while frozen" && serves web / "pid "'
check "a stopped app cannot sleep" eval 'p app stop web && fails_with 2 "does not run" p idle web && p app start web'
check "a wrong level is refused" fails_with 2 "frozen, reclaimed or stopped" p idle web --level deep
check "a wrong time is refused" fails_with 2 "30s" p idle web --after soon

check "after a second without a request" p idle web --after 1s
check "it sleeps by itself" until_true is_level web frozen
check "deeper, later" p idle web --reclaim-after 2s --stop-after 4s
get web / >/dev/null
check "it is stopped by itself" until_true is_level web stopped
RECLAIM=$(p status --json | jq -r '.nodes[0].reclaim')
given_back() { [[ $(p events web -n 2 --json | jq -r '.[].text') == *"memory was given back"* ]]; }
if [[ $RECLAIM == swap ]]; then
	check "its memory was given back before" given_back
else
	check "without swap its memory stayed where it was" eval '! given_back'
fi
check "a request starts it" serves web / "pid "
check "no more" p idle web --stop-after never
python3 - "$ROUTER" "web-it.$DOMAIN" <<'PY' &
import socket, sys, time, urllib.parse
u = urllib.parse.urlparse(sys.argv[1])
s = socket.create_connection((u.hostname, u.port))
s.sendall(f"GET / HTTP/1.1\r\nHost: {sys.argv[2]}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n".encode())
time.sleep(5)
PY
WS=$!
sleep 3
check "an open WebSocket keeps it awake" is_level web awake
wait "$WS"
check "it sleeps once that is closed" until_true is_level web frozen
get web /slow >"$WORLD/slow" &
SLOW=$!
sleep 3
check "a request under way keeps it awake" is_level web awake
wait "$SLOW"
check "and is answered" grep -q slow "$WORLD/slow"
check "exempt" p idle web --never
get web / >/dev/null
sleep 3
check "it does not sleep" is_level web awake
check "exempt from the start" p app create free static --no-idle
check "it says so" test "$(p app show free --json | jq .idle_freeze)" = -1
check "delete of a frozen app" eval 'p idle web && p app delete web --yes'
world_stop
check "nothing is left" nothing_left '^(cgroup|mount|loop|link)'
done_testing
