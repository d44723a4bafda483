#!/bin/bash
# `pinion up` itself: what it refuses, when it gives up, its ready file, restarts of what dies, a
# clean end.
. "$(dirname "$0")/../lib/world.sh"
world_new

check "without --data it says so" fails_with 2 "--data DIR" p up
check "an address without a port" fails_with 2 "listen: must be ADDR:PORT" \
	p up --data "$WORLD/x" --listen localhost
check "a domain that is none" fails_with 2 "domain: must be a DNS name" p up --data "$WORLD/x" --domain 'a b'
if ((EUID != 0)); then
	check "it needs root, and says so" fails_with 6 "must run as root" p up --data "$WORLD/x"
	done_testing
	exit
fi
check "an address that is none: it gives up, and says which daemon" \
	fails_with 2 "gave_up daemon=pinion-broker" \
	p up --data "$WORLD/x" --listen nonsense:0 --router-listen 127.0.0.1:0
world_start
taken=${BROKER#http://}
check "a port that is taken: it gives up" fails_with 2 "Address already in use" \
	p up --data "$WORLD/x" --listen "$taken" --router-listen 127.0.0.1:0
check "a second one on the same directory" fails_with 9 "another 'pinion up'" \
	p up --data "$WORLD/data" --listen 127.0.0.1:0 --router-listen 127.0.0.1:0

ready_is_whole() {
	local file
	jq -e '.broker_url and .router_url and .domain == "apps.localhost" and .admin_user == "admin"' "$WORLD/ready" &&
		file=$(jq -r .admin_password_file "$WORLD/ready") && [[ $(stat -c %a "$file") == 600 && -s $file ]]
}
check "the ready file tells all" ready_is_whole
check "login with its password" login_admin

unprivileged() {
	local name bad=0
	for name in pinion-broker pinion-router; do
		[[ $(stat -c %u "/proc/$(child_pid $name)") != 0 ]] || { echo "$name runs as root"; bad=1; }
		grep -q 'NoNewPrivs:.1' "/proc/$(child_pid $name)/status" || { echo "$name may gain privileges"; bad=1; }
	done
	return $bad
}
check "broker and router run without privileges" unprivileged

is_back() {
	local now
	now=$(child_pid "$1")
	[[ -n $now && $now != "$2" ]]
}
for name in pinion-broker pinion-node pinion-router; do
	old=$(child_pid $name)
	kill -9 "$old"
	check "$name is started again" until_true is_back $name "$old"
done
check "the broker answers at the same address" until_true p whoami
check "--drain is checked" fails_with 2 "drain" p up --data "$WORLD/data" --drain soon
children=$(ps -o pid= --ppid "$UP")
kill "$UP"
wait "$UP"
check "SIGTERM ends it with 0" test $? -eq 0
gone() {
	local pid
	for pid in $children; do
		[[ ! -e /proc/$pid ]] || { echo "still there: $(tr '\0' ' ' <"/proc/$pid/cmdline")"; return 1; }
	done
}
check "nothing it started is left" until_true gone
check "the ready file is gone" test ! -e "$WORLD/ready"
UP=
# As on a machine where nothing ran before, by a careful administrator.
strict=(--data "$WORLD/strict" --listen 127.0.0.1:0 --router-listen 127.0.0.1:0 --ready-file "$WORLD/ready")
(
	umask 077
	exec unshare -m --propagation private bash -c 'mount -t tmpfs run /run && exec "$0" up "$@"' \
		"$PINION_BUILDDIR/pinion" "${strict[@]}"
) >>"$WORLD/up.log" 2>&1 </dev/null &
UP=$!
check "it starts with umask 077 and an empty /run" until_true test -s "$WORLD/ready"
world_stop
world_start
check "up again on the same directory, the same password" login_admin
done_testing
