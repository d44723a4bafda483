#!/bin/bash
# Hostile applications against the platform's front: what they print on a terminal, links they push, floods of
# clients and of output. The neighbour application is requested through the router all the while: none fails.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_up

check "a hostile app" p app create evil nodejs
check "its neighbour" p app create bank static
check "clone" clone evil
cat >"$WORLD/evil/server.js" <<'JS'
const e = "\x1b[2J\x1b]0;owned\x07\x1b]52;c;cm0gLXJmIC8=\x07\x9b31m\rgone \u202etxt.exe\u202c \x1bP+q\x1b\\\x08\x08";
console.log("begin" + e + "end");
require("node:http").createServer((q, r) => {
	if (q.url === "/flood") for (let i = 0; i < 2000; i++) process.stdout.write("x".repeat(65536) + "\n");
	r.end("evil");
}).listen(process.env.PORT, process.env.HOST);
JS
check "push" push_app evil one

# The neighbour, until the file is gone.
touch "$WORLD/asking"
: >"$WORLD/failed"
(
	n=0
	while [[ -e $WORLD/asking ]]; do
		[[ $(status_of bank /) == 200 ]] || echo "request $n" >>"$WORLD/failed"
		((++n))
		echo "$n" >"$WORLD/asked"
	done
) &
asker=$!

# Nothing but text reaches a terminal.
no_controls() {
	p logs evil >"$WORLD/shown" 2>&1 && grep -q end "$WORLD/shown" &&
		python3 - "$WORLD/shown" <<'PY'
import sys
text = open(sys.argv[1], "rb").read().decode()
bad = sorted({hex(ord(c)) for c in text if (ord(c) < 32 and c not in "\n\t") or 0x7f <= ord(c) < 0xa0 or ord(c) in range(0x202a, 0x202f) or ord(c) in range(0x2066, 0x206a)})
assert not bad, bad
PY
}
check "logs show no escape of the app" until_true no_controls
# 128 MB of output at once; the log stays bounded and can be shown.
check "a flood of output" eval '[[ $(get evil /flood) == evil ]]'
gear=$WORLD/data/node/gears/$(p app show evil --json | jq -r .id)
check "the log is bounded" eval '(($(du -sm "$gear/logs" | cut -f1) < 64))'
check "and can be shown" eval 'p logs evil >/dev/null'

# Links in the tree lead nowhere.
rm -f "$WORLD/evil/server.js"
ln -s /etc/shadow "$WORLD/evil/shadow"
ln -s ../../../../../../../../etc "$WORLD/evil/etc"
ln -s / "$WORLD/evil/root"
echo '<p>links</p>' >"$WORLD/evil/index.html"
rm -f "$WORLD/evil/package.json"
push_app evil links
no_secret() { # either the push is refused, or what is served is not the host's
	local path
	for path in /shadow /etc/shadow /root/etc/shadow /root/proc/1/environ; do
		get evil "$path" 2>/dev/null | grep -qF "$(head -1 /etc/shadow)" && { echo "$path"; return 1; }
	done
	return 0
}
check "links lead nowhere" no_secret

# A thousand silent clients of the router.
flood() {
	python3 - "$ROUTER" <<'PY'
import socket, sys, urllib.parse, time
u = urllib.parse.urlsplit(sys.argv[1])
held = []
for i in range(1000):
    s = socket.socket()
    s.settimeout(5)
    try:
        s.connect((u.hostname, u.port))
        s.send(b"GET / HTTP/1.1\r\nHost: x" if i % 2 else b"")
        held.append(s)
    except OSError:
        break
time.sleep(2)
print(len(held))
PY
}
check "a flood of silent clients" flood
rm "$WORLD/asking"
wait "$asker"
check "the neighbour lost no request of $(cat "$WORLD/asked")" test ! -s "$WORLD/failed"
done_testing
