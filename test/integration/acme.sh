#!/bin/bash
# Certificates of aliases by ACME, with the authority pebble: by HTTP-01 and by TLS-ALPN-01, renewed
# while connections stay open, and what an owner is told when the authority fails; and what an authority
# says of a certificate afterwards, stapled to it.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_new
A=$WORLD/authority
mkdir "$A"
export PATH=$PATH:/usr/sbin
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
PEBBLE= DNS= OCSP=
end_all() {
	[[ -z $PEBBLE ]] || kill "$PEBBLE" 2>/dev/null
	[[ -z $DNS ]] || kill "$DNS" 2>/dev/null
	[[ -z $OCSP ]] || kill "$OCSP" 2>/dev/null
	world_end
}
trap end_all EXIT

# --- the authority: its own https, a name server that says 127.0.0.1 to all ---
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -addext subjectAltName=DNS:localhost \
	-keyout "$A/key.pem" -out "$A/cert.pem" 2>/dev/null
ACME_PORT=$(free_port) ADMIN_PORT=$(free_port) DNS_PORT=$(free_port) DNS_ADMIN=$(free_port)
pebble-challtestsrv -defaultIPv6 "" -dns01 "127.0.0.1:$DNS_PORT" -management "127.0.0.1:$DNS_ADMIN" -http01 "" -https01 "" -tlsalpn01 "" \
	>"$A/dns.log" 2>&1 &
DNS=$!
# authority SECONDS [PORT]: it gives certificates that are good for so long, from now on, to whom it
# finds at that port. Nothing is left of what it knew.
authority() {
	authority_ends
	cat >"$A/config.json" <<-J
		{"pebble": {"listenAddress": "127.0.0.1:$ACME_PORT", "managementListenAddress": "127.0.0.1:$ADMIN_PORT",
		"certificate": "$A/cert.pem", "privateKey": "$A/key.pem", "httpPort": ${2:-$ROUTER_PORT}, "tlsPort": ${HTTPS_PORT},
		"externalAccountBindingRequired": false, "certificateValidityPeriod": $1}}
	J
	PEBBLE_VA_NOSLEEP=1 pebble -config "$A/config.json" -dnsserver "127.0.0.1:$DNS_PORT" >>"$A/pebble.log" 2>&1 &
	PEBBLE=$!
	until_true curl -sS --cacert "$A/cert.pem" -o /dev/null "https://localhost:$ACME_PORT/dir"
}
authority_ends() { [[ -n $PEBBLE ]] || return 0; kill "$PEBBLE"; wait "$PEBBLE" 2>/dev/null; PEBBLE=; }
export PINION_BROKER_ACME_RETRY=1 PINION_BROKER_DOWNLOAD_ALLOW=127.0.0.1/32
world_start --acme-directory "https://localhost:$ACME_PORT/dir" --acme-ca-file "$A/cert.pem" --acme-contact owner@example.org ||
	{ echo "not ok 1 - pinion up"; echo "1..1"; exit 1; }
login_admin && p domain create it >/dev/null
ROUTER_PORT=${ROUTER##*:} HTTPS_PORT=$(jq -r .https_url "$WORLD/ready")
HTTPS_PORT=${HTTPS_PORT##*:}
authority 3600

# --- an application that keeps connections ---
mkdir "$WORLD/web" && cd "$WORLD/web" || exit 1
git init -q
cat >app.js <<'JS'
const server = require("node:http").createServer((q, r) => r.end("web: " + q.url));
server.on("upgrade", (q, s) => {
	s.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	s.on("data", (d) => s.write(d));
	s.on("error", () => {});
});
server.listen(3000, "127.0.0.1");
JS
git add -A && git commit -qm web
p app create web nodejs >/dev/null && p git remote web >/dev/null
check "an application" git push -q pinion main

alias_is() { [[ $(p alias list web --json | jq -r --arg h "$1" --arg f "$2" '.[] | select(.id == $h)[$f]') == "$3" ]]; }
# of HOST: who signed what its clients get; until when
of() { openssl s_client -connect "127.0.0.1:$HTTPS_PORT" -servername "$1" </dev/null 2>/dev/null | openssl x509 -noout "${@:2}"; }
by_pebble() { [[ $(of "$1" -issuer) == *"Pebble Intermediate"* && $(of "$1" -ext subjectAltName) == *"DNS:$1"* ]]; }

check "an alias without a certificate" p alias add web plain.web.test
check "one that asks for it" p alias add web www.web.test --acme
check "it gets it by HTTP-01" until_true by_pebble www.web.test
check "the list says so" until_true alias_is www.web.test acme_status certified
check "as an event" eval 'p events web | grep -q "www.web.test has a new certificate"'
check "HTTP-01 it was" grep -q "Attempting to validate w/ HTTP: http://www.web.test" "$A/pebble.log"
check "clients trust it" eval 'curl -sS --cacert "$A/cert.pem" "https://localhost:$ADMIN_PORT/roots/0" >"$A/root.pem" &&
	[[ $(curl -sS -m 20 --cacert "$A/root.pem" --resolve "www.web.test:$HTTPS_PORT:127.0.0.1" "https://www.web.test:$HTTPS_PORT/x") == "web: /x" ]]'
check "one that asks for the other way" p alias add web alpn.web.test --acme --challenge tls-alpn-01
check "it gets it by TLS-ALPN-01" until_true by_pebble alpn.web.test
check "TLS-ALPN-01 it was" eval 'grep -q "Value:.alpn.web.test" "$A/pebble.log" && ! grep -q "HTTP: http://alpn.web.test" "$A/pebble.log"'
check "one asks afterwards" p alias cert web plain.web.test --acme
check "and gets it" until_true by_pebble plain.web.test
check "wildcards cannot" fails_with 2 "wildcard" p alias add web "*.web.test" --acme
check "nor is there another way" fails_with 2 "tls-alpn-01" p alias add web x.web.test --acme --challenge dns-01
check "no challenge is left" eval '[[ $(curl -sS -H "Host: www.web.test" "${ROUTER%/}/.well-known/acme-challenge/x") == "web: /.well-known/acme-challenge/x" ]]'
check "a certificate of one's own ends it" eval 'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
	-keyout "$WORLD/key.pem" -out "$WORLD/cert.pem" -subj /CN=plain.web.test -addext subjectAltName=DNS:plain.web.test 2>/dev/null &&
	p alias cert web plain.web.test --certificate "$WORLD/cert.pem" --key "$WORLD/key.pem" && alias_is plain.web.test acme null'

# --- what the authority of a certificate says of it (OCSP) ---
OCSP_PORT=$(free_port)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=another -keyout "$A/ca.key" -out "$A/ca.pem" 2>/dev/null
# signed NAME SERIAL ADDRESS V|R: a certificate whose responder is at that address; valid or revoked.
signed() {
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj / -keyout "$A/$1.key" -out "$A/$1.csr" 2>/dev/null
	printf 'subjectAltName=DNS:%s\nauthorityInfoAccess=OCSP;URI:http://%s:%s/x\n' "$1.web.test" "$3" "$OCSP_PORT" >"$A/ext"
	openssl x509 -req -in "$A/$1.csr" -CA "$A/ca.pem" -CAkey "$A/ca.key" -set_serial "0x$2" -days 2 -extfile "$A/ext" 2>/dev/null | cat - "$A/ca.pem" >"$A/$1.pem"
	printf '%s\t491231235959Z\t%s\t%s\tunknown\t/CN=%s\n' "$4" "$([[ $4 == V ]] || echo 261101000000Z)" "$2" "$1" >>"$A/index"
}
signed plain 1001 127.0.0.1 V
signed revoked 1002 127.0.0.1 R
signed inside 1003 127.0.0.2 V
openssl ocsp -index "$A/index" -port "$OCSP_PORT" -rsigner "$A/ca.pem" -rkey "$A/ca.key" -CA "$A/ca.pem" -ndays 1 >"$A/ocsp.log" 2>&1 &
OCSP=$!
stapled() { openssl s_client -connect "127.0.0.1:$HTTPS_PORT" -servername "$1" -status </dev/null 2>/dev/null | grep -q "Cert Status: good"; }
check "a responder of OCSP runs" until_true grep -q "waiting for OCSP" "$A/ocsp.log"
check "a certificate that names a responder" p alias cert web plain.web.test --certificate "$A/plain.pem" --key "$A/plain.key"
check "its answer is stapled" until_true stapled plain.web.test
check "one that was revoked" p alias add web revoked.web.test --certificate "$A/revoked.pem" --key "$A/revoked.key"
check "is told to its owner" until_true eval 'p events web | grep -q "revoked.web.test was revoked"'
check "and has no staple" eval '! stapled revoked.web.test'
check "a responder inside" p alias add web inside.web.test --certificate "$A/inside.pem" --key "$A/inside.key"
check "is not asked" until_true grep -q "staple_not_got host=inside.web.test" "$WORLD/up.log"
check "not even connected to" eval '! grep -q 1003 "$A/ocsp.log" && ! stapled inside.web.test'

# --- renewal: certificates for seconds, under open connections ---
authority 6
cat >"$WORLD/keep.py" <<'PY'
import socket, ssl, sys, time
host, port, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def dial():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    return c.wrap_socket(socket.create_connection(("127.0.0.1", port), 20), server_hostname=host)
def ask(t, path):
    t.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    got = b""
    while not got.endswith(b"web: " + path.encode()):
        d = t.recv(65536)
        assert d, ("closed", got)
        got += d
    assert got.startswith(b"HTTP/1.1 200"), got
kept, socket_ = dial(), dial()
socket_.sendall(f"GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode())
got = b""
while b"\r\n\r\n" not in got:
    d = socket_.recv(65536)
    assert d, got
    got += d
assert got.startswith(b"HTTP/1.1 101"), got
seen, n = [], 0
import os
print("open", flush=True)
while not os.path.exists(stop):
    n += 1
    ask(kept, f"/kept{n}")
    socket_.sendall(b"frame%d" % n)
    assert socket_.recv(100) == b"frame%d" % n
    t = dial()  # a new connection each: none is refused
    cert = t.getpeercert(True)
    if cert not in seen:
        seen.append(cert)
    ask(t, f"/new{n}")
    t.close()
    time.sleep(0.02)
print(n, len(seen))
PY
check "certificates for six seconds" p alias cert web www.web.test --acme
python3 "$WORLD/keep.py" www.web.test "$HTTPS_PORT" "$WORLD/stop" >"$WORLD/kept" 2>&1 &
KEEP=$!
serial_changed() { local now; now=$(of www.web.test -serial); [[ -n $now && $now != "$1" ]]; }
check "connections are open" until_true grep -q open "$WORLD/kept"
before=$(of www.web.test -serial)
check "it is renewed" until_true serial_changed "$before"
before=$(of www.web.test -serial)
check "and again, by itself" until_true serial_changed "$before"

# --- the authority fails ---
authority 6 "$(free_port)"
check "a failure is told" until_true alias_is www.web.test acme_status failed
touch "$WORLD/stop"
wait "$KEEP"
check "no request failed, no connection ended, in all of that" test $? = 0
read -r asked certs < <(tail -1 "$WORLD/kept")
check "they saw several certificates" eval '((asked > 20 && certs >= 2))'
check "the last certificate stays" by_pebble www.web.test
check "the event says why" eval 'p events web | grep "www.web.test got no certificate" | grep -q "connection refused"'
authority 3600
check "a name that is nobody's here" eval 'curl -sS -X POST -d "{\"host\":\"far.web.test\",\"addresses\":[\"127.0.0.9\"]}" "http://127.0.0.1:$DNS_ADMIN/add-a"'
check "an alias that leads elsewhere" p alias add web far.web.test --acme
check "the authority's own words" until_true eval 'p alias list web | grep far.web.test | grep -q "connect: connection refused"'
check "once the authority is back, it goes on" until_true alias_is www.web.test acme_status certified
curl -sS -X POST -d '{"host":"far.web.test"}' "http://127.0.0.1:$DNS_ADMIN/clear-a"
check "once the name leads here, it gets one" until_true by_pebble far.web.test
check "aliases go with what they wait for" p alias remove web far.web.test
check "nothing is left of a run" eval '[[ -z $(ls "$WORLD/data/broker/acme/run") ]]'
check "the account is the broker's alone" eval '[[ $(stat -c %a "$WORLD/data/broker/acme/private/key.pem") == [46]00 ]]'
done_testing
