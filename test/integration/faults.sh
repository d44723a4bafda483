#!/bin/bash
# Processes die at any instant: between two steps of create, push, rollback, delete (fault points), and
# by kill -9 at random. Afterwards the system is what the API last acknowledged, and nothing is left
# over: no cgroup, mount, link, namespace, directory, route or count.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_faults
world_up

check "an app that stays" p app create stays static
check "its clone" clone stays
mkdir -p "$WORLD/code"
git -C "$WORLD/code" init -q

app_id() { p app show stays --json | jq -r .id; }
exists() { p app list --json >"$WORLD/list" && jq -e --arg a "$1" 'any(.[]; .name == $a)' "$WORLD/list" >/dev/null; }
gone() { p app list --json >"$WORLD/list" && ! jq -e --arg a "$1" 'any(.[]; .name == $a)' "$WORLD/list" >/dev/null; }
create_if_absent() { exists "$1" || p app create "$1" static; }
delete_if_present() { gone "$1" || { p app delete "$1" --yes; gone "$1"; }; }
push_version() {
	echo "<p>$2</p>" >"$WORLD/code/index.html"
	git -C "$WORLD/code" add -A
	git -C "$WORLD/code" commit -q --allow-empty -m "$2"
	git -C "$WORLD/code" push -q -f "$BROKER/git/it/$1.git" HEAD:master 2>&1
}
git config --global "credential.$BROKER.helper" "!$PINION_BUILDDIR/pinion git-credential"

# The whole life of an app with one fault on the way.
life() {
	local point=$1 app=$2
	arm "$point"
	until_true create_if_absent "$app" || { echo "create"; return 1; }
	until_true serves "$app" / "<" || { echo "serve"; return 1; }
	until_true push_version "$app" "$point one" || { echo "push"; return 1; }
	until_true serves "$app" / "$point one" || { echo "serve one: $(get "$app" /)"; return 1; }
	until_true push_version "$app" "$point two" || { echo "push two"; return 1; }
	until_true serves "$app" / "$point two" || { echo "serve two: $(get "$app" /)"; return 1; }
	until_true p rollback "$app" >/dev/null || { echo "rollback"; return 1; }
	until_true delete_if_present "$app" || { echo "delete"; return 1; }
	[[ $(status_of "$app" /) == 404 ]] || { echo "route: $(status_of "$app" /)"; return 1; }
	until_true serves stays / "<" || { echo "the other app"; return 1; }
	passed | sed 's/^/# /' >&2
	return 0
}
points=$(grep -rhoE 'fault_point\("[^"]+"' "$PINION_SRCDIR"/{broker,node,lib} --include='*.c' | cut -d'"' -f2 | grep -vE '^(restore|storage|hot|backup)_' | sort -u)
n=0
for point in ${PINION_TEST_POINTS:-$points}; do
	check "dies at $point" life "$point" "f$((++n))"
done
stays=$(app_id)
# Random kills of daemons while apps come and go.
kills() {
	local i pids acked=() app bad=
	for ((i = 1; i <= ${PINION_TEST_KILLS:-15}; i++)); do
		(
			sleep "0.$((RANDOM % 9))"
			mapfile -t pids < <(ps -o pid= --ppid "$UP")
			((${#pids[@]})) && kill -9 "${pids[RANDOM % ${#pids[@]}]}"
		) &
		p app create "k$i" static >/dev/null 2>&1 && acked+=("k$i")
		wait $!
	done
	for app in "${acked[@]}"; do
		until_true serves "$app" / "<" || bad+=" $app"
	done
	echo "acknowledged: ${acked[*]}; not served:${bad:- none}"
	[[ -z $bad ]] && ((${#acked[@]}))
}
check "random kills of the daemons" kills
remove_all() {
	local app
	until_true eval 'p app list --json >"$WORLD/all"' || return 1
	for app in $(jq -r '.[].name' "$WORLD/all"); do
		[[ $app == stays ]] || until_true delete_if_present "$app" || { echo "$app"; return 1; }
	done
}
check "all can be deleted" remove_all
check "one gear is counted" test "$(p whoami --json | jq .consumed_gears)" = 1
only_stays() {
	local instance=${stays:0:8}- # its namespace and its link are its own
	left_of . | grep -vE "$stays|namespace $instance|^link " | grep -vE "mount .*/data/node/gears$|^cgroup [^ ]*/pinion/[0-9a-f]+$"
}
clean() { [[ -z $(only_stays) ]]; }
one_link() { [[ $(left_of '^link' | wc -l) -eq 1 ]]; }
check "one network link is left" until_true one_link
check "nothing is left of the others" eval 'until_true clean || { only_stays; false; }'

# An instance's process dies: it is started again.
kill_instance() {
	local pid
	pid=$(find /sys/fs/cgroup -path "*/pinion/$(node_tag)/$stays/*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -n | tail -1)
	kill -9 "$pid" && until_true serves stays / "<"
}
check "a killed instance comes back" kill_instance
world_stop
check "nothing at all is left after the stop" nothing_left '^(cgroup|mount|loop|link)'
done_testing
