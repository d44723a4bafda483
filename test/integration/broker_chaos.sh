#!/bin/bash
# Pushes, rollbacks, scalings, restarts, stops and deletions of several applications at once, while
# the broker is killed at random: at the end records, routes, what the node is to run and the quota
# agree, and after the deletion of all nothing is left. The node and the router pretend.
. "$(dirname "$0")/../lib/world.sh"
. "$(dirname "$0")/../lib/engine_world.sh"
engine_up
cd "$WORLD" || exit 1
SECONDS_OF_IT=${PINION_TEST_CHAOS:-20} APPS="a b c d"
PORT=$PORT # stays the same over restarts
A=domain/it/application
state() { jq "$@" "$WORLD/node.log.state"; }
quota() { api GET user | jq .data.consumed_gears; }
try() { local out=$WORLD/try.$BASHPID; curl -sS -m 30 -u admin:secret-of-admin -H 'Accept: application/json' -X "$1" -o "$out" "${@:3}" "$URL/broker/rest/$2" 2>/dev/null; }

life() {
	local app=$1 n=0 d
	RANDOM=$2
	mkdir -p "repo-$app"; git -C "repo-$app" init -q
	while [[ ! -e stop ]]; do
		((++n))
		case $((RANDOM % 9)) in
		0) try POST domain/it/applications -d "name=$app&cartridge=static-1.0&scale=true" ;;
		1) try POST $A/$app/events -d event=restart ;;
		2) try POST $A/$app/events -d "event=scale-up&to=$((RANDOM % 3 + 1))" ;;
		3) try POST $A/$app/events -d "event=scale-down&to=1" ;;
		4) try POST $A/$app/events -d event=stop; try POST $A/$app/events -d event=start ;;
		5) try GET $A/$app/deployments
			d=$(jq -r '.data[]?.id' "$WORLD/try.$BASHPID" 2>/dev/null | shuf -n 1)
			try POST $A/$app/events -d "event=activate&deployment_id=$d" ;;
		6) ((RANDOM % 4 == 0)) && try DELETE $A/$app ;;
		*)
			echo "$n" >"repo-$app/n"
			rm -f "repo-$app/START_FAILS" "repo-$app/BUILD_FAILS"
			((RANDOM % 6 == 0)) && echo no >"repo-$app/START_FAILS"
			((RANDOM % 6 == 0)) && echo no >"repo-$app/BUILD_FAILS"
			git -C "repo-$app" add -A && git -C "repo-$app" commit -qm "$n"
			timeout 30 git -C "repo-$app" push -q --force "$GIT_URL/$app.git" HEAD:master >/dev/null 2>&1
			;;
		esac
		sleep "0.0$((RANDOM % 9))"
	done
}
for a in $APPS; do try POST domain/it/applications -d "name=$a&cartridge=static-1.0&scale=true"; done
pids=()
seed=${PINION_TEST_SEED:-$RANDOM}
echo "# seed $seed"
for a in $APPS; do life "$a" $((++seed)) & pids+=($!); done
end=$((SECONDS + SECONDS_OF_IT)) kills=0
while ((SECONDS < end)); do
	sleep "$((RANDOM % 2)).$((RANDOM % 9))"
	engine_kill
	((++kills))
	engine_start >>up.log || break
done
touch stop
wait "${pids[@]}"
check "the broker came back from $kills kills" kill -0 "$BROKER_PID"
until_true bash -c "tail -40 up.log | grep -q 'feed_opened node'"

# All that is recorded, routed and wanted of the node agrees.
agrees() {
	local app=$1 id d state_ n ids route_ids
	api GET "$A/$app" >app.json || return 0 # deleted
	id=$(jq -r .data.id app.json); d=$(jq -r '.data.deployment_id // ""' app.json)
	state_=$(jq -r .data.state app.json); n=$(jq -r .data.gear_count app.json)
	route_ids=$(route "$app" | jq -c '[.endpoints[]?.id] | sort')
	ids=$(state -c --arg id "$id" --arg d "$d" '[.instances[] | select(.app_id==$id and .want=="present" and .deployment_id==$d) | .id] | sort')
	[[ $(state --arg id "$id" '[.instances[] | select(.app_id==$id)] | length') == $(jq length <<<"$ids") ]] || { echo "$app: instances that are not its own: $(state -c --arg id "$id" '[.instances[] | select(.app_id==$id) | [.id,.want,.deployment_id]]')"; return 1; }
	[[ $ids == "$route_ids" ]] || { echo "$app: instances $ids, route $route_ids"; return 1; }
	[[ $state_ == stopped && $ids == "[]" || $(jq length <<<"$ids") == "$n" ]] || { echo "$app: $state_, $n gears, instances $ids"; return 1; }
	[[ $(state --arg id "$id" '[.gears[] | select(.app_id==$id)] | length') == "$n" ]] || { echo "$app: gears on the node are not $n"; return 1; }
	[[ $(api GET "$A/$app/deployments" | jq '[.data[] | select(.activations == [])] | length') == 0 ]] || { echo "$app: a deployment that never served"; return 1; }
}
for a in $APPS; do check "all of $a agrees" until_true agrees $a; done
gears() { api GET domain/it/applications | jq '[.data[].gear_count] | add // 0'; }
same_quota() { test "$(quota)" = "$(gears)"; }
check "the quota counts the gears" until_true same_quota
delete_all() {
	local a
	for a in $(api GET domain/it/applications | jq -r '.data[].name'); do api DELETE "$A/$a" >/dev/null || return 1; done
}
check "all can be deleted" delete_all
nothing() { test "$(state '[.gears, .instances, .layers | length] | add')" = 0; }
check "nothing is left on the node" until_true nothing
check "no gear counts" test "$(quota)" = 0
check "no repository is left" until_true bash -c "! ls -d $WORLD/data/git/*.git 2>/dev/null | grep ."
no_route() { test "$(jq length "$WORLD/table")" = 0; }
check "no route is left" until_true no_route
check "the domain can be deleted" api DELETE domain/it
done_testing
