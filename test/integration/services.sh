#!/bin/bash
# Services: a python application with PostgreSQL and Redis in its gear. What it wrote survives
# pushes, restarts, kill -9 of the database and of the daemons, and a restart of everything; the web
# instance serves on. Then a scalable one, with the database in a gear of its own.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
for program in psql redis-server /usr/lib/postgresql/15/bin/postgres; do
	command -v "$program" >/dev/null && continue
	echo "1..0 # SKIP needs $program"
	echo "ok 1 - skipped: needs $program"
	exit 0
done
/usr/bin/python3 -c 'import psycopg2, redis' 2>/dev/null || {
	echo "1..0 # SKIP needs python3-psycopg2 and python3-redis"
	echo "ok 1 - skipped: needs python3-psycopg2 and python3-redis"
	exit 0
}
carts=$(mktemp -d "${TMPDIR:-/tmp}/pinion-carts.XXXXXX")
cp -a "$PINION_SRCDIR/cartridges/." "$PINION_SRCDIR/test/cartridges/." "$carts"
world_faults
trap 'world_end; rm -rf "$carts"' EXIT
world_up --cartridges "$carts"
trap 'world_end; rm -rf "$carts"' EXIT

# api METHOD PATH [JSON]: of the broker; the answer's data.
api() {
	curl -sS -m 120 -X "$1" -u "admin:$(cat "$(jq -r .admin_password_file "$WORLD/ready")")" \
		-H 'Accept: application/json' -H 'Content-Type: application/json' ${3:+-d "$3"} "${BROKER%/}/broker/rest$2"
}

# create APP CARTRIDGES [SCALE]
create() {
	api POST /domains/it/applications "{\"name\":\"$1\",\"cartridges\":$2,\"scale\":${3:-false}}" >"$WORLD/create.json"
	jq -e '.status == "created"' "$WORLD/create.json" >/dev/null || { cat "$WORLD/create.json"; return 1; }
}

# An application that keeps notes: POST /TEXT adds one to both stores; GET / lists them.
write_app() {
	cat >"$WORLD/$1/wsgi.py" <<-'PY'
	import os, psycopg2, redis
	kept = None
	def db():
	    c = psycopg2.connect(dbname=os.environ["OPENSHIFT_APP_NAME"], user=os.environ["OPENSHIFT_POSTGRESQL_DB_USERNAME"],
	        password=os.environ["OPENSHIFT_POSTGRESQL_DB_PASSWORD"], host=os.environ["OPENSHIFT_POSTGRESQL_DB_HOST"],
	        port=os.environ["OPENSHIFT_POSTGRESQL_DB_PORT"], connect_timeout=10)
	    c.autocommit = True
	    return c
	def store():
	    return redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=10, decode_responses=True)
	def application(env, start):
	    path = env["PATH_INFO"][1:]
	    try:
	        if path == "held": # one connection for ever
	            global kept
	            kept = kept or db().cursor()
	            kept.execute("SELECT pg_backend_pid()")
	            text = "backend %d" % kept.fetchone()[0]
	        elif path == "alive":
	            text = "alive " + open("version").read()
	        elif path == "pair": # both rows or none
	            c = db()
	            c.autocommit = False
	            for t in ("left_hand", "right_hand"):
	                c.cursor().execute("CREATE TABLE IF NOT EXISTS %s (t text)" % t)
	                c.cursor().execute("INSERT INTO %s VALUES ('x')" % t)
	            c.commit()
	            text = "a pair"
	        elif path == "pairs":
	            cur = db().cursor()
	            cur.execute("SELECT (SELECT count(*) FROM left_hand), (SELECT count(*) FROM right_hand)")
	            text = "%d and %d" % cur.fetchone()
	        else:
	            cur = db().cursor()
	            cur.execute("CREATE TABLE IF NOT EXISTS note (t text)")
	            if env["REQUEST_METHOD"] == "POST":
	                cur.execute("INSERT INTO note VALUES (%s)", (path,))
	                store().rpush("notes", path)
	            cur.execute("SELECT t FROM note")
	            text = "sql: %s; redis: %s" % (" ".join(r[0] for r in cur.fetchall()), " ".join(store().lrange("notes", 0, -1)))
	        start("200 OK", [("Content-Type", "text/plain")])
	    except Exception as e:
	        start("500 Oops", [("Content-Type", "text/plain")])
	        text = "%s: %s" % (type(e).__name__, e)
	    return [text.encode()]
	PY
	sed -i 's/open("version")/open(os.path.join(os.path.dirname(__file__), "version"))/' "$WORLD/$1/wsgi.py"
	echo "$2" >"$WORLD/$1/version"
	: >"$WORLD/$1/requirements.txt"
}
both() { # APP NOTES
	[[ $(get "$1" /) == "sql: $2; redis: $2" ]] || { get "$1" /; return 1; }
}
add() { # APP NOTE
	get "$1" "/$2" -X POST -f
}
gear_of() { api GET "/domains/it/applications/$1" | jq -r .data.id; }
# pids_of NAME: processes of that name in gears of this world.
pids_of() {
	local pid tag
	tag=$(node_tag)
	for pid in $(pgrep -x "$1"); do
		grep -q "/pinion/$tag/" "/proc/$pid/cgroup" 2>/dev/null && echo "$pid"
	done
}
instances_of() { grep -c . <(ls "$WORLD/data/node/gears/$1/inst" | grep -v spare); }

check "an app with two databases is created in one call" create notes '["python","postgresql","redis"]'
check "clone" clone notes
write_app notes one
check "push" push_app notes "keep notes"
check "the application reaches both" both notes ""
check "it writes" add notes a
check "and reads it" both notes a
web=$(pids_of postgres | head -1)
write_app notes two
# Hooks of the repository that name a service run around its start and stop.
mkdir -p "$WORLD/notes/.openshift/action_hooks"
echo 'export HOOKED=yes; echo "pre ${PWD##*/}" >>"${OPENSHIFT_DATA_DIR}hooks"' >"$WORLD/notes/.openshift/action_hooks/pre_start_redis"
echo 'echo "post $HOOKED" >>"${OPENSHIFT_DATA_DIR}hooks"' >"$WORLD/notes/.openshift/action_hooks/post_start_redis-$(sed -n "s/^Version: '\(.*\)'/\1/p" "$carts/redis/metadata/manifest.yml")"
echo 'echo "stop" >>"${OPENSHIFT_DATA_DIR}hooks"' >"$WORLD/notes/.openshift/action_hooks/pre_stop_redis"
echo 'export HOOKED=sql' >"$WORLD/notes/.openshift/action_hooks/pre_start_postgresql"
printf '#!/bin/bash\necho "$PWD" >>"${OPENSHIFT_DATA_DIR}all"' >"$WORLD/notes/.openshift/action_hooks/pre_stop"
chmod 755 "$WORLD/notes/.openshift/action_hooks/pre_stop"
check "push again" push_app notes two
check "the new version serves" serves notes /alive "alive two"
check "the data are there" both notes a
check "the push did not restart the database" test "$web" = "$(pids_of postgres | head -1)"
check "a variable does not either" p env set -a notes COLOR=green
check "the same database still" test "$web" = "$(pids_of postgres | head -1)"
add notes b >/dev/null

# Asleep, the database too; the next request finds the connection that it left.
held=$(get notes /held)
check "it holds a connection" grep -q "^backend " <<<"$held"
check "the application sleeps" p idle notes --level reclaimed
asleep() { # all three instances, as their node knows it
	curl -sS -m 20 --unix-socket "$(run_dir)/node.sock" -H "Authorization: Bearer $(<"$WORLD/data/secrets/broker.token")" http://node/v1/inventory |
		jq -e --arg g "$(gear_of notes)" '[.instances[] | select(.gear == $g) | .sleep] == ["reclaimed", "reclaimed", "reclaimed"]'
}
check "its databases with it" until_true asleep
check "a request wakes both; the connection has survived" serves notes /held "$held"
check "all is there" both notes "a b"

# The database dies; the web instance does not.
kill -9 $(pids_of postgres) $(pids_of redis-server) 2>/dev/null
check "the web instance serves without its databases" serves notes /alive "alive two"
check "they come back with their data" until_true both notes "a b"
add notes c >/dev/null
check "restart" p app restart notes
check "other processes now" test "$web" != "$(pids_of postgres | head -1)"
check "the data survive it" both notes "a b c"
sql=$(pids_of postgres | head -1)
redis=$(pids_of redis-server)
check "one cartridge is restarted alone" p cartridge restart redis -a notes
check "it is another process" test "$redis" != "$(pids_of redis-server)"
check "the other was left alone" test "$sql" = "$(pids_of postgres | head -1)"
check "the data survive that, too" both notes "a b c"
all=$WORLD/data/node/gears/$(gear_of notes)/data/all
ran=$(grep -c . "$all")
check "one cartridge is stopped alone" p cartridge stop redis -a notes
check "a hook of the whole application runs around that, in the home" test "$(tail -n +$((ran + 1)) "$all")" = "/var/lib/openshift/$(gear_of notes)"
check "it does not run" test -z "$(pids_of redis-server)"
refused() { timeout 5 curl -sS -H "Host: $1-it.$DOMAIN" "${ROUTER%/}/" | grep -qi refused; }
check "connections to it are refused at once" until_true refused notes
check "it is started again" p cartridge start redis -a notes
check "and answers" until_true both notes "a b c"
hooks=$WORLD/data/node/gears/$(gear_of notes)/data/hooks
has_hooks() { diff <(printf '%s\n' "$@") "$hooks"; }
check "hooks that name it ran after its end, at the restart of the application, twice at its own" has_hooks "pre redis" "post yes" stop "pre redis" "post yes" stop "pre redis" "post yes" stop "pre redis" "post yes"
rm -f "$hooks" "$all"
in_environ() { tr '\0' '\n' <"/proc/$(pids_of "$1" | head -1)/environ" | grep -qx "$2"; }
check "what one exports is the service's" in_environ postgres HOOKED=sql
# act APP ACTION: on all of its cartridges.
act() {
	curl -sS -f -m 100 --unix-socket "$(run_dir)/node.sock" -H "Authorization: Bearer $(<"$WORLD/data/secrets/broker.token")" \
		-H 'Content-Type: application/json' -d "{\"action\":\"$2\"}" "http://node/v1/gears/$(gear_of "$1")/actions" |
		tail -n 1 | jq -e .result.ok
}
data=$WORLD/data/node/gears/$(gear_of notes)/data
check "both are dumped into the data directory" act notes pre-snapshot
check "the dumps are there" test -s "$data/postgresql_dump_snapshot.gz" -a -s "$data/redis_dump_snapshot.tar.gz"
add notes lost >/dev/null
check "the dumps are taken back" act notes post-restore
check "what came after them is gone" both notes "a b c"
check "and so are they" test -z "$(ls "$data")"
kill -9 $(pids_of redis-server) 2>/dev/null
check "Redis has it on its disk" until_true both notes "a b c"

# Snapshots: into the same application after a loss, into another, by brokers that die.
check "a snapshot is saved" p snapshot save notes -f "$WORLD/notes.tar.gz"
add notes lost >/dev/null
check "and restored" p snapshot restore notes -f "$WORLD/notes.tar.gz"
check "with the data of both databases" until_true both notes "a b c"
# What is written in one transaction meanwhile is in the dump, or none of it.
get notes /pair >/dev/null
while [[ ! -e $WORLD/saved ]]; do get notes /pair >>"$WORLD/pairs" 2>&1; done &
writer=$!
check "a snapshot is saved while it is written to" eval 'p snapshot save notes -f "$WORLD/busy.tar.gz"; s=$?; touch "$WORLD/saved"; wait "$writer"; ((s == 0)) && grep -q "a pair" "$WORLD/pairs"'
written=$(get notes /pairs)
check "and restored" p snapshot restore notes --no-git -f "$WORLD/busy.tar.gz"
whole() { local n; n=$(get notes /pairs); [[ $n =~ ^([0-9]+)\ and\ ([0-9]+)$ ]] && ((BASH_REMATCH[1] == BASH_REMATCH[2] && BASH_REMATCH[1] > 0 && BASH_REMATCH[1] <= ${written%% *})); }
check "its transactions are whole, up to the moment of the dump" until_true whole
check "an app of another name" create copy '["python","postgresql","redis"]'
check "takes them, too" p snapshot restore copy -f "$WORLD/notes.tar.gz"
check "names and passwords are its own" until_true both copy "a b c"
check "the code came along" serves copy /alive "alive two"
add copy d >/dev/null
check "and it writes" both copy "a b c d"
all_restored() { [[ $(p events copy | grep -c "snapshot was restored") == "$1" ]]; }
restores_over() { # POINT N: someone dies there, and nothing is half done; N restores have ended
	add copy "$1" >/dev/null
	arm "$1"
	p snapshot restore copy --no-git -f "$WORLD/notes.tar.gz" >/dev/null 2>&1
	passed && until_true all_restored "$2" && both copy "a b c" && test ! -e "$WORLD/data/node/gears/$copy/restore" &&
		p snapshot save copy -f "$WORLD/again.tar.gz"
}
copy=$(gear_of copy) n=1
for point in restore_decided restore_out restore_swapped restore_forget; do
	check "a death at $point ends in the new data" restores_over "$point" $((++n))
done
taken_back() {
	add copy kept >/dev/null
	arm restore_held
	p snapshot restore copy --no-git -f "$WORLD/notes.tar.gz" >/dev/null 2>&1
	passed && until_true both copy "a b c kept" && until_true test ! -e "$WORLD/data/node/gears/$copy/restore"
}
check "one before that in the old" taken_back
check "a stopped one is not restored into" eval 'p cartridge stop redis -a copy && ! p snapshot restore copy -f "$WORLD/notes.tar.gz" 2>"$WORLD/refusal" && grep -q "redis.*does not run" "$WORLD/refusal"'
# Dumps that cannot be loaded, to their end or at all: the databases are as before, and it is said.
# doctored SQL: the snapshot, with that at the end of the dump.
doctored() {
	local d
	rm -rf "$WORLD/doc"
	mkdir "$WORLD/doc" && tar -C "$WORLD/doc" -xzf "$WORLD/notes.tar.gz" && d=$(echo "$WORLD"/doc/*/app-root/data/postgresql_dump_snapshot.gz) &&
		{ zcat "$d"; echo "$1"; } | gzip >"$d.new" && mv "$d.new" "$d" && tar -C "$WORLD/doc" -czf "$WORLD/doctored.tar.gz" .
}
unloaded() { # TEXT: a restore says so, and PostgreSQL is as it was
	! p snapshot restore copy --no-git -f "$WORLD/doctored.tar.gz" >"$WORLD/said" 2>&1 && grep -q "not all of a service's data: The dump of PostgreSQL.*as it was.*$1" "$WORLD/said" &&
		until_true eval '[[ $(get copy /) == "sql: a b c kept; redis: a b c" ]]' && test -z "$(ls -d "$WORLD/data/node/gears/$copy"/svc/postgresql/data.*)" || { cat "$WORLD/said"; get copy /; return 1; }
}
check "start it again" eval 'p cartridge start redis -a copy && until_true both copy "a b c kept"'
for name in postgresql redis; do # their next release has to start over their data
	cp -r "$PINION_SRCDIR/cartridges/$name" "$WORLD/"
	sed -i 's/^Cartridge-Version: .*/Cartridge-Version: 0.9.0/' "$WORLD/$name/metadata/manifest.yml"
	p admin cartridge import "$WORLD/$name" >/dev/null
done
WAS=$(get copy /)
check "both are upgraded" test "$(p admin cartridge upgrade it/copy | grep -c 0.9.0)" = 2
check "with their data" until_true eval '[[ $(get copy /) == "$WAS" ]]'
check "bad SQL" eval 'doctored "INSERT INTO nowhere VALUES (1);" && unloaded "nowhere"'
cut_short() { local d; d=$(echo "$WORLD"/doc/*/app-root/data/postgresql_dump_snapshot.gz) && truncate -s -20 "$d" && tar -C "$WORLD/doc" -czf "$WORLD/doctored.tar.gz" .; }
check "a dump that is cut short" eval 'cut_short && unloaded "gzip"'
fill=$WORLD/data/node/gears/$copy/logs/fill
fill_up() { # all but 20 MB, as the gear's user would
	local kb
	kb=$(($(df --output=avail -k "${fill%/*}" | tail -n 1) - 20480))
	: >"$fill" && setpriv --reuid 1000 --clear-groups --inh-caps=-all head -c "${kb}K" /dev/zero >"$fill"
}
check "no room for it" eval 'doctored "SELECT 1;" && fill_up && unloaded ""; s=$?; rm -f "$fill"; ((s == 0))'
loading() { pgrep -f "postgres -D .*postgresql/data.new" | head -n 1; }
killed_within() { # COMMAND: while it loads
	doctored "SELECT pg_sleep(${2:-600});"
	p snapshot restore copy --no-git -f "$WORLD/doctored.tar.gz" >"$WORLD/said" 2>&1 &
	local restorer=$!
	until_true eval '[[ -n $(loading) ]] && grep -q pg_sleep <(ps -eo args)' || true
	eval "$1"
	wait "$restorer"
}
check "the server dies within" eval '! killed_within "kill -9 \$(loading)" && grep -q "as it was" "$WORLD/said" && until_true eval "[[ \$(get copy /) == \"sql: a b c kept; redis: a b c\" ]]"'
check "the node dies within" eval 'killed_within "kill -9 \$(child_pid pinion-node)" 5; until_true both copy "a b c"'

# A snapshot of OpenShift v2.
git clone -q --bare "$WORLD/notes" "$WORLD/oldapp.git"
/usr/bin/python3 "$PINION_SRCDIR/test/lib/v2_snapshot.py" "$WORLD/oldapp.git" "$WORLD/v2.tar.gz"
check "one of v2 is taken" eval 'until_true p snapshot save copy -f "$WORLD/again.tar.gz" && p snapshot restore copy -f "$WORLD/v2.tar.gz" >"$WORLD/said" 2>&1'
check "its database" until_true eval '[[ $(get copy /) == "sql: by v2; redis: a b c" ]] || { get copy /; cat "$WORLD/said"; false; }'
check "what could not be taken is said" eval 'grep -q "data of mongodb, which" "$WORLD/said" && grep -q "data of mysql, which" "$WORLD/said" && grep -q "did not take 1 statement.*abstime" "$WORLD/said" || { cat "$WORLD/said"; false; }'
check "its files" test "$(cd "$WORLD/data/node/gears/$copy/data" && cat note .hidden)" = $'of the user\nsecret'
check "and it writes" add copy c
check "delete the copy" p app delete copy --yes
check "stop" p app stop notes
check "no database runs" test -z "$(pids_of postgres)$(pids_of redis-server)"
check "start" p app start notes
check "the data survive that" both notes "a b c"

postmaster=$(pids_of postgres | head -1)
kill -9 "$(child_pid pinion-node)" "$(child_pid pinion-broker)"
check "it writes while the daemons are being started again" add notes d
check "the broker is back" until_true p app show notes
check "the database was left alone" test "$postmaster" = "$(pids_of postgres | head -1)"
write_app notes three
rm -r "$WORLD/notes/.openshift/action_hooks"
check "push after that" until_true push_app notes three
check "its services have no hooks any more" until_true eval '[[ -z $(ls "$WORLD/data/node/gears/$(gear_of notes)/hooks/action_hooks") ]]'
check "the data are there again" both notes "a b c d"
kill -9 $(pids_of postgres) $(pids_of redis-server) 2>/dev/null
check "a new daemon restarts them, too" until_true both notes "a b c d"

world_stop
check "nothing is mounted after the stop" nothing_left '^(cgroup|mount|loop|link)'
world_start --cartridges "$carts"
check "up again" login_admin
check "the data survive a restart of everything" until_true both notes "a b c d"
check "delete" p app delete notes --yes
check "nothing of it is left" nothing_left '^(mount [^ ]*/gears/|loop|link|gear|scratch|namespace|cgroup .*postgres)'

# A scalable application: each service in a gear of its own, found by published variables.
check "a scalable app with both databases" create grid '["python","postgresql","redis"]' true
check "clone it" clone grid
write_app grid one
check "push it" push_app grid "keep notes"
check "it reaches its databases" both grid ""
add grid a >/dev/null
check "they have gears of their own" test "$(ls -d "$WORLD"/data/node/gears/*/ | wc -l)" = 3
published() { cat "$WORLD/data/node/gears/$(gear_of grid)/env/postgresql/OPENSHIFT_POSTGRESQL_DB_HOST"; }
check "the gear's name is published" grep -qE "^[0-9a-f]{24}-it\." <(published)
check "all gears count" test "$(api GET /user | jq .data.consumed_gears)" = 3
check "scale up" p scale grid 2
check "all web gears reach the databases" until_true eval 'for i in 1 2 3 4; do both grid a || exit 1; done'
check "a snapshot of it" p snapshot save grid -f "$WORLD/grid.tar.gz"
check "holds those of the databases" eval '[[ $(tar tzf "$WORLD/grid.tar.gz" | grep -cE "^./$(gear_of grid)/app-root/data/(postgresql|redis).tar.gz$") == 2 ]]'
add grid lost >/dev/null
check "restore it" p snapshot restore grid -f "$WORLD/grid.tar.gz"
check "the databases are as they were" until_true both grid a
check "that of one with services in its gear is taken" eval 'p snapshot restore grid --no-git -f "$WORLD/notes.tar.gz" && until_true both grid "a b c"'
check "and its own again" eval 'p snapshot restore grid --no-git -f "$WORLD/grid.tar.gz" && until_true both grid a'
check "another scaled one" create mesh '["python","postgresql","redis"]' true
check "takes it, too" eval 'p snapshot restore mesh -f "$WORLD/grid.tar.gz" && until_true both mesh a && add mesh b && both mesh "a b"'
check "delete that" p app delete mesh --yes
check "and one with services in its gear" create plain '["python","postgresql","redis"]'
check "takes it as well" eval 'p snapshot restore plain -f "$WORLD/grid.tar.gz" && until_true both plain a && add plain b && both plain "a b" && test -z "$(ls "$WORLD/data/node/gears/$(gear_of plain)/data")"'
check "delete it, too" p app delete plain --yes
# Backups of such an application.
count_backups() { [[ $(p backup list grid --json | jq '.backups | length') == "$1" ]]; }
check "backups of it" p backup enable grid --every 1d --keep 2 --to grid
check "one is made" until_true count_backups 1
add grid b >/dev/null
check "and two more, of which two are kept" eval 'p backup run grid && p backup run grid && count_backups 2 && [[ $(ls "$WORLD/data/broker/backups/grid/"*/ | grep -c "tar.gz$") == 2 ]]'
add grid lost >/dev/null
check "one is restored" eval 'p backup restore grid --no-git && until_true both grid "a b"'
check "a snapshot brings the first state back" eval 'p backup disable grid && p snapshot restore grid --no-git -f "$WORLD/grid.tar.gz" && until_true both grid a'
add grid lost >/dev/null
arm restore_swapped
p snapshot restore grid --no-git -f "$WORLD/grid.tar.gz" >/dev/null 2>&1
check "the broker dies between exchange and loading" passed
check "the databases are as they were all the same" until_true both grid a
check "nothing lies beside the data" until_true eval 'test -z "$(ls -d "$WORLD"/data/node/gears/*/restore 2>/dev/null)"'
write_app grid two
mkdir -p "$WORLD/grid/.openshift/action_hooks"
for hook in pre_start pre_start_redis pre_stop_redis; do
	printf '#!/bin/bash\necho %s >>"${OPENSHIFT_DATA_DIR}hooks"\n' "$hook" >"$WORLD/grid/.openshift/action_hooks/$hook"
	chmod 755 "$WORLD/grid/.openshift/action_hooks/$hook"
done
mkdir -p "$WORLD/grid/.openshift/markers" && : >"$WORLD/grid/.openshift/markers/disable_auto_scaling"
check "push to both" push_app grid two
check "its marker against automatic scaling is shown" eval 'p app show grid | grep -q "Auto scaling *disabled"'
kill -9 $(pids_of postgres) 2>/dev/null
check "the database comes back where it was" until_true both grid a
check "restart all" p app restart grid
check "data are there" both grid a
check "hooks run where the code is, as in v2, and not in the services' gears" test "$(cd "$WORLD/data/node/gears" && ls -d */data/hooks | xargs)" = "$(api GET "/application/$(gear_of grid)/gear_groups" | jq -r '[.data[] | select(any(.cartridges[]; .name | startswith("python"))) | .gears[].id] | sort | map(. + "/data/hooks") | join(" ")')"
check "scale down" p scale grid 1
check "the databases stay" both grid a
counts() { [[ $(api GET /user | jq .data.consumed_gears) == "$1" ]]; }
check "three gears are left" until_true counts 3
check "a cartridge removed takes its gear along" p cartridge remove redis -a grid --yes
check "two gears are left" until_true counts 2
add_medium() { api POST "/domains/it/applications/grid/cartridges" '{"name":"redis","gear_size":"medium"}' | jq -e '.status == "created"'; }
check "and added again gets a new one, of a size of its own" add_medium
sizes() { api GET "/application/$(gear_of grid)/gear_groups" | jq -r '[.data[] | .gear_profile] | sort | join(" ")'; }
check "which its gear has" test "$(sizes)" = "medium small small"
check "three gears" until_true counts 3
# both stores answer; the new one is empty
check "the variables lead to the new one" until_true serves grid / "sql: a; redis: "
# Whoever takes part dies at a step of it: the service comes all the same, and is found.
comes_over() { # POINT
	p cartridge remove redis -a grid --yes >/dev/null || return 1
	arm "$1"
	# A node that dies first (of what the removal left) cannot take a gear: then it is asked again.
	p cartridge add redis -a grid >/dev/null 2>&1 ||
		until_true eval 'p cartridge show redis -a grid || p cartridge add redis -a grid' || return 1
	passed && until_true serves grid / "sql: a; redis: "
}
for point in service_create connect_publish connect_give instance_linked; do
	check "a service comes over a death at $point" comes_over "$point"
done
restarts_over() { # POINT CARTRIDGE APP
	arm "$1"
	p cartridge restart "$2" -a "$3" >/dev/null 2>&1
	passed
}
check "a restart over one at service_tell" eval 'restarts_over service_tell redis grid && until_true serves grid / "sql: a; redis: "'
check "delete it" until_true p app delete grid --yes
check "nothing of that is left" nothing_left '^(mount [^ ]*/gears/|loop|link|gear|scratch|namespace)'

# Hooks of both ends, with their arguments.
check "an app with cartridges that publish and subscribe" create talk '["python","teller","hearer"]' true
id=$(gear_of talk)
env=$WORLD/data/node/gears/$id/env/test-teller
heard() { cat "$WORLD/data/node/gears/$id/data/heard"; }
check "the whole value is written" grep -qE '^http://[0-9a-f]{24}-it\..*:[0-9]+/page\?a=b=c$' "$env/TELLER_URL"
check "the hook had v2's arguments" grep -qE '^([0-9a-f]{24}) it \1$' "$env/TELLER_ARGS"
has_heard() { heard | grep -qE "$1"; }
check "subscribers are told variables" until_true has_heard "^set-env talk it $id \\['[0-9a-f]{24}'='TELLER_URL=http[^;]*; TELLER_ARGS=[^;]*;'\\]\$"
check "and of plain types all outputs" until_true has_heard "^set-place talk it $id \\['[0-9a-f]{24}'='it's at [0-9]+'\\]\$"
check "nobody is asked what none wants to know" test ! -e "$WORLD/data/node/gears/$id/data/asked"
check "once each" test "$(heard | wc -l)" = 2
write_talk() {
	cat >"$WORLD/talk/wsgi.py" <<-'PY'
	import os, urllib.request
	def application(env, start):
	    start("200 OK", [])
	    return [urllib.request.urlopen(os.environ["TELLER_URL"], timeout=10).read() + b" page"]
	PY
}
check "clone that" clone talk && write_talk
check "push that" push_app talk "ask the teller"
check "its address leads there" serves talk / " page"
told_over() { # a subscriber that comes is told, though the broker dies at that
	p cartridge remove hearer -a talk --yes >/dev/null && arm subscribe_run || return 1
	p cartridge add hearer -a talk >/dev/null 2>&1
	until_true test ! -e "$PINION_FAULT_FILE" && until_true eval '[[ $(heard | wc -l) -ge 4 ]]'
}
check "a subscriber comes over a death at subscribe_run" told_over
check "remove the teller" until_true p cartridge remove teller -a talk --yes
check "its variables are gone" until_true test ! -e "$env"
check "delete that, too" p app delete talk --yes
check "no gear is counted" test "$(api GET /user | jq .data.consumed_gears)" = 0
done_testing
