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
    status, body = w.call("GET", f"/v1/gears/{g}/logs?lines=10")
    assert status == 200 and b"asked /" in body, body
    w.remove(i)
    w.remove_gear(g)
    assert w.left() == [], w.left()
    assert w.kill(signal.SIGTERM) == 0
    return f"ready after {ms:.0f} ms"


if __name__ == "__main__":
    run_tests([v for k, v in list(globals().items()) if callable(v) and getattr(v, "__module__", "") == "__main__"
               and k not in ("server", "app")])
