#!/bin/bash
# Snapshots in OpenShift v2's layout: saved from a running app, restored into it and into another; hostile
# archives change nothing; a full disk and a node killed at any step leave the old data or the new.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_faults
world_up

check "an app" p app create one nodejs
check "another" p app create two nodejs
check "clone" clone one
mkdir "$WORLD/one/pages"
touch "$WORLD/one/pages/keep"
cat >"$WORLD/one/server.js" <<'JS'
const fs = require("node:fs"), d = process.env.OPENSHIFT_DATA_DIR, version = "v1";
require("node:http").createServer((q, r) => {
	const u = new URL(q.url, "http://x"), f = (u.searchParams.get("page") ? "pages/" : d + "/") + u.searchParams.get("name");
	try {
		if (u.pathname === "/write") { fs.writeFileSync(f, u.searchParams.get("text")); return r.end("ok"); }
		if (u.pathname === "/fill") { fs.writeFileSync(f, Buffer.alloc(+u.searchParams.get("mb") << 20)); return r.end("ok"); }
		if (u.pathname === "/list") return r.end(fs.readdirSync(d).sort().join(" "));
		if (u.pathname === "/read") return r.end(fs.existsSync(f) ? fs.readFileSync(f, "utf8") : "none");
	} catch (e) { r.statusCode = 500; return r.end(e.code); }
	r.end(version);
}).listen(process.env.PORT, process.env.HOST);
JS
check "push" push_app one "v1"
check "a persistent path" p storage add one pages
put() { get one "/write?name=$1&text=$2${3:-}"; }
read_one() { get one "/read?name=$1"; }
check "data" eval 'put note hello && put .hidden secret && put page1 kept "&page=1" && mkdir -p "$WORLD/x"'

# --- save ---
check "save" p snapshot save one -f "$WORLD/one.tar.gz"
check "it has no .part" test ! -e "$WORLD/one.tar.gz.part"
tar tzf "$WORLD/one.tar.gz" >"$WORLD/members"
has() { grep -qE "^\./[0-9a-f]{24}/$1\$" "$WORLD/members" || { head -30 "$WORLD/members"; return 1; }; }
check "v2's members: data" has app-root/data/note
check "hidden data" has app-root/data/.hidden
check "the persistent path" has 'app-root/data/.pinion-storage/.*/page1'
check "git" has git/one.git/HEAD
check "the deployment" has 'app-deployments/[0-9_.-]+/repo/server.js'
check "its metadata" has 'app-deployments/[0-9_.-]+/metadata.json'
check "the one that is current" has app-deployments/current
check "environment" has .env/OPENSHIFT_APP_NAME
check "the cartridge" has 'nodejs/env/OPENSHIFT_NODEJS_DIR'
check "not what runs" eval '! has "app-root/runtime/.*" 2>/dev/null >&2'
check "git reads it" eval 'mkdir "$WORLD/x/t" && tar xzf "$WORLD/one.tar.gz" -C "$WORLD/x/t" && git -c safe.directory="*" --git-dir "$(echo "$WORLD"/x/t/*/git/one.git)" log --oneline | grep -q v1'
check "to standard output" eval 'p snapshot save one -f - | tar tz | grep -q /note'

# --- restore ---
sed -i 's/"v1"/"v2"/' "$WORLD/one/server.js"
check "push v2" push_app one "v2"
check "other data" eval 'put note changed && put later new && put page1 changed "&page=1"'
check "restore" p snapshot restore one -f "$WORLD/one.tar.gz"
check "the data is the snapshot's" test "$(read_one note) $(read_one later) $(read_one .hidden)" = "hello none secret"
check "the persistent path too" test "$(get one '/read?name=page1&page=1')" = kept
check "the code too" serves one / v1
check "into another app" p snapshot restore two -f "$WORLD/one.tar.gz"
check "its code" serves two / v1
check "its data" test "$(get two '/read?name=note')" = hello
check "its history" eval 'p git clone two "$WORLD/two" >/dev/null 2>&1 && git -C "$WORLD/two" log --oneline | grep -q "v1"'
check "it is told" eval 'p events two | grep -q "snapshot was restored"'
check "data alone" eval 'put note now && p snapshot restore one --no-git -f "$WORLD/one.tar.gz" && [[ $(read_one note) == hello ]]'
check "an app that is stopped" eval 'p app stop one && p snapshot save one -f "$WORLD/stopped.tar.gz" && tar tzf "$WORLD/stopped.tar.gz" | grep -q /note && p snapshot restore one --no-git -f "$WORLD/one.tar.gz" && p app start one && [[ $(read_one note) == hello ]]'

# --- hostile ones ---
one=$WORLD/data/node/gears/$(p app show one --json | jq -r .id)
mkdir "$WORLD/hostile"
names=$(/usr/bin/python3 "$PINION_SRCDIR/test/lib/hostile_snapshots.py" "$WORLD/hostile")
refused() {
	local status out
	out=$(p snapshot restore one -f "$WORLD/hostile/$1.tar.gz" 2>&1)
	status=$?
	[[ $status -ne 0 && -n $out && $out != *"cannot reach"* && $(read_one note) == hello && $(get one /) == v1 && ! -e $one/restore ]] || { echo "exit $status: $out; note: $(read_one note)"; return 1; }
}
for name in $names; do check "refused, nothing changed: $name" refused "$name"; done
check "odd entries are left out" eval 'p snapshot restore two --no-git -f "$WORLD/hostile/odd.tar.gz" && sleep 0 && [[ $(get two /list) == "away good same self setuid twice" ]] || { get two /list; false; }'
two=$WORLD/data/node/gears/$(p app show two --json | jq -r .id)
check "no bit of another user" test "$(stat -c %a "$two/data/setuid")" = 755
check "a hook of the archive is not run" test ! -e /tmp/pinion-evil
check "nothing lies beside the data" test ! -e "$one/restore"

# --- full disk ---
check "the disk is full" eval 'for mb in 64 1; do for i in $(seq 200); do [[ $(get one "/fill?name=full$mb-$i&mb=$mb") == ok ]] || break; done; done; [[ $(get one "/fill?name=fullx&mb=1") == ENOSPC ]]'
check "a snapshot is saved all the same" eval 'p snapshot save one -f "$WORLD/full.tar.gz" && tar tzf "$WORLD/full.tar.gz" | grep -q /note'
check "a restore says so" fails_with 2 "disk" p snapshot restore one -f "$WORLD/one.tar.gz"
check "and changes nothing" test "$(read_one note)" = hello
rm -f "$one"/data/full*

# --- kill -9 of the node ---
node_is_back() { until_true p snapshot save one -f "$WORLD/again.tar.gz"; }
dies_while_saving() { # the copy is not random data alone: it takes a while
	head -c 200M /dev/urandom >"$one/data/large" && chown --reference="$one/data/note" "$one/data/large"
	local begun=$(grep -c action=pre-snapshot "$WORLD/up.log")
	p snapshot save one -f "$WORLD/cut.tar.gz" >/dev/null 2>"$WORLD/cut.err" &
	local saver=$!
	until_true eval '(($(grep -c action=pre-snapshot "$WORLD/up.log") > begun))'
	kill -9 "$(child_pid pinion-node)"
	! wait "$saver" && [[ -s $WORLD/cut.err ]]
}
check "a node that dies while it saves is told" dies_while_saving
check "no half archive is left" eval '! ls "$WORLD"/cut.tar.gz*'
rm -f "$one/data/large"
check "the next one is whole" node_is_back
for point in restore_unpacked restore_journal restore_out restore_in; do
	put note "old-$point" >/dev/null
	arm "$point"
	p snapshot restore one --no-git -f "$WORLD/one.tar.gz" >/dev/null 2>&1
	check "the node died at $point" passed
	check "it serves again" until_true serves one / v1
	check "the data is old or new, whole" eval '[[ "$(read_one note) $(read_one .hidden)" =~ ^(old-'$point'|hello)\ secret$ ]] || { read_one note; read_one .hidden; false; }'
	check "nothing lies beside it" until_true test ! -e "$one/restore"
	check "a snapshot can be saved" node_is_back
done
check "and restored" eval 'p snapshot restore one -f "$WORLD/one.tar.gz" && [[ $(read_one note) == hello ]]'
uuids=${one##*/}'|'${two##*/}
check "delete" eval 'p app delete one --yes && p app delete two --yes'
check "nothing is left" nothing_left "$uuids"
check "no scratch of the broker" test -z "$(ls "$WORLD/data/broker/scratch" 2>/dev/null)"
done_testing
