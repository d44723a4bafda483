#!/bin/bash
# kill -9 of the broker between any two steps of create, push, rollout, scale and delete (fault points
# of a test build): started again, it is what it last acknowledged, the same request works, and
# nothing is left over.
. "$(dirname "$0")/../lib/world.sh"
. "$(dirname "$0")/../lib/engine_world.sh"
grep -q PINION_FAULT "$PINION_BUILDDIR/pinion-broker" || { echo "1..1"; echo "ok 1 - skipped: built without fault points"; exit 0; }
world_faults
engine_up
cd "$WORLD" || exit 1

A=domain/it/application
state() { jq "$@" "$WORLD/node.log.state"; }
is() { test "$("${@:2}")" = "$1"; }
quota() { api GET user | jq .data.consumed_gears; }
apps() { api GET domain/it/applications | jq '.data | length'; }
# What is acknowledged, recorded, routed and wanted of the node agrees. APP
agrees() {
	local d sha route_ids
	d=$(api GET "$A/$1" | jq -r .data.deployment_id)
	sha=$(api GET "$A/$1/deployments" | jq -r --arg d "$d" '.data[] | select(.id==$d) | .sha1')
	route_ids=$(route "$1" | jq -c '[.endpoints[].id] | sort')
	[[ $(state --arg d "$d" -c '[.instances[] | select(.want=="present" and .deployment_id==$d and .app_id==$app) | .id] | sort' --arg app "$2") == "$route_ids" ]] ||
		{ echo "route $route_ids, deployment $d, instances: $(state -c '[.instances[] | [.id,.want,.deployment_id]]')"; return 1; }
	[[ $(state --arg app "$2" '[.instances[] | select(.app_id==$app and .want=="present")] | length') == 1 ]] ||
		{ echo "more than one instance"; return 1; }
	[[ -z ${3:-} || $(git ls-remote "$GIT_URL/$1.git" master | cut -c1-7) == "${sha:0:7}" ]] ||
		{ echo "branch $(git ls-remote "$GIT_URL/$1.git" master), deployed $sha"; return 1; }
	[[ $(api GET "$A/$1/deployments" | jq '[.data[] | select(.activations == [] and .canary_at == null)] | length') == 0 ]] ||
		{ echo "a deployment that never served"; return 1; }
}
# The fault was hit: wait for the end and start anew.
reborn() {
	wait "$BROKER_PID" 2>/dev/null
	passed || { kill -9 "$BROKER_PID"; wait "$BROKER_PID" 2>/dev/null; engine_start; return 1; }
	engine_start || return 1
	until_true node_is_back
}
node_is_back() { tail -4 "$WORLD/up.log" | grep -q feed_opened; }

api POST domain/it/applications name=app cartridge=static-1.0 >app.json
id=$(jq -r .data.id app.json)
git clone -q "$GIT_URL/app.git" app
echo 0 >app/n; git -C app add -A; git -C app commit -qm 0; git -C app push -q 2>/dev/null
n=0
for point in build_begin build_call build_built build_want build_wanted instance_create report_store \
	rollout_switch rollout_switched push_built instance_stop instance_forget; do
	((++n)); echo $n >app/n; git -C app commit -qam $n
	arm $point
	git -C app push >push.log 2>&1; pushed=$?
	check "push: killed at $point" reborn
	((pushed != 0)) || check "push: acknowledged is kept ($point)" test "$(git ls-remote "$GIT_URL/app.git" master | cut -f1)" = "$(git -C app rev-parse HEAD)"
	check "push: all agrees after $point" until_true agrees app "$id" ref
	git -C app push -q >push.log 2>&1
	check "push: the same commit lands after $point" test "$(git ls-remote "$GIT_URL/app.git" master | cut -f1)" = "$(git -C app rev-parse HEAD)"
	check "push: and all agrees" until_true agrees app "$id" ref
done
for point in push_refs_store push_refs_stored; do
	git -C app branch -f side; arm $point
	git -C app push --force origin side:side-$point >push.log 2>&1
	check "a stored branch: killed at $point" reborn
	check "a stored branch: the push works after $point" git -C app push -q origin side:side-$point
done
echo bad >app/START_FAILS; git -C app add -A; git -C app commit -qm bad
arm rollout_give_up
git -C app push >push.log 2>&1
check "failed rollout: killed at rollout_give_up" reborn
check "failed rollout: all agrees" until_true agrees app "$id" ref
git -C app reset -q --hard HEAD~1

# --- canaries: what is on the route is what runs, and what the application tells
canary() { api GET "$A/app" | jq -r '.data.canary | if . == null then "none" else .state end'; }
# canary_agrees: it serves, or there is none; the route has just what runs
canary_agrees() {
	local c
	c=$(canary)
	[[ $c == none || $c == serving ]] || { echo "canary: $c"; return 1; }
	[[ $(state -c '[.instances[] | select(.want=="present") | .id] | sort') == "$(route app | jq -c '[.endpoints[].id] | sort')" ]] ||
		{ echo "route $(route app | jq -c .endpoints), instances $(state -c '[.instances[] | [.id,.want]]')"; return 1; }
	[[ $(route app | jq '.endpoints | length') == $([[ $c == none ]] && echo 1 || echo 2) ]] || { echo "canary $c, $(route app | jq -c .)"; return 1; }
}
api PUT $A/app canary_percent=10 >/dev/null
for point in build_wanted instance_create canary_begin rollout_switched instance_stop; do
	((++n)); echo $n >app/n; git -C app commit -qam $n
	arm $point
	git -C app push >push.log 2>&1; pushed=$?
	[[ $point != instance_stop ]] || until_true passed # of the canary before
	check "canary: killed at $point" reborn
	((pushed != 0)) || check "canary: acknowledged is kept ($point)" test "$(git ls-remote "$GIT_URL/app.git" master | cut -f1)" = "$(git -C app rev-parse HEAD)"
	check "canary: all agrees after $point" until_true canary_agrees
	git -C app push -q >push.log 2>&1
	check "canary: the same commit lands after $point" test "$(git ls-remote "$GIT_URL/app.git" master | cut -f1)" = "$(git -C app rev-parse HEAD)"
	check "canary: serves" is serving canary
	check "canary: and all agrees" until_true canary_agrees
done
touch app/START_FAILS; git -C app add -A; git -C app commit -qm bad
arm canary_give_up
git -C app push >push.log 2>&1
check "canary: killed at canary_give_up" reborn
check "canary: the one before serves" until_true canary_agrees
git -C app reset -q --hard HEAD~1
check "canary: still" is serving canary
for point in rollout_switch rollout_switched instance_stop; do
	[[ $(canary) == serving ]] || { ((++n)); echo $n >app/n; git -C app commit -qam $n; git -C app push -q 2>/dev/null; }
	arm $point
	api POST $A/app/events event=promote >/dev/null 2>&1
	[[ $point != instance_stop ]] || until_true passed
	check "promote: killed at $point" reborn
	check "promote: goes on ($point)" until_true is none canary
	check "promote: all agrees ($point)" until_true canary_agrees
done
api PUT $A/app canary_percent=0 >/dev/null
check "canary: all agrees" until_true agrees app "$id" ref

for point in build_begin build_built build_wanted instance_create rollout_switch rollout_switched; do
	arm $point
	api POST domain/it/applications name=fresh cartridge=static-1.0 >/dev/null 2>&1
	check "create: killed at $point" reborn
	api POST domain/it/applications name=fresh cartridge=static-1.0 >fresh.json
	both() { is "$(apps)" quota; }
	check "create: the quota is right after $point" until_true both
	if api GET $A/fresh >fresh.json; then
		check "create: it serves ($point)" until_true agrees fresh "$(jq -r .data.id fresh.json)"
		check "create: it can be deleted ($point)" api DELETE $A/fresh
	fi
	only() { is 1 state '.gears | length' && is 1 quota; }
	check "create: nothing is left ($point)" until_true only
done
for point in gear_tombstone gear_forget repo_remove app_forget; do
	api POST domain/it/applications name=fresh cartridge=static-1.0 >/dev/null
	arm $point
	api DELETE $A/fresh >/dev/null 2>&1
	check "delete: killed at $point" reborn
	check "delete: it ends by itself ($point)" until_true is 1 apps
	check "delete: nothing is left ($point)" until_true only
	check "delete: no repository is left ($point)" until_true is 1 bash -c "ls -d $WORLD/data/git/*.git | wc -l"
done
check "the first application still serves" agrees app "$id" ref
done_testing
