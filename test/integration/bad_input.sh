#!/bin/bash
# Bad input gets the right status, a message that names the field and the fix, and nothing is half
# done.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_up
admin=$(<"$WORLD/data/admin-password")
rest=$BROKER/broker/rest

# api STATUS EXIT FIELD METHOD PATH [BODY]: asks the API and compares.
api() {
	local status=$1 code=$2 field=$3 method=$4 path=$5 body=${6:-} out
	out=$(curl -sS -m 30 -u "admin:$admin" -X "$method" -H 'Content-Type: application/json' \
		-H 'Accept: application/json' ${body:+--data-binary "$body"} -w '\n%{http_code}' "$rest/$path") || return 1
	[[ $(tail -1 <<<"$out") == "$status" ]] || { echo "$out"; return 1; }
	[[ $code == - ]] && return
	sed '$d' <<<"$out" | jq -e --argjson code "$code" --arg field "$field" \
		'[.messages[] | select(.severity == "error" and .exit_code == $code and ($field == "" or .field == $field) and (.text | length) > 10)] | length > 0' \
		>/dev/null || { echo "$out"; return 1; }
}

check "an app" p app create good static
check "app name with a dash" api 422 105 name POST domain/it/applications '{"name":"a-b","cartridges":["static"]}'
check "app name too long" api 422 105 name POST domain/it/applications \
	'{"name":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","cartridges":["static"]}'
check "app name taken" api 422 100 name POST domain/it/applications '{"name":"good","cartridges":["static"]}'
check "app name in capitals is the same" api 422 100 name POST domain/it/applications '{"name":"GOOD","cartridges":["static"]}'
check "unknown cartridge" api 422 109 cartridge POST domain/it/applications '{"name":"x","cartridges":["cobol"]}'
check "no cartridge" api 422 109 cartridge POST domain/it/applications '{"name":"x"}'
check "name of the wrong type" api 422 105 name POST domain/it/applications '{"name":[1],"cartridges":["static"]}'
check "a body that is no JSON" api 400 - "" POST domains '{"name":'
check "a body that is no object" api 400 - "" POST domains '[1]'
check "domain name too long" api 422 106 name POST domains '{"name":"aaaaaaaaaaaaaaaaa"}'
check "domain taken" api 422 103 id POST domains '{"name":"it"}'
check "domain with apps" api 422 128 "" DELETE domain/it
check "unknown domain" api 404 127 "" GET domain/nope
check "unknown app" api 404 101 "" GET domain/it/application/nope
check "unknown event" api 422 126 event POST domain/it/application/good/events '{"event":"dance"}'
check "no event" api 422 126 event POST domain/it/application/good/events '{}'
check "scale an app that is not scalable" api 422 - "" POST domain/it/application/good/events '{"event":"scale-up"}'
check "bad variable name" api 422 188 "" POST domain/it/application/good/environment-variables '{"name":"1A","value":"x"}'
check "variable without value" api 422 190 "" POST domain/it/application/good/environment-variables '{"name":"A"}'
check "reserved variable" api 422 188 "" POST domain/it/application/good/environment-variables '{"name":"PATH","value":"x"}'
check "keep_deployments out of range" api 422 1 keep_deployments PUT domain/it/application/good '{"keep_deployments":0}'
check "bad branch name" api 422 1 deployment_branch PUT domain/it/application/good '{"deployment_branch":"a..b"}'
check "unknown deployment" api 404 1 "" GET domain/it/application/good/deployment/00000000
check "unknown path" api 404 - "" GET no/such/thing

huge() { # 100 MB of JSON: refused, and the broker's memory stays
	local pid before after status
	pid=$(child_pid pinion-broker)
	before=$(awk '/^VmHWM/{print $2}' "/proc/$pid/status")
	status=$( (printf '{"name":"'; head -c 100000000 /dev/zero | tr '\0' a; printf '"}') |
		curl -sS -m 60 -u "admin:$admin" -X POST -H 'Content-Type: application/json' -H 'Expect:' --data-binary @- \
			-o /dev/null -w '%{http_code}' "$rest/domains")
	after=$(awk '/^VmHWM/{print $2}' "/proc/$pid/status")
	echo "status $status, peak $before -> $after kB"
	[[ $status == 413 ]] && ((after - before < 20000))
}
check "100 MB of JSON" huge
deep() {
	local body
	body=$(printf '[%.0s' $(seq 100000))
	api 400 - "" POST domains "@-" <<<"$body"
}
check "deep nesting" deep
check "not UTF-8" api 400 - "" POST domains $'{"name":"\xff"}'
check "a version that is not there" test "$(curl -sS -o /dev/null -w '%{http_code}' -u "admin:$admin" -H 'Accept: application/json;version=9.9' "$rest/user")" = 406
check "no credentials" test "$(curl -sS -o /dev/null -w '%{http_code}' "$rest/user")" = 401
check "the challenge is Basic" grep -qi '^www-authenticate: basic' <(curl -sS -D - -o /dev/null "$rest/user")
check "wrong password" test "$(curl -sS -o /dev/null -w '%{http_code}' -u admin:wrong "$rest/user")" = 401

printf 'ada password 1' >"$WORLD/ada"
check "another user" p user create ada --password-file "$WORLD/ada"
check "ada logs in" p login "$BROKER" --user ada --password-file "$WORLD/ada"
check "someone else's app is not found" fails_with 4 "not found" p app show it/good
check "someone else's domain is not found" fails_with 4 "not found" p domain delete it --yes
check "ada may not list users" fails_with 6 "" p user list
ada_clone() { git clone "$BROKER/git/it/good.git" "$WORLD/stolen"; }
git config --global "credential.$BROKER.helper" "!$PINION_BUILDDIR/pinion git-credential"
check "someone else's repository is not found" fails_with 128 "not found" ada_clone
guess() {
	local i status
	for i in $(seq 40); do
		status=$(curl -sS -o /dev/null -w '%{http_code}' -u "ada:guess$i" "$rest/user")
		[[ $status == 429 ]] && return
	done
	echo "40 guesses, still $status"
	return 1
}
check "guessing passwords is slowed down" guess
check "a token still works meanwhile" p whoami
login_admin
check "no app was left by all that" test "$(p app list --json | jq -r '.[].name')" = good
check "one gear is counted" test "$(p whoami --json | jq .consumed_gears)" = 1
done_testing
