#!/bin/bash
# MySQL, memcached, RabbitMQ and cron beside a Python application: each by a client of its protocol,
# under the real limits and the real seccomp profile; what is to be kept is kept.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
for program in /usr/sbin/mariadbd memcached /usr/lib/rabbitmq/bin/rabbitmq-server /usr/sbin/php-fpm8.2; do
	command -v "$program" >/dev/null && continue
	echo "1..0 # SKIP needs $program"
	echo "ok 1 - skipped: needs $program"
	exit 0
done
world_up

api() { # METHOD PATH [JSON]
	curl -sS -m 170 -X "$1" -u "admin:$(cat "$(jq -r .admin_password_file "$WORLD/ready")")" \
		-H 'Accept: application/json' -H 'Content-Type: application/json' ${3:+-d "$3"} "${BROKER%/}/broker/rest$2"
}
create() { # NAME CARTRIDGES SCALE
	api POST /domains/it/applications "{\"name\":\"$1\",\"cartridges\":$2,\"scale\":$3}" >"$WORLD/create.json"
	jq -e '.status == "created"' "$WORLD/create.json" >/dev/null || { cat "$WORLD/create.json"; return 1; }
}
APP=shop
answers() { # PATH TEXT [CURL OPTION…]
	local path=$1 text=$2 got
	shift 2
	got=$(get "$APP" "$path" "$@")
	[[ $got == "$text" ]] || { echo "$got"; return 1; }
}
# pids_of NAME: processes of that name in gears of this world.
pids_of() {
	local pid tag
	tag=$(node_tag)
	for pid in $(pgrep -x "$1"); do
		grep -q "/pinion/$tag/" "/proc/$pid/cgroup" 2>/dev/null && echo "$pid"
	done
}
# cron FREQUENCY: the scheduler's own entry, as if the time had come.
cron() {
	curl -sS -m 20 -X POST --unix-socket "$(run_dir)/node.sock" -H "Authorization: Bearer $(cat "$WORLD/data/secrets/broker.token")" "http://node/v1/cron/$1"
}
ticks() { answers /ticks "$(yes tick | head -n "$1")"; }

check "an application with six cartridges beside it" create shop '["python","mysql","memcached","rabbitmq","cron","adminer","metrics"]' false || { done_testing; exit 1; }
check "clone" clone shop
cp -r "$PINION_SRCDIR/test/apps/python-services/." "$WORLD/shop/"
check "push" push_app shop "all clients"
check "mysql keeps a row" answers /mysql/one one
check "memcached keeps a value" answers /memcached/two two
check "rabbitmq takes a message" answers /rabbitmq/three sent
check "a filter is in force in each server" grep -qx 'Seccomp:	2' <(cat $(for p in $(pids_of mariadbd) $(pids_of memcached) $(pids_of beam.smp); do echo "/proc/$p/status"; done))
check "there are three of them" test "$(pids_of mariadbd | wc -l) $(pids_of memcached | wc -l) $(pids_of beam.smp | wc -l)" = "1 1 1"
before=$(pids_of mariadbd)$(pids_of beam.smp)
echo "# x" >>"$WORLD/shop/wsgi.py"
check "push again" push_app shop "again"
check "no server was started anew" test "$before" = "$(pids_of mariadbd)$(pids_of beam.smp)"
check "the row is there" answers /mysql one
check "the value is there" answers /memcached two
check "the message is there" answers /rabbitmq three
check "and only once" answers /rabbitmq nothing
answers /rabbitmq/four sent
kill -9 $(pids_of mariadbd) $(pids_of beam.smp) $(pids_of memcached)
check "mysql comes back after a kill, with the row" until_true answers /mysql one
check "rabbitmq too, with the message that was to be kept" until_true answers /rabbitmq four
check "memcached too, empty" until_true answers /memcached nothing

# Their next release: each has to start over its data before the old one goes.
for name in mysql rabbitmq memcached; do
	cp -r "$PINION_SRCDIR/cartridges/$name" "$WORLD/"
	sed -i 's/^Cartridge-Version: .*/Cartridge-Version: 0.9.0/' "$WORLD/$name/metadata/manifest.yml"
	p admin cartridge import "$WORLD/$name" >/dev/null
done
check "an upgrade of all servers" eval 'p admin cartridge upgrade it/shop >"$WORLD/upgrade" || { cat "$WORLD/upgrade"; false; }'
check "names them" test "$(grep -c 0.9.0 "$WORLD/upgrade")" = 3
check "mysql has its row after it" until_true answers /mysql one
answers /rabbitmq/five sent
check "rabbitmq takes messages" until_true answers /rabbitmq five
check "memcached is there" answers /memcached/two two

check "adminer shows the table, by the account of the database" serves shop /page/adminer "table=t"
check "its login is at /adminer of the application" serves shop /adminer "auth[password]"
check "metrics at /metrics" serves shop /metrics 'gear_memory_limit_in_bytes{app="shop"'
check "and at /metrics.json" jq -e '."pids.current" > 1' <(get shop /metrics.json)
check "metrics as text" serves shop /page/metrics 'gear_memory_limit_in_bytes{app="shop"'
check "metrics as JSON" jq -e '."memory.usage_in_bytes" > 1000000 and ."pids.current" > 1 and ."cpuacct.usage" > 0' <(get shop /page/metrics.json)

check "cron: one gear has jobs" test "$(cron minutely)" = 1
check "cron: the job has run, in the gear" until_true ticks 1
check "cron: its output is in the log" until_true grep -q "tick of shop by minutely" <(p logs -a shop -n 200)
check "cron: hourly has no job" test "$(cron hourly)" = 1
check "cron: an unknown frequency is refused" test "$(cron yearly)" = "There are minutely, hourly, daily, weekly, monthly; not yearly."
check "cron: a second time" test "$(cron minutely)" = 1
check "cron: the second tick" until_true ticks 2
# What became due while the node's daemon was away: the daily job of a day, once.
daily_ticks() { grep -sx "daily tick" "$WORLD/data/node/gears/$(p app show shop --json | jq -r .id)/data/daily" | wc -l; }
before=$(daily_ticks)
node=$(child_pid pinion-node)
kill -STOP "$node"
echo $(($(date +%s) / 60 * 60 - 86400)) >"$WORLD/data/node/cron-minute"
kill -9 "$node"
check "cron: what was missed is made good, once" until_true eval '(($(daily_ticks) == before + 1))'

answers /rabbitmq/kept sent >/dev/null
check "a snapshot" p snapshot save shop -f "$WORLD/shop.tar.gz"
check "the broker answers" answers /rabbitmq kept
check "the snapshot is restored" p snapshot restore shop --no-git -f "$WORLD/shop.tar.gz"
check "with the row" until_true answers /mysql one
check "and the message" until_true answers /rabbitmq kept
git clone -q --bare "$WORLD/shop" "$WORLD/oldapp.git"
/usr/bin/python3 "$PINION_SRCDIR/test/lib/v2_snapshot.py" "$WORLD/oldapp.git" "$WORLD/v2.tar.gz"
check "one of v2 is restored" p snapshot restore shop --no-git -f "$WORLD/v2.tar.gz"
check "with MySQL's data, not the accounts" until_true answers /mysql 'by v2: USE `oldapp`'
check "delete it" p app delete shop --yes

# Each in a gear of its own: what they publish reaches the web gear, and their clients them.
APP=wide
check "a scalable application" create wide '["python","mysql","memcached","rabbitmq"]' true
check "clone it" clone wide
cp -r "$PINION_SRCDIR/test/apps/python-services/." "$WORLD/wide/"
check "push it" push_app wide "all clients"
check "four gears" test "$(ls -d "$WORLD"/data/node/gears/*/ | wc -l)" = 4
check "mysql of another gear keeps a row" answers /mysql/one one
check "memcached keeps a value" answers /memcached/two two
check "rabbitmq takes a message" answers /rabbitmq/three sent
check "a snapshot of all" p snapshot save wide -f "$WORLD/wide.tar.gz"
answers /mysql/lost lost >/dev/null
check "is restored" p snapshot restore wide --no-git -f "$WORLD/wide.tar.gz"
check "with the row" until_true answers /mysql one
check "and rabbitmq's message" until_true answers /rabbitmq three
check "that of an application with all in its gear" p snapshot restore wide --no-git -f "$WORLD/shop.tar.gz"
check "brings that one's message" until_true answers /rabbitmq kept
APP=small
check "one with all in its gear" create small '["python","mysql","rabbitmq"]' false
check "takes a scaled one's snapshot" p snapshot restore small -f "$WORLD/wide.tar.gz"
check "its row" until_true answers /mysql one
check "its message" until_true answers /rabbitmq three

world_stop
check "nothing is left after the stop" nothing_left '^(cgroup|mount|loop|link)'
done_testing
