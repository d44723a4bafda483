#!/bin/bash
# Two nodes, one of which speaks to the broker by https with a certificate of its own, as one on
# another machine does: an application is scaled over both, its gears move from one to the other with
# their data, and a move that fails leaves all as it was.
. "${PINION_SRCDIR:-$(cd "$(dirname "$0")/../.." && pwd)}/test/lib/world.sh"
plan_skip_unless_root
world_faults
world_up

node_option() { tr '\0' '\n' <"/proc/$(pgrep -P "$UP" -x pinion-node)/cmdline" | sed -n "/^--$1\$/{n;p}"; }
RUN=$(node_option run)
BROKER_SOCKET=$(node_option broker)
TOKEN=$(jq -r .token "$XDG_CONFIG_HOME"/pinion/*)

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
T=$WORLD/tls
mkdir -p "$T"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=cluster CA" -keyout "$T/ca.key" -out "$T/ca.pem" 2>/dev/null
for name in broker second; do
	openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$T/$name.key" -out "$T/$name.csr" 2>/dev/null
	openssl x509 -req -in "$T/$name.csr" -CA "$T/ca.pem" -CAkey "$T/ca.key" -CAcreateserial -days 2 \
		-extfile <(echo "subjectAltName=DNS:localhost") -out "$T/$name.pem" 2>/dev/null
done
TLS_PORT=$(free_port) STREAM=127.0.0.1:$(free_port)
python3 "$PINION_SRCDIR/test/lib/tls_front.py" "$TLS_PORT" "$T/broker.pem" "$T/broker.key" "$T/ca.pem" "${BROKER_SOCKET#unix:}" \
	>>"$WORLD/front.log" 2>&1 &
FRONT=$!

second_start() {
	mkdir -p "$WORLD/second"
	"$PINION_BUILDDIR/pinion-node" --id second --data "$WORLD/second/data" --run "$WORLD/second/run" \
		--broker "https://localhost:$TLS_PORT" --broker-ca "$T/ca.pem" --broker-cert "$T/second.pem" --broker-key "$T/second.key" \
		--token-file "$WORLD/data/secrets/node.token" \
		--broker-token-file "$WORLD/data/secrets/broker.token" --stream "$STREAM" \
		--cartridges "$PINION_SRCDIR/cartridges" --stack "$PINION_SRCDIR/stacks/host" \
		>>"$WORLD/second.log" 2>&1 </dev/null &
	SECOND=$!
}
second_keep() { kill -0 "$SECOND" 2>/dev/null || second_start; }
node_is() { # node_is STATE NODE
	p status --json | jq -e --arg s "$1" --arg n "$2" '.nodes[] | select(.id == $n and .state == $s)'
}
gears() { # gears APP: UUID NODE, a line each
	curl -sS -H "Authorization: Bearer $TOKEN" \
		"$BROKER/broker/rest/application/$(p app show "$1" --json | jq -r .id)/gear_groups" |
		jq -r '.data[].gears[] | "\(.id) \(.node)"'
}
# Its gears stop and what it mounted goes, before anything below the world is removed.
second_end() {
	if [[ -n ${SECOND:-} ]] && kill -0 "$SECOND" 2>/dev/null; then
		curl -sS -m 60 -X POST -o /dev/null \
			-H "Authorization: Bearer $(cat "$WORLD/data/secrets/broker.token")" \
			"http://$STREAM/v1/shutdown?stop-gears=1"
	fi
	[[ -z ${SECOND:-} ]] || { kill "$SECOND" && wait "$SECOND"; } 2>/dev/null
	world_stop
	kill "$FRONT" && wait "$FRONT" 2>/dev/null
	if grep -q " $WORLD/second/" /proc/self/mountinfo; then
		echo "# mounts are left below $WORLD/second"
	else
		world_end
	fi
}
trap second_end EXIT
SECOND=
is_on() { # is_on APP NODE: all its gears
	local nodes
	nodes=$(gears "$1" | cut -d' ' -f2 | sort -u)
	[[ $nodes == "$2" ]] || { echo "on: $nodes"; return 1; }
}
serves() { # serves APP PATH TEXT
	local got
	got=$(get "$1" "$2") && [[ $got == *"$3"* ]] || { echo "got: $got"; return 1; }
}
# writes a file into ~/app-root/data at each request, says how many there are
counter() {
	cat >server.js <<'JS'
const fs = require('fs');
const dir = process.env.OPENSHIFT_DATA_DIR;
require('http').createServer((q, r) => {
	if (q.url === '/add') fs.writeFileSync(dir + Date.now() + process.hrtime()[1], 'x');
	r.end('files ' + fs.readdirSync(dir).filter((f) => f[0] !== '.').length + '\n');
}).listen(process.env.PORT, process.env.HOST);
JS
}

second_start
check "a second node joins" until_true node_is connected second
# Their instances' addresses: each node has a range of the cluster's, nobody else gets it.
range_of() { p status --json | jq -r --arg n "$1" '.nodes[] | select(.id == $n) | .addresses'; }
to_broker() { # to_broker CALL JSON: the answer's status
	curl -sS -m 20 -o "$WORLD/claimed" -w '%{http_code}' --unix-socket "${BROKER_SOCKET#unix:}" -H "Authorization: Bearer $(<"$WORLD/data/secrets/node.token")" \
		-d "$2" "http://broker/internal/node/$1"
}
claim() { to_broker addresses "{\"node\":\"$1\",\"addresses\":\"$2\"}"; } # claim NODE RANGE
check "their addresses are not the same" eval '[[ $(range_of local) == 100.*/20 && $(range_of second) == 100.*/20 && $(range_of local) != "$(range_of second)" ]]'
check "a third one cannot have them" eval '[[ $(claim third "$(range_of second)") == 409 ]] && grep -q "those of the node second" "$WORLD/claimed"'
check "but others, and then no one else" eval '[[ $(claim third 100.127.0.0/20) == 200 && $(claim fourth 100.127.0.0/20) == 409 && $(claim third 100.127.0.0/20) == 200 ]]'
check "who takes others gives up the first" eval '[[ $(claim third 100.127.16.0/20) == 200 && $(claim fourth 100.127.0.0/20) == 200 ]]'
check "what is no range is refused" eval '[[ $(claim third nowhere) == 422 ]]'
"$PINION_BUILDDIR/pinion-node" --id third --data "$WORLD/third/data" --run "$WORLD/third/run" --broker "unix:$WORLD/nowhere" \
	--token-file "$WORLD/data/secrets/node.token" --broker-token-file "$WORLD/data/secrets/broker.token" \
	--cartridges "$PINION_SRCDIR/cartridges" --stack "$PINION_SRCDIR/stacks/host" >"$WORLD/third.log" 2>&1 </dev/null &
THIRD=$!
check "a node whose broker is away waits for it" until_true grep -q waits_for_broker "$WORLD/third.log"
check "and keeps no other one of the machine from starting" flock -w "$DEADLINE" /run/pinion/blocks/lock true
kill "$THIRD" && wait "$THIRD" 2>/dev/null
awk -v dir="$WORLD/third/" 'index($5, dir) == 1 {print $5}' /proc/self/mountinfo | xargs -r umount
check "nor is who comes with another's a node" eval '[[ $(to_broker hello "{\"id\":\"third\",\"stream\":\"unix:/x\",\"addresses\":\"$(range_of second)\"}") == 409 ]] && ! p status --json | grep -q "\"third\""'
p app create mover nodejs >/dev/null 2>&1
p git clone mover "$WORLD/mover" >/dev/null 2>&1
(cd "$WORLD/mover" && counter && git add -A && git commit -qm counter && git push -q) >/dev/null 2>&1
FROM=$(gears mover | cut -d' ' -f2)
GEAR=$(gears mover | cut -d' ' -f1)
TO=$([[ $FROM == local ]] && echo second || echo local)
get mover /add >/dev/null
get mover /add >/dev/null
check "it writes into its data" serves mover / "files 2"

# On one of the two nodes that is by https.
gear_says() { p run mover -- gear deployments | grep -q ACTIVE && p run mover -- gear status; }
check "what the gear says reaches the broker" gear_says

# Requests all the while: they wait, none fails.
load() {
	local code
	while [[ ! -e $WORLD/stop ]]; do
		code=$(curl -s -o /dev/null -m 60 -w '%{http_code}' -H "Host: mover-it.$DOMAIN" "$ROUTER")
		echo "$code" >>"$WORLD/codes"
	done
}
load &
LOAD=$!
check "the gear moves" p gear move "$GEAR" "$TO"
touch "$WORLD/stop"
wait "$LOAD"
all_ok() { ! grep -vx 200 "$WORLD/codes" | sort | uniq -c | grep .; }
check "no request failed meanwhile" all_ok
check "it is on the other node" is_on mover "$TO"
check "with its data" serves mover / "files 2"
check "what the gear says reaches the broker there, too" gear_says
left_behind() {
	local dir=$WORLD/data/node
	[[ $FROM == second ]] && dir=$WORLD/second/data
	[[ ! -e $dir/gears/$GEAR.json && ! -e $dir/gears/$GEAR.img && ! -e $dir/gears/$GEAR ]]
}
check "the old node keeps nothing of it" until_true left_behind
told() { p events mover | grep "moved from node $FROM"; }
check "the move is in the events" told
(cd "$WORLD/mover" && sed -i "s/files /count /" server.js && git commit -qam more && git push -q) >/dev/null 2>&1
check "a push builds where it is now" serves mover / "count 2"
refused() { # refused TEXT COMMAND…
	local out text=$1
	shift
	out=$("$@" 2>&1) && return 1
	[[ $out == *"$text"* ]] || { echo "said: $out"; return 1; }
}
check "a node that is not there is refused" refused "not connected" p gear move "$GEAR" nowhere
check "a gear that is not there is refused" refused "not found" p gear move 0123456789abcdef01234567 "$FROM"
check "a move to where it is says so" refused "already" p gear move "$GEAR" "$TO"

# A canary moves with what serves.
p app configure mover --canary 50 >/dev/null
(cd "$WORLD/mover" && echo "// canary" >>server.js && git commit -qam canary && git push -q) >/dev/null 2>&1
check "a gear with a canary moves" p gear move "$GEAR" "$FROM"
check "both serve there" eval '[[ $(p ps mover --json | jq -c "[.instances[].share]") == "[50,50]" && $(p ps mover --json | jq -r ".instances[].node" | sort -u) == "$FROM" ]]'
check "promote" p canary promote mover
check "it serves, with the data" serves mover / "count 2"
p app configure mover --canary 0 >/dev/null
check "and moves back" p gear move "$GEAR" "$TO"

# Scaled: gears on both nodes share the layers of the deployment.
p app create wide nodejs --scale >/dev/null 2>&1
p scale 4 -a wide >/dev/null 2>&1
spread() { [[ $(gears wide | cut -d' ' -f2 | sort -u | wc -l) == 2 ]] || gears wide; }
check "four gears are spread over both nodes" spread
answers() { [[ $(curl -s -o /dev/null -w '%{http_code}' -H "Host: wide-it.$DOMAIN" "$ROUTER") == 200 ]]; }
check "and all serve" answers

# A scalable application finds its database on whatever node that is; nobody else does.
node_of() { gears "$1" | sed -n "s/^$2 //p"; }
other() { [[ $1 == local ]] && echo second || echo local; }
shop_app() {
	mkdir -p "$WORLD/shop/.openshift/action_hooks"
	cat >"$WORLD/shop/wsgi.py" <<-'PY'
	import os, psycopg2
	e = os.environ
	def application(env, start):
	    try:
	        c = psycopg2.connect(dbname=e["OPENSHIFT_APP_NAME"], user=e["OPENSHIFT_POSTGRESQL_DB_USERNAME"], password=e["OPENSHIFT_POSTGRESQL_DB_PASSWORD"],
	            host=e["OPENSHIFT_POSTGRESQL_DB_HOST"], port=e["OPENSHIFT_POSTGRESQL_DB_PORT"], connect_timeout=10)
	        c.autocommit = True
	        cur = c.cursor()
	        if env["REQUEST_METHOD"] == "POST":
	            cur.execute("INSERT INTO note VALUES (%s)", (env["PATH_INFO"][1:],))
	        cur.execute("SELECT t FROM note")
	        text = "notes: " + " ".join(r[0] for r in cur.fetchall())
	        start("200 OK", [])
	    except Exception as x:
	        start("500 Oops", [])
	        text = str(x)
	    return [(text + " gear " + e["OPENSHIFT_GEAR_UUID"]).encode()]
	PY
	cat >"$WORLD/shop/.openshift/action_hooks/deploy" <<-'SH'
	#!/bin/bash
	PGPASSWORD=$OPENSHIFT_POSTGRESQL_DB_PASSWORD psql -v ON_ERROR_STOP=1 -q -h "$OPENSHIFT_POSTGRESQL_DB_HOST" -p "$OPENSHIFT_POSTGRESQL_DB_PORT" \
		-U "$OPENSHIFT_POSTGRESQL_DB_USERNAME" "$OPENSHIFT_APP_NAME" -c 'CREATE TABLE IF NOT EXISTS note (t text)'
	SH
	chmod +x "$WORLD/shop/.openshift/action_hooks/deploy"
	: >"$WORLD/shop/requirements.txt"
}
if command -v psql >/dev/null && /usr/bin/python3 -c 'import psycopg2' 2>/dev/null; then
	p app create shop python postgresql --scale >/dev/null 2>&1
	p git clone shop "$WORLD/shop" >/dev/null 2>&1
	shop_app
	check "a deploy hook migrates the database" push_app shop "keep notes"
	WEB=$(gears shop | head -1 | cut -d' ' -f1)
	DB=$(gears shop | tail -1 | cut -d' ' -f1)
	get shop /one -X POST >/dev/null
	check "the application writes" serves shop / "notes: one gear"
	HOME_NODE=$(node_of shop "$DB")
	AWAY=$(other "$HOME_NODE")
	check "the database moves to the other node" p gear move "$DB" "$AWAY"
	check "the application finds it there, with its data" until_true serves shop / "notes: one gear"
	get shop /two -X POST >/dev/null
	check "a deploy hook does, too" eval 'date >"$WORLD/shop/now" && push_app shop again'
	check "both notes are there" serves shop / "notes: one two gear"
	p scale 3 -a shop >/dev/null 2>&1
	p gear move "$WEB" "$(other "$(node_of shop "$(gears shop | sed -n 's/ .*//; 2p')")")" >/dev/null
	check "the web gears are on both nodes" eval '[[ $(gears shop | grep -v "^$DB " | cut -d" " -f2 | sort -u | wc -l) == 2 ]]'
	all_serve() { # each web gear answers with both notes
		for i in {1..24}; do get shop /; echo; done | grep -o 'notes: one two gear .*' | sort | uniq -c | tee "$WORLD/who"
		[[ $(grep -c . "$WORLD/who") == 3 && $(awk '{n += $1} END {print n}' "$WORLD/who") == 24 ]]
	}
	check "all of them reach it" until_true all_serve
	# What a stranger on each node sees: neither name nor address, of the database or of a web gear.
	address_of() { # address_of GEAR: of its instance, as its node knows it
		local at=(--unix-socket "$RUN/node.sock" http://node/v1/inventory)
		[[ $(node_of shop "$1") == second ]] && at=("http://$STREAM/v1/inventory")
		curl -sS -m 20 "${at[@]}" -H "Authorization: Bearer $(cat "$WORLD/data/secrets/broker.token")" |
			jq -r --arg g "$1" '.instances[] | select(.gear == $g and .state == "ready") | .address' | head -1
	}
	HOST=$(p run shop -- printenv OPENSHIFT_POSTGRESQL_DB_HOST 2>/dev/null | tr -d '\r\n')
	cat >"$WORLD/try.py" <<-'PY'
	import socket, sys
	name = sys.argv[1]
	try:
	    if socket.gethostbyname(name) != "127.0.0.1": # its own: what .localhost stands for
	        print("REACHED: the name", name)
	except OSError as x:
	    pass
	for a in sys.argv[2:]:
	    for port in (5432, 8080, 35531, 35532, 35533):
	        s = socket.socket()
	        s.settimeout(0.5)
	        try:
	            s.connect((a, port))
	            print("REACHED:", a, port)
	        except OSError as x:
	            pass
	print("tried", len(sys.argv[2:]))
	PY
	stranger() { # stranger APP: cannot reach anything of the shop
		local out
		out=$(p run "$1" -- python3 -c "$(cat "$WORLD/try.py")" "$HOST" $ADDRESSES 2>&1) || { echo "$out"; return 1; }
		echo "$out"
		grep -q "tried $(wc -w <<<"$ADDRESSES")" <<<"$out" && ! grep -q REACHED <<<"$out"
	}
	ADDRESSES=$(for g in $(gears shop | cut -d' ' -f1); do address_of "$g"; done)
	check "the test knows the addresses of all gears" test "$(wc -w <<<"$ADDRESSES")" = 4
	check "a stranger on one node reaches none of them" stranger mover
	check "nor one on the other" eval 'p gear move "$GEAR" "$(other "$(node_of mover "$GEAR")")" && stranger mover'
	p gear move "$GEAR" "$TO" >/dev/null 2>&1 || true

	kill -9 "$SECOND" "$(child_pid pinion-node)"
	wait "$SECOND" 2>/dev/null
	second_start
	check "both nodes come back" until_true eval 'node_is connected second && node_is connected local'
	check "all web gears reach the database again" until_true all_serve
	check "it moves back" p gear move "$DB" "$HOME_NODE"
	check "with its data" until_true all_serve
	p app delete shop --yes >/dev/null 2>&1
fi

# A service in a gear of its own on the second node is upgraded, and that node dies at a step of it: its data are
# there, it runs, and what the new release brings is there once.
keeper() { # keeper RELEASE: makes and imports it
	local dir=$WORLD/keeper
	mkdir -p "$dir"/{metadata,bin}
	cat >"$dir/metadata/manifest.yml" <<-END
		Name: keeper
		Cartridge-Short-Name: KEEPER
		Version: '1.0'
		Cartridge-Version: $1
		Cartridge-Vendor: move
		Categories: [service]
		Endpoints:
		  - {Private-IP-Name: IP, Private-Port-Name: PORT, Private-Port: 7777}
	END
	printf '#!/bin/bash\nmkdir -p words; echo install >words/all; echo kept >words/data\n' >"$dir/bin/install"
	printf '#!/bin/bash\necho "$3" >>words/all\n' >"$dir/bin/upgrade"
	cat >"$dir/bin/control" <<-'END'
		#!/bin/bash
		case $1 in
		start) nohup python3 -m http.server --bind "$OPENSHIFT_KEEPER_IP" -d words 7777 >/dev/null 2>&1 & echo $! >pid ;;
		stop) [[ ! -f pid ]] || kill "$(<pid)"; rm -f pid ;;
		esac
	END
	echo "$1" >"$dir/release"
	chmod 755 "$dir"/bin/*
	p admin cartridge import "$dir"
}
keeper 0.0.1 >/dev/null
check "an app with a service in a gear of its own" p app create safe nodejs move-keeper-1.0 --scale
KEEPER=$(gears safe | tail -1 | cut -d' ' -f1)
[[ $(node_of safe "$KEEPER") == second ]] || p gear move "$KEEPER" second >/dev/null
check "which is on the second node" test "$(node_of safe "$KEEPER")" = second
keeps() { p ps safe --json | jq -e '[.instances[] | select(.name == "keeper") | .state] == ["ready"]'; }
check "and runs there: its code has come along" until_true keeps
KEPT=$WORLD/second/data/gears/$KEEPER/svc/keeper
is_kept() { # is_kept RELEASE ALL
	second_keep
	timeout 2 "$PINION_BUILDDIR/pinion" admin cartridge upgrade it/safe >/dev/null 2>&1 # or the one under way goes on
	[[ $(<"$KEPT/release") == "$1" && $(xargs <"$KEPT/words/all") == "$2" && $(<"$KEPT/words/data") == kept ]] || { cat "$KEPT/release" "$KEPT"/words/*; return 1; }
	keeps
}
is_upgraded_over() { # is_upgraded_over POINT RELEASE ALL
	echo "$1" >"$PINION_FAULT_FILE"
	chmod 666 "$PINION_FAULT_FILE"
	p admin cartridge upgrade it/safe >/dev/null 2>&1 &
	local upgrade=$!
	until_true is_kept "$2" "$3" || return 1
	wait "$upgrade"
	[[ ! -e $PINION_FAULT_FILE ]] || { rm -f "$PINION_FAULT_FILE"; echo "$1 was not passed"; return 1; }
}
n=1 all=install
for point in cart_prepared cart_ran gear_base_moved cart_base_added cart_merging:3 cart_sealed; do
	keeper "0.0.$((++n))" >/dev/null
	all+=" 0.0.$n"
	if is_upgraded_over "$point" "0.0.$n" "$all" >"$WORLD/why" 2>&1; then # no subshell: it starts the node anew
		check "dies at $point: an upgrade on another node" true
	else
		check "dies at $point: an upgrade on another node" cat "$WORLD/why" /nonexistent
	fi
done
p app delete safe --yes >/dev/null 2>&1

second_keep
kill -9 "$SECOND"
wait "$SECOND" 2>/dev/null
until_true node_is away second
check "a node that is away is refused" refused "not connected" p gear move "$GEAR" second
second_start
check "the second node comes back" until_true node_is connected second
check "it moves back" p gear move "$GEAR" "$FROM"
check "and has its data" serves mover / "count 2"

# The disk of the node that it goes to fills while the data come.
[[ $(node_of mover "$GEAR") == local ]] || p gear move "$GEAR" local >/dev/null
head -c 60M /dev/urandom >"$WORLD/data/node/gears/$GEAR/data/large"
mount -t tmpfs -o size=40m,mode=711 full "$WORLD/second/data/gears"
check "a move onto a disk that fills is told" refused "stays on local" p gear move "$GEAR" second
check "the gear is where it was" until_true is_on mover local
check "and has its data, the large file among them" until_true serves mover / "count 3"
check "the other node has nothing of it" until_true eval '[[ -z $(ls "$WORLD/second/data/gears") ]]'
umount -l "$WORLD/second/data/gears"
rm "$WORLD/data/node/gears/$GEAR/data/large"
[[ $FROM == local ]] || p gear move "$GEAR" "$FROM" >/dev/null

# Whoever takes part dies at a step of the move: the gear gets there all the same, whole.
arrives() { second_keep && is_on mover "$1"; }
order() { until p gear move "$GEAR" "$1" 2>&1 | grep -qE 'is on node|is moving'; do sleep 0.2; done; }
dies_at() { # dies_at POINT TO
	arm "$1"
	order "$2" &
	local move=$!
	until_true arrives "$2" || return 1
	wait "$move"
	passed || return 1
	until_true serves mover / "count 2"
}
TO=$([[ $FROM == local ]] && echo second || echo local)
for point in move_hand_over move_volume move_adopted gear_made move_complete move_forget; do
	if dies_at "$point" "$TO" >"$WORLD/why" 2>&1; then
		check "the move outlives a death at $point" true
	else
		p events mover >>"$WORLD/why" 2>&1
		check "the move outlives a death at $point" cat "$WORLD/why" /nonexistent
	fi
	second_keep
	[[ $TO == local ]] && TO=second || TO=local
done

p app delete mover --yes >/dev/null 2>&1
p app delete wide --yes >/dev/null 2>&1
nothing_left() { ! ls "$WORLD/data/node/gears" "$WORLD/second/data/gears" | grep -E 'json|img'; }
check "deleted, nothing is left on either node" until_true nothing_left
done_testing
