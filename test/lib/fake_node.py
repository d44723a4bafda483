#!/usr/bin/python3
"""A node that runs nothing: follows its feed, answers builds, reports what a real one would.

What a source tree holds decides: a file BUILD_FAILS fails the build with its text, BUILD_WAITS names
a file whose coming the build waits for, START_FAILS fails the instance with its text, BUILD_FLOODS is a number of lines.
Every request of the broker and every change is one line of JSON in --log."""
import argparse, hashlib, http.client, io, json, os, socketserver, sys, tarfile, threading, time

from unix_http import UnixConnection

ap = argparse.ArgumentParser()
for name in ("broker", "token-file", "broker-token-file", "socket", "log"):
    ap.add_argument("--" + name, required=True)
ap.add_argument("--id", default="node1")
ap.add_argument("--start-ms", type=int, default=1)
a = ap.parse_args()
token = open(a.token_file).read().strip()
broker_token = open(a.broker_token_file).read().strip()
lock = threading.Lock()
log = open(a.log, "a", buffering=1)
trees = {}  # layer digest → {name: bytes} of the marker files
gears, instances, layers, reported = {}, {}, {}, {}
changed = threading.Event()
address = [0]


def note(**kw):
    kw["t"] = time.time()
    log.write(json.dumps(kw) + "\n")


conn = [None]
posting = threading.Lock()


def post(path, body):
    with posting:
        return post_alone(path, body)


def post_alone(path, body):
    while True:
        try:
            if conn[0] is None:
                conn[0] = UnixConnection(a.broker, timeout=20)
            conn[0].request("POST", path, json.dumps(body),
                            {"Authorization": "Bearer " + token, "Content-Type": "application/json"})
            r = conn[0].getresponse()
            text = r.read()
            if r.status != 200:
                note(event="refused", path=path, status=r.status, text=text.decode())
            return r.status
        except (OSError, http.client.HTTPException):
            conn[0] = None
            time.sleep(0.02)


def hello():
    post("/internal/node/hello", {"id": a.id, "version": "0", "stream": "unix:" + a.socket, "arch": "x86_64",
                                  "cores": 2, "memory_mb": 4096, "disk_free_mb": 100000,
                                  "cartridges": ["static-1", "static-1.0", "nodejs-18", "nodejs-20"]})


def status_of(i):
    """The status of an instance by its spec; a start that is due takes start-ms."""
    old = reported.get(i["id"])
    st = {"id": i["id"], "gear": i["gear"], "generation": i["generation"], "started_ms": 0, "restarts": 0}
    if i["want"] != "present":
        return dict(st, state="gone" if i["want"] == "gone" else "stopped")
    if old and old["state"] in ("ready", "failed"):
        return dict(old, generation=i["generation"])
    time.sleep(a.start_ms / 1000)
    files = trees.get(i["layers"].get("app") or "", {})
    if "START_FAILS" in files:
        return dict(st, state="failed", reason=files["START_FAILS"].decode().strip(),
                    log_tail=["first line", "boom"])
    address[0] += 1
    return dict(st, state="ready", address="100.64.%d.%d" % (address[0] >> 8, address[0] & 255), port=8080,
                notes=["listens on port 3000 instead of $PORT"] if "NOTES" in files else [],
                started_ms=int(time.time() * 1000))


def reporter():
    full = True
    while True:
        changed.wait()
        changed.clear()
        with lock:
            want = dict(instances)
            gs = {u: ("gone" if g["want"] == "gone" else "ready", g.get("cart_rev", 0)) for u, g in gears.items()}
        out = []
        for i in want.values():
            st = status_of(i)
            if reported.get(i["id"]) != st:
                reported[i["id"]] = st
                out.append(st)
                note(event="instance", id=i["id"], state=st["state"], deployment=i["deployment_id"],
                     release=i.get("release") or "", env_rev=gears.get(i["gear"], {}).get("env_rev"))
        g = [{"uuid": u, "state": s, "reason": "", "disk_used_kb": 1, "cart_rev": n} for u, (s, n) in gs.items()]
        if out or g:
            post("/internal/node/report", {"node": a.id, "gears": g, "instances": out, "full": False})


def feed():
    rev, first = 0, True
    while True:
        try:
            c = UnixConnection(a.broker, timeout=15)
            c.request("GET", "/internal/node/feed?node=%s%s" % (a.id, "&from=%d" % (rev + 1) if rev else ""),
                      headers={"Authorization": "Bearer " + token})
            r = c.getresponse()
            if r.status != 200:
                raise OSError(r.status)
            for line in r:
                m = json.loads(line)
                with lock:
                    if m["type"] == "reset":
                        gears.clear()
                        instances.clear()
                        layers.clear()
                    elif m["type"] == "sync":
                        rev = m["revision"]
                        with open(a.log + ".new", "w") as f:
                            json.dump({"gears": gears, "instances": instances, "layers": layers}, f)
                        os.rename(a.log + ".new", a.log + ".state")
                        changed.set()
                    else:
                        table = {"gear": gears, "instance": instances, "layers": layers}.get(m["kind"])
                        if m["type"] == "put":
                            table[m["key"]] = m["value"]
                        else:
                            table.pop(m["key"], None)
                            reported.pop(m["key"], None)
        except (OSError, http.client.HTTPException, ValueError) as e:
            note(event="feed_lost", why=repr(e))
            time.sleep(0.05)
            hello()


class Handler(socketserver.StreamRequestHandler):
    def chunk(self, obj):
        data = json.dumps(obj).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def body(self, headers):
        if "chunked" in headers.get("transfer-encoding", ""):
            out = io.BytesIO()
            while True:
                n = int(self.rfile.readline().split(b";")[0], 16)
                out.write(self.rfile.read(n))
                self.rfile.readline()
                if n == 0:
                    return out.getvalue()
        return self.rfile.read(int(headers.get("content-length", "0")))

    def handle(self):
        while True:
            line = self.rfile.readline().split()
            if len(line) < 3:
                return
            headers = {}
            while True:
                h = self.rfile.readline().strip()
                if not h:
                    break
                k, v = h.decode().split(":", 1)
                headers[k.lower()] = v.strip()
            self.one(line[0].decode(), line[1].decode(), headers)

    def one(self, method, path, headers):
        data = self.body(headers)
        if headers.get("authorization") != "Bearer " + broker_token:
            self.wfile.write(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
            return
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        if path == "/v1/builds":
            self.build(data)
        self.wfile.write(b"0\r\n\r\n")

    def build(self, data):
        head, tar = data.split(b"\n", 1)
        order = json.loads(head)
        files, names = {}, []
        with tarfile.open(fileobj=io.BytesIO(tar), encoding="latin-1") as t:
            for m in t:
                names.append(m.name)
                if m.isfile() and m.size < 65536:
                    files[m.name] = t.extractfile(m).read()
        digest = "sha256:" + hashlib.sha256(tar).hexdigest()
        note(event="build", id=order["id"], app=order["gear"]["app_name"], deployment=order["deployment_id"],
             sha1=order["sha1"], ref=order["ref"], names=sorted(names)[:200], template=order.get("is_template"),
             env=order["gear"].get("env"), branch=order["gear"].get("deployment_branch"), size=len(tar),
             force_clean=order.get("force_clean"))
        if order.get("force_clean"):
            self.chunk({"line": "Force clean build enabled - cleaning dependencies"})
        self.chunk({"line": "Building with the fake cartridge"})
        for i in range(int(files.get("BUILD_FLOODS", b"0"))):
            self.chunk({"line": "%d %s" % (i, "x" * 1000)})
        if "BUILD_WAITS" in files:
            name = files["BUILD_WAITS"].decode().strip()
            self.chunk({"line": "waiting"})
            end = time.time() + 30
            while not os.path.exists(name) and time.time() < end:
                time.sleep(0.005)
        result = {"ok": True, "step": "", "exit_code": 0, "reason": "", "image": digest,
                  "layers": {"app": digest, "deps": "", "rest": ""}, "deps_key": "k", "deps_reused": False,
                  "start": {"kind": "usual", "command": "", "why": ""}, "release": "", "health_path": "",
                  "us": {"unpack": 1, "configure": 1, "build": 1, "seal": 1, "total": 4}}
        if "BUILD_FAILS" in files:
            result.update(ok=False, step="build", exit_code=3, reason=files["BUILD_FAILS"].decode().strip())
        if "Procfile" in files:
            for line in files["Procfile"].decode().splitlines():
                if line.startswith("release:"):
                    result["release"] = line[8:].strip()
        trees[digest] = files
        self.chunk({"result": result, "has_result": True})


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


if os.path.exists(a.socket):
    os.unlink(a.socket)
server = Server(a.socket, Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
threading.Thread(target=reporter, daemon=True).start()
hello()
feed()
