#!/bin/bash
# Log drains: an application's lines, and the router's about it, reach a syslog server over TLS
# (RFC 5425) and an HTTPS endpoint; certificates are verified; a drain that is away or slow costs the
# application nothing, and what it missed is counted; addresses inside are refused.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_new
chmod 711 "$WORLD"
mkdir -m 755 "$WORLD/tls" "$WORLD/sink"
T=$WORLD/tls
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=drain test CA" -keyout "$T/ca.key" -out "$T/ca.pem" 2>/dev/null
cert() { # NAME SAN
	openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$T/$1.key" -out "$T/$1.csr" 2>/dev/null
	openssl x509 -req -in "$T/$1.csr" -CA "$T/ca.pem" -CAkey "$T/ca.key" -CAcreateserial -days 2 \
		-extfile <(echo "subjectAltName=$2") -out "$T/$1.pem" 2>/dev/null
}
cert good DNS:localhost,IP:127.0.0.1
cert other DNS:elsewhere.example
chmod 644 "$T"/*.pem
start_sink() { # DIR CERT [PORT]
	python3 "$PINION_SRCDIR/test/lib/drain_sink.py" "$1" "$T/$2.pem" "$T/$2.key" ${3:-} >>"$WORLD/sink.log" 2>&1 &
	SINK=$!
	until_true test -s "$1/ports.json"
}
end_all() { kill $(jobs -p | grep -vx "${UP:-0}") 2>/dev/null; world_end; }
trap end_all EXIT
start_sink "$WORLD/sink" good
SYSLOG=$(jq .syslog "$WORLD/sink/ports.json") HTTPS=$(jq .https "$WORLD/sink/ports.json")
export PINION_BROKER_DRAIN_CA_FILE=$T/ca.pem PINION_BROKER_DOWNLOAD_ALLOW=127.0.0.1
world_start || { echo "not ok 1 - pinion up"; echo "1..1"; exit 1; }
login_admin && p domain create it >/dev/null

got() { grep -qF -- "$2" "$WORLD/sink/$1"; }
drain() { p drain list log --json | jq -r ".[$1].$2"; }

check "an app" p app create log nodejs
clone log
cat >"$WORLD/log/server.js" <<'JS'
require("node:http").createServer((q, r) => {
	const n = Number(new URL(q.url, "http://x").searchParams.get("n") || 1);
	for (let i = 1; i <= n; i++) console.log("line", i, "of", q.url, "é");
	r.end("hello");
}).listen(process.env.PORT, process.env.HOST);
JS
check "push" push_app log "prints"
check "a syslog drain" p drain add log "syslog+tls://127.0.0.1:$SYSLOG"
check "an HTTPS drain" p drain add log "https://user:secret@127.0.0.1:$HTTPS/logs"
check "its password is not shown" eval '! p drain list log --json | grep -q secret && p drain list log | grep -q "\*\*\*@127"'
follows() { get log /ping >/dev/null; got syslog "of /ping"; }
check "a line arrives" until_true follows
check "in the form of RFC 5424" grep -Eq "^<190>1 20[0-9T:.-]+Z log-it\.$DOMAIN log nodejs [0-9a-f-]+ - line 1 of /ping é$" "$WORLD/sink/syslog"
check "the router's too" until_true got syslog "log router router - GET /ping 200"
check "by HTTPS as well" until_true got batches "of /ping"
get log "/many?n=500" >/dev/null
check "500 lines all arrive" until_true got syslog "line 500 of /many"
check "none is missing" test "$(grep -c "of /many" "$WORLD/sink/syslog")" = 500
check "in order" eval 'diff <(grep -o "line [0-9]* of /many" "$WORLD/sink/syslog") <(seq -f "line %.0f of /many" 500)'
check "the list tells how it goes" eval '[[ $(drain 0 state) == connected && $(drain 0 sent) -gt 500 && $(drain 0 dropped) == 0 ]]'

touch "$WORLD/sink/stall" "$WORLD/sink/refuse"
for i in 1 2 3 4 5; do get log "/storm?n=2000" >/dev/null; done
check "a drain that stalls does not hold up the app" serves log / hello
dropped() { (($(drain "$1" dropped) > 0)); }
check "what it does not take is counted" until_true dropped 1
rm "$WORLD/sink/stall" "$WORLD/sink/refuse"
later() { get log /later >/dev/null; got syslog "of /later" && got batches "of /later"; }
check "it goes on later" until_true later
check "and says that lines are missing" until_true got batches "lines were left out"

kill "$SINK"; wait "$SINK" 2>/dev/null
rm "$WORLD/sink/ports.json"
get log /away >/dev/null
start_sink "$WORLD/sink" good "$SYSLOG"
back() { get log /back >/dev/null; got syslog "of /back"; }
check "nor in its errors" eval '! p drain list log --json | grep -q secret && ! grep -q "user:secret" "$WORLD/up.log"'
check "a sink that was restarted is connected again" until_true back

check "remove one" p drain remove log "$(drain 1 id)"
check "one is left" test "$(p drain list log --json | jq length)" = 1
check "an unknown one is refused" fails_with 4 "no drain" p drain remove log 00000000
check "a wrong scheme is refused" fails_with 2 "syslog+tls://HOST:PORT" p drain add log http://127.0.0.1/
check "a path of syslog is refused" fails_with 2 "no path" p drain add log syslog+tls://127.0.0.1:1/x
check "the same twice is refused" fails_with 2 "has that drain" p drain add log "syslog+tls://127.0.0.1:$SYSLOG"
check "an address inside" p drain add log "syslog+tls://10.1.2.3:514"
inside() { get log /x >/dev/null; [[ $(drain 1 error) == *"10.1.2.3"* ]]; }
check "is never connected to" until_true inside
mkdir -m 755 "$WORLD/other"
start_sink "$WORLD/other" other
check "a certificate of another host" p drain add log "syslog+tls://127.0.0.1:$(jq .syslog "$WORLD/other/ports.json")"
refused() { get log /x >/dev/null; [[ $(drain 2 error) == *certificate* ]]; }
check "is not accepted" until_true refused
check "nothing went there" test ! -e "$WORLD/other/syslog"
check "delete" p app delete log --yes
done_testing
