#!/bin/bash
# The tutorial of the README, line by line as it stands there, against a real `pinion up`; only
# addresses and directories are those of this test, and what is typed comes from a file.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_new
world_start

echo "a long password of ada" >"$WORLD/typed"
printf '#!/bin/sh\nprintf "\\n// Something else\\n" >>"$1"\n' >"$WORLD/editor"
chmod +x "$WORLD/editor"

# Lines of the code blocks of the tutorial, but those that build and start Pinion.
tutorial() {
	awk '/^## / { on = $2 == "Tutorial" }
		on && /^```/ { inside = !inside; next }
		on && inside' "$PINION_SRCDIR/README" |
		grep -vE '^(script/|autoreconf|make install|pinion up )'
}

as_here() {
	sed -e "s,http://127\.0\.0\.1:8000,$BROKER,g" -e "s,:8080/,:${ROUTER##*:}/,g" \
		-e "s,/var/lib/pinion/,$WORLD/data/,g" \
		-e 's,^pinion app create hello nodejs,& --scale,' \
		-e 's,^pinion logs -f,timeout 5 & || test $? -eq 124,' <<<"$1"
}

export PATH=$PINION_BUILDDIR:$PATH EDITOR=$WORLD/editor
cd "$WORLD" || exit 1
n=0
while IFS= read -r line; do
	[[ -n $line && $line != \#* ]] || continue
	((++n))
	# In this shell, for `cd` is one of them.
	eval "$(as_here "$line")" <"$WORLD/typed" >"$WORLD/out" 2>&1
	status=$?
	check "${line%% #*}" bash -c 'cat "$1"; exit "$2"' - "$WORLD/out" "$status"
	[[ $line != curl* ]] || check "it is the template" grep -qi "<html\|hello\|welcome" "$WORLD/out"
	[[ $line != "git push"* ]] || check "the last line is the URL" \
		grep -q "remote: .*http://hello-lab.apps.localhost" "$WORLD/out"
done < <(tutorial)
check "the tutorial was run" test "$n" -ge 15
cd /
done_testing
