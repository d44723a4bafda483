#!/bin/bash
# SSH with the real OpenSSH client: shells, commands, git, copies, forwarded ports, one-off commands;
# keys that come and go, and whoever may not enter.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
for program in ssh scp sftp rsync ssh-keygen openssl; do
	command -v $program >/dev/null || { echo "1..0 # SKIP needs $program"; exit 0; }
done
export PINION_BROKER_DOWNLOAD_ALLOW=127.0.0.1/32
world_up

ssh-keygen -q -t ed25519 -N "" -C "" -f "$WORLD/id"
ssh-keygen -q -t ecdsa -N "" -C "" -f "$WORLD/other"
ssh-keygen -q -t rsa -b 2048 -N "" -C "" -f "$WORLD/rsa"
PORT=$(jq -r .ssh_port "$WORLD/ready")
cat >"$WORLD/ssh_config" <<CONF
StrictHostKeyChecking accept-new
UserKnownHostsFile $WORLD/known
IdentityFile $WORLD/id
IdentitiesOnly yes
IdentityAgent none
LogLevel ERROR
Port $PORT
CONF
export PINION_SSH_CONFIG=$WORLD/ssh_config GIT_SSH_COMMAND="ssh -F $WORLD/ssh_config"

check "an app" p app create web nodejs
ID=$(p app show web --json | jq -r .id)
AT=$ID@127.0.0.1
in_gear() { timeout 30 ssh -F "$WORLD/ssh_config" "$AT" "$@"; }
says() { local want=$1; shift; [[ $("$@" 2>&1) == *"$want"* ]] || { "$@"; return 1; }; }
exits() { local want=$1 got; shift; "$@" >"$WORLD/out" 2>&1; got=$?; ((got == want)) || { cat "$WORLD/out"; echo "exit $got, not $want"; return 1; }; }

# --- keys ---
check "nobody enters without a key" exits 255 in_gear true
check "a key is added" p key add mine "$WORLD/id.pub"
check "and lets in at once" in_gear true
check "it is listed" says mine p key list
check "a private key is refused" fails_with 2 "private key" p key add secret "$WORLD/id"
sed "s,$WORLD/id,$WORLD/other," "$WORLD/ssh_config" >"$WORLD/other_config"
with_other() { timeout 30 ssh -F "$WORLD/other_config" "$AT" "$@"; }
check "another key does not enter" exits 255 with_other true
check "ssh_url names gear and port" test "$(p app show web --json | jq -r .ssh_url)" = "ssh://$ID@web-it.$DOMAIN:$PORT"
check "the application's name does for the uuid" timeout 30 ssh -F "$WORLD/ssh_config" web-it@127.0.0.1 true
check "another name does not" exits 255 timeout 30 ssh -F "$WORLD/ssh_config" nobody@127.0.0.1 true
check "RSA keys with SHA-2 do" eval 'p key add rsa "$WORLD/rsa.pub" && in_gear -i "$WORLD/rsa" true && p key remove rsa'

# --- commands ---
check "output, errors and exit status" eval '
	in_gear "echo out; echo err >&2; exit 7" >"$WORLD/o" 2>"$WORLD/e"; [[ $? -eq 7 && $(<"$WORLD/o") == out && $(<"$WORLD/e") == err ]]'
check "the gear's environment and user" says "admin $ID 0077 /var/lib/openshift/$ID" in_gear 'echo $OPENSHIFT_LOGIN $OPENSHIFT_APP_UUID $(umask) $PWD'
check "a signal ends it as one" exits 255 in_gear 'kill -9 $$'
check "input to the end" eval 'head -c 3000000 /dev/zero | in_gear "wc -c" | grep -qx 3000000'
check "a closed reader ends the program" eval 'in_gear "yes" | head -1 | grep -q y'
check "LC_ variables pass, others do not" says "ok-" env LC_TEST=ok LD_PRELOAD= EVIL=1 timeout 30 ssh -F "$WORLD/ssh_config" -o SendEnv=LC_TEST -o SendEnv=EVIL "$AT" 'echo $LC_TEST-$EVIL'
check "agent and X11 are not forwarded" says "none" in_gear -A -X 'echo ${SSH_AUTH_SOCK:-none}${DISPLAY:-}'
check "quota" says "Disk quotas for user $ID" in_gear quota
check "rhc-list-ports says what listens, on stderr" says "node -> 127.0.0.1:8080" in_gear rhc-list-ports
check "tail of logs by v2's word" eval 'timeout 10 ssh -F "$WORLD/ssh_config" "$AT" "tail --opts $(echo -n "-n 5" | base64) \"*/log*/*\"" | head -1 | grep -q .'
check "tail stays in the home" exits 88 in_gear 'tail /etc/passwd'

# --- terminals ---
cat >"$WORLD/terminal.py" <<'PY'
import fcntl, os, pty, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
def size(rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
out = b""
def until(text):
    global out
    while text not in out:
        data = os.read(fd, 4096)
        if not data:
            raise EOFError(out)
        out += data
until(b"]> ")
size(33, 99)
out = b""
os.write(fd, b"sleep 0.3; echo size $(stty size); tty\n")
until(b"size 33 99")
until(b"/dev/pts/")
out = b""
os.write(fd, b"sleep 100\n")
time.sleep(0.5)
os.write(fd, b"\x03")
until(b"^C")
os.write(fd, b"exit 9\n")
try:
    while os.read(fd, 4096):
        pass
except OSError:
    pass
sys.exit(0 if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9 else 1)
PY
check "a shell: prompt, resize, Ctrl-C, exit status" timeout 30 python3 "$WORLD/terminal.py" ssh -F "$WORLD/ssh_config" -tt "$AT"
check "pinion ssh does the same" timeout 30 python3 "$WORLD/terminal.py" "$PINION_BUILDDIR/pinion" ssh web

# --- git ---
URL=ssh://$AT:$PORT/~/git/web.git/
check "git clone by SSH" git clone -q "$URL" "$WORLD/git"
cd "$WORLD/git" || exit 1
git config user.email t@example.org; git config user.name T
page() { echo "require('http').createServer((q, r) => r.end('$1\\n')).listen(process.env.PORT, process.env.HOST);" >server.js; }
page "By SSH"
git add -A && git commit -qm one
check "git push by SSH deploys, with the platform's lines" eval 'git push origin HEAD:master 2>&1 | tee "$WORLD/push.log" | grep -q "Deployment completed with status: success"'
check "it serves" serves web / "By SSH"
check "git fetch sees it" eval 'git fetch -q && [[ $(git rev-parse origin/master) == $(git rev-parse HEAD) ]]'
check "the gear has the deployed history" until_true eval '[[ $(in_gear "git --git-dir=git/web.git rev-parse master") == $(git -C "$WORLD/git" rev-parse HEAD) ]]'
check "git log and clone of it work there" in_gear 'cd git/web.git && git log --oneline -1 && git clone -q ~/git/web.git /tmp/clone && test -f /tmp/clone/server.js'
check "it cannot be written" eval '! in_gear "git --git-dir=git/web.git update-ref refs/heads/x HEAD || touch git/x || rm -f git/web.git/HEAD" 2>/dev/null'
check "v2's short path" git ls-remote -q "$AT:git/web.git"
check "another repository's path is none" exits 128 git ls-remote "ssh://$AT:$PORT/~/git/other.git/"
cd "$WORLD" || exit 1

# --- copies ---
head -c 5000000 /dev/urandom >"$WORLD/big"
SCP=(timeout 60 scp -q -F "$WORLD/ssh_config")
check "scp there and back (sftp)" eval '"${SCP[@]}" big "$AT:app-root/data/a" && "${SCP[@]}" "$AT:app-root/data/a" a && cmp big a'
check "scp there and back (its own protocol)" eval '"${SCP[@]}" -O big "$AT:app-root/data/b" && "${SCP[@]}" -O "$AT:app-root/data/b" b && cmp big b'
check "sftp" eval 'echo "ls app-root/data" | timeout 30 sftp -q -F "$WORLD/ssh_config" -b - "$AT" | grep -q app-root/data/a'
check "rsync" eval 'timeout 60 rsync -a -e "$GIT_SSH_COMMAND" git/ "$AT:app-root/data/r/" && timeout 60 rsync -a -e "$GIT_SSH_COMMAND" "$AT:app-root/data/r/" r/ && diff -r git r'

# --- ports ---
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
L=$(free_port) D=$(free_port)
ssh -F "$WORLD/ssh_config" -N -L "$L:127.0.0.1:8080" -L "$D:$(ip -4 -o addr show lo | awk '{print "10.0.0.1"}' | head -1):80" "$AT" 2>"$WORLD/forward.log" &
forward=$!
check "-L to the gear's port" until_true eval 'curl -sS -m 5 "http://127.0.0.1:$L/" | grep -q "By SSH"'
check "-L to any other address is refused" eval '! curl -sS -m 5 "http://127.0.0.1:$D/" 2>/dev/null'
check "ten at once" eval 'for i in 1 2 3 4 5 6 7 8 9 10; do curl -sS -m 20 -o "$WORLD/c$i" "http://127.0.0.1:$L/" & pids+=($!); done; wait "${pids[@]}"; for i in 1 2 3 4 5 6 7 8 9 10; do grep -q "By SSH" "$WORLD/c$i" || exit 1; done'
kill $forward; wait $forward 2>/dev/null

# --- one-off commands ---
check "pinion run: output and exit status" eval 'out=$(p run web -- "echo \$OPENSHIFT_APP_NAME; exit 3" </dev/null 2>/dev/null); [[ $? -eq 3 && $out == web ]]'
check "pinion run reads standard input" eval '[[ $(echo hello | p run web -- cat) == hello ]]'
run_gone() { ! p ps web --json | grep -q '"run"'; }
check "its instance is gone after it" until_true run_gone
p app stop web >/dev/null
check "a stopped app has a session all the same" says "no node here" in_gear 'pgrep node >/dev/null || echo no node here'
p app start web >/dev/null

# --- v2's words for the whole application ---
check "the stop of a builder's job leaves what serves" eval 'says "until a deployment takes over" in_gear gear stop --conditional && [[ $(p app show web --json | jq -r .state) == started ]]'
check "ctl_all stop" eval 'says "Stopping gear" in_gear ctl_all stop && [[ $(p app show web --json | jq -r .state) == stopped ]]'
check "ctl_all start" eval 'says "Starting gear" in_gear ctl_all start && until_true serves web / "By SSH"'
check "gear restart" eval 'says "Restarting gear" in_gear gear restart && serves web / "By SSH"'
check "gear status" says "Application is running" in_gear gear status
check "a restart of one cartridge" says "Restarting gear" in_gear gear restart --cart nodejs-20
check "what there is not is said with what there is" eval 'exits 255 in_gear gear frobnicate && grep -q "Usage: gear start" "$WORLD/out"'
check "a step of v2's builds says what stands in for it" eval 'exits 255 in_gear gear build && grep -q "a push" "$WORLD/out"'
check "gear deployments" eval 'in_gear gear deployments >"$WORLD/list" && head -1 "$WORLD/list" | grep -qx "Activation time - Deployment ID - Git Ref - Git SHA1" && grep -q -- " - master - .* - ACTIVE" "$WORLD/list"'

# --- the same words in the gear: programs there ---
check "in a shell's command: gear status, behind a pipe" says "running" in_gear 'cd app-root && gear status --cart nodejs | cat'
check "an unknown word in the gear" eval 'exits 255 in_gear "true; gear frobnicate" && grep -q "Usage: gear start" "$WORLD/out"'
check "it leaves the input alone" says "left" in_gear 'echo left | { gear status >/dev/null; cat; }'
check "ctl_all status, ctl_app restart" eval 'in_gear "ctl_all status && echo; ctl_app restart nodejs" | grep -q "Restarting gear"'
mkdir -p "$WORLD/git/.openshift/action_hooks"
cat >"$WORLD/git/.openshift/action_hooks/post_deploy" <<'HOOK'
#!/bin/bash
[[ -e $OPENSHIFT_DATA_DIR/hook ]] && exit
{ gear deployments && gear restart; echo "status $?"; } >"$OPENSHIFT_DATA_DIR/hook" 2>&1
HOOK
chmod +x "$WORLD/git/.openshift/action_hooks/post_deploy"
(cd "$WORLD/git" && page Earlier && git add -A && git commit -qam earlier && git push -q origin HEAD:master && page "By SSH" && git commit -qam back && git push -q origin HEAD:side) 2>/dev/null
check "a hook of a deployment is told that its restart comes after it" says "A deployment is under way: this is done after it.
status 0" in_gear 'cat app-root/data/hook'
check "gear deploy of a branch, from within" eval 'in_gear "x=1; gear deploy side" | grep -q "Deployment completed with status: success" && serves web / "By SSH"'
check "gear deploy by SSH" eval 'in_gear gear deploy master | grep -q "Activation status: success" && serves web / Earlier'
earlier() { in_gear gear deployments | grep ' - side - ' | head -1 | sed 's/.* +0000 - //; s/ - .*//'; }
check "gear activate of the one before" eval 'in_gear gear activate --all "$(earlier)" | grep -q "Activation status: success" && serves web / "By SSH"'
check "one that is not there" eval 'exits 255 in_gear gear activate 12345678 && grep -q "not found" "$WORLD/out"'
check "gear snapshot from within, into a file of the gear" in_gear 'true; gear snapshot >app-root/data/s.tgz 2>/dev/null && tar -tzf app-root/data/s.tgz >/dev/null && rm app-root/data/s.tgz'
cat >"$WORLD/rude.py" <<'PY'
import socket, time
for junk in (b"", b"\0" * 4000, b"GET / HTTP/1.1\r\n\r\n", b'\3\0\0\0\0\0\0\x10{"args":["gear"]',
             b"\3\0\0\0\xff\xff\xff\xff", b"\0\0\0\0\0\0\0\1x", b'\3\0\0\0\0\0\0\x0c{"args":[1]}'):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect("/run/pinion/gear/sock")
    s.sendall(junk)
    s.shutdown(socket.SHUT_WR)
    try:
        while s.recv(4096):
            pass
    except OSError:
        pass
said = b""
for i in range(100):
    s = socket.socket(socket.AF_UNIX)
    s.connect("/run/pinion/gear/sock")
    s.settimeout(0.001)
    try:
        said += s.recv(4096)
    except OSError:
        pass
print("bounded" if b"too many" in said else said)
PY
check "what does not speak as it should, or too fast, is closed" says bounded in_gear "python3 -" <"$WORLD/rude.py"
check "and it goes on" until_true in_gear 'true; gear status'
in_gear 'echo kept >app-root/data/keepsake'
check "snapshot" eval 'in_gear snapshot >"$WORLD/snap.tar.gz" 2>"$WORLD/snap.log" && tar -tzf "$WORLD/snap.tar.gz" | grep -q "/app-root/data/keepsake"'
in_gear 'rm app-root/data/keepsake'
check "restore" eval 'timeout 120 ssh -F "$WORLD/ssh_config" "$AT" restore <"$WORLD/snap.tar.gz" && says kept in_gear "cat app-root/data/keepsake"'

# --- deployments as archives ---
rest() { curl -sS -m 60 -o "$WORLD/said" -w '%{http_code}' -H "Authorization: Bearer $(jq -r .token "$XDG_CONFIG_HOME/pinion/login.json")" -X "$1" "$BROKER/broker/rest/domain/it/application/$2" "${@:3}"; }
refuses_url() { [[ $(rest POST bin/deployments --data-urlencode "artifact_url=$1") == 422 ]] && jq -e --arg t "$2" '.messages[0] | .exit_code == -1 and .field == "artifact_url" and (.text | contains($t))' "$WORLD/said" >/dev/null || { cat "$WORLD/said"; return 1; }; }
to_bin() { timeout 60 ssh -F "$WORLD/ssh_config" bin-it@127.0.0.1 "$@"; }
check "an app for archives" p app create bin nodejs
mkdir -p "$WORLD/bin/repo/node_modules/word" "$WORLD/bin/dependencies/nodejs" "$WORLD/bin/build-dependencies" "$WORLD/www"
cat >"$WORLD/bin/repo/server.js" <<'JS'
require('http').createServer((q, r) => r.end(require('word') + require('fs').readFileSync(process.env.OPENSHIFT_DEPENDENCIES_DIR + '/nodejs/mark'))).listen(process.env.PORT, process.env.HOST);
JS
echo '{"dependencies": {"word": "1"}}' >"$WORLD/bin/repo/package.json"
# pack NAME WORD: an archive whose application says the word.
pack() { echo "module.exports = '$2 '" >"$WORLD/bin/repo/node_modules/word/index.js"; echo "with $2" >"$WORLD/bin/dependencies/nodejs/mark"; tar -czf "$WORLD/$1" -C "$WORLD/bin" .; }
pack one.tar.gz Archived
check "of a type that takes commits only: refused in v2's words" eval 'exits 255 to_bin gear binary-deploy <"$WORLD/one.tar.gz" && grep -q "OPENSHIFT_DEPLOYMENT_TYPE is .git. - binary deployments are disabled" "$WORLD/out" && refuses_url http://127.0.0.1:1/x.tgz "archives cannot be deployed"'
check "the type becomes binary" test "$(rest PUT bin -d deployment_type=binary)" = 200
check "then a ref is refused, and a push" eval '[[ $(rest POST bin/deployments -d ref=master) == 422 ]] && exits 255 to_bin gear deploy && grep -q "git-based deployments are disabled" "$WORLD/out"'
check "binary-deploy serves, with its dependencies, without a build" eval 'to_bin binary-deploy <"$WORLD/one.tar.gz" >"$WORLD/out" 2>&1 && grep -q "Starting deploy for binary artifact" "$WORLD/out" && grep -q "Deployment completed with status: success" "$WORLD/out" && serves bin / "Archived with Archived"'
check "rhc's word for it" eval 'pack two.tar.gz Second && to_bin oo-binary-deploy --force-clean-build <"$WORLD/two.tar.gz" >"$WORLD/out" && serves bin / "Second with Second"'
check "both are in the list" eval '[[ $(to_bin gear deployments | grep -c " -  - ") -ge 2 ]]'
mapfile -t ids < <(to_bin gear deployments | grep -- ' -  - ' | sed 's/.* +0000 - //; s/ - .*//')
first=${ids[1]} second=${ids[0]}
check "the first is activated again" eval 'to_bin gear activate "$first" >/dev/null && serves bin / "Archived with"'
# hostile NAME PYTHON TEXT: an archive with something more in it is refused with the text, and what served serves on.
hostile() {
	/usr/bin/python3 - "$WORLD/bin" "$WORLD/$1.tar.gz" <<-END || return 1
		import io, sys, tarfile
		t = tarfile.open(sys.argv[2], "w:gz")
		t.add(sys.argv[1] + "/repo", "repo")
		def entry(name, kind=tarfile.REGTYPE, link="", data=b"x"):
		    i = tarfile.TarInfo(name)
		    i.type, i.linkname, i.size = kind, link, len(data) if kind == tarfile.REGTYPE else 0
		    t.addfile(i, io.BytesIO(data))
		$2
		t.close()
	END
	exits 255 to_bin gear binary-deploy <"$WORLD/$1.tar.gz" && grep -q -- "$3" "$WORLD/out" && serves bin / "Archived with" || { cat "$WORLD/out"; return 1; }
}
check "a name with .." hostile dots 'entry("repo/../../data/x")' "'..' in its name"
check "a link that leaves" hostile link 'entry("repo/l", tarfile.SYMTYPE, "/etc"); entry("repo/l/x")' "symbolic link"
check "what is no part of a deployment" hostile data 'entry("data/x")' "outside of repo/"
check "a device" hostile device 'entry("dependencies/d", tarfile.CHRTYPE)' "device"
check "a bomb" hostile bomb 'entry("repo/zero", data=b"\0" * 1100000000)' "more than"
check "no archive, half of one, none at all" eval 'for f in <(echo junk) <(head -c 400 "$WORLD/one.tar.gz") /dev/null; do exits 255 to_bin gear binary-deploy <"$f" && serves bin / "Archived with" || exit 1; done; grep -q "no archive came" "$WORLD/out"'
check "one that does not start: the old one serves on" eval 'mkdir -p "$WORLD/broken/repo" && echo "process.exit(3)" >"$WORLD/broken/repo/server.js" && tar -czf "$WORLD/broken.tar.gz" -C "$WORLD/broken" repo && exits 255 to_bin gear binary-deploy <"$WORLD/broken.tar.gz" && serves bin / "Archived with"'
mkdir -p "$WORLD/hooked/repo/.openshift/action_hooks"
for hook in pre_build build prepare; do printf '#!/bin/bash\necho %s >>$OPENSHIFT_REPO_DIR/ran\n' $hook >"$WORLD/hooked/repo/.openshift/action_hooks/$hook"; done
chmod +x "$WORLD"/hooked/repo/.openshift/action_hooks/*
echo "const ran = require('fs').readFileSync('ran'); require('http').createServer((q, r) => r.end('ran ' + ran + 'alone')).listen(process.env.PORT, process.env.HOST);" >"$WORLD/hooked/repo/server.js"
check "of the build's hooks only prepare runs" eval 'tar -C "$WORLD/hooked" -cz repo | to_bin binary-deploy >"$WORLD/out" 2>&1 && [[ $(get bin /) == $'"'ran prepare\nalone'"' ]] && to_bin gear activate "$first" >/dev/null && serves bin / "Archived with" || { cat "$WORLD/out"; exit 1; }'
check "archive-deployment gives v2's layout" eval 'to_bin gear archive-deployment >"$WORLD/back.tar.gz" && tar -tzf "$WORLD/back.tar.gz" >"$WORLD/names" && grep -qx ./repo/server.js "$WORLD/names" && grep -qx ./repo/node_modules/word/index.js "$WORLD/names" && grep -qx ./dependencies/nodejs/mark "$WORLD/names" && ! grep -qv "^\./\(repo\|dependencies\|build-dependencies\)/" "$WORLD/names"'
check "what it gave is deployed again" eval 'to_bin gear activate "$second" >/dev/null && serves bin / "Second with" && to_bin binary-deploy <"$WORLD/back.tar.gz" >/dev/null && serves bin / "Archived with Archived"'
check "a git deployment's archive too, a given one" eval 'in_gear gear archive-deployment --deployment-id "$(earlier)" | tar -xzO ./repo/server.js | grep -q "By SSH" && exits 255 in_gear gear archive-deployment --deployment-id 12345678 && grep -q "not found" "$WORLD/out"'
check "a restore leaves the archive's deployment" eval 'to_bin snapshot >"$WORLD/bin-snap.tar.gz" 2>/dev/null && to_bin restore INCLUDE_GIT <"$WORLD/bin-snap.tar.gz" >"$WORLD/out" && serves bin / "Archived with Archived"'
check "binary-deploy from within" eval 'to_bin "cat >/tmp/a && gear binary-deploy </tmp/a" <"$WORLD/two.tar.gz" | grep -q "status: success" && serves bin / "Second with Second"'
check "a restore brings the snapshot's back" eval 'to_bin restore INCLUDE_GIT <"$WORLD/bin-snap.tar.gz" >"$WORLD/out" && serves bin / "Archived with Archived"'
check "into another application too, whose type is git" eval 'p app create bin2 nodejs && p snapshot restore bin2 -f "$WORLD/bin-snap.tar.gz" && serves bin2 / "Archived with Archived" && p app delete bin2 --yes'
check "the last one again" eval 'to_bin binary-deploy <"$WORLD/two.tar.gz" >"$WORLD/out" 2>&1 && serves bin / "Second with Second"'
check "a zip, as OpenShift v2's files may be, with its modes and links" eval 'pack three.tar.gz Third && ln -sf word "$WORLD/bin/repo/node_modules/again" && (cd "$WORLD/bin" && /usr/bin/python3 "$PINION_SRCDIR/test/lib/zip_tree.py" . "$WORLD/three.zip") && to_bin "cat >/tmp/a.zip && gear binary-deploy /tmp/a.zip" <"$WORLD/three.zip" >"$WORLD/out" && serves bin / "Third with Third" && to_bin "test -L app-root/runtime/repo/node_modules/again"'
check "half of one" eval 'exits 255 to_bin gear binary-deploy < <(head -c 400 "$WORLD/three.zip") && serves bin / "Third with"'
WWW_PORT=$(free_port)
python3 -m http.server --bind 127.0.0.1 --directory "$WORLD/www" "$WWW_PORT" >/dev/null 2>&1 &
www=$!
check "a server of archives" until_true curl -sS -o /dev/null "http://127.0.0.1:$WWW_PORT/"
pack www/three.tgz Fetched
check "artifact_url is fetched and serves" eval '[[ $(rest POST bin/deployments --data-urlencode "artifact_url=http://127.0.0.1:$WWW_PORT/three.tgz") == 201 ]] && serves bin / "Fetched with Fetched" || { cat "$WORLD/said"; exit 1; }'
check "one that is not there; of another kind; of another scheme; of inside" eval 'refuses_url "http://127.0.0.1:$WWW_PORT/none.tgz" 404 && refuses_url "http://127.0.0.1:$WWW_PORT/three.zip" "end in .tgz" && refuses_url "file:///etc/x.tgz" "must begin with http" && refuses_url "http://127.0.0.2:$WWW_PORT/three.tgz" "" && serves bin / Fetched'
check "with a ref beside it: refused" eval '[[ $(rest POST bin/deployments -d ref=master -d artifact_url=http://127.0.0.1/x.tgz) == 422 ]]'
kill $www; wait $www 2>/dev/null
check "no archive is left over" until_true eval '[[ -d $WORLD/data/blobs || -d $WORLD/data/broker/blobs ]] && [[ -z $(find "$WORLD/data" -path "*/blobs/.tmp-*") ]]'
p app delete bin --yes >/dev/null 2>&1

# --- a new deployment tells who is in the old instance ---
in_gear 'echo in; while sleep 0.2; do :; done' >"$WORLD/stay" 2>&1 &
stay=$!
check "somebody is in" until_true grep -q in "$WORLD/stay"
(cd "$WORLD/git" && page Two && git commit -qam two && git push -q origin HEAD:master 2>/dev/null)
check "the new one serves, the old session lives and is told" eval 'serves web / Two && until_true grep -q "newer deployment" "$WORLD/stay" && kill -0 $stay'

# --- the end of a key, of a connection, of a daemon ---
check "a removed key ends its session" eval 'p key remove mine >/dev/null; until_true eval "! kill -0 $stay 2>/dev/null"'
check "and lets in no more" exits 255 in_gear true
p key add mine "$WORLD/id.pub" >/dev/null
other_user() {
	p user create eve --password-file <(echo "a long password") >/dev/null &&
		PINION_URL= XDG_CONFIG_HOME=$WORLD/eve p login "$BROKER" --user eve --password-file <(echo "a long password") >/dev/null &&
		XDG_CONFIG_HOME=$WORLD/eve p key add hers "$WORLD/other.pub" >/dev/null
}
check "another user adds a key of hers" other_user
check "it does not open others' applications" exits 255 with_other true

# --- members ---
p member add eve --role view >/dev/null
check "who may only see does not enter" exits 255 with_other true
p member add eve --role edit >/dev/null
check "who may edit does" says eve with_other 'echo $OPENSHIFT_LOGIN'
with_other 'echo in; sleep 314170' >"$WORLD/member" 2>&1 &
member=$!
check "her session is open" until_true grep -q in "$WORLD/member"
check "shut out, it ends at once, and she enters no more" eval 'p member remove eve >/dev/null; until_true eval "! kill -0 $member 2>/dev/null" && exits 255 with_other true'

# --- asleep, crashing ---
p idle web >/dev/null
check "a frozen application wakes for a session" eval 'says hello in_gear echo hello && serves web / Two'
p idle web --level stopped >/dev/null
check "a stopped sleeper wakes for a session, in its web instance" eval 'says found in_gear "pgrep node >/dev/null && echo found" && serves web / Two'
in_gear 'mv app-root/repo/server.js app-root/repo/gone.js; pkill node' >/dev/null 2>&1
is_down() { ! serves web / Two; }
check "one that crashes" until_true is_down
check "is entered all the same, to look and mend" eval 'says gone.js in_gear "ls app-root/logs >/dev/null && echo gone.js"'
p app restart web >/dev/null
check "and runs again" until_true serves web / Two

# --- names that want to be elsewhere ---
TRICK=$'new\nline \e[31mred'
mkdir "$WORLD/tricks" && echo t >"$WORLD/tricks/$TRICK" && ln -s /etc/passwd "$WORLD/tricks/link"
check "names with newlines and escapes go there and back" eval '"${SCP[@]}" -r "$WORLD/tricks" "$AT:app-root/data/tricks" && "${SCP[@]}" -r "$AT:app-root/data/tricks" "$WORLD/tricks2" && [[ $(<"$WORLD/tricks2/$TRICK") == t ]]'
check "the same by scp's own protocol" eval '"${SCP[@]}" -O -r "$WORLD/tricks" "$AT:app-root/data/tricks3" && in_gear "test -e \"app-root/data/tricks3/link\""'
in_gear 'ln -s / app-root/data/root; ln -s /proc/1/root/etc app-root/data/etc'
outside=/tmp/pinion-trick-$$
check "links and .. end in the gear" eval 'for to in "app-root/data/root$outside" "../../../../../..$outside" "/proc/1/root$outside"; do "${SCP[@]}" big "$AT:$to"; "${SCP[@]}" -O big "$AT:$to"; done; [[ ! -e $outside ]] && in_gear "test -e $outside && rm $outside"'
check "the gear's own files of the platform stay" eval '! "${SCP[@]}" big "$AT:app-root/data/etc/passwd" && ! "${SCP[@]}" big "$AT:../other" && ! "${SCP[@]}" big "$AT:.env/PATH"'
check "a file larger than the disk is refused, the app serves on" eval '! printf "C0644 9000000000000 huge\n%s" "$(head -c 100000 /dev/zero | tr "\0" x)" | in_gear scp -t app-root/data && serves web / Two; in_gear rm -rf app-root/data/huge app-root/data/root app-root/data/etc app-root/data/a app-root/data/b'

# --- gears of a scalable application ---
check "a scalable application in two gears" eval 'p app create wide nodejs --scale >/dev/null && p scale wide 2 >/dev/null'
second=$(curl -sS -H "Authorization: Bearer $(jq -r .token "$XDG_CONFIG_HOME/pinion/login.json")" "$BROKER/broker/rest/domain/it/application/wide/gear_groups" | jq -r --arg head "$(p app show wide --json | jq -r .id)" '[.data[].gears[].id | select(. != $head)][0]')
check "the other gear is entered by its own uuid" says "$second /var/lib/openshift/$second" timeout 30 ssh -F "$WORLD/ssh_config" "$second@127.0.0.1" 'echo $OPENSHIFT_GEAR_UUID $PWD'
check "gear status there" timeout 30 ssh -F "$WORLD/ssh_config" "$second@127.0.0.1" 'gear status; gear deployments | grep ACTIVE'
p app delete wide --yes >/dev/null 2>&1

marker() { pgrep -f "^sleep 31417$1" >/dev/null; }
timeout 60 ssh -F "$WORLD/ssh_config" "$AT" 'trap "" HUP; sleep 314171' >/dev/null 2>&1 &
client=$!
check "a program runs" until_true marker 1
kill -9 $(pgrep -P $client) $client
check "its client dies: HUP, then KILL" until_true eval '! marker 1'
in_gear 'sleep 314172' >/dev/null 2>&1 &
check "another runs" until_true marker 2
kill -9 $(pgrep -P "$UP" -f pinion-node)
check "the node daemon dies: nothing of the session is left" until_true eval '! marker 2'
check "the next one lets in again" until_true in_gear true
in_gear 'sleep 314173' >"$WORLD/dying" 2>&1 &
dying=$!
check "a third runs" until_true marker 3
kill -9 $(pgrep -P "$(pgrep -P "$UP" -f pinion-broker)" -f pinion-ssh)
check "the connection's program dies: the client sees it, nothing is left" eval 'until_true eval "! kill -0 $dying 2>/dev/null" && until_true eval "! marker 3"'
in_gear 'sleep 314174' >"$WORLD/dying" 2>&1 &
dying=$!
check "a fourth runs" until_true marker 4
kill -9 $(pgrep -P "$UP" -f pinion-broker)
check "the broker dies: the client sees it, nothing is left" eval 'until_true eval "! kill -0 $dying 2>/dev/null" && until_true eval "! marker 4"'
check "the next broker lets in again" until_true in_gear true
check "the app served all the while" serves web / Two

# --- floods and slow readers ---
cat >"$WORLD/flood.py" <<'PY'
import socket, sys
port, n = int(sys.argv[1]), 300
socks = []
for i in range(n):
    s = socket.socket()
    s.settimeout(10)
    s.connect(("127.0.0.1", port))
    socks.append(s)
print("connected")
sys.stdout.flush()
sys.stdin.readline()
PY
sessions() { pgrep -P "$(pgrep -P "$UP" -f pinion-broker)" -f pinion-ssh | wc -l; }
mkfifo "$WORLD/fifo"
python3 "$WORLD/flood.py" "$PORT" <"$WORLD/fifo" >"$WORLD/flood.log" 2>&1 &
flood=$!
exec 9>"$WORLD/fifo"
check "300 connections that never log in" until_true grep -q connected "$WORLD/flood.log"
check "have few programs" eval '(($(sessions) <= 96)) || { sessions; false; }'
exec 9>&-
wait $flood 2>/dev/null
check "then one logs in" until_true in_gear true
timeout 60 ssh -F "$WORLD/ssh_config" "$AT" 'yes 0123456789012345678901234567890123456789 | head -c 200000000' | (sleep 3; wc -c) >"$WORLD/slow" &
slow=$!
rss() { awk '/VmRSS/ {print $2}' "/proc/$(pgrep -P "$UP" -f "$1")/status"; }
before=$(rss pinion-broker)
sleep 1
check "a slow reader costs the broker no memory" eval '(($(rss pinion-broker) - before < 20000))'
wait $slow
check "and gets all of it" grep -qx 200000000 "$WORLD/slow"

# --- over https ---
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=localhost" -addext "subjectAltName=DNS:localhost" -keyout "$WORLD/tls.key" -out "$WORLD/tls.pem" 2>/dev/null
/usr/bin/python3 "$PINION_SRCDIR/test/lib/tls_front.py" 0 "$WORLD/tls.pem" "$WORLD/tls.key" - "${BROKER#http://}" >"$WORLD/tls.port" 2>/dev/null &
tls=$!
check "a front with TLS" until_true test -s "$WORLD/tls.port"
token=$(jq -r .token "$XDG_CONFIG_HOME/pinion/login.json")
by_tls() { PINION_URL=https://$1:$(<"$WORLD/tls.port") PINION_TOKEN=$token "$PINION_BUILDDIR/pinion" "${@:2}"; }
export SSL_CERT_FILE=$WORLD/tls.pem
check "pinion run over it" eval '[[ $(echo hello | by_tls localhost run web -- "cat; exit 4") == hello ]]; by_tls localhost run web -- "exit 4" </dev/null; (($? == 4))'
check "much both ways" eval 'head -c 3000000 /dev/urandom >"$WORLD/much"; by_tls localhost run web -- cat <"$WORLD/much" | cmp - "$WORLD/much"'
check "pinion ssh over it" says hello by_tls localhost ssh web -- echo hello
check "another host's certificate is refused" fails_with 1 "certificate" by_tls 127.0.0.1 run web -- true
unset SSL_CERT_FILE
check "an authority that nobody knows, too" fails_with 1 "certificate" by_tls localhost run web -- true
kill $tls; wait $tls 2>/dev/null

# --- the host key stays ---
key=$(ssh-keyscan -p "$PORT" -t ed25519 127.0.0.1 2>/dev/null | cut -d' ' -f3)
# --- few connections, little grace ---
export PINION_BROKER_SSH_CONNECTIONS=12 PINION_BROKER_SESSION_GRACE=3
world_stop
LISTEN=${BROKER#http://} world_start --ssh "127.0.0.1:$PORT"
check "after a restart the host key is the same" test "$(ssh-keyscan -p "$PORT" -t ed25519 127.0.0.1 2>/dev/null | cut -d' ' -f3)" = "$key"
check "and the key lets in" until_true in_gear true
idle=()
for i in 1 2 3 4 5 6 7 8 9; do
	timeout 60 ssh -F "$WORLD/ssh_config" "$AT" "echo in; sleep 60" >"$WORLD/idle$i" 2>&1 & # no function: what is killed is ssh
	idle+=($!)
done
all_in() { (($(grep -lx in "$WORLD"/idle* 2>/dev/null | wc -l) == $1)); }
check "one address may have three quarters" until_true all_in 9
check "its next one is told" eval 'exits 255 in_gear -v true && grep -q "Too many SSH connections" "$WORLD/out"'
check "others still enter" in_gear -b 127.0.0.2 true
kill "${idle[@]}"; wait "${idle[@]}" 2>/dev/null
check "afterwards it does again" until_true in_gear true
timeout 120 ssh -F "$WORLD/ssh_config" "$AT" 'echo in; while sleep 0.2; do :; done' >"$WORLD/stay" 2>&1 &
stay=$!
check "a session" until_true grep -q in "$WORLD/stay"
(cd "$WORLD/git" && page Three && git commit -qam three && git push -q origin HEAD:master 2>/dev/null)
check "in the old instance ends when its grace does" eval 'serves web / Three && until_true eval "! kill -0 $stay 2>/dev/null" && grep -q "ends in 3 seconds" "$WORLD/stay"'
done_testing
