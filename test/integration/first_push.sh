#!/bin/bash
# From nothing to a page, step by step as the tutorial tells: app, clone, push, logs, variables,
# rollback, stop and start, delete; then the same applications after a restart of everything.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_up

check "a second up on the same directory is refused" fails_with 9 "another 'pinion up'" \
	p up --data "$WORLD/data" --listen 127.0.0.1:0 --router-listen 127.0.0.1:0
check "the password file is private" test "$(stat -c %a "$WORLD/data/admin-password")" = 600
check "an app is created" p app create hello static
check "its URL serves the template" serves hello / "<html"
check "clone" clone hello
echo '<html>version one</html>' >"$(git -C "$WORLD/hello" ls-files --full-name | sed "s,^,$WORLD/hello/," | grep -m1 index.html)"
check "push" push_app hello "one"
check "the push tells the URL" grep -q "hello-it.$DOMAIN" "$WORLD/push.log"
check "the new page is served" serves hello / "version one"
echo '<html>version two</html>' >"$(find "$WORLD/hello" -name index.html | head -1)"
check "push again" push_app hello "two"
check "the second page is served" serves hello / "version two"
check "roll back" p rollback hello
check "the first page is served" serves hello / "version one"
check "roll forward by rolling back again" p rollback hello
check "the second page is served again" serves hello / "version two"

check "a nodejs app is created" p app create web nodejs
check "its template is served" test "$(status_of web /)" = 200
check "clone it" clone web
cat >"$WORLD/web/server.js" <<'JS'
const http = require("node:http");
console.log("started with", process.env.GREETING);
http.createServer((q, r) => r.end(`${process.env.GREETING || "none"} ${process.pid}`))
	.listen(process.env.PORT, process.env.HOST);
JS
check "push it" push_app web "say the greeting"
check "no greeting yet" serves web / "none"
cd "$WORLD/web" || exit 1
check "set a variable from inside the clone" p env set GREETING=bonjour
check "it is in force" serves web / bonjour
check "the list shows it" grep -q bonjour <(p env list)
printf 'secret value' >"$WORLD/secret"
check "set a secret from a file" p env set TOKEN --value-file "$WORLD/secret"
check "unset" p env unset GREETING
check "it is gone" serves web / none
check "logs show what it printed" grep -q "started with bonjour" <(p logs -n 200)
check "stop" p app stop
check "a stopped app answers 503" test "$(status_of web /)" = 503
check "start" p app start
check "it serves again" serves web / none
check "restart" p app restart
check "deployments" grep -q master <(p deployments; git branch --show-current)
cd / || exit 1

world_stop
check "nothing is mounted after the stop" nothing_left '^(cgroup|mount|loop|link)'
world_start
check "up again on the same directory" login_admin
check "the static app is back" until_true serves hello / "version two"
check "the nodejs app is back" until_true serves web / none

check "delete" p app delete hello --yes
check "its URL answers 404" test "$(status_of hello /)" = 404
check "it is not listed" test -z "$(p app list --json | jq -r '.[].name' | grep -x hello)"
check "delete the other" p app delete web --yes
check "nothing of them is left" nothing_left '^(mount [^ ]*/gears/|loop|link|gear|scratch)'
check "delete the domain" p domain delete it --yes
done_testing
