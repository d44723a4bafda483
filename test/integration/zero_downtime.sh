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
