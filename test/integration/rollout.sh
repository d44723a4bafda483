#!/bin/bash
# What the broker wants of nodes and routers while applications are started, stopped, scaled, rolled
# and deleted; the node and the router pretend.
. "$(dirname "$0")/../lib/world.sh"
. "$(dirname "$0")/../lib/engine_world.sh"
engine_up
cd "$WORLD" || exit 1

A=domain/it/application
state() { jq "$@" "$WORLD/node.log.state"; }
endpoints() { route "$1" | jq '.endpoints | length'; }
endpoint_ids() { route "$1" | jq -c '[.endpoints[].id] | sort'; }
live_instances() { state '[.instances[] | select(.want != "gone")] | length'; }
is() { test "$("${@:2}")" = "$1"; }
event() { api POST "$A/$1/events" "event=$2" "${@:3}" >"$WORLD/event.out"; }
deployment_of() { api GET "$A/$1" | jq -r .data.deployment_id; }
quota() { api GET user | jq .data.consumed_gears; }

api POST domain/it/applications name=app cartridge=static-1.0 scale=true >/dev/null
check "created: one instance" is 1 live_instances
first=$(endpoint_ids app)
check "restart" event app restart
check "makes a new instance" test "$(endpoint_ids app)" != "$first"
check "and the old one goes" until_true is 1 live_instances
check "scale up by one" event app scale-up
check "two endpoints" until_true is 2 endpoints app
check "scale up to 4" event app scale-up to=4
check "four endpoints" until_true is 4 endpoints app
check "four gears count in the quota" is 4 quota
check "four gears on the node" is 4 state '.gears | length'
check "restart rolls all four" event app restart
check "and four are left" until_true is 4 live_instances
check "scale down to 1" event app scale-down to=1
check "one endpoint" until_true is 1 endpoints app
check "one gear is left on the node" until_true is 1 state '.gears | length'
check "and counts" until_true is 1 quota
check "one instance is left" until_true is 1 live_instances

old=$(endpoint_ids app)
check "a variable rolls the app" api POST "$A/app/environment-variables" name=GREETING value=hello
check "onto a new instance" test "$(endpoint_ids app)" != "$old"
check "whose gear has it" is '"hello"' state '[.gears[]][0].env[] | select(.name=="GREETING").value'
old=$(endpoint_ids app)
check "a variable without restart" api POST "$A/app/environment-variables" name=QUIET value=x restart=false
check "leaves the instance" test "$(endpoint_ids app)" = "$old"

check "stop" event app stop
check "the route says so" until_true is '"stopped"' bash -c "$(declare -f route); WORLD=$WORLD; route app | jq .state"
check "no instance is left" until_true is 0 live_instances
check "a stop of a stopped app is fine" event app stop
check "start" event app start
check "serves again" is 1 endpoints app
d1=$(deployment_of app)
git clone -q "$GIT_URL/app.git" app
echo 2 >app/two; git -C app add -A; git -C app commit -qm two
check "a push" git -C app push -q
d2=$(deployment_of app)
check "is another deployment" test "$d1" != "$d2"
check "rollback to the first" event app activate deployment_id="$d1"
check "it serves" is "$d1" deployment_of app
check "without a build" is 2 node_log -s '[.[] | select(.event=="build")] | length'
check "the branch is where it was pushed" is "$(git -C app rev-parse HEAD)" bash -c "git ls-remote $GIT_URL/app.git master | cut -f1"
check "deploy of the branch by name" api POST "$A/app/deployments" ref=master
check "of an unknown ref is refused" bash -c "$(declare -f api); WORLD=$WORLD URL=$URL; ! api POST $A/app/deployments ref=nonsense"
for i in $(seq 11); do echo "$i" >app/two; git -C app commit -qam "$i"; git -C app push -q 2>/dev/null; done
count() { api GET "$A/app/deployments" | jq '.data | length'; }
check "ten deployments are kept" until_true is 10 count
digests() { state '[.layers[]][0].digests | length'; }
check "and the layers of ten" until_true is 10 digests

# --- a canary: a deployment beside the one that serves
shares() { route app | jq -c '[.canary_percent // 0, ([.endpoints[] | select(.canary)] | length), (.endpoints | length)]'; }
canary_of() { api GET "$A/app" | jq -r "$1"; }
push() { echo "$1" >app/two; git -C app commit -qam "$1"; git -C app push -q 2>"$WORLD/push.log"; }
served() { api GET "$A/app/deployments" | jq -c '[.data[] | select(.share > 0) | .share] | sort'; }
check "each push becomes a canary from now on" api PUT "$A/app" canary_percent=10
d1=$(deployment_of app)
check "a push" push first
check "says that it is one" grep -q "is a canary: it gets 10 % of the clients" "$WORLD/push.log"
check "the branch is where it was pushed" is "$(git -C app rev-parse HEAD)" bash -c "git ls-remote $GIT_URL/app.git master | cut -f1"
check "both are on the route" is '[10,1,2]' shares
check "what served serves" is "$d1" deployment_of app
check "the application tells" is "10 serving" canary_of '.data.canary | "\(.percent) \(.state)"'
check "so does the list" is "[10,90]" served
d2=$(canary_of .data.canary.deployment_id)
check "restart: of both" event app restart
check "they are on the route" is '[10,1,2]' shares
check "the old ones go" until_true is 2 live_instances
check "scale up: both in each gear" event app scale-up to=3
check "six endpoints" until_true is '[10,3,6]' shares
check "scale down" event app scale-down to=1
check "two endpoints" until_true is '[10,1,2]' shares
check "and instances" until_true is 2 live_instances
old=$(endpoint_ids app)
check "another share" event app canary percent=40
check "is in the route at once" is '[40,1,2]' shares
check "with the same instances" test "$(endpoint_ids app)" = "$old"
check "none: it runs and serves nobody" event app canary percent=0
check "off the route" is '[0,0,1]' shares
check "it runs on" is 2 live_instances
check "all: the other runs on" event app canary percent=100
check "one endpoint, another one" is '[0,0,1]' shares
check "both run" is 2 live_instances
check "all of the clients get it" is "[100]" served
check "it is not stopped to sleep" bash -c "$(declare -f api); WORLD=$WORLD URL=$URL; ! api POST $A/app/events event=idle level=stopped"
event app canary percent=20
check "a push takes the place of the canary" push second
check "and says so" grep -q "takes the place of the canary $d2" "$WORLD/push.log"
check "with its share" is '[20,1,2]' shares
check "the one before goes" until_true is 2 live_instances
d3=$(canary_of .data.canary.deployment_id)
before=$(endpoint_ids app)
check "promote" event app promote
check "it is what serves" is "$d3" deployment_of app
check "nothing was started for it" is "true" jq -n --argjson a "$before" --argjson b "$(endpoint_ids app)" '($b - $a) == []'
check "alone" is '[0,0,1]' shares
check "the old one goes" until_true is 1 live_instances
check "an earlier deployment as canary" event app canary deployment_id="$d2" percent=50
check "on the route" is '[50,1,2]' shares
check "stop" event app stop
check "start" event app start
check "both serve again" until_true is '[50,1,2]' shares
check "what serves is no canary" bash -c "$(declare -f api); WORLD=$WORLD URL=$URL; ! api POST $A/app/events event=canary deployment_id=$d3"
check "abort" event app abort
check "the other serves" is "$d3" deployment_of app
check "alone again" is '[0,0,1]' shares
check "the canary's instance goes" until_true is 1 live_instances
check "rollback is to what served all" bash -c "$(declare -f api); WORLD=$WORLD URL=$URL; api POST $A/app/events event=rollback >/dev/null"
check "not to a canary" is "$d1" deployment_of app
check "there is none to abort" bash -c "$(declare -f api); WORLD=$WORLD URL=$URL; ! api POST $A/app/events event=abort"
check "a rollback ends a canary" event app canary deployment_id="$d2"
check "at once" event app activate deployment_id="$d3"
check "nothing of it is left" is '[0,0,1] null' bash -c "$(declare -f shares route canary_of api); WORLD=$WORLD URL=$URL A=$A; echo \$(shares) \$(canary_of .data.canary)"
check "no canaries any more" api PUT "$A/app" canary_percent=0

echo release >app/Procfile; printf 'release: migrate\nweb: x\n' >app/Procfile; git -C app add -A; git -C app commit -qm rel; git -C app push -q 2>/dev/null
released() { node_log -s '[.[] | select(.event=="instance" and .release != "") | .id] | unique | length'; }
check "the release command runs in one instance" is 1 released
event app restart
check "not with a restart" is 1 released

# --- a router that is slow to drain
sleepers=$(endpoint_ids app | jq -r '.[0]')
echo "$sleepers" >draining
event app restart
report() { state "[.instances[] | select(.id==\"$sleepers\" and .want==\"present\")] | length"; }
check "an instance that still serves requests is not stopped" is 1 report
: >draining
api POST domain/it/applications name=nudge cartridge=static-1.0 >/dev/null # any new revision makes the router report
check "but once the router is done with it" until_true is 0 report

# --- a node that is away
kill -9 "$NODE_PID"; wait "$NODE_PID" 2>/dev/null
check "without its node a push is refused in words" bash -c "echo z >>app/two; git -C app commit -qam z; ! git -C app push >$WORLD/push.log 2>&1; grep -q 'is not connected' $WORLD/push.log"
engine_node
until_true bash -c "tail -3 $WORLD/up.log | grep -q feed_opened"
check "and works when it is back" git -C app push -q

# --- deletion
check "delete" api DELETE "$A/app"
check "the route is gone" is null route app
gone() { state "[.instances[], .gears[] | select(.app_id != null and .app_name != \"nudge\" and .want != \"gone\")] | length"; }
check "its gear is gone from the node" until_true is 1 state '.gears | length'
check "its repository is gone" until_true is 0 bash -c "ls -d $WORLD/data/git/*.git 2>/dev/null | wc -l"
check "its layers are not kept" until_true is 1 state '.layers | length'
check "its gear does not count" is 1 quota
check "delete the other" api DELETE "$A/nudge"
check "nothing counts" is 0 quota
check "nothing is left on the node" until_true is 0 state '[.gears, .instances, .layers | length] | add'
check "the domain can be deleted" api DELETE domain/it
kill "$BROKER_PID"; wait "$BROKER_PID"; status=$?
check "the broker ends when asked" test $status = 0
done_testing
