#!/bin/bash
# Every stock web cartridge by API and git: created, asked, changed by a push. The page about writing
# cartridges, followed to the letter; `pinion cartridge lint` and `test` on good and bad ones.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_up

# file of the template that a push changes
declare -A page=([diy]=server.py [go]=main.go [java]=src/main/java/Hello.java [make]=hello.c [nodejs]=server.js
	[perl]=app.psgi [php]=index.php [python]=wsgi.py [ruby]=config.ru [static]=index.html)
for cart in "${!page[@]}"; do
	if ! p app create "t$cart" "$cart" >"$WORLD/create.log" 2>&1; then
		if grep -q "install the Debian package" "$WORLD/create.log"; then
			check "$cart: a node without its programs says which package" true
		else
			check "$cart: created" cat "$WORLD/create.log" /nonexistent
		fi
		continue
	fi
	check "$cart: the template answers" until_true serves "t$cart" / "It works"
	check "$cart: clone" clone "t$cart"
	sed -i 's/It works/It still works/' "$WORLD/t$cart/${page[$cart]}"
	check "$cart: push" push_app "t$cart" "a change"
	check "$cart: the change answers" serves "t$cart" / "It still works"
	p app delete "t$cart" --yes >/dev/null
done
world_stop

# doc/cartridges.md: blocks with a path become files.
mkdir "$WORLD/doc"
cd "$WORLD/doc" || exit 1
awk '/^```/ { if (file) { close(file); file = "" } else if (NF > 1) { file = $2; dir = file; sub("/[^/]*$", "", dir); system("mkdir -p " dir) }; next } file { print > file }' \
	"$PINION_SRCDIR/doc/cartridges.md"
check "the page has a cartridge" test -f hello/metadata/manifest.yml -a -f hello/bin/control
check "a note: not executable yet" grep -q "chmod +x" <(p cartridge lint hello)
chmod +x hello/bin/install hello/bin/control
check "lint finds nothing" test "$(p cartridge lint hello)" = "hello: nothing prevents it from working."
check "the test passes" p cartridge test hello
for c in "$PINION_SRCDIR"/cartridges/*/; do
	check "lint of $(basename "$c")" test "$(p cartridge lint "$c" --json | jq '[.[] | select(.file != "metadata/manifest.yml" or (.text | startswith("Pinion.Needs") | not))] | length')" = 0
done

# Bad ones: what is wrong is named.
cp -r hello bad
sed -i "s/'0.0.1'/0.1/; s/^Categories.*/Categories: [web_framework]\nPublishes: { give-it: { Type: 'ENV:x' } }/" bad/metadata/manifest.yml
echo 'if then' >>bad/bin/control
mkdir bad/env
echo '<%= if %>' >bad/env/OPENSHIFT_HELLO_X.erb
check "lint ends with 1" fails_with 1 "findings prevent it from working" p cartridge lint bad
check "an unquoted version" grep -q "quote the version ('0.1')" <(p cartridge lint bad)
check "a hook that is not there" grep -q "hooks/give-it  *is missing" <(p cartridge lint bad)
check "a script that does not parse" grep -q "bin/control.*syntax error near unexpected token" <(p cartridge lint bad)
check "a template that does not parse" grep -q "X.erb.*no valid ERB" <(p cartridge lint bad)
check "test refuses it as well" fails_with 1 "findings prevent it from working" p cartridge test bad
cp hello/bin/control bad/bin/control
rm -r bad/env
sed -i '/^Cartridge-Short-Name/d' bad/metadata/manifest.yml
check "a manifest without a field names it" grep -q "Cartridge-Short-Name: is required" <(p cartridge lint bad)
check "no directory" fails_with 4 "is no directory" p cartridge lint none
cp -r hello failing
sed -i 's/client_result.*/client_error "no room for it"; exit 3/' failing/bin/install
check "test tells why an install fails" fails_with 1 "no room for it" p cartridge test failing
cp -r hello dying
sed -i 's/^start)/start) echo "cannot start: no reason"; exit 5/' dying/bin/control
check "test tells why a start fails" fails_with 1 "install    FAILED" p cartridge test dying
done_testing
