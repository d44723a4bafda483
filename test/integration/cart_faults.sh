#!/bin/bash
# A cartridge that comes, goes or is upgraded while something goes wrong: its scripts fail, it does not start, the
# disk is full, node or broker die between two steps. It is there whole, or the application is as before and nothing
# of it is left; the application serves all the while.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
FAULTS=$(mktemp -d)
chmod 777 "$FAULTS"
export PINION_FAULT_FILE=$FAULTS/point
trap 'rm -rf "$FAULTS"' EXIT
world_new
trap 'world_end; rm -rf "$FAULTS"' EXIT
mkdir -p "$WORLD/carts"
cp -r "$PINION_SRCDIR/cartridges/static" "$WORLD/carts/"

# cart NAME CATEGORY RELEASE: leaves a directory with words; a service answers with them. What it finds in
# ~/app-root/data/fails (NAME STEP) fails.
cart() {
	local name=$1 up=${1^^} dir=$WORLD/src/$1
	mkdir -p "$dir"/{metadata,bin}
	cat >"$dir/metadata/manifest.yml" <<-END
		Name: $name
		Cartridge-Short-Name: $up
		Version: '1.0'
		Cartridge-Version: $3
		Cartridge-Vendor: fault
		Categories: [$2]
		Endpoints:
		  - Private-IP-Name: IP
		    Private-Port-Name: PORT
		    Private-Port: 7777
	END
	cat >"$dir/bin/control" <<-END
		#!/bin/bash
		cd "\$OPENSHIFT_${up}_DIR"
		grep -qx "$name \$1" "\${OPENSHIFT_DATA_DIR}fails" 2>/dev/null && { echo "CLIENT_ERROR: $name fails to \$1"; exit 9; }
		case \$1 in
		start) [[ $2 != service ]] || { nohup python3 -m http.server --bind "\$OPENSHIFT_${up}_IP" -d words 7777 >/dev/null 2>&1 & echo \$! >pid; } ;;
		stop) [[ ! -f pid ]] || kill "\$(<pid)"; rm -f pid ;;
		esac
		exit 0
	END
	for step in install upgrade teardown; do
		cat >"$dir/bin/$step" <<-END
			#!/bin/bash
			cd "\$OPENSHIFT_${up}_DIR"
			mkdir -p words
			echo "$step \$*" >words/last
			echo "$step $3" >>words/all
			grep -qx "$name $step" "\${OPENSHIFT_DATA_DIR}fails" 2>/dev/null && { echo "CLIENT_ERROR: $name fails to $step"; exit 9; }
			exit 0
		END
	done
	chmod 755 "$dir"/bin/*
}
import() { cart "$@" && p admin cartridge import "$WORLD/src/$1"; }
world_start --cartridges "$WORLD/carts" || { echo "not ok 1 - pinion up"; echo 1..1; exit 1; }
login_admin && p domain create it >/dev/null
check "cartridges" eval 'import part embedded 0.0.1 && import store service 0.0.1'
check "an app" p app create app static
ID=$(p app show app --json | jq -r .id)
GEAR=$WORLD/data/node/gears/$ID
fails() { printf '%s\n' "$@" >"$GEAR/data/fails"; }
carts() { p cartridge list app --json | jq -r '[.[].name | sub("^fault-"; "") | sub("-1.0$"; "")] | sort | join(" ")'; }
has() { [[ " $(carts) " == *" $1 "* ]]; }
# What it wrote lies in base/ until nothing of the gear runs: it may be mounted.
traces() { find "$GEAR/svc" "$GEAR/env" -maxdepth 1 -name "$1*"; base_of "$1"; }
no_trace() { ! has "$1" && [[ -z $(traces "$1") && -z $(ls -d "$GEAR"/inst/config-* 2>/dev/null) ]] || { carts; traces "$1"; ls "$GEAR/inst"; return 1; }; }
serves_on() { serves app / "<"; }

for name in part store; do
	for step in install start; do
		fails "$name $step"
		check "$name whose $step fails is refused with its words" fails_with 2 "$name fails to $step" p cartridge add app "$name"
		check "nothing of it is left" until_true no_trace "$name"
		check "the application serves" serves_on
	done
done
fails

# --- a full disk ---
fill() { # all but what the platform keeps for itself
	fallocate -l "$(df --output=avail -B1 "$GEAR" | tail -1)" "$GEAR/data/full"
	dd if=/dev/zero of="$GEAR/data/rest" bs=4k 2>/dev/null
	:
}
for name in part store; do
	fill
	check "$name does not come on a full disk" fails_with 2 "" timeout "$DEADLINE" "$PINION_BUILDDIR/pinion" cartridge add app "$name"
	check "nothing of it is left" until_true no_trace "$name"
	check "the application serves" serves_on
	rm -f "$GEAR/data/"{full,rest}
done

# --- kill -9 between two steps ---
retry() {
	local end=$((SECONDS + DEADLINE))
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.2
	done
}
add_if_absent() { has "$1" || p cartridge add app "$1"; }
remove_if_there() { ! has "$1" || p cartridge remove app "$1" --yes; }
base_of() { jq -r --arg n "$1" '.carts[] | select(.name == $n) | .base' "$GEAR.json"; }
word() { cat "$GEAR/svc/$1/words/$2" 2>/dev/null || cat "$GEAR/base/$(base_of "$1")/$1/words/$2"; }
is_whole() { [[ $(word "$1" all) == "install 0.0.1" ]]; }
comes_and_goes() { # POINT NAME
	echo "$1" >"$PINION_FAULT_FILE"
	chmod 666 "$PINION_FAULT_FILE"
	retry add_if_absent "$2" || { echo "add"; return 1; }
	until_true is_whole "$2" || { echo "installed: $(word "$2" all)"; return 1; }
	retry serves_on || { echo "serves"; return 1; }
	retry remove_if_there "$2" || { echo "remove"; return 1; }
	until_true no_trace "$2" || return 1
	retry serves_on || { echo "serves at the end"; return 1; }
	[[ ! -e $PINION_FAULT_FILE ]] || { rm -f "$PINION_FAULT_FILE"; echo "not passed"; return 1; }
}
for point in gear_base_moved cart_sealed cart_dropped app_cart_stored; do
	check "dies at $point: a plugin comes and goes" comes_and_goes "$point" part
done
for point in cart_service_moved service_create; do
	check "dies at $point: a service comes and goes" comes_and_goes "$point" store
done

# --- upgrades ---
check "both come" eval 'p cartridge add app part && p cartridge add app store'
echo kept >"$GEAR/svc/store/words/data"
fails "part upgrade"
check "its next release" import part embedded 0.0.2
check "an upgrade that fails" eval '! p admin cartridge upgrade it/app'
check "leaves the plugin as it was" test "$(word part all)" = "install 0.0.1"
check "the application serves" serves_on
fails
upgraded() { p admin cartridge upgrade it/app >/dev/null 2>&1; [[ $(word "$1" last) == "upgrade 1.0 0.0.1 0.0.2" ]]; }
check "an upgrade" p admin cartridge upgrade it/app
check "reaches the plugin" upgraded part
check "the service is as it was" test "$(word store all) $(word store data)" = "install 0.0.1 kept"
check "the application serves" serves_on
done_testing
