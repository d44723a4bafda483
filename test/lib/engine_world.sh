# Sourced after world.sh: a broker with a node and a router that only pretend, for tests of what the
# broker does by itself. engine_up; api, git; engine_kill, engine_start.

engine_conf() {
	mkdir -p "$WORLD/data" "$WORLD/run"
	for t in node router broker; do head -c 24 /dev/urandom | base64 | tr -d '/+=' >"$WORLD/$t.token"; done
	echo -n secret-of-admin >"$WORLD/password"
}

# engine_start [OPTION…]: the broker; sets BROKER_PID, URL.
engine_start() {
	local end=$((SECONDS + DEADLINE))
	: >"$WORLD/ready"
	"$PINION_BUILDDIR/pinion-broker" --data "$WORLD/data" --listen 127.0.0.1:${PORT:-0} \
		--internal "unix:$WORLD/run/broker.sock" --hook-socket "unix:$WORLD/run/hook.sock" \
		--hook-program "$PINION_BUILDDIR/pinion-hook" --cartridges "$PINION_SRCDIR/cartridges" \
		--node-token-file "$WORLD/node.token" --router-token-file "$WORLD/router.token" \
		--broker-token-file "$WORLD/broker.token" --admin-password-file "$WORLD/password" \
		--app-domain apps.localhost --router-url http://localhost:8080 --ready-fd 7 "$@" \
		7>"$WORLD/ready" >>"$WORLD/up.log" 2>&1 </dev/null &
	BROKER_PID=$!
	echo "$BROKER_PID" >"$WORLD/broker.pid" # it may have been started by a subshell
	until [[ -s $WORLD/ready ]]; do
		((SECONDS < end)) && kill -0 "$BROKER_PID" 2>/dev/null || { tail -20 "$WORLD/up.log"; return 1; }
		sleep 0.02
	done
	PORT=$(jq .port "$WORLD/ready")
	URL=http://127.0.0.1:$PORT
	GIT_URL=http://admin:secret-of-admin@127.0.0.1:$PORT/git/it
}

engine_node() {
	/usr/bin/python3 "$PINION_SRCDIR/test/lib/fake_node.py" --broker "$WORLD/run/broker.sock" \
		--token-file "$WORLD/node.token" --broker-token-file "$WORLD/broker.token" \
		--socket "$WORLD/run/node.sock" --log "$WORLD/node.log" "$@" >>"$WORLD/up.log" 2>&1 </dev/null &
	NODE_PID=$!
}

engine_router() {
	/usr/bin/python3 "$PINION_SRCDIR/test/lib/fake_router.py" --broker "$WORLD/run/broker.sock" \
		--token-file "$WORLD/router.token" --table "$WORLD/table" --draining "$WORLD/draining" \
		>>"$WORLD/up.log" 2>&1 </dev/null &
	ROUTER_PID=$!
}

engine_up() {
	world_new
	git config --global init.defaultBranch master
	git config --global protocol.version 2
	engine_conf
	engine_start "$@" || { echo "not ok 1 - broker"; echo "1..1"; exit 1; }
	engine_node
	engine_router
	until_true grep -q node_hello "$WORLD/up.log"
	until_true test -s "$WORLD/table"
	api POST domains name=it >/dev/null || { echo "not ok 1 - domain"; echo "1..1"; exit 1; }
}

engine_kill() {
	kill -9 "$BROKER_PID" 2>/dev/null
	wait "$BROKER_PID" 2>/dev/null
}

# world_stop: instead of the one of world.sh.
world_stop() {
	local pid
	[[ ! -s $WORLD/broker.pid ]] || { BROKER_PID=$(<"$WORLD/broker.pid"); kill "$BROKER_PID" && until_true eval '! kill -0 "$BROKER_PID"'; } 2>/dev/null
	for pid in ${NODE_PID:-} ${ROUTER_PID:-}; do kill -9 "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; done
	rm -f "$WORLD/broker.pid"
	NODE_PID= ROUTER_PID=
}

# api METHOD PATH [NAME=VALUE…]: the answer's JSON; fails unless 2xx.
api() {
	local method=$1 path=$2 args=() a code
	shift 2
	for a in "$@"; do args+=(--data-urlencode "$a"); done
	code=$(curl -sS -m 60 -u admin:secret-of-admin -H 'Accept: application/json' -X "$method" \
		-o "$WORLD/api.out" -w '%{http_code}' "${args[@]}" "$URL/broker/rest/$path")
	cat "$WORLD/api.out"
	[[ $code == 2* ]]
}

# route APP: its route as the router has it.
route() {
	jq -c --arg h "$1-it.apps.localhost" '.[$h]' "$WORLD/table"
}

# node_log FILTER…: of what the node saw.
node_log() {
	jq -c "$@" "$WORLD/node.log"
}
