#!/bin/bash
# 20 pushes and 20 rollbacks under closed-loop load, with kept and with new connections: no request
# fails, and each answer is from one of the versions. Then scaling under load.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_up
rounds=${PINION_TEST_ROUNDS:-20}

start_load() {
	touch "$WORLD/flag"
	/usr/bin/python3 "$PINION_SRCDIR/test/lib/load.py" "$ROUTER" "$1-it.$DOMAIN" "$WORLD/flag" >"$WORLD/load.json" &
	LOAD=$!
}
stop_load() {
	rm "$WORLD/flag"
	wait "$LOAD"
}
# load_ok MIN PATTERN: enough requests, no failure, every body is like the pattern.
load_ok() {
	jq -e --argjson min "$1" --arg pattern "$2" \
		'.requests >= $min and (.failures | length) == 0 and ([.bodies | keys[] | test($pattern)] | all)' \
		"$WORLD/load.json" >/dev/null || { jq -c '{requests, failures, bodies: (.bodies | keys)}' "$WORLD/load.json"; return 1; }
}

check "create" p app create zero static
check "clone" clone zero
page=$(find "$WORLD/zero" -name index.html | head -1)
put() { echo "<p>version $1</p>" >"$page"; }
put 0
check "the first push" push_app zero "version 0"
start_load zero
pushes() {
	local i
	for ((i = 1; i <= rounds; i++)); do
		put "$i"
		push_app zero "version $i" || { tail -3 "$WORLD/push.log"; return 1; }
		serves zero / "version $i" || { echo "after push $i the page is: $(get zero /)"; return 1; }
	done
}
rollbacks() {
	local i
	for ((i = 1; i <= rounds; i++)); do p rollback zero || return 1; done
}
check "$rounds pushes, each served when the push returns" pushes
check "$rounds rollbacks" rollbacks
check "restart" p app restart zero
check "a variable rolls the app" p env set A=b --app zero
stop_load
check "no request failed, each answer is of a version" load_ok 200 '^<p>version [0-9]+</p>\n$'

# --- a canary: some clients get it, always the same ones
start_load zero
check "pushes are canaries for 30 % of the clients" p app configure zero --canary 30
put canary
check "a push" push_app zero "canary"
check "says what it is" grep -q "is a canary: it gets 30 % of the clients" "$WORLD/push.log"
# takers TEXT: which of 40 clients get it
takers() {
	local k
	for k in $(seq 40); do [[ $(get zero / --interface "127.0.1.$k") == *"$1"* ]] && echo "$k"; done
}
share() { local n; n=$(wc -l <"$1"); echo "$n of 40"; ((n >= $2 && n <= $3)); }
takers "version canary" >"$WORLD/some"
check "about 12 of 40 clients get it" share "$WORLD/some" 2 25
check "a larger share" p canary set zero --percent 70
takers "version canary" >"$WORLD/most"
check "about 28" share "$WORLD/most" 15 38
check "and all who had it" test -z "$(comm -23 <(sort "$WORLD/some") <(sort "$WORLD/most"))"
canary=$(p app show zero --json | jq -r .canary.deployment_id)
check "what runs tells the shares" test "$(p ps zero --json | jq -c '[.instances[].share] | sort')" = "[30,70]"
kill -9 "$(child_pid pinion-broker)"
until_true p app show zero
takers "version canary" >"$WORLD/again"
check "kill -9 of the broker: the same clients" cmp "$WORLD/most" "$WORLD/again"
check "and the same canary" test "$(p app show zero --json | jq -r .canary.deployment_id)" = "$canary"
router=$(child_pid pinion-router)
stop_load
check "no request failed, both served" load_ok 200 '^<p>version ([0-9]+|canary)</p>\n$'
kill -9 "$router"
router_is_back() { [[ -n $(child_pid pinion-router) ]] && serves zero / version; }
until_true router_is_back
takers "version canary" >"$WORLD/again"
check "kill -9 of the router: the same clients" cmp "$WORLD/most" "$WORLD/again"
check "put to sleep" p idle zero
check "both sleep" test "$(p ps zero --json | jq -c '[.instances[].state]')" = '["frozen","frozen"]'
takers "version canary" >"$WORLD/again"
check "awake: the same clients" cmp "$WORLD/most" "$WORLD/again"
start_load zero
check "abort" p canary abort zero
check "nobody gets it" test -z "$(takers "version canary")"
check "again, for all" p canary set zero "$canary" --percent 100
check "all get it" test "$(takers "version canary" | wc -l)" = 40
check "back, for none" p canary set zero --percent 0
check "nobody gets it" test -z "$(takers "version canary")"
check "promote" p canary promote zero
check "all get it" test "$(takers "version canary" | wc -l)" = 40
check "it is what serves" test "$(p app show zero --json | jq -r '"\(.deployment_id) \(.canary)"')" = "$canary null"
echo 'web: exit 3' >"$WORLD/zero/Procfile"
check "a canary that does not start is refused" eval '! push_app zero "bad"'
check "with its reason" grep -q "exit\|status 3" "$WORLD/push.log"
check "there is none" test "$(p app show zero --json | jq -r .canary)" = null
check "sticky sessions" p route set zero sticky_cookie=GEAR
cookie=$(curl -sS -D - -o /dev/null -H "Host: zero-it.$DOMAIN" "${ROUTER%/}/" | grep -oiE 'set-cookie: GEAR=[0-9a-f-]+' | cut -d' ' -f2)
check "set a cookie" test -n "$cookie"
check "once" eval '! curl -sS -D - -o /dev/null -H "Host: zero-it.$DOMAIN" -H "Cookie: $cookie" "${ROUTER%/}/" | grep -qi set-cookie'
stop_load
check "no request failed in all of it" load_ok 200 '^<p>version ([0-9]+|canary)</p>\n$'

check "create a scalable app" p app create many nodejs --scale
check "clone it" clone many
cat >"$WORLD/many/server.js" <<'JS'
const id = require("node:crypto").randomBytes(6).toString("hex");
require("node:http").createServer((q, r) => r.end(`instance ${id}\n`)).listen(process.env.PORT, process.env.HOST);
JS
check "push it" push_app many "tell the instance"
start_load many
check "scale to 3" p scale many 3
until_true test "$(for _ in $(seq 30); do get many /; done | sort -u | wc -l)" -eq 3
shares() {
	local counts
	counts=$(curl -sS -m 60 -H "Host: many-it.$DOMAIN" "${ROUTER%/}/[1-3000]" | grep -oE 'instance [0-9a-f]{12}' | sort | uniq -c | awk '{print $1}')
	echo $counts
	awk '$1 < 900 || $1 > 1110 {bad = 1} END {exit bad || NR != 3}' <<<"$counts"
}
stop_load
check "of 3,000 requests each instance gets 30 to 37 %" shares
start_load many
check "back to 1" p scale many 1
stop_load
check "no request failed in scaling down" load_ok 20 '^instance [0-9a-f]+\n$'
done_testing
