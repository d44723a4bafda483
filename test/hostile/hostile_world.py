"""A hostile gear and its neighbour on one node. The neighbour is another owner's application that is
requested all the while; not one of its requests may fail."""
import http.client, json, os, sys, threading, time, urllib.parse
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from node_world import *

with open(os.path.join(HERE, "attacker.py")) as f:
    ATTACKER = "#!/usr/bin/python3\n" + f.read()
FILES = {".openshift/action_hooks/start": '#!/bin/bash\nexec python3 "$OPENSHIFT_REPO_DIR/server.py"\n', "server.py": ATTACKER}


def ask(w, i, path, timeout=60):
    st = w.broker.instances[i]
    c = http.client.HTTPConnection(st["address"], st["port"], timeout=timeout)
    c.request("GET", path)
    return json.loads(c.getresponse().read())


def do(w, i, name, arg="", timeout=60):
    return ask(w, i, f"/{name}?{urllib.parse.quote(arg)}", timeout)


def pair(w, **more):
    """An attacker and a victim of another application, both ready."""
    w.start()
    layer = w.layer(FILES)
    out = []
    for name in ("shop", "bank"):
        g = w.gear(app_name=name, app_dns=f"{name}-demo.apps.test", gear_dns=f"{name}-demo.apps.test", **more)
        out.append(w.instance(g, layer))
    for i in out:
        st = w.wait_state(i, "ready", "failed")
        assert st["state"] == "ready", st
    return out


class Neighbour(threading.Thread):
    """Requests the victim, a connection each, until it is asked for the result."""

    def __init__(self, w, i, pause=0.005):
        super().__init__(daemon=True)
        self.w, self.i, self.pause, self.ends, self.times, self.failed = w, i, pause, False, [], []
        self.start()

    def run(self):
        while not self.ends:
            began = time.monotonic()
            try:
                assert ask(self.w, self.i, "/hello", 30) == "hello"
            except Exception as e:
                self.failed.append(repr(e))
            self.times.append(time.monotonic() - began)
            time.sleep(self.pause)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.ends = True
        self.join(40)
        if kind is None:
            assert self.times and not self.failed, f"{len(self.failed)} of {len(self.times)} failed: {self.failed[:3]}"

    def __str__(self):
        t = sorted(self.times)
        return f"neighbour: {len(t)} requests, 0 failed, p50 {t[len(t) // 2] * 1000:.1f} ms, " \
            f"p99 {t[len(t) * 99 // 100] * 1000:.0f} ms"
