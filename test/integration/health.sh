#!/bin/bash
# Liveness: an application whose health check fails several times in a row is started again, by HTTP
# and by its cartridge's status; the user sees why; what sleeps is left alone; it can be switched
# off; a crash for want of memory is told as such.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
export PINION_ROUTER_TRAFFIC_INTERVAL=100
world_up

event() { p events "$1" --json | jq -e --arg k "$2" --arg t "$3" 'any(.[]; .kind == $k and (.text | contains($t)))'; }
pid() { get sick /pid; }

check "an app" p app create sick nodejs
clone sick
cat >"$WORLD/sick/server.js" <<'JS'
let well = true, asked = 0;
const big = [];
require("node:http").createServer((q, r) => {
	if (q.url === "/health") { asked++; r.statusCode = well ? 200 : 500; }
	if (q.url === "/ail") well = false;
	if (q.url === "/asked") return r.end(String(asked));
	if (q.url === "/hang") { well = false; r.end("hangs"); setTimeout(() => { for (;;); }, 50); return; }
	if (q.url === "/eat") setInterval(() => big.push(Buffer.alloc(16 << 20, 1)), 1);
	r.end(String(process.pid) + " " + process.uptime());
}).listen(process.env.PORT, process.env.HOST);
JS
check "push" push_app sick "ails"
check "a health check each second" p env set PINION_HEALTH_PATH=/health PINION_HEALTH_INTERVAL=1 PINION_HEALTH_FAILURES=2 --app sick
check "it serves" test "$(status_of sick /health)" = 200
get sick /ail >/dev/null
check "it ails" test "$(status_of sick /health)" = 500
well() { [[ $(status_of sick /health) == 200 ]]; }
check "it is started again" until_true well
check "the user sees why" until_true event sick crashed "was unhealthy 2 times in a row (GET /health answered 500)"
get sick /hang >/dev/null
check "one that hangs, too" until_true event sick crashed "GET /health got no answer"
check "it serves again" until_true well

check "asleep nobody asks" p idle sick
sleep 3
check "and nothing crashed of it" eval '[[ $(p app show sick --json | jq -r .sleep) == frozen ]]'
check "it wakes well" test "$(status_of sick /health)" = 200
before=$(p events sick --json | jq '[.[] | select(.kind == "crashed")] | length')
check "off" p env set PINION_HEALTH_INTERVAL=off --app sick
get sick /ail >/dev/null
sleep 3
check "nobody looks" test "$(status_of sick /health)" = 500
check "nothing crashed" test "$(p events sick --json | jq '[.[] | select(.kind == "crashed")] | length')" = "$before"
check "without the check" p env unset PINION_HEALTH_PATH --app sick
get sick /eat >/dev/null
check "out of memory is told as such" until_true event sick crashed "ran out of memory"
check "it serves again" until_true well
check "ps tells of it" eval 'p ps sick --json | jq -e ".instances[0] | .restarts >= 1 and (.last_crash | contains(\"memory\"))"'

check "the cartridge's status" p env set PINION_HEALTH_STATUS=true PINION_HEALTH_INTERVAL=1 PINION_START_TIMEOUT=4 --app sick
mkdir -p "$WORLD/sick/.openshift/action_hooks"
printf '#!/bin/bash\n[[ ! -e $OPENSHIFT_DATA_DIR/ail ]] || exit 3\n' >"$WORLD/sick/.openshift/action_hooks/pre_status"
chmod +x "$WORLD/sick/.openshift/action_hooks/pre_status"
sed -i 's,if (q.url === "/ail") well = false;,if (q.url === "/ail") require("fs").writeFileSync(process.env.OPENSHIFT_DATA_DIR + "ail"\, "");,' "$WORLD/sick/server.js"
check "push a status that can fail" push_app sick "status"
get sick /ail >/dev/null
check "a status that fails restarts it" until_true event sick crashed "status of the cartridge"
check "it is not ready while its status fails" eval '! push_app sick "sick from the start" && grep -q "was not well within 4 s: status of the cartridge" "$WORLD/push.log" || { cat "$WORLD/push.log"; false; }'
check "delete" p app delete sick --yes
done_testing
