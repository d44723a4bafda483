#!/bin/bash
# What people do day by day: code they already have, other branches, deploy by ref, logs that follow,
# users, secrets, pruned deployments; `pinion up --keep-gears` with another OCI runtime's containers
# found again; and `pinion up --takeover`, also of one that dies on the way.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_faults
world_up

# --- code that is there already, on a branch main ---
mkdir -p "$WORLD/mine/sub"
cd "$WORLD/mine" || exit 1
git init -q
cat >app.js <<'JS'
const fs = require("node:fs");
console.log("first line of", process.pid);
require("node:http").createServer((q, r) => {
	if (q.url === "/log") console.log("asked for a line");
	if (q.url === "/die") process.exit(9);
	r.end("mine: " + (fs.existsSync("note") ? fs.readFileSync("note", "utf8") : "no note"));
}).on("upgrade", (q, s) => {
	s.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
	s.on("error", () => {}).pipe(s);
}).listen(3000, "127.0.0.1");
JS
git add -A
git commit -qm "what I have"
check "an app" p app create mine nodejs
check "git remote" p git remote mine
check "its URL is that of the API" test "$(git remote get-url pinion)" = "$(p app show mine --json | jq -r .git_http_url)"
check "push what is there" git push -q pinion main
check "a hard-coded port on 127.0.0.1 is served" serves mine / "mine: no note"
check "main is the deployment branch now" test "$(p app show --json | jq -r .deployment_branch)" = main
# --- a name of one's own ---
by_alias() { [[ $(curl -sS -m 20 -H "Host: $1" "${ROUTER%/}/") == *"$2"* ]]; }
check "an alias" p alias add www.mine.test
check "and a wildcard" p alias add "*.mine.test"
check "the list has both" test "$(p alias list --json | jq length)" = 2
check "the alias serves" until_true by_alias www.mine.test "mine: no note"
check "so does what the wildcard takes" until_true by_alias any.mine.test "mine: no note"
https_port=$(jq -r .https_url "$WORLD/ready"); https_port=${https_port##*:}
by_https() { curl -sS -m 20 --resolve "$1:$https_port:127.0.0.1" "${@:2}" "https://$1:$https_port/"; }
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout "$WORLD/key.pem" -out "$WORLD/cert.pem" \
	-subj "/CN=www.mine.test" -addext subjectAltName=DNS:www.mine.test 2>/dev/null
check "applications have https" eval '[[ $(by_https "mine-it.$DOMAIN" -k) == "mine: no note" ]]'
check "an alias has no certificate of its own" eval '! by_https www.mine.test --cacert "$WORLD/cert.pem" 2>/dev/null'
check "give it one" p alias cert www.mine.test --certificate "$WORLD/cert.pem" --key "$WORLD/key.pem"
check "clients trust it" until_true eval '[[ $(by_https www.mine.test --cacert "$WORLD/cert.pem" 2>/dev/null) == "mine: no note" ]]'
check "all by https, and browsers told to stay there" p route set https=redirect hsts_s=3600
check "plain http is sent there" until_true eval '[[ $(get mine / -o /dev/null -w "%{http_code} %{redirect_url}") == "301 https://mine-it.$DOMAIN/" ]]'
check "https says how long" eval 'by_https "mine-it.$DOMAIN" -k -D - | grep -qi "^strict-transport-security: max-age=3600"'
check "both are off again" p route unset https,hsts_s
check "plain http serves" until_true serves mine / "no note"
check "no other application gets it" fails_with 2 "" p alias add www.mine.test
git checkout -q -b experiment
echo "from the branch" >note
git add -A && git commit -qm note
check "another branch is only stored" git push -q pinion experiment
check "what served serves on" serves mine / "no note"
git tag v1
check "a tag does not deploy" git push -q pinion v1
check "deploy a branch by name" p deploy experiment
check "it serves" serves mine / "from the branch"
check "by its alias, too" until_true by_alias www.mine.test "from the branch"
check "an alias less" p alias remove www.mine.test
check "the wildcard is left" test "$(p alias list --json | jq -r '.[].id')" = "*.mine.test"
check "and takes that name, too" until_true by_alias www.mine.test "from the branch"
check "no alias is left" p alias remove "*.mine.test"
check "nothing answers there" until_true eval '! by_alias www.mine.test "from the branch"'
check "deploy the other by its commit" p deploy "$(git rev-parse main)"
check "that serves again" serves mine / "no note"
check "an unknown ref" fails_with 2 "" p deploy nothing-like-that
check "five more deployments, of which two are kept" eval '
	curl -sS --fail -u "admin:$(<"$WORLD/data/admin-password")" -X PUT -H "Content-Type: application/json" \
		-d "{\"keep_deployments\":2}" "$BROKER/broker/rest/domain/it/application/mine" >/dev/null
	for i in 1 2 3 4 5; do echo "$i" >note; git commit -qam "$i"; git push -q pinion HEAD:main || exit 1; done
	[[ $(p deployments --json | jq length) -eq 2 ]] || { p deployments; false; }'
check "the last one serves" serves mine / "mine: 5"

# --- logs ---
"$PINION_BUILDDIR/pinion" logs -f -n 5 >"$WORLD/follow" 2>&1 &
follower=$!
seen() { grep -q -- "$1" "$WORLD/follow"; }
check "logs -f begins with what was" until_true seen "first line of"
get mine /log >/dev/null
check "it shows what comes" until_true seen "asked for a line"
before=$(grep -c "first line of" "$WORLD/follow")
get mine /die >/dev/null 2>&1
check "an app that dies is started again" until_true serves mine / "mine: 5"
started_again() { [[ $(grep -c "first line of" "$WORLD/follow") -gt $before ]]; }
check "logs -f goes on across the restart" until_true started_again
lines=$(grep -c "first line of" "$WORLD/follow")
p app restart >/dev/null
new_instance() { [[ $(grep -c "first line of" "$WORLD/follow") -gt $lines ]]; }
check "and across instances" until_true new_instance
kill "$follower"
wait "$follower" 2>/dev/null
check "each line tells time, gear and cartridge" eval 'p logs --json -n 1 | jq -e ".time and .gear and .source" >/dev/null'

# --- code from elsewhere ---
if [[ -x $(git --exec-path)/git-http-backend ]]; then
	git clone -q --bare "$WORLD/mine" "$WORLD/elsewhere.git"
	git -C "$WORLD/elsewhere.git" update-server-info
	port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	/usr/bin/python3 -m http.server -b 127.0.0.1 -d "$WORLD" "$port" >/dev/null 2>&1 &
	server=$!
	until_true curl -sf "http://127.0.0.1:$port/elsewhere.git/HEAD"
	check "an app from the code at a URL" p app create from nodejs --from-code "http://127.0.0.1:$port/elsewhere.git#experiment"
	check "it serves that code" serves from / "mine: 5"
	check "and has its history" eval 'p git clone from "$WORLD/from" >/dev/null 2>&1 && [[ $(git -C "$WORLD/from" rev-list --count HEAD) -gt 1 ]]'
	kill "$server"
fi
check "code at a URL that is none" fails_with 2 "" p app create bad nodejs --from-code "no url"
check "code that cannot be had leaves no app" eval '! p app create bad nodejs --from-code http://127.0.0.1:1/x.git && ! p app show it/bad'

# --- an address in TIME_WAIT: the server closes first and sets no SO_REUSEADDR ---
check "a python app" p app create wait python
check "clone it" clone wait
git -C "$WORLD/wait" rm -rq .
cat >"$WORLD/wait/app.py" <<'PY'
import os, socket
server = socket.socket()
server.bind(("0.0.0.0", int(os.environ["PORT"])))
server.listen(64)
while True:
    connection, _ = server.accept()
    if b"/die" in connection.recv(4096):
        os._exit(7)
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
    connection.close()
PY
check "push it" push_app wait "close first"
for _ in $(seq 20); do get wait / >/dev/null; done
top_of() { p admin top --json --window 60 | jq -e ".applications[] | select(.name == \"wait\" and .domain_id == \"it\") | $1" >/dev/null; }
check "admin top has its requests, each with a time" until_true top_of '.requests == 20 and .errors == 0 and .p99_us > 0 and ([.took[].requests] | add) == 20'
get wait /die >/dev/null 2>&1
check "and the one that failed" until_true top_of '.errors == 1'
check "once, as text" eval 'p admin top --once --window 60 --sort errors | grep -Eq "^it/wait +[0-9.]+ +2[1-9] +1 "'
check "it comes back after its death" until_true serves wait / hello
check "and a restart is served at once" eval 'p app restart wait >/dev/null && serves wait / hello'

# --- users ---
printf 'a first password' >"$WORLD/one"
printf 'a second password' >"$WORLD/two"
check "make a user" p user create ada --password-file "$WORLD/one"
check "the list shows it" eval 'p user list --json | jq -e "any(.[]; .login == \"ada\")" >/dev/null'
check "ada logs in" p login "$BROKER" --user ada --password-file "$WORLD/one"
check "ada changes the password" p passwd --old-password-file "$WORLD/one" --password-file "$WORLD/two"
check "the old one is refused" fails_with 7 "" p login "$BROKER" --user ada --password-file "$WORLD/one"
check "the new one is taken" p login "$BROKER" --user ada --password-file "$WORLD/two"
check "whoami" test "$(p whoami --json | jq -r .login)" = ada
login_admin
check "delete the user" p user delete ada --yes
check "ada cannot log in" fails_with 7 "" p login "$BROKER" --user ada --password-file "$WORLD/two"
login_admin

# --- gears that outlive everything ---
instance() { find /sys/fs/cgroup -path "*/pinion/$(node_tag)/*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un | head -1; }
world_stop
world_start --keep-gears
login_admin
check "the app is back" until_true serves mine / "mine: 5"
pid=$(instance)
world_stop
check "with --keep-gears its processes run on" kill -0 "$pid"
world_start --drain 120
login_admin
check "they are adopted" test "$(instance)" = "$pid"
check "and served" until_true serves mine / "mine: 5"

# --- another `pinion up` in its place: nobody is refused, no WebSocket cut ---
touch "$WORLD/flag"
/usr/bin/python3 "$PINION_SRCDIR/test/lib/load.py" "$ROUTER" "mine-it.$DOMAIN" "$WORLD/flag" 6 >"$WORLD/load.json" &
load=$!
coproc ECHO { /usr/bin/python3 -c '
import socket, sys
at, host = sys.argv[1:]
s = socket.create_connection(at.rstrip("/").split("/")[-1].split(":"))
s.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n".encode())
f = s.makefile("rb")
while f.readline() != b"\r\n":
    pass
for line in sys.stdin:
    s.sendall(line.encode())
    print(f.readline().decode(), end="", flush=True)
' "$ROUTER" "mine-it.$DOMAIN"; }
echoes() {
	local back
	echo "$1" >&"${ECHO[1]}" && read -r -t "$DEADLINE" back <&"${ECHO[0]}" && [[ $back == "$1" ]]
}
check "a WebSocket" echoes before
first=$UP first_router=$(child_pid pinion-router)
check "one that dies before it has the router" eval 'arm up_takeover; ! world_start --takeover --drain 120 && passed'
check "the old one has broker and node again" until_true p whoami
check "and the router that it had" test "$(child_pid pinion-router)" = "$first_router"
check "the WebSocket is there" echoes between
arm router_takeover
world_start --takeover --drain 120
check "another, of which the router dies before it serves" passed
check "it took over" test "$UP" != "$first"
check "other options hold" eval 'tr "\0" " " <"/proc/$(child_pid pinion-router)/cmdline" | grep -q -- "--drain 120"'
check "the WebSocket is with the first router" eval 'echoes after && [[ -d /proc/$first_router ]]'
check "what changes takes effect" eval 'p alias add www.mine.test --app mine && until_true by_alias www.mine.test "mine: 5"'
rm "$WORLD/flag"
wait "$load"
check "no request failed" eval 'cat "$WORLD/load.json"; jq -e ".requests > 100 and .failures == {}" "$WORLD/load.json" >/dev/null'
exec {ECHO[1]}>&-
check "the first ends with its last connection" until_true eval '! kill -0 "$first"'
check "and leaves all to the other" eval 'p whoami && serves mine / "mine: 5"'
done_testing
