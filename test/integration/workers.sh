#!/bin/bash
# Background processes of the Procfile: none until scaled, each with a log source of its own, rolled
# with a deployment (one of a kind ends before the next begins), started again when they crash, gone
# with the application; pinion ps.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_up

state_of() { p ps "$1" --json | jq -r --arg n "$2" '.instances[] | select(.name == $n) | .state'; }
is_state() { [[ $(state_of "$1" "$2") == "$3" ]]; }
logged() { p logs "$1" -n 1000 | grep -qF "$2"; }
restarts_of() { p ps "$1" --json | jq -r --arg n "$2" '.instances[] | select(.name == $n) | .restarts'; }

check "an app" p app create job nodejs
clone job
cat >"$WORLD/job/server.js" <<'JS'
require("node:http").createServer((q, r) => {
	if (q.url === "/tz") return r.end([process.env.TZ, process.env.LANG,
		new Date().toLocaleTimeString("en", { timeZoneName: "short" }).split(" ").pop()].join(" "));
	r.statusCode = q.url === "/?a=b" ? 404 : 200;
	r.end("hello");
}).listen(process.env.PORT, process.env.HOST);
JS
cat >"$WORLD/job/worker.js" <<'JS'
console.log("works on", process.env.QUEUE || "nothing", "as", process.argv[2]);
process.on("SIGTERM", () => { console.log("asked to stop"); process.exit(0); });
setInterval(() => {}, 1000);
JS
cat >"$WORLD/job/Procfile" <<'P'
web: node server.js
worker: node worker.js one
clock: echo tick; exit 5
bad name: true
P
check "push" push_app job "with workers"
check "the pusher is told of the types" grep -q "pinion scale worker=1" "$WORLD/push.log"
check "ps shows the web process" is_state job web.1 ready
check "and no other" test "$(p ps job --json | jq '.instances | length')" = 1
check "two workers" p scale job worker=2
check "both run" eval 'until_true is_state job worker.1 ready && until_true is_state job worker.2 ready'
check "their lines have their name" until_true logged job "[worker.2] works on nothing as one"
check "ps for people" grep -Eq "^worker\.1 +ready" <(p ps job)
check "scaling is told" eval 'p events job | grep -q "worker was scaled to 2"'
check "web serves" serves job / hello
get job "/?a=b" >/dev/null
check "its requests are in the log" until_true logged job "[router] GET /?a=b 404"
check "where nothing can end a line" eval 'get job "/%0Aevil" --path-as-is >/dev/null; until_true logged job "[router] GET /%0Aevil 200"'
check "the time zone is UTC, unless set" serves job /tz "UTC C.UTF-8 UTC"
check "set it" p env set TZ=Asia/Tokyo LANG=C --app job
check "it is known in the gear" serves job /tz "Asia/Tokyo C GMT+9"

old=$(p ps job --json | jq -r '[.instances[] | select(.kind == "worker") | .instance] | sort | join(" ")')
sed -i 's/one/two/' "$WORLD/job/Procfile"
check "push a change" push_app job "other workers"
check "the old ones were asked to stop" until_true logged job "asked to stop"
check "new ones run" until_true logged job "[worker.1] works on nothing as two"
rolled() { [[ $(p ps job --json | jq -r '[.instances[] | select(.kind == "worker" and .state == "ready") | .instance] | sort | join(" ")') != "$old" ]] &&
	[[ $(p ps job --json | jq '[.instances[] | select(.kind == "worker" and .state == "ready")] | length') == 2 ]]; }
check "two others than before" until_true rolled
check "a variable reaches them" p env set QUEUE=mail --app job
check "once they are started anew" until_true logged job "works on mail as two"

check "a process that ends at once" p scale job clock=1
check "is started again and again" until_true eval '[[ $(restarts_of job clock.1) -ge 2 ]]'
check "which its events tell" until_true eval 'p events job | grep -q "process clock exited with status 5"'
check "and ps" eval 'p ps job --json | jq -e ".instances[] | select(.name == \"clock.1\") | .last_crash | contains(\"status 5\")"'
check "no more of it" p scale job clock=0
gone() { [[ -z $(state_of job clock.1) ]]; }
check "it is gone" until_true gone
check "fewer workers" p scale job worker=1
fewer() { [[ -z $(state_of job worker.2) && $(state_of job worker.1) == ready ]]; }
check "the second is gone" until_true fewer

check "an unknown type is refused" fails_with 2 "no process type 'nope'" p scale job nope=1
check "too many are refused" fails_with 2 "" p scale job worker=1000
check "web=1 are gears" p scale job web=1

NODE=$(pgrep -P "$UP" -f pinion-node | head -1)
id=$(p ps job --json | jq -r '.instances[] | select(.name == "worker.1") | .instance')
kill -KILL "$NODE"
check "the node daemon was killed: the worker lives on" until_true is_state job worker.1 ready
check "the same" test "$(p ps job --json | jq -r '.instances[] | select(.name == "worker.1") | .instance')" = "$id"
check "stop" p app stop job
none() { [[ $(p ps job --json | jq '.instances | length') == 0 ]]; }
check "nothing runs" until_true none
check "start" p app start job
check "the worker too" until_true is_state job worker.1 ready
check "delete" p app delete job --yes
world_stop
check "nothing is left" nothing_left '^(cgroup|mount|loop|link)'
done_testing
