#!/usr/bin/python3
"""Applications as people really write them: built by a node, started, asked."""
import glob, json, os, shutil, signal, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from build_world import *
from node_world import *


def world(w):
    w.start()
    return w


def stock_templates(w):
    world(w)
    times = []
    for cart in ("static", "nodejs", "python", "php", "diy"):
        a = App(w, cart)
        b = a.build(f"{SRC}/cartridges/{cart}/template", is_template=True)
        assert b.ok, b
        a.run()
        a.serves("It works")
        times.append(f"{cart} {b.result['us']['total'] / 1000:.0f} ms")
    return ", ".join(times)


def nodejs_dependencies(w):
    a = App(world(w), "nodejs")
    b = a.deploy(sample("node-express-like"), "Hello, node, from a dependency production")
    b.says("Installing dependencies with Node.js", "npm ci", "Start: the start script of package.json, run directly: node server.js")
    assert not b.result["deps_reused"] and b.result["layers"]["deps"]
    assert os.path.isdir(a.layer_path("deps") + "/app-root/runtime/repo/node_modules/greeting")
    assert not os.path.exists(a.repo() + "/node_modules")
    deps = b.result["layers"]["deps"]
    files = {"server.js": "require('http').createServer((q, r) => r.end(require('greeting')('again'))).listen(process.env.PORT)"}
    tree = {f: open(sample("node-express-like") + "/" + f).read() for f in ("package.json", "package-lock.json")}
    tree["vendor/greeting-1.2.0.tgz"] = open(sample("node-express-like") + "/vendor/greeting-1.2.0.tgz", "rb").read()
    b = a.deploy({**tree, **files}, "Hello, again")
    assert b.result["deps_reused"] and b.result["layers"]["deps"] == deps
    assert "npm" not in b.text.replace("npm start", ""), b
    ms = b.result["us"]["total"] / 1000
    # A lock file that does not match.
    package = tree["package.json"].replace('"dependencies": {', '"dependencies": { "other": "file:vendor/other",')
    other = '{ "name": "other", "version": "1.0.0" }'
    b = a.deploy({**tree, **files, "package.json": package, "vendor/other/package.json": other}, "Hello, again")
    b.says("falling back to npm install")
    # force_clean_build
    b = a.build({**tree, **files, ".openshift/markers/force_clean_build": ""})
    assert b.ok and not b.result["deps_reused"], b
    b.says("Force clean build enabled - cleaning dependencies")
    return f"unchanged dependencies {ms:.0f} ms"


def nodejs_without_a_lock_file(w):
    a = App(world(w), "nodejs")
    files = {f: open(sample("node-express-like") + "/" + f).read() for f in ("package.json", "server.js")}
    files["vendor/greeting-1.2.0.tgz"] = open(sample("node-express-like") + "/vendor/greeting-1.2.0.tgz", "rb").read()
    a.deploy(files, "from a dependency").says("npm install")


def nodejs_yarn_lock_only(w):
    App(world(w), "nodejs").deploy(sample("node-yarn"), "Hello, yarn").says("yarn")


def start_commands(w):
    world(w)
    App(w, "nodejs").deploy(sample("node-procfile"), "hello from the Procfile").says("Start: the Procfile's web:")
    npm = {"package.json": '{"name": "n", "scripts": {"start": "node s.js"}}', ".openshift/markers/use_npm": "",
           "s.js": "require('http').createServer((q, r) => r.end('by npm ' + process.env.npm_lifecycle_event)).listen(process.env.PORT)"}
    App(w, "nodejs").deploy(npm, "by npm start").says("Start: npm start (the marker use_npm)")
    App(w, "nodejs").deploy(sample("static-only"), "only an index.html").says("serving the files")
    App(w, "python").deploy(sample("static-only"), "only an index.html")
    App(w, "php").deploy(sample("static-only"), "only an index.html")
    b = App(w, "nodejs").build({"README": "x"})
    assert not b.ok and b.result["step"] == "start", b
    b.says("add a Procfile")


def ports_of_their_own(w):
    world(w)
    b = App(w, "nodejs").deploy(sample("node-port-3000"), "I am on 3000")
    assert any("3000" in n for n in b.notes), b.notes
    App(w, "nodejs").deploy(sample("node-loopback"), "I am on loopback")
    b = App(w, "nodejs").deploy(sample("node-old-engine"), "old but fine, on 127.1.244.1")
    b.says("Warning: package.json asks for Node.js 0.10.x")


def python_applications(w):
    world(w)
    App(w, "python").deploy(sample("python-wsgi-v2"), "v2 wsgi /x", path="/x")
    App(w, "python").deploy(sample("python-flask-like"), "flask-like")
    App(w, "python").deploy(sample("python-plain"), "plain python")
    App(w, "python").deploy({"Procfile": "web: python -m http.server $PORT\r\n", "a.txt": "by a Procfile"}, "by a Procfile", "/a.txt")


def an_application_that_cannot_start(w):
    """Fails the rollout and says why, whatever server is in front of it."""
    world(w)
    for cart, files, word in (
            ("python", {"wsgi.py": "raise ValueError('boom at import')\n"}, "boom at import"),
            ("nodejs", {"server.js": "throw new Error('boom at start')\n"}, "boom at start"),
            ("static", {"a.txt": "x"}, "no folder gone")):
        a = App(w, cart)
        b = a.build(files)
        assert b.ok, b
        if cart == "static":
            a.env(PINION_DOCROOT="gone")
            w.wait_gear(a.gear, "ready")
        i = w.instance(a.gear, "", layers=b.result["layers"], start=b.result["start"])
        st = w.wait_state(i, "ready", "failed")
        assert st["state"] == "failed" and "exited" in st["reason"], st
        assert any(word in line for line in st["log_tail"]), st


def python_requirements(w):
    a = App(world(w), "python")
    b = a.deploy(sample("python-wheel"), "Hello, wheel, from a dependency")
    b.says("Installing 1 of 2 requirements")
    assert b.result["layers"]["deps"]
    b = a.deploy(sample("python-wheel"), "Hello, wheel")
    assert b.result["deps_reused"], b
    b = App(w, "python").build({"requirements.txt": "setuptools\n", "app.py": "x = 1\n", "runtime.txt": "python-3.4.2\n"})
    assert b.ok, b
    b.says("all 1 requirements are satisfied by the stack", "runtime.txt asks for Python 3.4.2")


def php_applications(w):
    world(w)
    App(w, "php").deploy(sample("php-folders"), "php in php/, /any/path?x=1", path="/any/path?x=1")
    a = App(w, "php", env=[{"name": "WHO", "value": "me"}])
    a.deploy(sample("php-front"), "front /a/b?q=7 me 7", path="/a/b?q=7")
    a.serves("just a file", "/robots.txt")
    a.serves("admin pages, /admin/index.php", "/admin/")
    assert a.get("/admin")[0] == 301 and "SECRET" not in a.get("/.env")[1], (a.get("/admin"), a.get("/.env"))
    a.env(PINION_DOCROOT="nowhere")
    b = a.build(sample("php-front"))
    assert not b.ok, b
    b.says("nowhere")


def static_sites(w):
    a = App(world(w), "static")
    a.deploy(sample("static-site"), "static site")
    assert a.get("/.env")[0] == 403, a.get("/.env")
    status, body = a.get("/missing")
    assert status == 404 and "nothing here" in body, (status, body)
    times = []
    for i in range(5):
        b = a.build({"index.html": f"<p>{i}"})
        assert b.ok and not b.result["deps_key"], b
        times.append(b.result["us"]["total"] / 1000)
    return "build " + " ".join(f"{t:.0f}" for t in times) + " ms"


def a_folder_of_a_monorepo(w):
    a = App(world(w), "nodejs", env=[{"name": "PINION_SUBDIR", "value": "services/api"}])
    a.deploy(sample("monorepo"), "api of the monorepo")
    for folder in ("../x", "services/none"):
        a.env(PINION_SUBDIR=folder)
        b = a.build(sample("monorepo"))
        assert not b.ok, b
        b.says("PINION_SUBDIR")


def diy_daemons_and_hooks(w):
    world(w)
    a = App(w, "diy")
    a.deploy(sample("diy-daemon"), "a daemon on 127.1.244.1")
    a.w.remove(a.running)
    assert open(f"{w.data}/gears/{a.gear}/data/stops").read() == "stopping\n"
    a = App(w, "static")
    b = a.deploy(sample("hooks"), "pre_build\nbuild\ndeploy\n", path="/trace.txt")
    b.says("hook pre_build in", "hook build in")
    assert "hook deploy" not in b.text
    wait_for(lambda: os.path.exists(f"{w.data}/gears/{a.gear}/data/post_deploy"), "post_deploy hook")
    bad = a.build({"index.html": "x", ".openshift/action_hooks/build": ("exec", "#!/bin/bash\necho oops\nexit 7\n")})
    assert not bad.ok and bad.result["exit_code"] == 7 and bad.result["step"] == "build", bad
    bad.says("oops", "Failed to execute action hook 'build'")
    b = a.build({"index.html": "x", ".openshift/action_hooks/build": "#!/bin/bash\necho oops\n"})
    assert b.ok, b
    b.says("NOTE: The .openshift/action_hooks/build hook is not executable")
    b = a.build({"index.html": "x", ".openshift/action_hooks/build": ("exec", "#!/bin/bash\r\necho fine\r\n")})
    assert b.ok, b
    b.says("Windows line ends", "fine")


def things_said_plainly(w):
    a = App(world(w), "nodejs")
    b = a.deploy(sample("with-docker"), "no docker")
    b.says("the Dockerfile is not used", "model.bin is a Git LFS pointer")
    b = a.build(sample("release"))
    assert b.result["release"] == "echo migrated > $OPENSHIFT_DATA_DIR/released", b


def strange_trees(w):
    a = App(world(w), "static")
    b = a.build({"index.html": "<p>x", b"caf\xe9.txt": "latin", "link.html": ("link", "index.html"),
                 "up": ("link", "../../../x"), "a/" + "b" * 150 + "/" + "c" * 150: "long"})
    assert b.ok, b
    a.run()
    a.serves("latin", "/caf%E9.txt")
    a.serves("<p>x", "/link.html")
    assert os.readlink(a.repo() + "/up") == "../../../x"
    for target in ("/etc/passwd", "../../../../x"):
        b = a.build({"index.html": "x", "bad": ("link", target)})
        assert not b.ok and b.result["step"] == "unpack", b
        b.says("'bad' is a symbolic link that is absolute or leaves the application")
    b = a.build_tar(plain_tar([("index.html", "many")] + [(f"d{i // 100}/f{i}", str(i)) for i in range(20000)]))
    assert b.ok, b
    ms = b.result["us"]["total"] / 1000
    big = {"index.html": "big", "node_modules/.bin/tool": ("exec", b"\x7fELF" + os.urandom(40 << 20))}
    b = a.build(big)
    assert b.ok, b
    return f"20,000 files {ms:.0f} ms, 40 MB {b.result['us']['total'] / 1000:.0f} ms"


def hostile_archives(w):
    import io, tarfile
    a = App(world(w), "static")

    def tar(*entries):
        out = io.BytesIO()
        t = tarfile.open(fileobj=out, mode="w")
        for name, kind, link in entries:
            i = tarfile.TarInfo(name)
            i.type, i.linkname, i.size = kind, link, 1 if kind == tarfile.REGTYPE else 0
            t.addfile(i, io.BytesIO(b"x"))
        t.close()
        return out.getvalue()

    cases = [
        (tar(("../x", tarfile.REGTYPE, "")), "'..'"), (tar(("a/../../x", tarfile.REGTYPE, "")), "'..'"),
        (tar(("/etc/x", tarfile.REGTYPE, "")), "absolute"), (tar(("x", tarfile.CHRTYPE, "")), "device"),
        (tar(("x", tarfile.FIFOTYPE, "")), "pipe"), (tar(("x", tarfile.LNKTYPE, "/etc/passwd")), "hard link"),
        (tar(("x", tarfile.LNKTYPE, "../../y")), "hard link"), (tar(("d", tarfile.SYMTYPE, ".."), ("d/x", tarfile.REGTYPE, "")), "no directory"),
        (tar(("index.html", tarfile.REGTYPE, ""))[:700], "damaged"), (b"no tar at all" * 100, "archive"),
    ]
    for data, word in cases:
        b = a.build_tar(data)
        assert not b.ok and b.result["step"] == "unpack", b
        b.says(word)
    assert a.build({"index.html": "fine"}).ok
    wait_for(lambda: not os.listdir(w.data + "/scratch"), "empty scratch")


def limits_of_a_build(w):
    a = App(world(w), "static")
    hook = lambda s: {"index.html": "x", ".openshift/action_hooks/build": ("exec", "#!/bin/bash\n" + s)}
    start = time.monotonic()
    b = a.build(hook("echo begun; sleep 100\n"), timeout_s=2)
    assert not b.ok and time.monotonic() - start < 20, b
    b.says("begun", "took longer than 2 s")
    b = a.build(hook("for ((i = 0; i < 20000; i++)); do echo $i 1234567890; done; exit 0\n"), output_max=50000)
    assert b.ok, b
    assert len(b.text) < 60000
    b.says("the output is longer than its limit")
    b = a.build(hook("printf 'no newline\\rprogress\\rdone'\n"))
    assert b.ok, b
    b.says("done")
    b = App(w, "static", limits=dict(memory_mb=512, cpu_percent=200, cpu_shares=128, pids=200, disk_mb=8, files=1000)).build(
        hook("dd if=/dev/zero of=$OPENSHIFT_REPO_DIR/big bs=1M count=40 2>/dev/null; sleep 100\n"))
    assert not b.ok, b
    b.says("the build wrote more than 16 MB")
    # The asker goes away.
    s = a.connect()
    body = json.dumps(a.order()).encode() + b"\n" + tar_of(hook("sleep 100\n"))
    s.sendall(a.head(len(body)) + body)
    wait_for(lambda: any(x.startswith("inst/build") for x in w.left()), "builder instance")
    s.close()
    wait_for(lambda: not any("build" in x for x in w.left()), "end of the builder instance")
    assert a.build({"index.html": "fine"}).ok
    # A stop in the middle of a build leaks nothing (with a sanitized build that is told by the exit code).
    s = a.connect()
    body = json.dumps(a.order()).encode() + b"\n" + tar_of(hook("sleep 100\n"))
    s.sendall(a.head(len(body)) + body)
    wait_for(lambda: any(x.startswith("inst/build") for x in w.left()), "builder instance")
    assert w.kill(signal.SIGTERM) == 0, "exit code"
    s.close()


def builds_side_by_side(w):
    """Applications do not wait for one another, up to as many as there are cores; then in order."""
    import threading
    world(w)
    apps = [App(w, "static") for _ in range(max(2, os.cpu_count()) + 2)]
    for a in apps:
        w.wait_gear(a.gear, "ready")
    hook = {"index.html": "x", ".openshift/action_hooks/build": ("exec", "#!/bin/bash\nsleep 1\n")}
    tar, results = tar_of(hook), []
    threads = [threading.Thread(target=lambda a=a: results.append(a.build_tar(tar))) for a in apps]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(b.ok for b in results), [str(b) for b in results if not b.ok]
    waited = sum("waits for its turn" in b.text for b in results)
    assert waited == 2, waited


def a_daemon_killed_in_a_build(w):
    """Nothing of the build is left once the next daemon runs; the same commit builds."""
    a = App(world(w), "static")
    hook = {"index.html": "x", ".openshift/action_hooks/build": ("exec", "#!/bin/bash\nsleep ${NAP:-100}\n")}
    a.w.wait_gear(a.gear, "ready")
    s = a.connect()
    body = json.dumps(a.order()).encode() + b"\n" + tar_of(hook)
    s.sendall(a.head(len(body)) + body)
    wait_for(lambda: any(x.startswith("inst/build") for x in w.left()), "builder instance")
    w.kill(signal.SIGKILL)
    s.close()
    w.start()
    wait_for(lambda: not any("build" in x or "tree" in x for x in w.left()), f"end of the remains")
    a.env(NAP="0")
    b = a.build(hook)
    assert b.ok, b


def killed_between_its_steps(w):
    """The fault points of a build: after a restart the same tree builds and serves."""
    a = App(world(w), "static")
    w.wait_gear(a.gear, "ready")
    for point in ("layer_store_synced", "layer_store_placed", "unpack_done"):
        w.kill(signal.SIGTERM)
        w.start(PINION_FAULT=point)
        s = a.connect()
        body = json.dumps(a.order()).encode() + b"\n" + tar_of({"index.html": f"<p>{point}"})
        s.sendall(a.head(len(body)) + body)
        assert w.process.wait(DEADLINE) != 0
        s.close()
        w.start()
        assert not os.listdir(w.data + "/scratch"), os.listdir(w.data + "/scratch")
        w.wait_gear(a.gear, "ready")
        assert a.build({"index.html": f"<p>{point}"}).ok
        a.run()
        a.serves(f"<p>{point}")


def what_a_build_may_reach(w):
    """A builder sees its own files and nothing of the node."""
    a = App(world(w), "static")
    script = """#!/bin/bash
id -u
touch /usr/x 2>/dev/null && echo WROTE-USR
ls /var/lib/openshift
touch "$HOME/.npmrc" && echo home-writable
echo data >"$OPENSHIFT_DATA_DIR/kept"
echo "$OPENSHIFT_APP_NAME $PINION_CACHE_DIR"
env | sort >"$OPENSHIFT_REPO_DIR/env.txt"
"""
    b = a.build({"index.html": "x", ".openshift/action_hooks/build": ("exec", script)})
    assert b.ok, b
    b.says("1000", "home-writable", "shop /var/cache/pinion", a.gear)
    assert "WROTE-USR" not in b.text
    assert os.path.exists(f"{w.data}/gears/{a.gear}/data/kept")
    env = open(a.repo() + "/env.txt").read()
    assert "OPENSHIFT_REPO_DIR=/var/lib/openshift/" in env and BROKER_TOKEN not in env


MOCK = {
    "metadata/manifest.yml": """
Name: mock
Cartridge-Short-Name: MOCK
Version: '0.1'
Cartridge-Version: 0.0.1
Cartridge-Vendor: acme
Categories: [web_framework]
Endpoints:
  - {Private-IP-Name: IP, Private-Port-Name: PORT, Private-Port: 8080}
""",
    "metadata/managed_files.yml": """
locked_files: [conf/, ~/.mockrc]
dependency_dirs: [deps]
""",
    "env/OPENSHIFT_MOCK_FROM_CODE": "code\n",
    "bin/setup": """#!/bin/bash -eu
[[ $1 == --version && $2 == 0.1 && $PWD == "$HOME"mock ]]
echo "$OPENSHIFT_MOCK_IDENT" >conf/ident
source $OPENSHIFT_CARTRIDGE_SDK_BASH
set_env_var OPENSHIFT_MOCK_SECRET "$(generate_password)" env
echo rc >~/.mockrc
""",
    "bin/install": """#!/bin/bash -eu
[[ -n $OPENSHIFT_MOCK_SECRET ]]
echo installed >conf/installed
echo "CLIENT_MESSAGE: hello from mock"
""",
    "bin/control": """#!/bin/bash
echo "$1" >>${OPENSHIFT_DATA_DIR}trace
case $1 in
build) echo "building"; echo x >>deps/builds; echo made >made-by-build ;;
start) cat deps/builds conf/ident conf/installed made-by-build >$OPENSHIFT_REPO_DIR/seen
	nohup python3 -m http.server -d $OPENSHIFT_REPO_DIR -b $OPENSHIFT_MOCK_IP $OPENSHIFT_MOCK_PORT |& /usr/bin/logshifter -tag mock & ;;
esac
exit 0
""",
}


def a_cartridge_as_v2_has_them(w):
    """setup, install, locked files, dependency directories, every action; nothing of it is ours."""
    carts = w.root + "/carts"
    shutil.copytree(SRC + "/cartridges", carts)
    for name, text in MOCK.items():  # without exec bits: they are repaired
        os.makedirs(os.path.dirname(f"{carts}/mock/{name}"), exist_ok=True)
        with open(f"{carts}/mock/{name}", "w") as f:
            f.write(text)
    w.cartridges = carts
    world(w)
    VERSIONS["mock"] = "0.1"
    a = App(w, "mock", cartridges=[dict(name="mock", version="0.1", cart_version="0.0.1", vendor="acme", is_web=True)])
    w.wait_gear(a.gear, "ready")
    base = glob.glob(f"{w.data}/gears/{a.gear}/base/*/mock")[0]
    assert len(open(base + "/env/OPENSHIFT_MOCK_SECRET").read().strip()) == 12
    b = a.deploy({"index.html": "mock page"}, "mock page")
    b.says("building", "Start: the mock cartridge knows how")
    a.serves("x\nacme:mock:0.1:0.0.1\ninstalled\nmade\n", "/seen")
    trace = lambda: open(f"{w.data}/gears/{a.gear}/data/trace").read().split()
    wait_for(lambda: trace()[-1] == "post-deploy", "post-deploy")
    assert trace() == ["update-configuration", "pre-build", "build", "update-configuration", "deploy", "start",
                       "post-deploy"], trace()
    for digest in b.result["layers"].values():
        top = f"{w.data}/layers/" + digest.split(":")[1] if digest else w.root + "/none"
        assert not any("SECRET" in n for _, _, names in os.walk(top) for n in names)
    # What the last build left is there for the next.
    a.deploy({"index.html": "second"}, "second")
    a.serves("x\nx\nacme", "/seen")
    a.build({"index.html": "third"}, force_clean=True)
    assert open(a.layer_path("deps") + "/app-root/runtime/dependencies/deps/builds").read() == "x\n"


def a_cartridge_that_fails(w):
    carts = w.root + "/carts"
    shutil.copytree(SRC + "/cartridges", carts)
    for name, text in MOCK.items():
        os.makedirs(os.path.dirname(f"{carts}/mock/{name}"), exist_ok=True)
        with open(f"{carts}/mock/{name}", "w") as f:
            f.write("#!/bin/bash\necho CLIENT_ERROR: no disk of that colour\nexit 7\n" if name == "bin/setup" else text)
    w.cartridges = carts
    world(w)
    VERSIONS["mock"] = "0.1"
    a = App(w, "mock", cartridges=[dict(name="mock", version="0.1", cart_version="0.0.1", vendor="acme", is_web=True)])
    w.wait_gear(a.gear, "failed")
    reason = w.broker.gears[a.gear]["reason"]
    assert "no disk of that colour" in reason and "setup" in reason, reason
    w.remove_gear(a.gear)
    wait_for(lambda: w.left() == [], "end of all that was there") # the kernel ends links later


if __name__ == "__main__":
    run_tests([stock_templates, nodejs_dependencies, nodejs_without_a_lock_file, nodejs_yarn_lock_only, start_commands,
               ports_of_their_own, python_applications, an_application_that_cannot_start, python_requirements, php_applications, static_sites,
               a_folder_of_a_monorepo, diy_daemons_and_hooks, things_said_plainly, strange_trees, hostile_archives,
               limits_of_a_build, builds_side_by_side, a_daemon_killed_in_a_build, killed_between_its_steps,
               what_a_build_may_reach, a_cartridge_as_v2_has_them, a_cartridge_that_fails])
