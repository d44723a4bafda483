#!/bin/bash
# A cartridge that comes, goes or is upgraded while something goes wrong: its scripts fail, it does not start, the
# disk is full, node or broker die between two steps. It is there whole, or the application is as before and nothing
# of it is left; the application serves all the while.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_faults
world_new
mkdir -p "$WORLD/carts"
cp -r "$PINION_SRCDIR/cartridges/static" "$WORLD/carts/"

# cart NAME CATEGORY RELEASE [COMPATIBLE]: leaves a directory with words; a service answers with them. What it finds
# in ~/app-root/data/fails (NAME STEP) fails, once it has spoiled what is there; a start also by NAME start RELEASE,
# and by NAME start RELEASE after when the upgrade itself is over; NAME STEP fills: it fills the disk, and takes no notice.
cart() {
	local name=$1 up=${1^^} dir=$WORLD/src/$1
	mkdir -p "$dir"/{metadata,bin}
	cat >"$dir/metadata/manifest.yml" <<-END
		Name: $name
		Cartridge-Short-Name: $up
		Version: '1.0'
		Cartridge-Version: $3
		Cartridge-Vendor: fault
		Compatible-Versions: [${4:-}]
		Categories: [$2]
		Endpoints:
		  - Private-IP-Name: IP
		    Private-Port-Name: PORT
		    Private-Port: 7777
	END
	printf 'setup_rewritten:\n- made/\n' >"$dir/metadata/managed_files.yml"
	printf '#!/bin/bash\nmkdir -p made\necho %s >made/%s\n' "$3" "$3" >"$dir/bin/setup"
	rm -rf "$dir/code" && mkdir "$dir/code" && touch "$dir/code/$3" && echo "$3" >"$dir/code/release"
	cat >"$dir/bin/control" <<-END
		#!/bin/bash
		cd "\$OPENSHIFT_${up}_DIR"
		fails() { grep -qx "\$@" "\${OPENSHIFT_DATA_DIR}fails" 2>/dev/null; }
		[[ \$1 != start || ! -d words ]] || echo $3 >words/served
		if fails "$name \$1\( $3\)\?" || { fails "$name \$1 $3 after" && ! pgrep -f cart-trial >/dev/null; }; then
			[[ \$1 != start || ! -f words/data ]] || echo spoiled >words/data
			echo "CLIENT_ERROR: $name fails to \$1"
			exit 9
		fi
		case \$1 in
		start) date +%s%N >begun; [[ $2 != service ]] || { nohup python3 -m http.server --bind "\$OPENSHIFT_${up}_IP" -d words 7777 >/dev/null 2>&1 & echo \$! >pid; } ;;
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
			[[ $step != upgrade || ! -d words/old ]] || { rm -r words/old; echo spoiled >words/data; mkdir words/fresh; echo kept >words/data; }
			grep -qx "$name $step fills" "\${OPENSHIFT_DATA_DIR}fails" 2>/dev/null && {
				fallocate -l "\$(df --output=avail -B1 . | tail -1)" words/large
				dd if=/dev/zero of=words/larger bs=4k
			}
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
add_if_absent() { has "$1" || p cartridge add app "$1"; }
remove_if_there() { ! has "$1" || p cartridge remove app "$1" --yes; }
base_of() { jq -r --arg n "$1" '.carts[] | select(.name == $n) | .base' "$GEAR.json"; }
word() { cat "$GEAR/svc/$1/words/$2" 2>/dev/null || cat "$GEAR/base/$(base_of "$1")/$1/words/$2"; }
is_whole() { [[ $(word "$1" all) == "install 0.0.1" ]]; }
comes_and_goes() { # POINT NAME
	arm "$1"
	until_true add_if_absent "$2" || { echo "add"; return 1; }
	until_true is_whole "$2" || { echo "installed: $(word "$2" all)"; return 1; }
	until_true serves_on || { echo "serves"; return 1; }
	until_true remove_if_there "$2" || { echo "remove"; return 1; }
	until_true no_trace "$2" || return 1
	until_true serves_on || { echo "serves at the end"; return 1; }
	passed
}
for point in gear_base_moved cart_sealed cart_dropped app_cart_stored; do
	check "dies at $point: a plugin comes and goes" comes_and_goes "$point" part
done
for point in cart_service_moved service_create; do
	check "dies at $point: a service comes and goes" comes_and_goes "$point" store
done

# --- upgrades ---
check "both come" eval 'p cartridge add app part && p cartridge add app store'
SVC=$GEAR/svc/store
echo kept >"$SVC/words/data"
mkdir "$SVC/words/old" && touch "$SVC/words/old/file"
chown -R --reference "$SVC/words/all" "$SVC/words"
runs() { p ps app --json | jq -e '[.instances[] | select(.name == "store") | .state] == ["ready"]'; }
begun() { cat "$SVC/begun"; }
# The service itself, asked in its instance.
answers() { [[ $(p run app -- bash -c 'curl -sS -m 5 "http://$OPENSHIFT_STORE_IP:7777/all"' 2>/dev/null | tr -d '\r' | xargs) == "$1" ]]; }
# is_store RELEASE UPGRADES DATA: nothing of another release, the data as they are to be, and it runs.
is_store() {
	[[ $(<"$SVC/code/release") == "$1" && $(grep Cartridge-Version "$SVC/metadata/manifest.yml") == *" $1" ]] || { echo "code"; return 1; }
	[[ $(xargs <"$SVC/words/all") == "$2" && $(<"$SVC/words/data") == kept ]] || { cat "$SVC/words/"{all,data}; return 1; }
	[[ -z $(ls -d "$GEAR"/inst/config-* "$GEAR/base/$(base_of store)/store" 2>/dev/null) ]] || { ls "$GEAR"/inst "$GEAR/base/$(base_of store)"; return 1; }
	until_true runs
}
OLD="install 0.0.1"
fails "store upgrade"
check "it runs" until_true runs
check "a service's next release" import store service 0.0.2
check "whose upgrade fails" eval '! p admin cartridge upgrade it/app'
check "leaves the service and its data as they were" until_true is_store 0.0.1 "$OLD"
check "all of them" test -f "$SVC/words/old/file" -a ! -d "$SVC/words/fresh" -a ! -e "$SVC/code/0.0.2"
check "the application serves" serves_on
fails "store start 0.0.2"
check "whose start fails" eval '! p admin cartridge upgrade it/app >"$WORLD/refusal"'
check "is refused with its words" grep -q "store-1.0.*start failed.*store fails to start" "$WORLD/refusal"
check "leaves the service and its data as they were, too" until_true is_store 0.0.1 "$OLD"
check "also what the start wrote" test "$(<"$SVC/words/served")" = 0.0.1
check "and the old release serves" until_true answers "$OLD"
check "the events tell it" eval 'p events app | grep "change of cartridges was taken back: The cartridge store-1.0.*store fails to start"'
check "the application serves" serves_on
fails "store start 0.0.2 after"
check "one that fails to start once it is in its place" eval '! p admin cartridge upgrade it/app >"$WORLD/refusal"'
check "is told, too" grep -q "store did not start.*" "$WORLD/refusal"
OLD+=" upgrade 0.0.2 upgrade 0.0.1"
echo kept >"$SVC/words/data"
check "and the old release is put back over the data" until_true is_store 0.0.1 "$OLD"
check "it serves" until_true answers "$OLD"
fails
WAS=$(begun)
fill
check "on a full disk" eval '! p admin cartridge upgrade it/app'
check "it is as it was" until_true is_store 0.0.1 "$OLD"
check "and was not even stopped" test "$(begun)" = "$WAS"
rm -f "$GEAR/data/"{full,rest}
for words in "store upgrade" "it goes on"; do
	fails "store upgrade fills" "$words"
	check "when the disk fills in its script ($words)" eval '! p admin cartridge upgrade it/app >"$WORLD/refusal"'
	check "it is as it was, and has room" eval 'until_true is_store 0.0.1 "$OLD" && [[ ! -e $SVC/words/large ]] && (($(df --output=avail -m "$GEAR" | tail -1) > 100))'
done
check "what is full is named" grep -q "No space left" "$WORLD/refusal"
check "the application serves" serves_on
fails
check "its upgrade" p admin cartridge upgrade it/app
OLD+=" upgrade 0.0.2"
check "has the new code, and the data" until_true is_store 0.0.2 "$OLD"
check "with what the script changed" test -d "$SVC/words/fresh" -a ! -e "$SVC/words/old"
check "what setup wrote is of the new release alone" test "$(ls "$SVC/made")" = 0.0.2
check "it was started again" test "$(begun)" != "$WAS"
check "the application serves" serves_on
WAS=$(begun)
check "a release that is compatible" import store service 0.0.3 0.0.2
fails "store upgrade fills"
check "whose script fills the disk" eval '! p admin cartridge upgrade it/app >"$WORLD/refusal"'
check "is refused as long as nothing could start" grep -q "disk is full" "$WORLD/refusal"
check "without a trace" eval 'is_store 0.0.2 "$OLD" && [[ ! -e $SVC/words/large && $(begun) == "$WAS" ]]'
fails
check "comes" p admin cartridge upgrade it/app
OLD+=" upgrade 0.0.3"
check "with the data" until_true is_store 0.0.3 "$OLD"
check "without a restart" test "$(begun)" = "$WAS"
check "what setup wrote stays" test "$(ls "$SVC/made")" = 0.0.2

is_upgraded() { p admin cartridge upgrade it/app >/dev/null 2>&1; is_store "$1" "$2"; }
dies_and_upgrades() { # POINT RELEASE
	arm "$1"
	timeout "$DEADLINE" "$PINION_BUILDDIR/pinion" admin cartridge upgrade it/app >/dev/null 2>&1
	until_true is_upgraded "$2" "$OLD" || { is_store "$2" "$OLD"; return 1; }
	until_true serves_on || { echo "serves"; return 1; }
	passed
}
n=3
for point in gear_base_moved cart_base_added cart_merging:3; do
	((++n))
	OLD+=" upgrade 0.0.$n"
	import store service "0.0.$n" >/dev/null
	check "dies at $point: a service's upgrade" dies_and_upgrades "$point" "0.0.$n"
done

fails "part upgrade"
check "a plugin's next release" import part embedded 0.0.2
check "an upgrade that fails" eval '! p admin cartridge upgrade it/app'
check "leaves the plugin as it was" test "$(word part all)" = "install 0.0.1"
check "the application serves" serves_on
fails "part start 0.0.2"
check "one with which the application does not come up" eval '! p admin cartridge upgrade it/app'
in_gear() { p run app -- bash -c "$1" 2>/dev/null | tr -d '\r' | xargs; }
check "is taken back as if it had never been" eval 'until_true test "$(word part all)" = "install 0.0.1" && [[ $(in_gear "cat ~/part/code/release; ls ~/part/made") == "0.0.1 0.0.1" ]]'
check "the application serves" serves_on
fails "part upgrade fills"
check "when the disk fills in its script" eval '! p admin cartridge upgrade it/app'
check "it is as it was, and has room" eval '[[ $(word part all) == "install 0.0.1" ]] && (($(df --output=avail -m "$GEAR" | tail -1) > 100))'
check "the application serves" serves_on
fails
upgraded() { p admin cartridge upgrade it/app >/dev/null 2>&1; [[ $(word "$1" last) == "upgrade 1.0 0.0.1 0.0.2" ]]; }
check "an upgrade" p admin cartridge upgrade it/app
check "reaches the plugin" upgraded part
check "what its setup wrote is of the new release alone" test "$(in_gear "ls ~/part/made")" = 0.0.2
check "the service is as it was" is_store "0.0.$n" "$OLD"
check "the application serves" serves_on
done_testing
