#!/usr/bin/python3
"""A node with real containers: instances start, serve, crash, are adopted, stop; nothing is left."""
import os, signal, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from node_world import *

SERVER = """#!/usr/bin/python3
import http.server, os, sys
port = int(os.environ.get("PORT", "8080"))
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/crash":
            os._exit(3)
        status = 500 if self.path == "/bad" else 200
        body = ("%s %s" % (TEXT, os.getpid())).encode()
        self.send_response(status); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a):
        print("asked", self.path, flush=True)
http.server.ThreadingHTTPServer((HOST, PORT), H).serve_forever()
"""


def server(text="hello", port='port', host='""'):
    return SERVER.replace("TEXT", repr(text)).replace("HOST, PORT", f"{host}, {port}")


def app(w, code=None, start='#!/bin/bash\nexec python3 "$OPENSHIFT_REPO_DIR/server.py"\n', **more):
    return w.layer({".openshift/action_hooks/start": start, "server.py": code or server(), **more})


def an_instance_starts_serves_and_goes(w):
    w.start()
    g = w.gear()
    w.wait_gear(g, "ready")
    i = w.instance(g, app(w))
    began = time.monotonic()
    st = w.wait_state(i, "ready", "failed")
    assert st["state"] == "ready", st
    ms = (time.monotonic() - began) * 1000
    assert w.get(i)[1].startswith("hello"), w.get(i)
    wait_for(lambda: b"asked /" in w.call("GET", f"/v1/gears/{g}/logs?lines=10")[1], "line in the log")
    w.remove(i)
    w.remove_gear(g)
    wait_for(lambda: w.left() == [], "end of all that was there") # the kernel ends links later
    assert w.kill(signal.SIGTERM) == 0
    return f"ready after {ms:.0f} ms"


def a_failed_start_says_why(w):
    w.start()
    g = w.gear()
    w.wait_gear(g, "ready")
    cases = [
        (app(w, "import sys\nprint('cannot find the database')\nsys.exit(7)\n"), {}, "exited with status 7 after"),
        (app(w, "import time\ntime.sleep(1000)\n"), dict(start_timeout_s=2), "never listened on a port within 2 s"),
        (app(w, "import socket, time\ns = socket.create_server(('::1', 3000), family=socket.AF_INET6)\ntime.sleep(1000)\n"),
         dict(start_timeout_s=2), "listened on [::1]:3000 only"),
        (app(w), dict(health_path="/bad"), "GET /bad answered 500"),
        (app(w, start="#!/bin/bash\nexec /no/such/program\n"), {}, "exited with status 127 after"),
        (app(w, "print('eating')\nx = b'x' * (2 << 30)\n"), {}, "ran out of memory (its profile has"),
        ("sha256:" + "0" * 64, {}, "no node has it now"),
    ]
    for layer, more, reason in cases:
        i = w.instance(g, layer, **more)
        st = w.wait_state(i, "ready", "failed")
        assert st["state"] == "failed" and reason in st["reason"], st
        if "status 7" in reason:
            assert any("cannot find the database" in x for x in st["log_tail"]), st
        w.remove(i)
    w.remove_gear(g)
    wait_for(lambda: w.left() == [], "end of all that was there") # the kernel ends links later


def a_start_sees_the_environment_of_its_revision(w):
    w.start()
    g = w.gear()
    w.wait_gear(g, "ready")
    code = server().replace('("%s %s" % (', '(os.environ.get("COLOUR", "none") + "%s %s" % (')
    layer = app(w, code)
    for n, colour in enumerate(("red", "blue", "green")):
        w.gear_specs[g].update(env=[dict(name="COLOUR", value=colour)], env_rev=n + 2)
        with w.broker.lock:  # one revision, the instance first
            w.broker.revision += 1
            iid = f"{g[:8]}-{n:06x}"
            spec = dict(id=iid, gear=g, app_id=g, deployment_id="d", layers=dict(app=layer, deps="", rest=""),
                        start=dict(kind="", command="", why=""), release="", runs_release=False, health_path="",
                        start_timeout_s=20, stop_timeout_s=5, generation=1, want="present")
            w.broker.records["gear", g], w.broker.records["instance", iid] = w.gear_specs[g], spec
            w.broker.change([{"type": "put", "kind": "instance", "key": iid, "value": spec},
                             {"type": "put", "kind": "gear", "key": g, "value": w.gear_specs[g]}])
        w.wait_state(iid, "ready", "failed")
        assert w.get(iid)[1].startswith(colour), w.get(iid)


def what_eats_too_much_is_named(w):
    w.start()
    g = w.gear()
    w.wait_gear(g, "ready")
    i = w.instance(g, app(w, "x = []\nwhile True: x.append(bytearray(1 << 20))\n"))
    st = w.wait_state(i, "ready", "failed")
    assert "ran out of memory" in st["reason"] and "256 MB" in st["reason"], st


def an_application_is_found_where_it_listens(w):
    w.start()
    g = w.gear()
    i = w.instance(g, app(w, server("other", "3000")))
    st = w.wait_state(i, "ready", "failed")
    assert st["port"] == 8080 and any("port 3000 instead of $PORT" in x for x in st["notes"]), st
    assert w.get(i)[1].startswith("other")
    j = w.instance(g, app(w, server("inside", "port", '"127.0.0.1"')))
    st = w.wait_state(j, "ready", "failed")
    assert any("127.0.0.1 only" in x for x in st["notes"]), st
    assert w.get(j)[1].startswith("inside") and w.get(i)[1].startswith("other")
    w.remove(i)
    assert w.get(j)[1].startswith("inside")


def a_crash_is_started_again(w):
    w.start()
    g = w.gear()
    i = w.instance(g, app(w))
    w.wait_state(i, "ready", "failed")
    first = w.get(i)[1]
    for n in range(1, 3):
        try:
            w.get(i, "/crash")
        except OSError:
            pass
        except Exception:
            pass
        wait_for(lambda: w.broker.instances[i].get("restarts", 0) >= n and w.state(i) == "ready", "restart")
        assert w.get(i)[1].startswith("hello")
    assert (i, "crashed") in w.broker.log
    w.remove(i)
    w.remove_gear(g)
    wait_for(lambda: w.left() == [], "end of all that was there") # the kernel ends links later


def a_stubborn_one_is_killed(w):
    w.start()
    g = w.gear()
    code = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + server()
    i = w.instance(g, app(w, code), stop_timeout_s=1)
    w.wait_state(i, "ready", "failed")
    began = time.monotonic()
    w.change(i, want="stopped")
    w.wait_state(i, "stopped")
    assert 0.5 < time.monotonic() - began < 6, time.monotonic() - began
    w.change(i, want="present")
    w.wait_state(i, "ready")
    w.remove(i)


def gears_outlive_the_daemon(w):
    w.start()
    g = w.gear()
    i = w.instance(g, app(w))
    w.wait_state(i, "ready", "failed")
    before = w.get(i)[1]
    w.kill()
    assert w.get(i)[1] == before
    w.broker.instances.clear()
    w.start()
    w.wait_state(i, "ready")
    assert w.get(i)[1] == before
    # and the broker: the node tends what it knows
    w.kill()
    w.broker.stop()
    w.start(wait=False)
    wait_for(lambda: i.encode() in w.call("GET", "/v1/inventory")[1] if os.path.exists(w.run + "/node.sock") else False,
             "instance in the inventory of a node without a broker")
    assert w.get(i)[1] == before
    w.broker.start()
    w.broker.instances.clear()
    w.wait_state(i, "ready")
    assert w.get(i)[1] == before
    # what nobody wants any more goes
    w.kill()
    del w.broker.records["instance", i]
    w.broker.revision += 1
    w.start()
    wait_for(lambda: not any(i in x for x in w.left()), "end of the orphan")


def names_are_resolved(w):
    w.start()
    g = w.gear()
    code = server().replace('body = (', 'import socket; body = (socket.gethostbyname(self.path[1:]) if len(self.path) > 1 else "up").encode() or (')
    i = w.instance(g, app(w, code))
    w.wait_state(i, "ready", "failed")
    address = w.broker.instances[i]["address"]

    def asks():
        try:
            return w.get(i, "/shop-demo.apps.test")[1] == address
        except Exception:
            return False
    wait_for(asks, "name of the application")
    pid = int(open(w.run + "/resolver.pid").read())
    assert "Uid:\t0" not in open(f"/proc/{pid}/status").read()
    w.kill()
    assert asks()
    os.kill(pid, 9)
    w.start()
    wait_for(asks, "name after the resolver was killed")
    w.remove(i)
    w.remove_gear(g)
    wait_for(lambda: w.left() == [], "end of all")


def other_namespaces_hold_nothing(w):
    w.start()
    g = w.gear()
    i = w.instance(g, app(w))
    w.wait_state(i, "ready", "failed")
    held = [subprocess.Popen(["unshare", "-m", "--propagation", how, "sleep", "1000"]) for how in ("slave", "private")]
    try:
        wait_for(lambda: all("sleep" in open(f"/proc/{p.pid}/comm").read() for p in held), "views")
        w.remove(i)
        # a service's view (slave) lets go at once; one cut off from all does not hinder either
        held[1].kill()
        held[1].wait()
        w.remove_gear(g)
        wait_for(lambda: w.left() == [], "end of all")
    finally:
        for p in held:
            p.kill()
            p.wait()
    g = w.gear()
    w.wait_gear(g, "ready")
    p = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "1000"])
    try:
        wait_for(lambda: "sleep" in open(f"/proc/{p.pid}/comm").read(), "view")
        w.remove_gear(g)
        assert "volume_held" in open(w.log_path).read()
    finally:
        p.kill()
        p.wait()
    wait_for(lambda: w.left() == [], "end of the device")


def logs_are_followed(w):
    w.start()
    g = w.gear()
    i = w.instance(g, app(w))
    w.wait_state(i, "ready", "failed")
    w.get(i, "/first")
    seen = []
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(DEADLINE)
    s.connect(w.run + "/node.sock")
    s.sendall(f"GET /v1/gears/{g}/logs?lines=5&follow=1 HTTP/1.1\r\nHost: node\r\n"
              f"Authorization: Bearer {BROKER_TOKEN}\r\n\r\n".encode())

    def read():
        f = s.makefile("rb")
        while f.readline().strip():
            pass
        while True:
            try:
                n = int(f.readline(), 16)
                data = f.read(n)
                f.readline()
            except (OSError, ValueError):
                return
            seen.extend(json.loads(x) for x in data.splitlines())

    def has(instance, text):
        return [x for x in seen if x["instance"] == instance and x["line"] == text]
    threading.Thread(target=read, daemon=True).start()
    wait_for(lambda: has(i, "asked /first"), "last line")
    w.get(i, "/second")
    line = wait_for(lambda: has(i, "asked /second"), "new line")[0]
    assert line["gear"] == g and line["source"] == "diy" and line["time"].endswith("Z"), line
    j = w.instance(g, app(w, server("newer")))
    w.wait_state(j, "ready", "failed")
    w.remove(i)
    w.get(j, "/third")
    wait_for(lambda: has(j, "asked /third"), "line of the next instance")
    # a crash and its restart, into the same file
    try:
        w.get(j, "/crash")
    except Exception:
        pass
    wait_for(lambda: w.broker.instances[j].get("restarts", 0) >= 1 and w.state(j) == "ready", "restart")
    w.get(j, "/fourth")
    wait_for(lambda: has(j, "asked /fourth"), "line after the restart")
    assert len(has(i, "asked /first")) == 1 and len(has(j, "asked /third")) == 1, seen
    # a reader that does not read costs the application nothing
    idle = socket.socket(socket.AF_UNIX)
    idle.connect(w.run + "/node.sock")
    idle.sendall(f"GET /v1/gears/{g}/logs?lines=5&follow=1 HTTP/1.1\r\nHost: node\r\n"
                 f"Authorization: Bearer {BROKER_TOKEN}\r\n\r\n".encode())
    for _ in range(300):
        w.get(j, "/" + "x" * 2000)
    w.get(j, "/last")
    wait_for(lambda: has(j, "asked /last"), "last line")
    idle.close()
    s.shutdown(socket.SHUT_RDWR)
    assert w.kill(signal.SIGTERM) == 0


def stop_gears_takes_all_down(w):
    w.start()
    g = w.gear()
    i = w.instance(g, app(w))
    w.wait_state(i, "ready", "failed")
    status, body = w.call("POST", "/v1/shutdown?stop-gears=1")
    assert status == 200, (status, body)
    assert w.process.wait(DEADLINE) == 0
    left = [x for x in w.left() if not x.startswith(g)]
    assert left == [], left
    assert w.state(i) == "ready"  # the broker still wants it
    w.start()
    w.broker.instances.clear()
    w.wait_state(i, "ready")
    assert w.get(i)[1].startswith("hello")


def hooks_run_around_the_start(w):
    w.start()
    g = w.gear()
    hooks = {".openshift/action_hooks/deploy": "#!/bin/bash\necho deploy >>$OPENSHIFT_DATA_DIR/order\n",
             ".openshift/action_hooks/post_deploy": "#!/bin/bash\necho post >>$OPENSHIFT_DATA_DIR/order\n"}
    i = w.instance(g, app(w, **hooks), runs_release=True, release="echo release >>$OPENSHIFT_DATA_DIR/order")
    st = w.wait_state(i, "ready", "failed")
    assert st["state"] == "ready", st
    order = open(f"{w.data}/gears/{g}/data/order").read().split()
    assert order == ["release", "deploy", "post"], order
    j = w.instance(g, app(w, **hooks), runs_release=True, release="echo no luck; exit 4")
    st = w.wait_state(j, "ready", "failed")
    assert "release command failed: exit 4" in st["reason"] and any("no luck" in x for x in st["log_tail"]), st
    hooks[".openshift/action_hooks/post_deploy"] = "#!/bin/bash\necho broken; exit 5\n"
    k = w.instance(g, app(w, **hooks))
    st = w.wait_state(k, "ready", "failed")
    assert "post-deploy failed" in st["reason"] and any("broken" in x for x in st["log_tail"]), st


if __name__ == "__main__":
    run_tests([v for k, v in list(globals().items()) if callable(v) and getattr(v, "__module__", "") == "__main__"
               and k not in ("server", "app")])
