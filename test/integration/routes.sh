#!/bin/bash
# What owners set about their routes, each option by its command and seen at the application's address,
# with real gears: what is refused, answered, changed, shared and limited; an application of HTTP/2
# (gRPC, event streams, WebSockets of both kinds) pushed by git; and the certificate of all applications.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_new
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout "$WORLD/key.pem" -out "$WORLD/own.pem" \
	-subj "/CN=all of them" -addext subjectAltName=DNS:*.apps.localhost 2>/dev/null
cat "$WORLD/own.pem" "$WORLD/key.pem" >"$WORLD/app-cert.pem"
world_start --app-cert "$WORLD/app-cert.pem" || { echo "not ok 1 - pinion up"; echo "1..1"; exit 1; }
login_admin && p domain create it >/dev/null
HTTPS_PORT=$(jq -r .https_url "$WORLD/ready")
HTTPS_PORT=${HTTPS_PORT##*:}
# by_https APP PATH [CURL OPTION…]: as get; the certificate must be the one given.
by_https() { curl -sS -m 20 --cacert "$WORLD/own.pem" --resolve "$1-it.$DOMAIN:$HTTPS_PORT:127.0.0.1" "${@:3}" "https://$1-it.$DOMAIN:$HTTPS_PORT$2"; }
head_of() { get "$@" -D - -o /dev/null; }
is() { local got; got=$("${@:2}") && [[ $got == "$1" ]] || { echo "is $got"; return 1; }; }
says() { local got; got=$("${@:2}") && [[ ${got,,} == *"${1,,}"* ]] || { echo "is $got"; return 1; }; }
says_not() { local got; got=$("${@:2}") && [[ ${got,,} != *"${1,,}"* ]] || { echo "is $got"; return 1; }; }
# route_off: no option is left.
route_off() { p route unset web --all; }
app() { p app create "$1" nodejs "${@:2}" >/dev/null && clone "$1" && git -C "$WORLD/$1" rm -rq . && cat >"$WORLD/$1/server.js" && push_app "$1" first; }

check "an application of two gears" eval 'app web --scale <<"JS" && p scale web 2
const me = process.env.OPENSHIFT_GEAR_UUID + " " + (process.env.MARK || "first");
const server = require("node:http").createServer((q, r) => {
	const path = q.url.split("?")[0];
	let n = 0;
	q.on("error", () => {}).on("data", (d) => n += d.length).on("end", () => {
		r.setHeader("X-Gear", me);
		if (path === "/text") return r.setHeader("Content-Type", "text/plain"), r.end("the same words again ".repeat(2000));
		if (path === "/fail") return r.writeHead(503), r.end("own words");
		if (path === "/slow") return setTimeout(() => r.end("slow " + me), 700);
		if (path === "/never") return;
		if (path === "/open") {
			const timer = setInterval(() => r.write("begun " + me + "\n"), 20);
			return r.on("close", () => clearInterval(timer));
		}
		if (path === "/die") return q.socket.destroy();
		r.setHeader("X-Powered-By", "node");
		r.end(JSON.stringify({ me, path: q.url, n, headers: q.headers }));
	});
});
server.on("upgrade", (q, s) => {
	s.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + JSON.stringify(q.headers) + "\n");
	s.on("error", () => {}).pipe(s);
});
server.listen(process.env.PORT, process.env.HOST);
JS'
check "one more" eval 'app shop <<"JS"
require("node:http").createServer((q, r) => r.end("shop " + q.url)).listen(process.env.PORT, process.env.HOST);
JS'
both_serve() { [[ $(for _ in $(seq 20); do get web / | jq -r .me; done | sort -u | wc -l) == 2 ]]; }
check "both gears serve" until_true both_serve
check "by https with the certificate of --app-cert" is web-it.$DOMAIN eval 'by_https web / | jq -r .headers.host | cut -d: -f1'

# --- refused, or answered in place of the application ---
echo "<h1>back soon</h1>" >"$WORLD/page.html"
check "maintenance, with a page of one's own" p route set web maintenance=true maintenance_page=@"$WORLD/page.html" maintenance_retry_s=77
check "is seen" until_true is 503 status_of web /
check "as it was written" says "back soon" get web /
check "with Retry-After" says "retry-after: 77" head_of web /
check "those of a network see the application" p route set web maintenance_allow=127.0.0.1/32
check "from there" until_true is 200 status_of web /
check "not from elsewhere" is 503 status_of web / --interface 127.0.0.9
route_off
check "pages of one's own in place of the application's" p route set web 'error_pages=[{"status":503,"body":"<p>sorry {status}</p>"}]' error_pages_for_app=true
check "are seen" until_true says "<p>sorry 503</p>" get web /fail
route_off
check "no longer" until_true says "own words" get web /fail
check "a password" p route set web 'auth_users=[{"name":"ada","password":"secret"}]' auth_realm=inner auth_hides=true
check "is asked for" until_true is 401 status_of web /
check "for the realm" says 'www-authenticate: basic realm="inner"' head_of web /
check "a wrong one is refused" is 401 status_of web / -u ada:other
check "the right one is taken" is null eval 'get web / -u ada:secret | jq -c .headers.authorization'
check "it is not shown" says_not secret p route show web --json
route_off
check "networks" p route set web allow=127.0.0.8/29,2001:db8::/32
check "others are refused" until_true is 403 status_of web /
check "these are served" is 200 status_of web / --interface 127.0.0.9
route_off
check "three requests an hour" p route set web rate=3 rate_s=3600
limited() { [[ $(status_of web / --interface 127.0.0.20) == 429 ]]; }
check "then 429" until_true limited
check "which says when" until_true says "retry-after:" head_of web / --interface 127.0.0.20
check "another address has its own" is 200 status_of web / --interface 127.0.0.21
route_off
check "bodies of 1,000 bytes" p route set web body_max=1000
check "more is refused" until_true is 413 status_of web / -d "$(printf '%01001d' 0)"
check "so many are taken" is 1000 eval 'get web / -d "$(printf "%01000d" 0)" | jq .n'
route_off
check "an answer within a second" p route set web answer_s=1 body_s=1
check "else 504" until_true is 504 status_of web /never
stalled_body() { python3 - "${ROUTER%/}" "web-it.$DOMAIN" <<'PY'
import socket, sys
at, host = sys.argv[1:]
s = socket.create_connection(at.split("/")[-1].split(":"), 20)
s.sendall(f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nab".encode())
print(s.recv(100).split()[1].decode())
PY
}
check "a body that stalls: 408" is 408 stalled_body
route_off
check "a redirect" p route set web 'redirects=[{"path":"/old/*","to":"/new/*","status":308}]'
check "is seen" until_true is 308 status_of web /old/a
check "where it leads" says "location: /new/a" head_of web /old/a
route_off

# --- changed on the way ---
check "fields set, added, removed" p route set web 'headers=[{"op":"set","name":"X-To","value":"app"},{"op":"remove","name":"X-Powered-By","response":true},{"op":"add","name":"X-Frame-Options","value":"DENY","response":true}]'
check "in the answer" until_true says "x-frame-options: deny" head_of web /
check "one is gone" says_not x-powered-by head_of web /
check "in the request" is '"app"' eval 'get web / | jq ".headers[\"x-to\"]"'
route_off
check "compression" p route set web compress=true
check "gzip" until_true says "content-encoding: gzip" head_of web /text -H "Accept-Encoding: gzip"
check "and back" is 42000 eval 'get web /text --compressed | wc -c'
check "brotli is preferred" says "content-encoding: br" head_of web /text -H "Accept-Encoding: gzip, br"
check "not for who does not ask" says_not content-encoding head_of web /text
route_off

# --- by https ---
check "all by https, for a year" p route set web https=redirect hsts_s=31536000 hsts_subdomains=true hsts_preload=true
check "http is sent there" until_true says "301 https://web-it.$DOMAIN" get web / -o /dev/null -w '%{http_code} %{redirect_url}'
check "https says so" says "strict-transport-security: max-age=31536000; includesubdomains; preload" by_https web / -D - -o /dev/null
check "http refused" p route set web https=require
check "it is" until_true is 403 status_of web /
route_off
check "https refused" p route set web https=off
check "it is" until_true is 403 by_https web / -o /dev/null -w '%{http_code}'
route_off

# --- shared ---
check "a path is another application's" p route set web 'paths=[{"path":"/shop","app":"shop","strips":true}]'
check "it serves" until_true is "shop /x" get web /shop/x
check "the rest is as it was" says '"path":"/shopping"' get web /shopping
route_off
check "so is a share of the clients" p route set web 'weights=[{"app":"shop","weight":50}]'
shares() { for i in $(seq 40); do get web / --interface "127.0.1.$i" | cut -c1-4; done | sort | uniq -c | awk '$1 < 5 {bad = 1} END {exit bad || NR != 2}'; }
check "both have theirs" until_true shares
route_off
check "sticky sessions" p route set web sticky_cookie=GEAR sticky_s=600
check "a cookie" until_true says "set-cookie: gear=" head_of web /
check "for so long" says "max-age=600" head_of web /
check "the same gear each time" eval 'get web / -c "$WORLD/jar" >/dev/null
	[[ $(for _ in $(seq 12); do get web / -b "$WORLD/jar" | jq -r .me; done | sort -u | wc -l) == 1 ]]'
check "which does not see it" is null eval 'get web / -b "$WORLD/jar" | jq -c .headers.cookie'
at_once() { # at_once N PATH [CURL OPTION…]: how often each status came
	local i
	for i in $(seq "$1"); do status_of web "${@:2}" >"$WORLD/once.$i" & done
	wait $(jobs -p | grep -vx "$UP")
	for i in $(seq "$1"); do cat "$WORLD/once.$i"; echo; done | sort | uniq -c | tr -s ' \n' ' '
}
check "one request at once at each, and two that wait" p route set web concurrency=1 queue=2 queue_s=5
curl -sS -N -H "Host: web-it.$DOMAIN" -b "$WORLD/jar" "${ROUTER%/}/open" >"$WORLD/own" &
OWN=$!
check "who is sticky, and has a request at that gear" until_true grep -q begun "$WORLD/own"
check "is answered by the other" eval 'head_of web / -b "$WORLD/jar" >"$WORLD/else"; grep -qi x-gear "$WORLD/else" && ! grep -q "$(head -1 "$WORLD/own" | cut -d" " -f2)" "$WORLD/else"'
check "and stays where it was" eval '! grep -qi "^set-cookie" "$WORLD/else"'
kill "$OWN"
check "two and two, the rest is told to come again" until_true is " 4 200 2 503 " at_once 6 /slow
check "no queue" p route set web queue=0
check "then two at once" until_true is " 2 200 4 503 " at_once 6 /slow
route_off
check "new gears are slow to start" p route set web slow_start_s=30
check "both serve all the same" until_true is 200 status_of web /
p route set web retry_percent=100 >/dev/null
check "what an instance drops may be tried at another: not for ever" until_true is 502 status_of web /die
check "and they serve on" until_true is 200 status_of web /
route_off

# --- bad values: the field is named, nothing is half done ---
check "one that stands" p route set web rate=1000
before=$(p route show web --json)
bad() { check "refused: $1" fails_with 2 "$2" p route set web compress=true "${@:3}"; }
bad "an unknown option" compres compres=true
bad "no number" rate_burst rate_burst=many
bad "a number too small" body_max body_max=-1
bad "a network" allow allow=10.0.0.0/99
bad "a status" error_pages 'error_pages=[{"status":404,"body":"x"}]'
bad "a field of the router's" Content-Length 'headers=[{"op":"set","name":"Content-Length","value":"1"}]'
bad "a path" paths 'paths=[{"path":"shop","app":"shop"}]'
bad "an application that is not there" nobody 'paths=[{"path":"/x","app":"nobody"}]'
bad "too large shares" weights 'weights=[{"app":"shop","weight":60},{"app":"shop","weight":60}]'
bad "no JSON" redirects 'redirects=[{'
bad "a cookie's name" sticky_cookie 'sticky_cookie=a b'
bad "a page too large" maintenance_page maintenance_page="$(printf '%020000d' 0)"
bad "https" https https=maybe
check "all is as before" is "$before" p route show web --json
check "unknown to unset" fails_with 2 "nothing_such" p route unset web nothing_such
route_off
check "nothing is left" is '{}' eval 'p route show web --json | jq -c .'

# --- an application of HTTP/2 ---
check "one that speaks h2c" eval 'app rpc <<"JS"
const waiting = {};
const server = require("node:http2").createServer({ settings: { enableConnectProtocol: true } });
server.on("stream", (s, h) => {
	const [path, key] = h[":path"].split("?");
	s.on("error", () => {});
	if (path === "/rpc") {
		let n = 0;
		s.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
		s.on("wantTrailers", () => s.sendTrailers({ "grpc-status": "0", "x-count": String(n) }));
		s.on("data", (d) => { n++; s.write("<" + d + ">"); }).on("end", () => s.end());
	} else if (path === "/events") {
		let n = 0;
		s.respond({ ":status": 200, "content-type": "text/event-stream" });
		(waiting[key] = () => s.write("data: " + n++ + "\n\n"))();
	} else if (path === "/next") {
		waiting[key]();
		s.respond({ ":status": 200 }), s.end();
	} else if (h[":protocol"] === "websocket") {
		s.respond({ ":status": 200 });
		s.write(h.cookie + "\n");
		s.pipe(s);
	} else {
		s.respond({ ":status": 200 }), s.end("h2c " + path);
	}
});
server.listen(process.env.PORT, process.env.HOST);
JS'
check "is told to the router" p route set rpc protocol=h2c
check "it serves" until_true is "h2c /x" get rpc /x
check "by HTTP/2 and TLS, too" is "h2c /x" by_https rpc /x --http2
h2() { /usr/bin/python3 "$PINION_SRCDIR/test/lib/routes_h2.py" "${ROUTER##*:}" "$HTTPS_PORT" "$1-it.$DOMAIN" "$2"; }
check "streams both ways at once, with trailers at the end" h2 rpc trailers
check "events, one by one" h2 rpc events
check "WebSockets of RFC 8441" h2 rpc websocket_2
check "and of HTTP/1.1" h2 rpc websocket_1
check "WebSockets of HTTP/1.1 to an application of it" h2 web websocket_1
check "and of HTTP/2" h2 web websocket_2
done_testing
