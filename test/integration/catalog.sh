#!/bin/bash
# Cartridges of a living application: added, refused, removed, downloaded, imported, upgraded; what
# must not be downloaded; no request is lost.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
world_new
mkdir -p "$WORLD/carts" "$WORLD/www"
cp -r "$PINION_SRCDIR/cartridges/nodejs" "$WORLD/carts/"

# cart DIR NAME CART_VERSION VENDOR: a cartridge that sets a variable, or refuses.
cart() {
	local up=${2^^}
	mkdir -p "$1"/{metadata,bin,env}
	cat >"$1/metadata/manifest.yml" <<-END
		Name: $2
		Cartridge-Short-Name: $up
		Version: '1.0'
		Cartridge-Version: $3
		Cartridge-Vendor: $4
		Categories: [plugin, embedded]
		Provides: ['$2-1.0', '$2']
		${5:-}
	END
	printf '#!/bin/bash\nexit 0\n' >"$1/bin/control"
	cat >"$1/bin/install" <<-END
		#!/bin/bash
		echo "CLIENT_RESULT: $2 $3 is here"
		echo "CART_PROPERTIES: word=hello-$2"
		if [[ -n \${${up}_REFUSES:-} ]]; then
			echo "CLIENT_ERROR: $2 will not: \$${up}_REFUSES"
			exit 131
		fi
		echo "$2-$3" >env/OPENSHIFT_${up}_WORD
	END
	printf '#!/bin/bash\necho "$2-$3" >"env/OPENSHIFT_%s_WORD"\n' "$up" >"$1/bin/upgrade"
	chmod 755 "$1"/bin/*
}
cart "$WORLD/carts/echo" echo 0.0.1 pinion
cart "$WORLD/carts/sound" sound 0.0.1 pinion "Requires: [echo]"

# own NAME: a key and a certificate for 127.0.0.1, signed by itself.
own() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
		-addext subjectAltName=IP:127.0.0.1 -keyout "$WORLD/$1.key" -out "$WORLD/$1.crt" 2>/dev/null
}
own known && own unknown
chmod 711 "$WORLD" # the broker has a user of its own
"$PINION_SRCDIR/test/lib/catalog_server.py" "$WORLD/www" "$WORLD/port" "$WORLD/known" "$WORLD/unknown" 2>/dev/null &
SERVER=$!
/usr/lib/git-core/git-daemon --export-all --reuseaddr --listen=127.0.0.1 --port=0 --base-path="$WORLD/www" \
	"$WORLD/www" >/dev/null 2>&1 &
GITD=$!
end_all() {
	kill "$SERVER" "$GITD" 2>/dev/null
	world_end
}
trap end_all EXIT
until_true test -s "$WORLD/port"
read -r PORT KNOWN UNKNOWN <"$WORLD/port"
WWW=http://127.0.0.1:$PORT
git_port() { # which the kernel gave it
	ss -Hltnp | awk -v me="pid=$GITD," 'index($0, me) { sub(/.*:/, "", $4); print $4; exit }'
}

export PINION_BROKER_DOWNLOAD_ALLOW=127.0.0.1/32 PINION_BROKER_DOWNLOAD_CA=$WORLD/known.crt
world_start --cartridges "$WORLD/carts" || { echo "not ok 1 - pinion up"; echo 1..1; exit 1; }
login_admin && p domain create it >/dev/null

# word NAME: what the application sees of the cartridge.
word() { get app "/?$1"; }
sees() { [[ $(word "$1") == "$2" ]] || { echo "sees '$(word "$1")'"; return 1; }; }
carts() { p cartridge list app --json | jq -r "[.[].name | sub(\"^nodejs-.*\"; \"nodejs\")] | sort | join(\" \")"; }
has_carts() { [[ $(carts) == "$*" ]] || { echo "has $(carts)"; return 1; }; }

check "create with a cartridge beside the web one" p app create app nodejs echo
check "clone" clone app
cat >"$WORLD/app/server.js" <<'END'
const boot = String(Date.now());
require("node:http").createServer((q, r) => {
  if (q.url === "/?BOOT") return r.end(boot);
  const name = q.url.split("?")[1] || "ECHO";
  r.end(process.env["OPENSHIFT_" + name + "_WORD"] || "none");
}).listen(process.env.PORT, process.env.HOST);
END
check "push" push_app app one
check "the application sees its variable" sees ECHO echo-0.0.1
check "the cartridge tells of itself" sh -c \
	'"$0"/pinion cartridge show app echo | grep -q "word *hello-echo"' "$PINION_BUILDDIR"
check "remove it" p cartridge remove app echo -y
check "the variable is gone" sees ECHO none
check "what another requires comes with it" p cartridge add app sound
check "both are there" has_carts echo-1.0 nodejs sound-1.0
check "the web process sees both" sees SOUND sound-0.0.1
check "what is there cannot be added again" fails_with 2 "already" p cartridge add app sound
check "the web cartridge cannot be removed" fails_with 2 "cannot be removed" \
	p cartridge remove app nodejs -y
check "what requires it goes with it" p cartridge remove app echo -y
check "only the web cartridge is left" has_carts nodejs
check "a name of v2" fails_with 2 "does not exist any more" p cartridge add app mongodb-2.4
check "a name of v2 with a version of today" sh -c \
	'"$0/pinion" app create old nodejs-0.10 2>&1 | grep "nodejs-0.10 does not exist any more: nodejs-"' "$PINION_BUILDDIR"
check "an unknown name lists the known" fails_with 2 "echo-1.0" p cartridge add app cobol

# A refusal leaves nothing.
p env set ECHO_REFUSES=today --app app >/dev/null 2>&1
check "an install that refuses says why" fails_with 2 "echo will not: today" \
	p cartridge add app echo
check "nothing of it is left" has_carts nodejs
check "the application serves" sees ECHO none
check "not even when another pulls it in" fails_with 2 "echo will not: today" \
	p cartridge add app sound
check "neither of both is left" has_carts nodejs
check "nor when an application is made of it" fails_with 2 "echo will not: now" \
	p app create other nodejs echo --env ECHO_REFUSES=now
check "of which nothing is left" fails_with 4 "other" p app show other
p env unset ECHO_REFUSES --app app >/dev/null 2>&1

# Under load: no request is lost when cartridges come and go.
touch "$WORLD/flag"
/usr/bin/python3 "$PINION_SRCDIR/test/lib/load.py" "$ROUTER" "app-it.$DOMAIN" "$WORLD/flag" 4 \
	>"$WORLD/load.json" &
LOAD=$!
check "add under load" p cartridge add app sound
check "remove under load" p cartridge remove app echo -y
rm -f "$WORLD/flag"
wait "$LOAD"
check "no request was lost" jq -e '.failures == {}' "$WORLD/load.json"

# --- from outside ---
cart "$WORLD/www/src/far" far 0.0.1 elsewhere
tar -C "$WORLD/www/src" -czf "$WORLD/www/far.tar.gz" far
(cd "$WORLD/www/src" && zip -qr ../far.zip far)
SUM=$(sha256sum <"$WORLD/www/far.tar.gz" | cut -d' ' -f1)
# manifest FILE SOURCE [LINE]: what is downloaded first.
manifest() {
	cp "$WORLD/www/src/far/metadata/manifest.yml" "$WORLD/www/$1"
	printf 'Source-Url: %s\n%s\n' "$2" "${3:-}" >>"$WORLD/www/$1"
}
manifest far.yml "$WWW/far.tar.gz" "Source-Sha256: '$SUM'"
manifest zip.yml "$WWW/far.zip"
manifest bad.yml "$WWW/far.tar.gz" "Source-Md5: '00000000000000000000000000000000'"
manifest jump.yml "$WWW/hop2/far.tar.gz"
manifest inside.yml "$WWW/inside/far.tar.gz"
refused() { fails_with 2 "$2" p cartridge add app "$1"; }
blobs() { ls "$WORLD"/data/broker/blobs 2>/dev/null | wc -l; }
blob_count() { [[ $(blobs) == "$1" ]] || { ls -la "$WORLD/data/broker/blobs"; return 1; }; }
check "add by the URL of a manifest" p cartridge add app "$WWW/far.yml"
check "the application sees it" sees FAR far-0.0.1
check "it is named with its vendor and its URL" sh -c \
	'"$0/pinion" cartridge list app | grep "^elsewhere-far-1.0 .*far.yml"' "$PINION_BUILDDIR"
check "one archive is kept" blob_count 1
check "the application survives a restart with it" p app restart app
check "and sees it" sees FAR far-0.0.1
check "remove it" p cartridge remove app elsewhere-far-1.0 -y
check "its archive goes" until_true blob_count 0
check "by a zip" p cartridge add app "$WWW/zip.yml"
check "which the application sees" sees FAR far-0.0.1
p cartridge remove app elsewhere-far-1.0 -y >/dev/null
check "after two redirects" p cartridge add app "$WWW/jump.yml"
p cartridge remove app elsewhere-far-1.0 -y >/dev/null
check "an archive with the manifest in it" p cartridge add app "$WWW/far.tar.gz" \
	--checksum "sha256:$SUM"
p cartridge remove app elsewhere-far-1.0 -y >/dev/null
git init -q "$WORLD/www/src/far" && git -C "$WORLD/www/src/far" add -A &&
	git -C "$WORLD/www/src/far" commit -qm far
git clone -q --bare "$WORLD/www/src/far" "$WORLD/www/far.git"
git -C "$WORLD/www/far.git" update-server-info
check "from a git repository" p cartridge add app "$WWW/far.git"
check "which the application sees too" sees FAR far-0.0.1
p cartridge remove app elsewhere-far-1.0 -y >/dev/null

check "by git's own protocol" p cartridge add app "git://127.0.0.1:$(git_port)/far.git"
check "which the application sees as well" sees FAR far-0.0.1
p cartridge remove app elsewhere-far-1.0 -y >/dev/null
check "by https, from a server of a known authority" p cartridge add app "https://127.0.0.1:$KNOWN/far.tar.gz"
p cartridge remove app elsewhere-far-1.0 -y >/dev/null
check "both are told" sh -c '"$0/pinion" events app >"$1" && grep -q "Cartridge far-1.0 was added" "$1" &&
	grep -q "Cartridge far was removed" "$1"' "$PINION_BUILDDIR" "$WORLD/told"
check "a certificate that nobody vouches for" refused "https://127.0.0.1:$UNKNOWN/far.tar.gz" "certificate"
check "nor for git" refused "https://127.0.0.1:$UNKNOWN/far.git" "certificate"
check "the administrator forbids downloads to a user" p user set admin --downloads no
check "who sees it" sh -c 'curl -sS --fail -u "admin:$(cat "$0")" "$1/broker/rest/user" |
	jq -e ".data.capabilities.download_cartridges == false"' "$WORLD/data/admin-password" "$BROKER"
check "and cannot add by a URL" refused "$WWW/far.yml" "may not download"
check "nor make an application of one" fails_with 2 "may not download" p app create other "$WWW/far.yml"
check "and allows them again" p user set admin --downloads yes

check "a checksum that is wrong" refused "$WWW/bad.yml" "checksum"
check "a redirect to an address inside" refused "$WWW/inside.yml" "inside"
check "a manifest from inside" refused "http://127.0.0.2:${WWW##*:}/far.yml" "inside"
check "a git repository inside" refused "http://127.0.0.2:$PORT/far.git" "inside"
check "three redirects" refused "$WWW/hop3/far.yml" "redirects"
check "a redirect to a file" refused "$WWW/scheme/far.yml" "http, https or git"
check "a file" refused "file:///etc/passwd" "http, https or git"
check "nothing there" refused "$WWW/none.yml" "404"
check "a manifest without end" refused "$WWW/endless" "20480"
check "a manifest of 10 MB" sh -c 'head -c 10000000 /dev/zero >"$1/big.yml"' - "$WORLD/www"
check "is refused" refused "$WWW/big.yml" "20480"
{ echo "a: &a [x,x,x,x,x,x,x,x,x]"; echo "b: &b [*a,*a,*a,*a,*a,*a]"; echo "Name: [*b,*b]"; } >"$WORLD/www/anchors.yml"
check "a manifest with anchors blown up" refused "$WWW/anchors.yml" "aliases"
sed 's,^Name: .*,Name: "../x\\ny",' "$WORLD/www/far.yml" >"$WORLD/www/name.yml"
check "a name with slashes and newlines" refused "$WWW/name.yml" "Name"
sed 's,elsewhere,redhat,' "$WORLD/www/far.yml" >"$WORLD/www/vendor.yml"
check "a reserved vendor" refused "$WWW/vendor.yml" "reserved"
manifest local.yml "file:///etc"
check "a source that is a file" refused "$WWW/local.yml" "Unsupported URL"

# A web framework as many of v2 are: a service too, without a Source-Url of its own, scripts that end
# with the first error, `npm config set tmp`, stop by killall, two endpoints, its own name asked for.
mkdir -p "$WORLD/www/src/front"/{metadata,bin,template}
cat >"$WORLD/www/src/front/metadata/manifest.yml" <<'END'
Name: nodejs
Cartridge-Short-Name: NODEJS
Display-Name: NodeJS Cartridge
Version: '0.10'
Vendor: joyent
Cartridge-Version: 0.0.1
Cartridge-Vendor: some one
License-Url:
Categories:
  - service
  - web_framework
Help-Topics:
  - "Manual": http://example.org/
Provides: [nodejs]
Scaling: { Min: 1, Max: -1 }
Publishes:
  get-doc-root:
    Type: FILESYSTEM:doc-root
Endpoints:
  - Private-IP-Name:   IP
    Private-Port-Name: PORT
    Private-Port:      8080
    Public-Port-Name:  PROXY_PORT
    Mappings:
      - { Frontend: "", Backend: "", Options: { websocket: true } }
  - Private-IP-Name:   IP
    Private-Port-Name: PORT2
    Private-Port:      8090
    Public-Port-Name:  PROXY_PORT2
    Mappings:
      - { Frontend: "/endpoint2", Backend: "", Options: { } }
  - Private-IP-Name:   IP
    Private-Port-Name: PORT_TCP
    Private-Port:      9000
    Public-Port-Name:  PROXY_PORT_TCP
    Options:           { "ssl_to_gear": true }
END
cat >"$WORLD/www/src/front/bin/install" <<'END'
#!/bin/bash -e
npm config set tmp $OPENSHIFT_TMP_DIR
mkdir -p $OPENSHIFT_NODEJS_DIR/logs
echo $OPENSHIFT_NODEJS_DIR/logs > $OPENSHIFT_NODEJS_DIR/env/OPENSHIFT_NODEJS_LOG_DIR
END
cat >"$WORLD/www/src/front/bin/control" <<'END'
#!/bin/bash -e
case "$1" in
start) cd $OPENSHIFT_REPO_DIR; nohup node server.js >> $OPENSHIFT_NODEJS_LOG_DIR/node.log 2>&1 & ;;
stop) killall node ;;
status) status ;;
esac
END
cat >"$WORLD/www/src/front/template/server.js" <<'END'
const e = process.env, http = require('http'), ip = e.OPENSHIFT_NODEJS_IP;
let own = 'unknown';
require('dns').resolve4(require('os').hostname(), (err, ips) => { own = ips[0]; });
http.createServer((q, r) => r.end('first ' + own)).listen(e.OPENSHIFT_NODEJS_PORT, ip);
http.createServer((q, r) => r.end('second ' + q.url)).listen(e.OPENSHIFT_NODEJS_PORT2, ip);
require('net').createServer(c => c.end('raw\n')).listen(e.OPENSHIFT_NODEJS_PORT_TCP, ip);
END
tar -C "$WORLD/www/src" -czf "$WORLD/www/front.tar.gz" front
check "an application of a downloaded web framework" p app create front "$WWW/front.tar.gz"
check "its template serves, and it knew its own name at once" serves front / "first 100."
check "a path leads to its second endpoint" test "$(get front /endpoint2/x)" = "second /x"
check "its raw endpoint is reached by its public port" sh -c \
	'"$0/pinion" run front -- bash -c "cat </dev/tcp/\$OPENSHIFT_GEAR_DNS/\$OPENSHIFT_NODEJS_PROXY_PORT_TCP" | grep raw' "$PINION_BUILDDIR"
check "clone it" clone front
sed -i 's/first /new /' "$WORLD/front/server.js"
check "push to it" push_app front two
check "the push is served" serves front / "new 100."
check "an addition that it refuses" p env set FAR_REFUSES=here --app front
check "is refused with its words" fails_with 2 "far will not: here" p cartridge add front "$WWW/far.yml"
check "and it serves on" serves front / "new 100."
check "delete it" p app delete front --yes

# One that is elsewhere: no code, no gear.
cat >"$WORLD/www/outside.yml" <<'END'
Name: outside
Cartridge-Short-Name: OUTSIDE
Version: '1.0'
Cartridge-Version: 0.0.1
Cartridge-Vendor: elsewhere
Categories: [external]
Scaling: { Min: 0, Max: 0 }
END
check "an external cartridge" p cartridge add app "$WWW/outside.yml"
check "is in no gear" sh -c '"$0/pinion" cartridge show app elsewhere-outside-1.0 --json | jq -e ".current_scale == 0"' "$PINION_BUILDDIR"
check "and goes" p cartridge remove app elsewhere-outside-1.0 -y
beside() { # WORD: the answer to an addition that is to share its gears
	curl -sS -u "admin:$(<"$WORLD/data/admin-password")" -H 'Content-Type: application/json' \
		-d "{\"cartridge\":{\"name\":\"echo\",\"colocate_with\":\"$1\"}}" \
		"$BROKER/broker/rest/domain/it/application/app/cartridges"
}
check "beside one that is not there" grep -q "no cartridge 'cobol'" <<<"$(beside cobol)"
check "beside the web framework" jq -e '.status == "created"' <<<"$(beside nodejs)"
p cartridge remove app echo -y >/dev/null

# Asleep and stopped applications.
check "put to sleep" p idle app
check "an addition wakes it" p cartridge add app echo
check "and is seen" sees ECHO echo-0.0.1
check "stop" p app stop app
check "remove from a stopped one" p cartridge remove app echo -y
check "add to a stopped one" p cartridge add app sound
check "it stays stopped" sh -c '"$0/pinion" app show app --json | jq -e ".state == \"stopped\" or .status == \"stopped\""' "$PINION_BUILDDIR"
check "start" p app start app
check "it sees what was added" until_true sees SOUND sound-0.0.1
p cartridge remove app echo -y >/dev/null

# hostile NAME PYTHON: an archive of far with something more in it.
hostile() {
	/usr/bin/python3 - "$WORLD/www/src/far" "$WORLD/www/$1.tar.gz" <<END
import io, sys, tarfile
t = tarfile.open(sys.argv[2], "w:gz")
t.add(sys.argv[1], "far")
def entry(name, kind=tarfile.REGTYPE, link="", data=b"x", size=None):
    i = tarfile.TarInfo(name)
    i.type, i.linkname = kind, link
    i.size = len(data) if kind == tarfile.REGTYPE else 0
    t.addfile(i, io.BytesIO(data))
$2
t.close()
END
	manifest "$1.yml" "$WWW/$1.tar.gz"
}
hostile dots 'entry("far/../../x")'
hostile root 'entry("/etc/x")'
hostile link 'entry("far/l", tarfile.SYMTYPE, "../../../etc")'
hostile behind 'entry("far/l", tarfile.SYMTYPE, "bin"); entry("far/l/x")'
hostile device 'entry("far/d", tarfile.CHRTYPE)'
hostile hard 'entry("far/h", tarfile.LNKTYPE, "/etc/passwd")'
hostile many '[entry("far/n/%d" % n, data=b"") for n in range(21000)]'
/usr/bin/python3 - "$WORLD/www" <<'END'
import sys, zipfile
z = zipfile.ZipFile(sys.argv[1] + "/bomb.zip", "w", zipfile.ZIP_DEFLATED)
for n in range(3):
    z.writestr("far/zero%d" % n, b"\0" * 150000000)
END
manifest bomb.yml "$WWW/bomb.zip"
check "an archive with .." refused "$WWW/dots.yml" "'..'"
check "an absolute name" refused "$WWW/root.yml" "absolute"
check "a link that leaves" refused "$WWW/link.yml" "symbolic link"
check "a file behind a link" refused "$WWW/behind.yml" "behind"
check "a device" refused "$WWW/device.yml" "device"
check "a hard link" refused "$WWW/hard.yml" "hard link"
check "too many files" refused "$WWW/many.yml" "entries"
check "a zip bomb" refused "$WWW/bomb.yml" "times its size"
check "nothing of all that is left" until_true blob_count 0
check "and the application is as it was" has_carts nodejs

# --- the catalogue ---
check "import a cartridge" p admin cartridge import "$WWW/far.yml"
check "it is in the list of all" sh -c '"$0/pinion" cartridges | grep elsewhere-far-1.0' "$PINION_BUILDDIR"
check "add it by name" p cartridge add app far
check "the application sees the imported one" sees FAR far-0.0.1
cart "$WORLD/www/src/far" far 0.0.2 elsewhere "Compatible-Versions: [0.0.1]"
tar -C "$WORLD/www/src" --exclude=.git -czf "$WORLD/www/far2.tar.gz" far
check "import its next release" p admin cartridge import "$WWW/far2.tar.gz"
check "both are there, one is active" sh -c \
	'"$0/pinion" admin cartridge list --json | jq -e "[.[] | select(.name == \"elsewhere-far-1.0\") | .active] | sort == [false, true]"' "$PINION_BUILDDIR"
BOOT=$(word BOOT)
check "upgrade in place" p admin cartridge upgrade it/app
check "without a restart, for the release says it is compatible" sees BOOT "$BOOT"
check "what its install told is still told" sh -c \
	'"$0"/pinion cartridge show app elsewhere-far-1.0 | grep -q "word *hello-far"' "$PINION_BUILDDIR"
check "the application has the new release" sh -c \
	'"$0/pinion" admin cartridge upgrade it/app | grep "Nothing"' "$PINION_BUILDDIR"
cart "$WORLD/www/src/far" far 0.0.3 elsewhere
check "import a directory" p admin cartridge import "$WORLD/www/src/far"
check "an upgrade that is not compatible" p admin cartridge upgrade --all
check "whose script ran, reaches the web process" sees FAR 0.0.2-0.0.3
tar -C "$WORLD/www/src" -czf "$WORLD/far4.tgz" far
check "import an archive" p admin cartridge import "$WORLD/far4.tgz" --inactive
check "but no secret file of the broker" fails_with 2 "manifest" \
	p admin cartridge import "$PINION_SRCDIR/doc"
check "deactivate it" p admin cartridge deactivate elsewhere-far-1.0
p cartridge remove app elsewhere-far-1.0 -y >/dev/null
check "it cannot be added any more" refused far "Invalid cartridge"
for id in $(p admin cartridge list --json | jq -r '.[] | select(.origin == "imported") | .id'); do
	p admin cartridge remove "$id" -y >/dev/null
done
check "removed from the catalogue, its archives go" until_true blob_count 0
check "a stock cartridge cannot be removed" fails_with 2 "stock" p admin cartridge remove echo-1.0 -y
check "but deactivated" p admin cartridge deactivate echo-1.0
check "then it cannot be added" refused echo "Invalid cartridge"
check "and activated" p admin cartridge activate echo-1.0
check "then it can" p cartridge add app echo

# kill -9 of the broker behind each step of an addition that will be refused.
p cartridge remove app echo -y >/dev/null
p env set ECHO_REFUSES=again --app app >/dev/null 2>&1
p cartridge add app echo >/dev/null 2>&1 &
ADD=$!
kill -9 "$(child_pid pinion-broker)"
wait "$ADD"
back() { p app show app >/dev/null 2>&1 && has_carts nodejs; }
check "after a crash of the broker the addition is taken back" until_true back
check "and the application serves as before" sees ECHO none
done_testing
