#!/bin/bash
# Persistent paths: what an app wrote into its own tree is taken over once and kept over pushes,
# restarts and moves; exclusive ones are handed over under load without a failed request.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_faults
world_up

check "create" p app create wiki nodejs
check "clone" clone wiki
mkdir -p "$WORLD/wiki/pages/old" "$WORLD/wiki/gone"
echo "from git" >"$WORLD/wiki/pages/start"
echo "to be deleted" >"$WORLD/wiki/pages/old/dead"
touch "$WORLD/wiki/gone/keep"
cat >"$WORLD/wiki/server.js" <<'JS'
const fs = require("node:fs"), version = "v1";
const pages = "pages", lock = pages + "/.lock";
if (fs.existsSync(pages + "/exclusive")) { // two at once would not start
	fs.writeFileSync(lock, String(process.pid), { flag: "wx" });
	process.on("SIGTERM", () => { fs.unlinkSync(lock); process.exit(0); });
}
const read = f => fs.existsSync(f) ? fs.readFileSync(f, "utf8").trim() : "none";
require("node:http").createServer((q, r) => {
	const u = new URL(q.url, "http://x"), f = pages + "/" + u.searchParams.get("page");
	if (u.pathname === "/write") { fs.mkdirSync(require("node:path").dirname(f), { recursive: true }); fs.appendFileSync(f, u.searchParams.get("text") + "\n"); }
	if (u.pathname === "/big") { fs.mkdirSync(require("node:path").dirname(f), { recursive: true }); fs.writeFileSync(f, Buffer.alloc(20 << 20, 97)); }
	if (u.pathname === "/delete") fs.rmSync(f, { recursive: true });
	r.end(u.pathname === "/" ? version : u.pathname === "/read" ? read(f) : "done");
}).listen(process.env.PORT, process.env.HOST);
JS
check "push" push_app wiki "a wiki"
page() { get wiki "/read?page=$1"; }

# --- paths that may not be ---
for bad in ../up /abs a//b .git/x a/../b 'a b' "$(printf 'x%.0s' {1..200})" .openshift/action_hooks; do
	check "no path: ${bad:0:30}" fails_with 2 "" p storage add wiki "$bad"
done
check "a cartridge it does not have" fails_with 2 "has no cartridge" p storage add wiki sessions --cartridge php
check "a file is no directory" fails_with 2 "is a file" p storage add wiki server.js
check "it serves on as before" serves wiki / v1
check "that path was not added" until_true eval '[[ $(p storage list wiki --json) == "[]" ]]'
check "it writes into its tree again" eval 'get wiki "/write?page=sub/new&text=written" && get wiki "/write?page=start&text=more" && get wiki "/delete?page=old"'

# --- shared ---
check "add" p storage add wiki pages
check "what it had written is taken over, merged with git's" test "$(page sub/new) $(page start)" = "written from git
more"
check "what it deleted stays deleted" test "$(page old/dead)" = none
check "it is listed" eval '[[ $(p storage list wiki --json | jq -c .) == "[{\"path\":\"pages\",\"cartridge\":null,\"mode\":\"shared\"}]" ]]'
check "one inside it is refused" fails_with 2 "within each other" p storage add wiki pages/sub
check "twice is refused" fails_with 2 "already" p storage add wiki pages
sed -i 's/"v1"/"v2"/' "$WORLD/wiki/server.js"
echo "newer in git" >"$WORLD/wiki/pages/start"
check "push" push_app wiki "v2"
check "the push is there" serves wiki / v2
check "the pages are kept" test "$(page sub/new) $(page start)" = "written from git
more"
check "it writes" get wiki "/write?page=sub/new&text=again"
check "restart" p app restart wiki
check "kept" test "$(page sub/new)" = "written
again"
check "rollback" p rollback wiki
check "kept, though the code is old" eval 'serves wiki / v1 && [[ $(page sub/new) == *again* ]]'
uuid=$(p app show wiki --json | jq -r .id)
world_stop
LISTEN=${BROKER#http://}
world_start && login_admin
check "after a new start of all" eval 'until_true serves wiki / v1 && [[ $(page sub/new) == *again* ]]'

# --- exclusive, under load ---
check "now exclusive" p storage add wiki pages --exclusive
check "it is listed so" eval '[[ $(p storage list wiki --json | jq -r ".[0].mode") == exclusive ]]'
check "from now on two cannot run" get wiki "/write?page=exclusive&text=yes"
check "restart" p app restart wiki
touch "$WORLD/flag"
/usr/bin/python3 "$PINION_SRCDIR/test/lib/load.py" "$ROUTER" "wiki-it.$DOMAIN" "$WORLD/flag" >"$WORLD/load.json" &
LOAD=$!
pushes() {
	local i
	for i in 3 4 5; do
		sed -i -E "s/\"v[0-9]\"/\"v$i\"/" "$WORLD/wiki/server.js"
		push_app wiki "v$i" || { tail -5 "$WORLD/push.log"; return 1; }
		serves wiki / "v$i" || { echo "after push $i: $(get wiki /)"; return 1; }
	done
}
check "three pushes, one instance at a time" pushes
check "a restart" p app restart wiki
echo 'throw new Error("broken")' >"$WORLD/wiki/broken.js"
sed -i '1i require("./broken.js");' "$WORLD/wiki/server.js"
broken() { ! push_app wiki "broken"; }
check "a push that does not start is refused" broken
check "what served before serves again" serves wiki / v5
rm "$WORLD/flag"
wait "$LOAD"
check "no request failed" eval 'jq -e "(.failures | length) == 0 and .requests > 20" "$WORLD/load.json" >/dev/null || { jq -c . "$WORLD/load.json"; false; }'
check "the pages are kept" eval '[[ $(page sub/new) == *again* ]]'
check "one instance at a time, by the owner's wish" eval 'p app configure wiki --rollout replace && [[ $(p app show wiki --json | jq -r .rollout) == replace ]]'
check "whatever its paths are" eval 'p storage add wiki pages --shared && p app restart wiki && serves wiki / v5'
check "exclusive again" p storage add wiki pages --exclusive
check "without the wish it is the path's" eval 'p app configure wiki --rollout overlap && [[ $(p app show wiki --json | jq -r .rollout) == replace ]]'

# --- kill -9 at each step of adding and removing ---
has_path() { p storage list wiki --json >"$WORLD/paths" && jq -e --arg p "$1" 'map(.path) | index($p) != null' "$WORLD/paths" >/dev/null; }
add_if_absent() { has_path "$1" || p storage add wiki "$@"; }
remove_if_there() { has_path "$1" && p storage remove wiki "$1"; p storage list wiki --json >"$WORLD/paths" && ! has_path "$1"; }
n=0
for point in storage_copied storage_taken_over storage_changed; do
	for mode in --shared --exclusive; do
		path=notes$((++n))
		p app restart wiki >/dev/null # what the broker's death left to be rolled out would take the file along
		get wiki "/write?page=../$path/a&text=mine" >/dev/null
		arm "$point"
		check "$point: added $mode" until_true add_if_absent "$path" "$mode"
		check "$point: it was passed" passed
		check "$point: what was there is taken over" until_true eval 'grep -rqx mine "$WORLD"/data/node/gears/$uuid/storage/*$path*'
		check "$point: it serves, with that" until_true eval '[[ $(get wiki "/read?page=../$path/a") == mine ]]'
	done
	check "$point: once" test "$(p storage list wiki --json | jq -r 'map(.path) | sort | join(" ")')" = "$(for ((i = 1; i <= n; i++)); do printf 'notes%s ' $i; done)pages"
done
for point in storage_retired storage_changed; do
	arm "$point"
	check "$point: removed" until_true remove_if_there "notes$n"
	check "$point: it was passed" until_true test ! -e "$PINION_FAULT_FILE"
	check "$point: the files are the user's" until_true eval 'ls "$WORLD"/data/node/gears/$uuid/data/removed-storage/*/a >/dev/null && grep -rqx mine "$WORLD"/data/node/gears/$uuid/data/removed-storage'
	check "$point: it serves" until_true serves wiki / v5
	((n--))
done
rm -f "$PINION_FAULT_FILE"
while ((n > 0)); do p storage remove wiki "notes$((n--))" >/dev/null; done

# --- a disk without room for the copy ---
get wiki "/big?page=../more/a" >/dev/null
gear=$WORLD/data/node/gears/$uuid
fallocate -l $(($(df -m --output=avail "$gear" | tail -1) - 12))M "$gear/data/full"
p storage add wiki more >/dev/null 2>&1
rm "$gear/data/full"
check "what could not be taken over is not lost" eval '(($(cat "$gear"/data/removed-storage/*more*/a "$gear"/storage/*more/a 2>/dev/null | wc -c) == 20 << 20))'
check "it serves" until_true serves wiki / v5
p storage remove wiki more >/dev/null 2>&1

# --- the end ---
git -C "$WORLD/wiki" reset -q --hard HEAD~1
for ((n = 0; n < 60; n++)); do mkdir -p "$gear/data/removed-storage/app-root%runtime%repo%pages.$(($(date +%s) + n))/kept"; done
check "remove, whatever lies where its files go" p storage remove wiki pages
check "the tree is git's again" test "$(page start)" = "newer in git"
check "its files are the user's" eval 'ls "$WORLD"/data/node/gears/$uuid/data/removed-storage/*/sub/new >/dev/null'
check "an unknown path" fails_with 4 "no persistent path" p storage remove wiki pages
check "delete" p app delete wiki --yes
check "nothing is left" nothing_left "$uuid"
done_testing
