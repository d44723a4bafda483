#!/bin/bash
# What happened to an application can be read: created, deployed, failed, crashed (how, how often,
# when), stopped, started, restarted, scaled; as a list, as JSON, as it happens; bounded; gone with
# the application.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_up

# event APP KIND TEXT: is there one?
event() {
	p events "$1" --json | jq -e --arg k "$2" --arg t "$3" \
		'any(.[]; .kind == $k and (.text | contains($t)))'
}

check "an app is created" p app create ev nodejs
check "its creation is told" event ev created "Created by admin"
check "its template's deployment too" event ev deployed "of the template serves"
clone ev
p events ev -f -n 0 >"$WORLD/follow" 2>&1 &
FOLLOW=$!
cat >"$WORLD/ev/server.js" <<'JS'
require("node:http").createServer((q, r) => {
	r.end("hello");
	if (q.url === "/eat") for (const all = [];;) all.push(Buffer.alloc(1 << 24, 1));
	if (q.url === "/die") setTimeout(() => process.exit(3), 20);
}).listen(process.env.PORT, process.env.HOST);
JS
check "push" push_app ev "one that can die"
check "the deployment is told with its commit" event ev deployed \
	"refs/heads/$(git -C "$WORLD/ev" branch --show-current) ($(git -C "$WORLD/ev" rev-parse --short=8 HEAD)) serves"
check "it serves" serves ev / hello
get ev /die >/dev/null
check "a crash is told with its status" until_true event ev crashed "exited with status 3"
check "and which restart that is" event ev crashed "(restart 1)"
check "it serves again" until_true serves ev / hello
get ev /die >/dev/null
check "the second crash is told as such" until_true event ev crashed "(restart 2)"
until_true serves ev / hello
get ev /eat >/dev/null 2>&1
check "one that eats all memory ends for that, as is told" until_true event ev crashed "ran out of memory"
check "it serves after that" until_true serves ev / hello
echo 'process.exit(7)' >"$WORLD/ev/server.js"
check "a push that cannot start fails" fails_with 1 "" push_app ev "cannot start"
check "the failure is told" event ev failed "exited with status 7"
check "restart" p app restart ev
check "it is told" event ev restarted "was restarted"
check "stop" p app stop ev
check "it is told" event ev stopped "was stopped"
check "start" p app start ev
check "it is told" event ev started "was started"
check "a variable" p env set A=b --app ev
check "it is told" event ev configured "changed variables"
check "who follows saw all that" until_true grep -q "configured" "$WORLD/follow"
check "also the crash" grep -q "crashed .*status 3" "$WORLD/follow"
check "people read lines" grep -Eq "^20[0-9T:.Z-]+ stopped " <(p events ev)
check "the last two" test "$(p events ev -n 2 --json | jq length)" = 2
check "in the order of time" jq -e '(map(.time) == (map(.time) | sort)) and (map(.id) == (map(.id) | sort))' <(p events ev --json)
check "a wrong number is refused" fails_with 2 lines p events ev -n x
check "an unknown app is refused" fails_with 4 "no application" p events nope
kill "$FOLLOW" 2>/dev/null
check "the app is deleted" p app delete ev --yes
check "create one of the same name" p app create ev static
check "it has a history of its own" test "$(p events ev --json | jq -r '[.[].kind] | join(" ")')" = "created deployed"
done_testing
