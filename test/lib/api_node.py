"""A node for tests of the broker alone: it follows the feed, says that every gear and instance is as
wanted, and "builds" whatever it is sent. Runs in threads of the test's own process."""

import http.client
import http.server
import json
import os
import socketserver
import threading

from unix_http import UnixConnection


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def address_string(self):
        return "unix"

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while True:
            n = int(self.rfile.readline().split(b";")[0], 16)
            data += self.rfile.read(n)
            self.rfile.readline()
            if n == 0:
                return data

    def lines(self, items):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for item in items:
            line = json.dumps(item).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self):
        node = self.server.node
        head, _, tar = self.body().partition(b"\n")
        order = json.loads(head)
        node.builds.append(order)
        digest = "sha256:" + order["deployment_id"].rjust(64, "0")
        result = {
            "ok": node.build_failure is None,
            "step": "" if node.build_failure is None else "build",
            "exit_code": 0 if node.build_failure is None else 1,
            "reason": node.build_failure or "",
            "image": digest,
            "layers": {"app": digest, "deps": "", "rest": ""},
            "deps_key": "none",
            "start": {"kind": "cartridge", "command": "", "why": "a test"},
            "release": "",
            "health_path": "",
        }
        self.lines([{"line": f"building {len(tar)} bytes"}, {"result": result, "has_result": True}])

    def flood(self, gear):
        """Lines without end, as fast as they are taken."""
        node = self.server.node
        node.followers += 1

        def endless():
            n = 0
            while not node.stopped:
                n += 1
                yield {"time": "2026-01-01T00:00:00.000Z", "gear": gear, "instance": "i",
                       "source": "nodejs", "line": f"{n} " + "x" * 1000}

        try:
            self.lines(endless())
        except OSError:
            pass
        finally:
            node.followers -= 1
            self.close_connection = True

    def do_GET(self):
        if "/logs" not in self.path:
            self.send_error(404)
            return
        gear = self.path.split("/")[3]
        if "follow=1" in self.path:
            self.flood(gear)
            return
        self.lines(
            {
                "time": f"2026-01-01T00:00:0{i}.000Z",
                "gear": gear,
                "instance": gear[:8],
                "source": "nodejs",
                "line": f"line {i}",
            }
            for i in range(3)
        )


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A broker that was killed breaks off in the middle: no news."""


class FakeNode:
    def __init__(self, directory, internal, token, name="n1"):
        self.name = name
        self.internal = internal
        self.token = token
        self.build_failure = None  # text: builds fail with it
        self.instance_failure = None  # text: new instances fail with it
        self.builds = []
        self.followers = 0
        self.gears = {}
        self.instances = {}
        self.stopped = False
        self.lock = threading.Lock()
        self.socket = os.path.join(directory, f"{name}.sock")
        self.server = UnixServer(self.socket, Handler)
        self.server.node = self
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        threading.Thread(target=self.follow, daemon=True).start()

    def stop(self):
        self.stopped = True
        self.server.shutdown()

    def post(self, path, value):
        c = UnixConnection(self.internal)
        c.request("POST", path, json.dumps(value), {"Authorization": f"Bearer {self.token}"})
        r = c.getresponse()
        text = r.read()
        c.close()
        if r.status != 200:
            raise RuntimeError(f"{path}: {r.status} {text}")

    def report(self, full=False):
        gears = [
            {"uuid": u, "state": "gone" if g["want"] == "gone" else "ready", "reason": "",
             "disk_used_kb": 1, "cart_rev": g.get("cart_rev", 0)}
            for u, g in self.gears.items()
        ]
        instances = []
        for i in self.instances.values():
            state = {"present": "ready", "stopped": "stopped", "gone": "gone"}[i["want"]]
            reason = ""
            if state == "ready" and i.get("failure"):
                state, reason = "failed", i["failure"]
            instances.append(
                {
                    "id": i["id"],
                    "gear": i["gear"],
                    "generation": i["generation"],
                    "state": state,
                    "address": "127.0.0.1",
                    "port": 8080,
                    "reason": reason,
                    "started_ms": 1,
                    "restarts": 0,
                }
            )
        self.post(
            "/internal/node/report",
            {"node": self.name, "gears": gears, "instances": instances, "full": full},
        )

    def take(self, line):
        kind, key = line.get("kind"), line.get("key")
        table = {"gear": self.gears, "instance": self.instances}.get(kind)
        if table is None:
            return
        if line["type"] == "delete":
            table.pop(key, None)
            return
        value = line["value"]
        old = table.get(key)
        value["failure"] = old["failure"] if old else self.instance_failure
        table[key] = value

    def follow(self):
        while not self.stopped:
            try:
                self.follow_once()
            except (OSError, http.client.HTTPException, RuntimeError, ValueError):
                if self.stopped:
                    return
                threading.Event().wait(0.05)

    def follow_once(self):
        self.post(
            "/internal/node/hello",
            {
                "id": self.name,
                "version": "test",
                "stream": f"unix:{self.socket}",
                "arch": "x86_64",
                "cores": 2,
                "memory_mb": 4096,
                "disk_free_mb": 100000,
                "cartridges": [],
            },
        )
        c = UnixConnection(self.internal)
        c.request(
            "GET", f"/internal/node/feed?node={self.name}", headers={"Authorization": f"Bearer {self.token}"}
        )
        r = c.getresponse()
        if r.status != 200:
            raise RuntimeError(f"feed: {r.status}")
        changed = False
        while not self.stopped:
            text = r.readline()
            if not text:
                return
            line = json.loads(text)
            if line["type"] == "reset":
                self.gears.clear()
                self.instances.clear()
            elif line["type"] in ("put", "delete"):
                self.take(line)
                changed = True
            elif line["type"] == "sync" and changed:
                changed = False
                self.report()
