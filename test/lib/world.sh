# Sourced by the integration scripts: one world of real daemons below a temporary directory, TAP
# results, cleanup by process id. Needs root.
#
#   plan_skip_unless_root; world_up; check "name" command…; done_testing
set -u
: "${PINION_SRCDIR:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${PINION_BUILDDIR:=$PINION_SRCDIR}"
# Waits end at this many seconds: generous, for sanitized builds on busy machines.
DEADLINE=${PINION_TEST_DEADLINE:-60}
tests=0

# check NAME COMMAND…: one result; the command's output is shown when it fails.
check() {
	local name=$1 out status
	shift
	((++tests))
	out=$("$@" 2>&1)
	status=$?
	if ((status == 0)); then
		echo "ok $tests - $name"
	else
		echo "not ok $tests - $name"
		printf '# %s: exit %d\n' "$*" "$status"
		sed 's/^/#   /' <<<"$out" | tail -40
		[[ -n ${WORLD:-} && -f $WORLD/up.log ]] && tail -8 "$WORLD/up.log" | sed 's/^/#   up: /'
	fi
	return $status
}

# done_testing: also ends the world, so that what its daemons leak or break on their way out counts.
done_testing() {
	if [[ -n ${WORLD:-} && -f $WORLD/up.log ]]; then
		world_stop
		check "no sanitizer has a word to say" eval '! grep -aE -A12 "Sanitizer|runtime error" "$WORLD/up.log"'
	fi
	echo "1..$tests"
}

plan_skip_unless_root() {
	((EUID == 0)) && return
	echo "1..0 # SKIP needs root"
	echo "ok 1 - skipped: needs root"
	exit 0
}

# until_true COMMAND…: repeats it until it succeeds or the deadline passes.
until_true() {
	local end=$((SECONDS + DEADLINE))
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || { echo "still not after $DEADLINE s: $*"; "$@"; return 1; }
		sleep 0.05
	done
}

world_new() {
	WORLD=$(mktemp -d "${TMPDIR:-/tmp}/pinion-world.XXXXXX")
	export XDG_CONFIG_HOME=$WORLD/config HOME=$WORLD/home
	export GIT_CONFIG_GLOBAL=$WORLD/gitconfig GIT_TERMINAL_PROMPT=0
	mkdir -p "$HOME"
	git config --global user.name Tester
	git config --global user.email tester@example.org
	git config --global init.defaultBranch main
	trap world_end EXIT
}

# world_start [OPTION…]: starts `pinion up` on the world's directory; sets UP BROKER ROUTER DOMAIN.
world_start() {
	rm -f "$WORLD/ready"
	"$PINION_BUILDDIR/pinion" up --data "$WORLD/data" --listen "${LISTEN:-127.0.0.1:0}" \
		--router-listen "${ROUTER_LISTEN:-127.0.0.1:0}" --ready-file "$WORLD/ready" "$@" >>"$WORLD/up.log" 2>&1 </dev/null &
	UP=$!
	local end=$((SECONDS + DEADLINE))
	until [[ -s $WORLD/ready ]]; do
		if ((SECONDS >= end)) || ! kill -0 "$UP" 2>/dev/null; then
			echo "# pinion up is not ready"
			tail -20 "$WORLD/up.log" | sed 's/^/#   /'
			return 1
		fi
		sleep 0.05
	done
	BROKER=$(jq -r .broker_url "$WORLD/ready")
	ROUTER=$(jq -r .router_url "$WORLD/ready")
	DOMAIN=$(jq -r .domain "$WORLD/ready")
}

# world_stop: SIGTERM, and waits until all is down.
world_stop() {
	[[ -n ${UP:-} ]] || return 0
	kill "$UP" 2>/dev/null
	wait "$UP" 2>/dev/null
	UP=
}

world_end() {
	world_stop
	[[ -n ${KEEP_WORLD:-} ]] || rm -rf "${WORLD:-}" "${FAULTS:-}"
}

# world_faults: before the start of a world in which processes die where arm says (builds with
# --enable-fault-points).
world_faults() {
	FAULTS=$(mktemp -d "${TMPDIR:-/tmp}/pinion-faults.XXXXXX")
	chmod 777 "$FAULTS"
	export PINION_FAULT_FILE=$FAULTS/point
	trap world_end EXIT
}

# arm POINT: whichever process comes there next dies. passed: one has.
arm() {
	echo "$1" >"$PINION_FAULT_FILE" && chmod 666 "$PINION_FAULT_FILE"
}

passed() {
	[[ ! -e $PINION_FAULT_FILE ]] || { echo "$(<"$PINION_FAULT_FILE") was not passed"; rm -f "$PINION_FAULT_FILE"; return 1; }
}

# world_up [OPTION…]: a new world, started, logged in as the administrator, with the domain "it".
world_up() {
	world_new
	world_start "$@" || { echo "not ok 1 - pinion up"; echo "1..1"; exit 1; }
	login_admin && p domain create it >/dev/null || { echo "not ok 1 - login"; echo "1..1"; exit 1; }
}

login_admin() {
	p login "$BROKER" --user admin --password-file "$(jq -r .admin_password_file "$WORLD/ready")" >/dev/null
}

p() {
	"$PINION_BUILDDIR/pinion" "$@"
}

# host APP: its host name.
host() {
	p app show "$1" --json | jq -r .app_url | sed -E 's,^https?://,,; s,[:/].*,,'
}

# get APP PATH [CURL OPTION…]: body through the router.
get() {
	local app=$1 path=$2
	shift 2
	curl -sS -m 20 -H "Host: ${app}-it.$DOMAIN" "$@" "${ROUTER%/}$path"
}

# serves APP PATH TEXT: does the body hold TEXT?
serves() {
	[[ $(get "$1" "$2") == *"$3"* ]]
}

# status_of APP PATH [CURL OPTION…]: HTTP status.
status_of() {
	local app=$1 path=$2
	shift 2
	curl -sS -m 20 -o /dev/null -w '%{http_code}' -H "Host: ${app}-it.$DOMAIN" "$@" "${ROUTER%/}$path"
}

# clone APP: into $WORLD/APP.
clone() {
	p git clone "$1" "$WORLD/$1" >"$WORLD/clone.log" 2>&1
}

# push_app APP MESSAGE [GIT PUSH OPTION…]: commits all and pushes; output in $WORLD/push.log.
push_app() {
	local app=$1 message=$2
	shift 2
	git -C "$WORLD/$app" add -A
	git -C "$WORLD/$app" commit -q --allow-empty -m "$message"
	git -C "$WORLD/$app" push "$@" >"$WORLD/push.log" 2>&1
}

# fails_with CODE TEXT COMMAND…: does the command end with that exit code, saying TEXT?
fails_with() {
	local code=$1 text=$2 out status
	shift 2
	out=$("$@" 2>&1)
	status=$?
	[[ $status -eq $code && $out == *"$text"* ]] || { echo "exit $status: $out"; return 1; }
}

# children of pinion up, by name: child_pid pinion-broker
child_pid() {
	local pid
	for pid in $(ps -o pid= --ppid "$UP"); do
		[[ $(readlink "/proc/$pid/exe") == */"$1" ]] && echo "$pid"
	done
}

# node_tag: what the node's cgroups, links and rules carry in their names.
node_tag() {
	local dir
	dir=$(cd "$WORLD/data/node" 2>/dev/null && pwd -P) || return 1
	printf '%s' "$dir" | sha256sum | cut -c1-8
}

# run_dir: where `pinion up` keeps sockets and network namespaces of this world.
run_dir() {
	echo "/run/pinion/up-$(printf '%s' "$(cd "$WORLD/data" && pwd -P)" | sha256sum | cut -c1-8)"
}

# left_of PATTERN: cgroups, links, mounts, loop devices, namespaces, volumes and layers' scratch of
# this world that match the pattern (an extended regular expression; "." is everything).
left_of() {
	local tag
	tag=$(node_tag) || return 0
	{
		find /sys/fs/cgroup -mindepth 2 -type d -path "*/pinion/$tag/*" 2>/dev/null | sed 's/^/cgroup /'
		grep -F "$WORLD/" /proc/mounts | awk '{print "mount " $2}'
		losetup -l -n -O BACK-FILE 2>/dev/null | grep -F "$WORLD/" | sed 's/^/loop /'
		ls "$(run_dir)/netns" 2>/dev/null | sed 's/^/namespace /'
		ip -o link 2>/dev/null | grep -oE "pn$tag[^:@]*" | sed 's/^/link /'
		ls "$WORLD/data/node/gears" 2>/dev/null | sed 's/^/gear /'
		ls "$WORLD/data/node/scratch" 2>/dev/null | sed 's/^/scratch /'
	} | grep -E -- "$1"
}

# nothing_left PATTERN: soon nothing of that is left.
nothing_left() {
	is_clean() { [[ -z $(left_of "$1") ]]; }
	until_true is_clean "$1" || { left_of "$1"; return 1; }
}
