#!/bin/bash
# Cartridges of test/cartridges, written from the format alone: each is configured, built, started,
# asked, added to a living application and removed by the real daemons.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
command -v erb >/dev/null || { echo "1..0 # SKIP needs ruby"; echo "ok 1 - skipped: needs ruby"; exit 0; }
carts=$(mktemp -d "${TMPDIR:-/tmp}/pinion-carts.XXXXXX")
cp -a "$PINION_SRCDIR/cartridges/." "$PINION_SRCDIR/test/cartridges/." "$carts"
trap 'world_end; rm -rf "$carts"' EXIT
ssh-keygen -q -t rsa -b 2048 -N "" -C "" -f "$carts/asked"
ssh-keygen -q -t rsa -b 2048 -N "" -C "" -f "$carts/asked.domain"
mv "$carts/asked.pub" "$carts/asker/key.pub"
mv "$carts/asked.domain.pub" "$carts/asker/domain.pub"
world_up --cartridges "$carts"
trap 'world_end; rm -rf "$carts"' EXIT

gear_of() { p app show "$1" --json | jq -r '.id // .uuid'; }
data_of() { echo "$WORLD/data/node/gears/$(gear_of "$1")/data"; }
# calls APP: what was called since the last time, on one line each.
calls() { cat "$(data_of "$1")/calls" 2>/dev/null; }
forget_calls() { : >"$(data_of "$1")/calls"; }
has_calls() { # APP CALL…: exactly these, in this order
	local app=$1
	shift
	diff <(printf '%s\n' "$@") <(calls "$app")
}
# act APP JSON: one action on the node; lines, the last one with the result.
act() {
	curl -sS -f -m 60 --unix-socket "$(run_dir)/node.sock" -H "Authorization: Bearer $(<"$WORLD/data/secrets/broker.token")" \
		-H 'Content-Type: application/json' -d "$2" "http://node/v1/gears/$(gear_of "$1")/actions" >"$WORLD/act.json" &&
		[[ -s $WORLD/act.json ]]
}
result() { tail -n 1 "$WORLD/act.json" | jq -e "$1" || { cat "$WORLD/act.json"; return 1; }; }
# instance_of APP: the web instance that runs, as `pinion ps` has it.
instance_of() { p ps "$1" --json | jq -r '.instances[0].instance'; }
in_env() { grep -qxF "$2" "$(data_of "$1")/env.start" || { cat "$(data_of "$1")/env.start"; return 1; }; }

tls_port=$(jq -r .https_url "$WORLD/ready")
tls_port=${tls_port##*:}
# by_https APP PATH: body through the router.
by_https() {
	curl -sS -k -m 20 --resolve "$1-it.$DOMAIN:$tls_port:127.0.0.1" "https://$1-it.$DOMAIN:$tls_port$2"
}
# sent_to_https APP PATH: redirected, to the usual port or, who came by another one, to the router's.
sent_to_https() {
	local to
	to=$(get "$1" "$2" -o /dev/null -w '%{http_code} %{redirect_url}')
	[[ $to == "302 https://$1-it.$DOMAIN$2" ]] || { echo "$to"; return 1; }
	to=$(curl -sS -m 20 -H "Host: $1-it.$DOMAIN:8080" -o /dev/null -w '%{http_code} %{redirect_url}' "${ROUTER%/}$2")
	[[ $to == "302 https://$1-it.$DOMAIN:$tls_port$2" ]] || { echo "$to"; return 1; }
}

# --- tracer: the whole life ---
check "an application of a cartridge that leaves a line for each call" p app create traced tracer
check "the calls of its creation, in order" has_calls traced \
	"setup --version 0.2" "install --version 0.2" \
	"control update-configuration" "control pre-build" "control build" \
	"control update-configuration" "control deploy" "control start" "control post-deploy" \
	"post_install --version 0.2"
uuid=$(gear_of traced)
home=/var/lib/openshift/$uuid
check "its scripts ran as a user named by the gear" grep -qx "$uuid" "$(data_of traced)/post_install_user"
check "the web address reaches the first endpoint" serves traced / "first /"
check "a path leads to another port, by another path" serves traced /admin "admin /inner"
check "with what is below it" serves traced "/admin/x?y=1" "admin /inner/x?y=1"
check "a name that only begins alike does not" serves traced /administrator "first /administrator"
check "a path leads to port 8080 of another address" serves traced /second/y "second /y"
check "and its own page" serves traced /second "second /"
check "health is answered for it" serves traced /health 1
check "gone" test "$(status_of traced /gone/for/ever)" = 410
check "forbidden" test "$(status_of traced /forbidden)" = 403
check "kept from the application" test "$(status_of traced /kept/x)" = 404
check "a file of the node's" test "$(status_of traced /robots.txt)" = 404
check "tohttps: plain http is sent there" sent_to_https traced /safe/x?y
check "and https is proxied" test "first /safely/x?y" = "$(by_https traced /safe/x?y)"
check "a challenge for a certificate stays" test "$(status_of traced /safe/.well-known/acme-challenge/x)" = 302 -a "$(status_of traced /.well-known/acme-challenge/x)" = 200
check "redirected" grep -qi '^location: /elsewhere' <(get traced /moved -D - -o /dev/null)
check "environment: the gear's" in_env traced "OPENSHIFT_APP_NAME=traced"
check "environment: how the platform starts its own is not theirs" fails_with 1 "" in_env traced "PINION_FOREGROUND=1"
check "environment: rendered" in_env traced "OPENSHIFT_TRACER_RENDERED=app traced"
check "environment: identity" in_env traced "OPENSHIFT_TRACER_IDENT=test:tracer:0.2:0.0.1"
check "environment: a value without a newline" in_env traced "TRACER_EXACT=exact"
check "environment: a path element with a tilde comes first" in_env traced "PATH=~/.gem/bin:/opt/tracer:/bin:/usr/bin:/usr/sbin"
check "environment: directories end with a slash" in_env traced "OPENSHIFT_TRACER_DIR=$home/tracer/"
check "environment: equal names share an address" in_env traced "OPENSHIFT_TRACER_ADMIN_PORT=9001"
check "environment: WebSocket port" in_env traced "OPENSHIFT_TRACER_WS_PORT=8081"
check "locked files belong to root" test "$(stat -c %u "$WORLD/data/node/gears/$uuid"/base/tracer.*/tracer/locked_file)" = 0
check "forbidden ones were not made" test ! -e "$WORLD/data/node/gears/$uuid/base/forbidden"

check "status of one cartridge" act traced '{"cart":"tracer","action":"status"}'
check "its text comes as a message" result '.result.ok and (.result.messages == ["CLIENT_RESULT: Tracer is running"])'
check "the tools that scripts call by name" act traced '{"cart":"tracer","action":"tools"}'
said=$(jq -r 'select(.fd == 1) | .text' "$WORLD/act.json")
for line in "scl ok" "scl stdin ok" "scl root ok" "virtualenv moved" "facter 512.00 MB" "registry 4" "cgroup 536870912" "ruby 2" "sdk tracer master" "primary test-tracer-0.2 PORT" \
	"killall 1" "a/c" "run-parts ok" "supervisor ok" "deployments ok" "not hot" "etc ok" "chcon ok" "name ok"; do
	check "tools: $line" grep -qxF "$line" <(printf '%s\n' "$said")
done
if [[ -d /usr/share/nodejs/express ]] && command -v node >/dev/null; then
	check "a module that the node has for all, as v2's nodes had express" p run traced -- node -e '"require(\"express\")"'
fi
check "an action that fails" act traced '{"cart":"tracer","action":"fail-please"}'
check "tells code and words" result '.result.exit_code == 42 and (.result.messages == ["CLIENT_ERROR: asked to fail","CLIENT_MESSAGE: plain words","CLIENT_ERROR: bad words"])'
check "attributes" act traced '{"cart":"tracer","action":"attributes"}'
check "are split at the first equal sign" result '.result.properties == [{"name":"quota_files","value":"5"},{"name":"k","value":"v=w"}]'
check "a hook with arguments" act traced '{"cart":"tracer","hook":"publish-tracer-info","args":["a b","it","uuid"]}'
check "has them" grep -q 'TRACER_INFO=of a b it; args=3' "$WORLD/act.json"
check "a hook that is not there" act traced '{"cart":"tracer","hook":"none"}'
check "is told by v2's code" result '.result.exit_code == 127'
forget_calls traced
check "restart in the living instance" act traced '{"action":"restart"}'
check "is answered at once, though a daemon stays" result '.result.ok'
check "and serves again" until_true serves traced / "first /"
check "the calls of a restart" has_calls traced "control restart" "control stop" "control start"

# --- a push with hooks of all kinds ---
check "clone" clone traced
cd "$WORLD/traced" || exit 1
mkdir -p .openshift/action_hooks
for hook in pre_start post_start pre_build build deploy post_deploy pre_stop; do
	printf '#!/bin/bash\necho "hook %s in ${PWD##*/}" >>"${OPENSHIFT_DATA_DIR}calls"\n' "$hook" >".openshift/action_hooks/$hook"
done
chmod +x .openshift/action_hooks/*
echo 'echo "sourced before start" >>"${OPENSHIFT_DATA_DIR}calls"; export SOURCED=yes' >.openshift/action_hooks/pre_start_tracer
echo 'echo "sourced after, $SOURCED" >>"${OPENSHIFT_DATA_DIR}calls"' >.openshift/action_hooks/post_start_tracer-0.2
echo 'echo "sourced before the dump" >>"${OPENSHIFT_DATA_DIR}calls"' >.openshift/action_hooks/pre_pre-snapshot_tracer
cd / || exit 1
forget_calls traced
check "push" push_app traced "hooks"
check "the calls of a push, in order" until_true has_calls traced \
	"control pre-repo-archive" "control update-configuration" "control pre-build" "hook pre_build in $uuid" "control build" "hook build in $uuid" \
	"control update-configuration" "control deploy" "hook deploy in $uuid" \
	"hook pre_start in $uuid" "sourced before start" "control start" "sourced after, yes" "hook post_start in $uuid" \
	"control post-deploy" "hook post_deploy in $uuid" "control stop"

forget_calls traced
check "restart of the application" p app restart traced
check "asks the cartridge to restart, in a new instance" until_true has_calls traced \
	"control update-configuration" "control deploy" "hook deploy in $uuid" \
	"control restart" "control stop" "control start" "control post-deploy" "hook post_deploy in $uuid" \
	"hook pre_stop in $uuid" "control stop"
forget_calls traced
check "reload of the application" p app reload traced
check "asks what runs to reload" has_calls traced "control reload"
check "it serves on" serves traced / "first /"
forget_calls traced
check "a snapshot" p snapshot save traced -f "$WORLD/traced.tar.gz"
check "asks it before and after" until_true has_calls traced "sourced before the dump" "control pre-snapshot" "control post-snapshot"
check "is restored" p snapshot restore traced -f "$WORLD/traced.tar.gz"
check "which asks it before" grep -qx "pre-restore" "$WORLD/data/node/gears/$uuid/logs/restores"
check "and after, once, before the restored code is deployed" until_true eval '[[ $(calls traced | grep -xE "control (pre-snapshot|start|restart|post-restore|pre-build)" | tr "\n" , ) == *",control post-restore,control pre-build,control start,"* ]]'
check "once" test "$(calls traced | grep -cx "control post-restore")" = 1
check "it serves" serves traced / "first /"

# --- further cartridges in a living application ---
forget_calls traced
check "a plugin is added" eval 'p cartridge add -a traced follower >"$WORLD/added" 2>&1'
check "what it said at its first start reaches the user" grep -q "follower has started" "$WORLD/added"
check "and what post_install did" grep -q "follower is well after its start" "$WORLD/added"
check "its lines reach the user" grep -q "follower" <(p cartridge show -a traced follower)
check "it is configured and started first" until_true grep -q "follower control start" "$(data_of traced)/calls"
check "with its own environment" grep -q "follower control start acting=$home/follower/ var=a=b" "$(data_of traced)/calls"
check "its calls before the roll" test "$(head -n 2 "$(data_of traced)/calls" | tr '\n' ,)" = "follower setup --version 1.0,follower install --version 1.0,"
check "post_install once it runs" grep -qx "follower post_install --version 1.0" "$(data_of traced)/calls"
check "the application serves on" serves traced / "first /"
check "a service that leaves no process and listens nowhere is added too" p cartridge add -a traced mute
check "its start was enough" grep -qx "mute control start" "$(data_of traced)/calls"
check "a restart of it" p cartridge restart mute -a traced
check "it is removed" p cartridge remove -a traced mute --yes
daemons() { for pid in $(pgrep -f 'sleep 76543'); do grep -q "/pinion/$(node_tag)/" "/proc/$pid/cgroup" && return; done; return 1; }
check "what its stop started goes with it" until_true eval '! daemons'
check "one that refuses is refused with its words" fails_with 2 "this application is not liked" p cartridge add -a traced refuser
check "nothing of it is left" test -z "$(find "$WORLD/data/node/gears/$uuid" -name 'refuser*')"
check "one that overrides a variable is refused" fails_with 2 "OPENSHIFT_APP_NAME" p cartridge add -a traced intruder
check "the application serves on after that" serves traced / "first /"
forget_calls traced
check "the plugin is removed" p cartridge remove -a traced follower --yes
check "by its teardown" grep -qx "follower teardown " "$(data_of traced)/calls"
check "the application serves on without it" serves traced / "first /"

# --- what a cartridge asks of the platform ---
env_of() { cat "$WORLD/data/node/gears/$uuid/env/$1"; }
enter() { enter_with asked "$@"; }
enter_with() { timeout 30 ssh -q -i "$WORLD/$1" -p "$(jq -r .ssh_port "$WORLD/ready")" -o IdentitiesOnly=yes -o BatchMode=yes \
	-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "$2@127.0.0.1" "${@:3}"; }
gear_says() { # METHOD PATH [CURL OPTION…]: status of a call with the gear's token
	curl -sS -m 30 -o "$WORLD/said" -w '%{http_code}' -X "$1" "$BROKER/broker/rest/$2" "${@:3}"
}
check "a cartridge whose daemon holds the output" p app create held holder
mv "$carts/asked" "$carts/asked.domain" "$WORLD"
check "a cartridge that asks is added" p cartridge add -a traced asker
check "its variable is the gear's, whole" test "$(env_of ASKED_URL)" = "http://asked/?a=b"
other=$WORLD/data/node/gears/$(gear_of held)/env/ASKED_URL
check "the domain's other applications have it, too" until_true grep -qx "http://asked/?a=b" "$other"
check "what the gear has is not its own" test "$(env_of OPENSHIFT_GEAR_UUID)" = "$uuid"
check "the web instance has it" in_env traced "ASKED_URL=http://asked/?a=b"
check "its key enters the application" eval '[[ $(enter "$uuid" "echo \$ASKED_ONCE") == once ]]'
check "no other one" eval '! enter "$(gear_of held)" true'
check "its key of the domain enters it as well" eval '[[ $(enter_with asked.domain "$uuid" "echo \$ASKED_ONCE") == once ]]'
check "and the domain's other applications" eval '[[ $(enter_with asked.domain "$(gear_of held)" "echo \$OPENSHIFT_APP_NAME") == held ]]'
check "but none of another domain" eval 'p domain create apart && p app create -d apart far static && ! enter_with asked.domain "$(p app show -d apart far --json | jq -r .id)" true'
check "which goes again" eval 'p app delete -d apart far --yes && p domain delete apart'
token=$(<"$WORLD/data/node/gears/$uuid/auth/token")
check "a token lies in the gear" test "$(enter "$uuid" 'cat ~/.auth/token; test -s ~/.auth/iv')" = "$token"
check "the API takes it for the application" test "$(gear_says GET domain/it/application/traced -H "Authorization: Bearer $token")" = 200
check "as v2's header" test "$(gear_says GET domain/it/application/traced -H "broker_auth_key: $token")" = 200
check "as v2's parameter" test "$(gear_says POST domain/it/application/traced/events -d event=start -d "broker_auth_key=$token" -d broker_auth_iv=x)" = 200
check "for no other" test "$(gear_says GET domain/it/application/held -H "broker_auth_key: $token")" = 404
check "for nothing else of it" test "$(gear_says DELETE domain/it/application/traced -H "broker_auth_key: $token")" = 403
check "no wrong one" test "$(gear_says POST domain/it/application/traced/events -d event=start -d broker_auth_key=wrong)" = 401
check "a second cartridge with a name that is taken is refused" fails_with 2 "ASKED_ONCE" p cartridge add -a traced sameasker
check "an action that fails asks in vain" fails_with 2 "" p app tidy traced --cartridge asker
check "an action gives back" p app reload traced --cartridge asker
check "the variable" until_true test ! -e "$WORLD/data/node/gears/$uuid/env/ASKED_ONCE"
check "the key" eval '! enter "$uuid" true'
check "the token" until_true test ! -e "$WORLD/data/node/gears/$uuid/auth/token"
check "which the API takes no more" test "$(gear_says GET domain/it/application/traced -H "broker_auth_key: $token")" = 401
check "the others stay" test "$(env_of ASKED_URL)" = "http://asked/?a=b"
check "and the key of the domain" enter_with asked.domain "$(gear_of held)" true
check "it is removed" p cartridge remove -a traced asker --yes
check "and its key of the domain with it, at once" eval '! enter_with asked.domain "$(gear_of held)" true && ! enter_with asked.domain "$uuid" true'
check "and its variables with it" until_true test ! -e "$WORLD/data/node/gears/$uuid/env/ASKED_URL"
check "from the other applications" until_true test ! -e "$other"
check "the application serves on" serves traced / "first /"

# --- holder ---
check "port 8080 on 127.0.0.1 is found" serves held / "holder's page"
check "its output is in the log" until_true grep -q "asked for /" <(p logs -a held -n 50)
check "a status that is not there" act held '{"cart":"holder","action":"status"}'
check "tells 127" result '.result.exit_code == 127'
check "stop by killall, start, in one call" act held '{"cart":"holder","action":"restart"}'
check "ends at once" result '.result.ok'
check "the daemon lives on" until_true serves held / "holder's page"

# --- sealer: TLS up to the gear ---
check "an application of a cartridge that speaks TLS" p app create sealed sealer
check "plain http is sent to https" sent_to_https sealed /x
check "which reaches the instance by TLS, with the host's name" until_true eval '[[ $(by_https sealed /x) == "8443 TLSv1.3 sealed-it.$DOMAIN /x 1 https" ]]'
check "a scalable one" p app create sealeds sealer --scale
check "of two gears" p scale sealeds 2
check "both are reached by TLS" until_true eval '[[ $(by_https sealeds /x) == "8443 TLSv1.3 sealeds-it.$DOMAIN /x 1 https" ]]'
check "and by its paths" test "8444 TLSv1.3 sealeds-it.$DOMAIN /inner/y 1 https" = "$(by_https sealeds /implied/y)"
check "it goes" p app delete sealeds --yes
check "a path, where https is all that the endpoint speaks" test "8444 TLSv1.3 sealed-it.$DOMAIN /inner/y 1 https" = "$(by_https sealed /implied/y)"
check "one beside it is plain" serves sealed /open/z "8080 plain None /open/z 1 http"
check "of two options the first counts" test "8080 plain None /both 1 https" = "$(by_https sealed /both)"
check "health needs no https" serves sealed /health 1
check "a health check goes by TLS, too" p env set PINION_HEALTH_PATH=/fine --app sealed
check "to the new instance" until_true eval '[[ $(by_https sealed /) == "8443 TLSv1.3"* ]]'
check "after a stop" p app stop sealed
check "and a start" p app start sealed
check "it is TLS still" until_true eval '[[ $(by_https sealed /) == "8443 TLSv1.3"* ]]'
check "asleep, its instances ended" p idle sealed --level stopped
check "and awake by the next request" eval '[[ $(by_https sealed /w) == "8443 TLSv1.3"*" /w "* ]]'
check "delete it" p app delete sealed --yes

# --- apached: Apache as on v2's machines, configured for 2.2 ---
if command -v apache2 >/dev/null; then
	check "an application of a cartridge that runs /usr/sbin/httpd" p app create httpd apached
	check "the page, with the variables passed on" serves httpd / "<p>page of httpd</p>"
	check "rules of 2.2 hold" test "$(status_of httpd /private)" = 403
	check "icons are where Fedora has them" test "$(status_of httpd /icons/text.gif)" = 200
	check "a log's program runs in a shell" until_true grep -q ' 403 /private' "$(data_of httpd)/seen"
	if compgen -G '/usr/lib/apache2/modules/libphp*.so' >/dev/null; then
		check "PHP 5's module is the PHP that there is" serves httpd /page.php "PHP of httpd"
	fi
	if [[ -f /usr/lib/apache2/modules/mod_wsgi.so ]]; then
		check "a collection's mod_wsgi, in the virtual environment" serves httpd /wsgi "WSGI in apached/virtenv"
	fi
	if [[ -f /usr/lib/apache2/modules/mod_passenger.so ]]; then
		check "a collection's Passenger 3 is the one that there is" until_true serves httpd /rack "Rack of httpd"
	fi
	check "status" act httpd '{"cart":"apached","action":"status"}'
	check "finds processes named httpd" result '.result.messages == ["CLIENT_RESULT: Apache is running"]'
	check "restart in place" act httpd '{"action":"restart"}'
	check "is one" result '.result.ok'
	check "and serves" until_true serves httpd / "page of httpd"
	id=$(instance_of httpd)
	check "reload, without its pid file, finds the process by its configuration" p app reload httpd
	check "in the instance that runs" test "$id" = "$(instance_of httpd)"
	check "and serves on" until_true serves httpd / "page of httpd"
	check "stop gracefully" p app stop httpd
	check "start" p app start httpd
	check "and serves again" until_true serves httpd / "page of httpd"
	check "delete it" p app delete httpd --yes
fi

# --- oldsql: MySQL 5 as on v2's machines, by paths of a collection ---
if command -v mariadbd-safe >/dev/null; then
	check "a cartridge that runs MySQL 5's programs" p cartridge add -a traced oldsql
	check "root came in without a password, then only its account does" test "42 oldsql" = "$(p run traced -- \
		'echo "select 6 * 7, substring_index(current_user(), 0x40, 1)" | mysql --skip-column-names -h $OPENSHIFT_OLDSQL_DB_HOST -P $OPENSHIFT_OLDSQL_DB_PORT -u oldsql --password=secret' | tr '\t' ' ')"
	check "status finds mysqld_safe" act traced '{"cart":"oldsql","action":"status"}'
	check "by its name" result '.result.messages == ["CLIENT_RESULT: MySQL is running"]'
	for action in pre-snapshot post-restore; do
		check "its $action ends the server" act traced '{"cart":"oldsql","action":"'$action'"}'
		check "which is no failure" result '.result.ok and .result.messages == ["CLIENT_RESULT: ended for '$action'"]'
		check "and it runs again, in the same instance" act traced '{"cart":"oldsql","action":"status"}'
		check "at once" result '.result.messages == ["CLIENT_RESULT: MySQL is running"]'
	done
	check "it is removed" p cartridge remove -a traced oldsql --yes
fi

# --- javan: Java as on v2's machines, with a template that install changes ---
if [[ -x /usr/bin/javac ]]; then
	check "an application of a cartridge that calls Java with options of its day" p app create coffee javan
	check "was built from the template that install has changed" serves coffee / "coffee in Java"
	check "the second endpoint" serves coffee /admin admin
	check "thread dump" p app thread-dump coffee
	check "is in the log" until_true grep -q "Full thread dump" <(p logs -a coffee -n 500)
	check "Tomcat's listeners of 6 and 7 are left out" test "<Server><Listener className=\"a.B\" /></Server>" = "$(p run coffee -- \
		'cd /tmp && mkdir conf; echo "<Server><Listener className=\"org.apache.catalina.mbeans.ServerLifecycleListener\" /><Listener className=\"org.apache.catalina.core.JasperListener\"/><Listener className=\"a.B\" /></Server>" >conf/server.xml
		$JAVA_HOME/bin/java -Dcatalina.base=$PWD org.apache.catalina.startup.Bootstrap start >/dev/null 2>&1; cat conf/server.xml')"
	check "clone" clone coffee
	check "has what install has changed" grep -q '"coffee in Java"' "$WORLD/coffee/src/Main.java"
	check "and added" grep -qx "settings of the cartridge" "$WORLD/coffee/.openshift/config/settings"
	check "and not what it took away" test ! -e "$WORLD/coffee/only-in-the-source"
	sed -i 's/in Java/once more/' "$WORLD/coffee/src/Main.java"
	check "push" push_app coffee more
	check "serves what was pushed" serves coffee / "coffee once more"
	check "~/.m2 is kept from build to build" test 2 = "$(p run coffee -- 'wc -l <.m2/builds')"
	mkdir -p "$WORLD/coffee/.openshift/markers" && touch "$WORLD/coffee/.openshift/markers/hot_deploy"
	echo "settings that were pushed hot" >"$WORLD/coffee/.openshift/config/settings"
	id=$(instance_of coffee)
	check "a hot push" push_app coffee hot
	check "into what runs" test "$id" = "$(instance_of coffee)"
	check "its deploy" act coffee '{"cart":"javan","action":"deployed"}'
	check "found the dependency directory that no build had made" result '.result.messages == ["CLIENT_RESULT: settings that were pushed hot"]'
	check "delete it" p app delete coffee --yes
	check "its own template goes with it" test -z "$(find "$WORLD/data/broker/git/template/own" -mindepth 1 2>/dev/null)"
fi

# --- one that builds elsewhere ---
check "a builder is added" p cartridge add -a traced builder
forget_calls traced
deployed() { p app show traced --json | jq -r .deployment_id; }
before=$(deployed)
check "a push" push_app traced "for the builder"
check "is its affair" grep -q "built elsewhere" "$WORLD/push.log"
check "and nothing else's" has_calls traced "builder control post-receive"
check "the deployment is as it was" test "$(deployed)" = "$before"
touch "$(data_of traced)/closed"
check "its refusal" fails_with 1 "" push_app traced "refused"
check "is told" grep -q "the builder is closed" "$WORLD/push.log"
check "and nothing has moved" test "$(git -C "$WORLD/traced" ls-remote origin HEAD | cut -f1)" = "$(git -C "$WORLD/traced" rev-parse HEAD~1)"
rm "$(data_of traced)/closed"
touch "$(data_of traced)/broken"
check "what it fails at afterwards is told, and the push stands" push_app traced "broken"
check "with its code" grep -q "builder cartridge did not build" "$WORLD/push.log"
rm "$(data_of traced)/broken"
touch "$(data_of traced)/deploys"
was=$(instance_of traced)
push_app traced "deployed by the builder" &
push=$!
check "it may deploy" until_true test -e "$(data_of traced)/deployed"
check "to new instances" test "$(deployed)" != "$before"
check "while it waits in an old one" act traced '{"cart":"tracer","action":"status"}'
touch "$(data_of traced)/seen"
wait "$push"
check "to the end of its push" test $? = 0
check "and says so" grep -q "deployed from here" "$WORLD/push.log"
rm "$(data_of traced)"/{deploys,deployed,seen}
check "the old one goes then" until_true test ! -e "$WORLD/data/node/gears/$(gear_of traced)/inst/$was"
check "without it" p cartridge remove -a traced builder --yes
check "a push is built here again" push_app traced "built here"
check "as before" grep -q "Deployment completed with status: success" "$WORLD/push.log"

# --- imported ones, and what they begin with ---
# bring VERSION: another version of bringer, prepared by the caller in $WORLD/bringer.
bring() {
	sed -i "s/^Version: .*/Version: '$1'/; s/bringer-1.0/bringer-$1/" "$WORLD/bringer/metadata/manifest.yml"
	p admin cartridge import "$WORLD/bringer"
}
cp -a "$PINION_SRCDIR/test/cartridges/bringer" "$WORLD"
check "import a web cartridge that is a service too" bring 1.1
check "an application of it" p app create brought bringer-1.1
check "has the template below usr" serves brought / "brought below usr"
check "it was only started, as Install-Build-Required says" has_calls brought "control start"
check "delete it" p app delete brought --yes
git init -q --bare -b odd "$WORLD/template.git"
git init -q -b odd "$WORLD/template"
echo "from a repository" >"$WORLD/template/index.html"
git -C "$WORLD/template" add -A && git -C "$WORLD/template" commit -q -m begin && git -C "$WORLD/template" push -q "$WORLD/template.git" odd
rm -r "$WORLD/bringer/usr/template" && mv "$WORLD/template.git" "$WORLD/bringer/usr/template.git"
check "one whose template is a repository" bring 1.2
check "create" p app create brought bringer-1.2
check "has what its head holds" serves brought / "from a repository"
check "clone" clone brought
check "by the application's branch" test "$(git -C "$WORLD/brought" log --format=%s)" = begin
check "delete it, too" p app delete brought --yes
rm -r "$WORLD/bringer/usr"
check "one without a template" bring 1.3
check "begins empty" p app create brought bringer-1.3
check "and serves that" serves brought / "Directory listing"
check "delete the third" p app delete brought --yes
forget_calls traced
check "delete" p app delete traced --yes
check "delete the other" p app delete held --yes
done_testing
