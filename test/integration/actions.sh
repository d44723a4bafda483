#!/bin/bash
# start, stop, restart, force-stop, reload, tidy, status, thread-dump: of an application, of one
# cartridge, of one gear; what sleeps is woken for it; a failure says what the script said.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
export PINION_ROUTER_TRAFFIC_INTERVAL=100
world_up

check "an app" p app create act nodejs
check "status of a running app" p app status act
check "tidy" p app tidy act
check "reload" p app reload act
check "it serves" test "$(status_of act /)" = 200
check "what sleeps is woken for its status" eval 'p idle act && p app status act && [[ $(p app show act --json | jq -r .sleep) == awake ]]'
check "no thread dump of nodejs" fails_with 2 "thread dump" p app thread-dump act
GEAR=$(p app show act --json | jq -r .id)
check "one gear" p app status act --gear "$GEAR"
check "another gear is refused" fails_with 4 "no such gear" p app status act --gear 000000000000000000000000
check "an unknown cartridge is refused" fails_with 4 "not found" p app restart act --cartridge nope
clone act
cat >"$WORLD/act/server.js" <<'JS'
process.on("SIGTERM", () => console.log("I will not stop"));
require("node:http").createServer((q, r) => r.end("hello")).listen(process.env.PORT, process.env.HOST);
JS
mkdir -p "$WORLD/act/.openshift/action_hooks"
printf '#!/bin/bash\necho "the hook says no"; exit 7\n' >"$WORLD/act/.openshift/action_hooks/pre_tidy"
chmod +x "$WORLD/act/.openshift/action_hooks/pre_tidy"
check "an app that ignores SIGTERM and refuses to be tidied" push_app act "stubborn"
check "tidy fails with what its hook said" fails_with 2 "the hook says no" p app tidy act
begun=$SECONDS
check "it is stopped by force" p app force-stop act
check "at once ($((SECONDS - begun)) s)" test $((SECONDS - begun)) -lt 15
check "it answers 503" test "$(status_of act /)" = 503
check "a stopped app has no status" fails_with 2 "" p app status act
check "start" p app start act
check "it serves" serves act / hello
p app stop act >"$WORLD/stop" 2>&1 &
STOP=$!
until_true grep -q "to=stopping" "$WORLD/up.log"
begun=$SECONDS
check "a stop that hangs is ended by force" p app force-stop act
wait "$STOP"
check "at once ($((SECONDS - begun)) s)" test $((SECONDS - begun)) -lt 15
check "start again" p app start act
check "it serves again" serves act / hello
done_testing
