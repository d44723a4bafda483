#!/bin/bash
# The marker hot_deploy: a push puts the new tree into the instance that serves, which is not stopped and
# loses no request; its hooks run; what dies later starts with what was deployed last.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_faults
world_up

check "an app" p app create hot static
ID=$(p app show hot --json | jq -r .id)
DATA=$WORLD/data/node/gears/$ID/data
clone hot
cd "$WORLD/hot" || exit 1
mkdir -p .openshift/{markers,action_hooks}
touch .openshift/markers/hot_deploy
hook() { printf '#!/bin/bash\n%s\n' "$2" >".openshift/action_hooks/$1"; chmod +x ".openshift/action_hooks/$1"; }
for name in pre_start pre_stop deploy post_deploy; do
	hook $name "echo $name \$(cat ~/app-root/runtime/.state) >>\"\${OPENSHIFT_DATA_DIR}calls\""
done
echo one >index.html
echo old >gone.html
cd / || exit 1
web() { basename "$(ls -d "$WORLD/data/node/gears/$ID/inst/"*-* | tail -n 1)"; }
server() { find /sys/fs/cgroup -path "*/pinion/$(node_tag)/$ID/*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -nu | tr '\n' ' '; }
push_app hot one
check "the first push with the marker" serves hot / one
was=$(web) procs=$(server)
: >"$DATA/calls"
ask() { while [[ ! -e $WORLD/enough ]]; do [[ $(status_of hot /) == 200 ]] || echo bad; echo asked; done >"$WORLD/asked"; }
ask &
ASK=$!
for n in 2 3 4; do
	echo "page $n" >"$WORLD/hot/index.html"
	rm -f "$WORLD/hot/gone.html"
	check "hot push $n" push_app hot "hot $n"
	check "is served" until_true serves hot / "page $n"
done
touch "$WORLD/enough"
wait "$ASK"
echo "# $(wc -l <"$WORLD/asked") requests"
check "no request failed" eval '! grep -q bad "$WORLD/asked" && [[ $(wc -l <"$WORLD/asked") -gt 3 ]]'
check "in the same instance" test "$(web)" = "$was"
check "by the same processes" test "$(server)" = "$procs"
check "a file that was removed is gone" test "$(status_of hot /gone.html)" = 404
check "hooks of a deployment ran, those of start and stop did not" test "$(tr '\n' , <"$DATA/calls")" = "$(printf 'deploy deploying,post_deploy started,%.0s' 1 2 3)"
push_app hot again
check "the pusher is told" grep -q "Not stopping cartridge static because hot deploy is enabled" "$WORLD/push.log"
check "twice" grep -q "Not starting cartridge static because hot deploy is enabled" "$WORLD/push.log"
check "the deployment is recorded" eval 'p deployments hot --json | jq -e "last | .hot_deploy and (.activations | length == 1)" || { p deployments hot --json; false; }'

# --- it dies: the next start has what was deployed last ---
kill -9 $(server) 2>/dev/null
check "what died comes back with the last deployment" until_true serves hot / "page 4"
check "restart too" eval 'p app restart hot && serves hot / "page 4"'

# --- a deployment that fails ---
(cd "$WORLD/hot" && echo "page 5" >index.html && hook deploy "exit 3")
check "one whose hook fails is refused" eval '! push_app hot bad && grep -q "hot deployment failed" "$WORLD/push.log" || { cat "$WORLD/push.log"; false; }'
check "what served before serves" until_true serves hot / "page 4"
(cd "$WORLD/hot" && hook deploy "exit 0")
check "the next one is put in" eval 'push_app hot good && until_true serves hot / "page 5"'
check "rollback" eval 'p config hot keep_deployments 5 >/dev/null 2>&1; (cd "$WORLD/hot" && echo "page 6" >index.html); push_app hot six && until_true serves hot / "page 6" && p rollback hot && until_true serves hot / "page 5"'
was=$(web)
check "a restore stops all, whatever the marker says" eval 'p snapshot save hot -f "$WORLD/hot.tar.gz" && p snapshot restore hot -f "$WORLD/hot.tar.gz" && until_true test ! -e "$WORLD/data/node/gears/$ID/inst/$was" && serves hot / page'

# --- kill -9 on the way ---
n=6
for point in hot_tell hot_laid_out hot_done rollout_switch rollout_switched; do
	((++n))
	arm "$point"
	(cd "$WORLD/hot" && echo "page $n" >index.html)
	push_once() { push_app hot "$point" || push_app hot "$point"; }
	check "dies at $point: it is pushed" until_true push_once
	check "dies at $point: it is served" until_true serves hot / "page $n"
	check "$point was passed" passed
done

# --- the marker counts for the push that has it ---
was=$(web)
(cd "$WORLD/hot" && git rm -q .openshift/markers/hot_deploy && echo "page cold" >index.html)
check "a push without the marker" push_app hot cold
check "is served" until_true serves hot / "page cold"
check "by another instance" until_true eval '[[ $(web) != "$was" ]]'
cold=$(git -C "$WORLD/hot" rev-parse HEAD)
check "and recorded so" eval 'p deployments hot --json | jq -e --arg s "$cold" "map(select(.sha1 as \$x | \$s | startswith(\$x)) | .hot_deploy) == [false]" || { p deployments hot --json; false; }'
done_testing
