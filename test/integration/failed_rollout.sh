#!/bin/bash
# A push that cannot serve is refused with the reason; what served before serves on; the same commit
# can be pushed again.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_up

# server CODE: the app's server.js
server() { printf '%s\n' "$1" >"$WORLD/app/server.js"; }
good='require("node:http").createServer((q, r) => { r.statusCode = q.url === "/broken" ? 500 : 200; r.end("good one"); }).listen(process.env.PORT, process.env.HOST);'
# refused TEXT…: the push fails, its output holds each text, and the good version serves.
refused() {
	local text
	push_app app "try" && { cat "$WORLD/push.log"; return 1; }
	for text in 'remote rejected' "$@"; do
		grep -qE -- "$text" "$WORLD/push.log" || { echo "no '$text' in:"; cat "$WORLD/push.log"; return 1; }
	done
	serves app / "good one"
}

check "create" p app create app nodejs
check "clone" clone app
server "$good"
check "push what works" push_app app "good"
server 'console.log("last words"); process.exit(3);'
check "an app that crashes at start" refused 'exit|status 3' 'last words'
server 'setInterval(() => {}, 1000); console.log("never listens");'
git -C "$WORLD/app" config push.default current
check "seconds that are none are refused" fails_with 2 PINION_START_TIMEOUT p env set PINION_START_TIMEOUT=soon --app app
check "give a start 5 seconds" p env set PINION_START_TIMEOUT=5 --app app
check "an app that never listens" refused 'never listen|not listen' 'never listens'
check "a health path that the app does not answer well rolls nothing" fails_with 2 '/broken' \
	p env set PINION_HEALTH_PATH=/broken --app app
check "the good one serves on" serves app / "good one"
p env unset PINION_HEALTH_PATH --app app >/dev/null 2>&1
check "set one that is answered" p env set PINION_HEALTH_PATH=/health --app app
server "${good/\/broken/\/health}"
check "an app that answers its health check wrongly" refused 'health|/health' '500'
check "no health path" p env unset PINION_HEALTH_PATH --app app
server 'process.on("SIGTERM", () => console.log("will not stop")); '"$good"
check "an app that does not stop" push_app app "stubborn"
check "give it 1 second" p env set PINION_STOP_TIMEOUT=1 --app app
server "$good"
check "is replaced all the same" push_app app "good again"
printf 'web: node server.js\nrelease: sh -c "echo migrating; exit 7"\n' >"$WORLD/app/Procfile"
server "$good"
check "a release command that fails" refused 'release' 'migrating'
printf 'web: node server.js\nrelease: sh -c "echo migrated >>$OPENSHIFT_DATA_DIR/migrations"\n' >"$WORLD/app/Procfile"
check "one that works" push_app app "release"
printf 'web: node server.js\n' >"$WORLD/app/Procfile"
echo '{"name":"x","scripts":{"start":"node server.js"},"dependencies":{"this-package-does-not-exist-at-all-zz":"1.0.0"}}' >"$WORLD/app/package.json"
check "dependencies that cannot be had" refused 'npm'
done_testing
