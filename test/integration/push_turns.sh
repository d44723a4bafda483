#!/bin/bash
# Pushes at once, pushes whose client goes away, large packs: against the broker alone.
. "$(dirname "$0")/../lib/world.sh"
. "$(dirname "$0")/../lib/engine_world.sh"
# Freed memory that a sanitizer holds back is no growth.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=2
engine_up
cd "$WORLD" || exit 1

said() { grep -qF -- "$2" "$1" || { cat "$1"; return 1; }; }
builds() { node_log -s --arg a "$1" '[.[] | select(.event=="build" and .app==$a)] | length'; }
more_builds() { test "$(builds "$1")" -gt "$2"; }
log_has() { grep -qF -- "$2" "$1"; }
rss_kb() { awk '/^VmRSS/ {print $2}' "/proc/$BROKER_PID/status"; }

api POST domain/it/applications name=app cartridge=static-1.0 >/dev/null
api POST domain/it/applications name=two cartridge=static-1.0 >/dev/null
git clone -q "$GIT_URL/app.git" a
for c in b c; do cp -r a $c; done
# repo DIR FILE: a commit on a branch of its own whose build waits for FILE
slow() { (cd "$1" && echo "$WORLD/go.$1" >BUILD_WAITS && echo "$1" >who && git add -A && git commit -qm "$1"); }
for c in a b c; do slow $c; done
git -C a push --force >"$WORLD/a.log" 2>&1 & A=$!
check "the first push builds" until_true log_has a.log waiting
git -C b push --force >"$WORLD/b.log" 2>&1 & B=$!
check "the second is told its place" until_true log_has b.log "next in line"
git -C c push --force >"$WORLD/c.log" 2>&1 & C=$!
check "the third takes its place" until_true log_has c.log "next in line"
check "the second ends" until_true bash -c "! kill -0 $B"
wait $B
check "refused by name" said b.log "! [remote rejected] master -> master (replaced by a newer push)"
touch go.a go.c
wait $A; a=$?
wait $C; c=$?
check "the first was deployed" test $a = 0
# Both were made from the same state: the branch moved under the third, which no force can know.
check "the third is told that the branch moved" said c.log "fetch first"
check "the branch is the first's" test "$(git ls-remote "$GIT_URL/app.git" master | cut -f1)" = "$(git -C a rev-parse HEAD)"
check "the third can be pushed again" bash -c "git -C c push --force >$WORLD/c.log 2>&1"
check "and is the branch now" test "$(git ls-remote "$GIT_URL/app.git" master | cut -f1)" = "$(git -C c rev-parse HEAD)"

# --- one who pushes again on top, while the first still builds
rm -f go.c
(cd c && echo 1 >again && git add -A && git commit -qm again1)
git -C c push >"$WORLD/c1.log" 2>&1 & A=$!
until_true log_has c1.log waiting
(cd c && echo 2 >again && git add -A && git commit -qm again2)
git -C c push >"$WORLD/c2.log" 2>&1 & B=$!
until_true log_has c2.log "next in line"
touch go.c; wait $A; a=$?; wait $B; b=$?
check "a push on top of one that still builds waits and is deployed" test $a$b = 00

# --- two apps side by side
rm -f go.a go.b
git clone -q "$GIT_URL/app.git" one; git clone -q "$GIT_URL/two.git" other
(cd one && echo "$WORLD/go.a" >BUILD_WAITS && echo 1 >n && git add -A && git commit -qm 1)
(cd other && echo "$WORLD/go.b" >BUILD_WAITS && echo 1 >n && git add -A && git commit -qm 1)
git -C one push >one.log 2>&1 & A=$!
git -C other push >other.log 2>&1 & B=$!
check "pushes to two apps build side by side" bash -c "cd $WORLD; $(declare -f until_true log_has); DEADLINE=$DEADLINE; until_true log_has one.log waiting && until_true log_has other.log waiting"
touch go.a go.b; wait $A; a=$?; wait $B; b=$?
check "both are deployed" test "$a$b" = 00

# --- the client goes away
rm -f go.a
(cd one && echo 2 >n && git commit -qam 2)
n=$(builds app)
setsid git -C one push >one.log 2>&1 & A=$!
until_true log_has one.log waiting
kill -9 -- -$A; wait $A 2>/dev/null
touch go.a
want=$(git -C one rev-parse HEAD)
moved() { test "$(git ls-remote "$GIT_URL/app.git" master | cut -f1)" = "$want"; }
check "a client that goes away changes nothing: the push is done" until_true moved
check "and no git process is left" until_true bash -c "! pgrep -P $BROKER_PID git"

# --- the client goes away in the middle of its pack
(cd other && head -c 3000000 /dev/urandom >big && rm BUILD_WAITS && git add -A && git commit -qm big)
before=$(git ls-remote "$GIT_URL/two.git" master)
timeout -s KILL 20 bash -c "cd other; { printf '00a9%s %s refs/heads/master\\0 report-status side-band-64k object-format=sha1 agent=x    ' $(git -C other rev-parse HEAD~1) $(git -C other rev-parse HEAD); printf 0000; git pack-objects --revs --stdout --thin <<<'HEAD' 2>/dev/null | head -c 1000000; } | curl -s -m 5 -u admin:secret-of-admin -T - -H 'Content-Length: 5000000' -H 'Transfer-Encoding:' -X POST -H 'Content-Type: application/x-git-receive-pack-request' $URL/git/it/two.git/git-receive-pack -o /dev/null"
check "a truncated pack moves nothing" test "$(git ls-remote "$GIT_URL/two.git" master)" = "$before"
check "the quarantine is gone" until_true bash -c "! ls -d $WORLD/data/git/*/objects/tmp_objdir-* 2>/dev/null | grep ."
check "the whole push works then" git -C other push -q

# --- a pusher who does not read what the build says
(cd one && echo 40000 >BUILD_FLOODS && rm -f BUILD_WAITS && git add -A && git commit -qm flood)
git -C one pull -q --rebase 2>/dev/null
before=$(rss_kb) n=$(builds app)
mkfifo pipe
git -C one push >pipe 2>&1 & A=$!
exec 9<pipe
until_true more_builds app "$n"
settled() { test "$(node_log -s '[.[] | select(.event=="instance")][-1].state')" = '"ready"'; }
moved() { test "$(git ls-remote "$GIT_URL/app.git" master | cut -f1)" = "$(git -C one rev-parse HEAD)"; }
check "a pusher who does not read holds up nobody" until_true moved
peak=$(rss_kb)
echo "# flood: before $before kB, after $peak kB"
check "and costs little memory" test $((peak - before)) -lt 30000
cat <&9 >flood.log & C=$!
exec 9<&-
wait $A; a=$?; wait $C
check "the push ends well when they read again" test $a = 0
check "and says what was skipped" said flood.log "lines were skipped"

# --- a large pack, without growth of memory
(cd other && for i in 1 2 3 4; do head -c 50000000 /dev/urandom >"big$i"; done && git add -A && git commit -qm huge)
before=$(rss_kb)
git -C other push >big.log 2>&1 & A=$!
peak=$before
while kill -0 $A 2>/dev/null; do r=$(rss_kb); ((r > peak)) && peak=$r; sleep 0.05; done
wait $A; a=$?
check "a push of 200 MB works" test $a = 0
echo "# RSS before $before kB, peak $peak kB"
check "the broker's memory grew by less than half of it" test $((peak - before)) -lt 100000
git clone -q "$GIT_URL/two.git" back >clone.log 2>&1 & A=$!
peak=$before
while kill -0 $A 2>/dev/null; do r=$(rss_kb); ((r > peak)) && peak=$r; sleep 0.05; done
wait $A; a=$?
echo "# clone: peak $peak kB"
check "it can be cloned" test $a = 0 -a -s back/big4
check "which costs no memory either" test $((peak - before)) -lt 100000
kill "$BROKER_PID"; wait "$BROKER_PID"; status=$?
check "the broker ends when asked" test $status = 0
engine_start --pack-max-mb 1
until_true bash -c "tail -5 $WORLD/up.log | grep -q feed_opened"
(cd other && head -c 3000000 /dev/urandom >again && git add -A && git commit -qm again)
check "a pack above the limit is refused" bash -c "! git -C other push >$WORLD/big.log 2>&1"
done_testing
