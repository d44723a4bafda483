"""See api.sh."""

import base64
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from api_node import FakeNode

BUILD = os.environ["PINION_BUILDDIR"]
SRC = os.environ["PINION_SRCDIR"]
DEADLINE = float(os.environ.get("PINION_TEST_DEADLINE", "60"))
PASSWORD = "a long password"


class Broker:
    """pinion-broker on a directory of its own."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="pinion-api.")
        self.tokens = {}
        for name in ("node", "router", "broker"):
            self.tokens[name] = secrets.token_hex(32)
            self.write(f"{name}.token", self.tokens[name])
        self.write("admin-password", PASSWORD + "\n")
        self.internal = os.path.join(self.dir, "run", "broker.sock")
        self.process = None
        self.port = 0

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write(text)

    def start(self, listen="127.0.0.1:0"):
        r, w = os.pipe()
        argv = [
            os.path.join(BUILD, "pinion-broker"),
            "--data", self.dir,
            "--listen", listen,
            "--internal", f"unix:{self.internal}",
            "--hook-program", os.path.join(BUILD, "pinion-hook"),
            "--cartridges", os.path.join(SRC, "cartridges"),
            "--app-domain", "apps.test",
            "--router-url", "http://127.0.0.1:8080",
            "--admin-password-file", os.path.join(self.dir, "admin-password"),
            "--max-gears", "6",
            "--ready-fd", str(w),
        ]
        for name in self.tokens:
            argv += [f"--{name}-token-file", os.path.join(self.dir, f"{name}.token")]
        self.log = open(os.path.join(self.dir, "broker.log"), "a")
        # Freed memory that the sanitizer keeps back would look like growth.
        env = {**os.environ, "PINION_FAULT_FILE": os.path.join(self.dir, "fault"),
               "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=2"}
        self.process = subprocess.Popen(argv, pass_fds=[w], stdin=subprocess.DEVNULL, env=env,
                                        stdout=self.log, stderr=self.log)
        os.close(w)
        with os.fdopen(r) as f:
            line = f.readline()
        if not line:
            sys.exit("Bail out! pinion-broker did not start: " + self.tail())
        self.port = json.loads(line)["port"]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        return self.process.wait(DEADLINE)

    def tail(self):
        with open(os.path.join(self.dir, "broker.log")) as f:
            return f.read()[-4000:]

    def call(self, method, path, body=None, user="admin", password=PASSWORD, headers=None, raw=False):
        """Status, and the envelope (raw: the text)."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        h = {"Content-Type": "application/json", **(headers or {})}
        if user:
            h["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        c.request(method, "/broker/rest" + path, data, h)
        r = c.getresponse()
        text = r.read()
        c.close()
        if raw:
            return r.status, text.decode()
        return r.status, json.loads(text) if text else None

    def rss_kb(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(s.split()[1]) for s in f if s.startswith("VmRSS"))


class Tests:
    def __init__(self):
        self.n = 0
        self.failed = 0

    def check(self, name, ok, detail=""):
        self.n += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.n} - {name}", flush=True)
        if not ok and detail != "":
            print("#   " + str(detail).replace("\n", "\n#   "), flush=True)

    def equal(self, name, got, wanted):
        self.check(name, got == wanted, f"got {got!r}, wanted {wanted!r}")


def until(what):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.02)
    return False


APP = "/domain/it/application/web"


def consumed(b):
    return b.call("GET", "/user")[1]["data"]["consumed_gears"]


def status_counts(b):
    d = b.call("GET", "/status")[1]["data"]
    return {k: d[k] for k in ("applications", "gears", "domains")}


def test_life(t, b, node):
    status, r = b.call("POST", "/domains", {"name": "it"})
    t.equal("a domain is made", status, 201)
    status, r = b.call("POST", "/domain/it/applications", {"name": "web", "cartridges": ["nodejs"], "scale": True})
    t.check("an application is made and serves", status == 201 and r["data"]["state"] == "started", r)
    t.equal("its template was built once", [o["is_template"] for o in node.builds], [True])
    t.equal("its URL", r["data"]["app_url"], "http://web-it.apps.test:8080/")
    status, r = b.call("GET", APP + "/gear_groups")
    t.equal("its gear is started", [g["state"] for g in r["data"][0]["gears"]], ["started"])
    status, r = b.call("GET", APP + "/gear_groups?include=endpoints")
    ends = r["data"][0]["gears"][0]["endpoints"]
    t.check("its endpoint, public and private", [
        (e["cartridge_name"].split("-")[0], e["internal_port"], e["mappings"][0]["frontend"]) for e in ends
        if e["external_port"] > 35530 and e["external_address"].startswith("127.")
        and e["internal_address"].startswith("127.") and "web_framework" in e["types"]] == [("nodejs", 8080, "")], ends)
    status, r = b.call("PATCH", APP + "/environment-variables",
                       {"environment_variables": [{"name": "COLOUR", "value": "blue"}]})
    t.equal("a variable is set", status, 201)
    gear = next(iter(node.gears.values()))
    t.equal("the node knows it", [v["value"] for v in gear["env"]], ["blue"])
    status, r = b.call("POST", APP + "/events", {"event": "scale-up", "to": 3})
    t.check("scale up", status == 200 and r["data"]["gear_count"] == 3, r)
    t.equal("three gears on the node", len(node.gears), 3)
    t.equal("three gears are counted", consumed(b), 3)
    status, r = b.call("POST", APP + "/events", {"event": "scale-up", "to": 9})
    t.equal("more than the quota is refused", (status, r["messages"][0]["exit_code"]), (422, 104))
    status, r = b.call("POST", APP + "/events", {"event": "scale-down", "to": 1})
    t.check("scale down", status == 200, r)
    t.check("one gear is left and counted", until(lambda: len(node.gears) == 1 and consumed(b) == 1))
    for event in ("restart", "stop"):
        status, r = b.call("POST", APP + "/events", {"event": event})
        t.check(event, status == 200, r)
    t.equal("it is stopped", r["data"]["state"], "stopped")
    status, r = b.call("POST", APP + "/events", {"event": "start"})
    t.check("start", status == 200 and r["data"]["state"] == "started", r)
    status, text = b.call("GET", APP + "/logs?lines=2", raw=True)
    t.check("logs come as JSON lines", status == 200 and json.loads(text.splitlines()[0])["line"] == "line 1", text)


def test_failures(t, b, node):
    node.build_failure = "npm is out of order"
    status, r = b.call("POST", "/domain/it/applications", {"name": "bad", "cartridges": ["php"]})
    t.check("a build that fails refuses the create", status == 422 and "npm is out" in r["messages"][0]["text"], r)
    node.build_failure = None
    t.equal("and leaves nothing", status_counts(b), {"applications": 1, "gears": 1, "domains": 1})
    t.equal("not even in the count", consumed(b), 1)
    node.instance_failure = "exited with status 1 after 0.3 s"
    status, r = b.call("POST", "/domain/it/applications", {"name": "bad", "cartridges": ["php"]})
    t.check("an app that does not start refuses the create",
            status == 422 and "exited with status 1" in r["messages"][0]["text"], r)
    status, r = b.call("PATCH", APP + "/environment-variables",
                       {"environment_variables": [{"name": "COLOUR", "value": "red"}]})
    t.check("a variable that breaks the app is refused",
            status == 422 and "exited with status 1" in json.dumps(r), r)
    node.instance_failure = None
    status, r = b.call("GET", APP + "/environment-variables")
    t.equal("and the old value is back", [v["value"] for v in r["data"]], ["blue"])
    status, r = b.call("GET", APP)
    t.equal("the app serves on", r["data"]["state"], "started")
    t.equal("nothing is left of all that", status_counts(b), {"applications": 1, "gears": 1, "domains": 1})


def test_lines(t, b):
    status, text = b.call("POST", "/domain/it/applications", {"name": "live", "cartridges": ["static"]},
                          headers={"Accept": "application/x-ndjson"}, raw=True)
    lines = [json.loads(s) for s in text.splitlines()]
    t.check("progress comes line by line, the envelope last",
            len(lines) > 1 and all("progress" in s for s in lines[:-1]) and lines[-1]["status"] == "created", text)
    status, _ = b.call("DELETE", "/domain/it/application/live")
    t.equal("delete", status, 200)


def test_body(t, b):
    """100 MB are refused without being kept."""
    before = b.rss_kb()
    basic = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    for name, headers, who, wanted in (("told", {}, basic, 413), ("chunked", {"chunked": 1}, basic, 413),
                                       ("chunked, by a stranger", {"chunked": 1}, None, 401)):
        c = http.client.HTTPConnection("127.0.0.1", b.port, timeout=DEADLINE)
        c.putrequest("POST", "/broker/rest/domains")
        c.putheader("Content-Type", "application/json")
        if who:
            c.putheader("Authorization", who)
        if headers:
            c.putheader("Transfer-Encoding", "chunked")
        else:
            c.putheader("Content-Length", str(100 * 1024 * 1024))
        c.endheaders()
        piece = b"x" * 65536
        try:
            for _ in range(1600):
                c.send(b"10000\r\n" + piece + b"\r\n" if headers else piece)
        except OSError:
            pass
        try:
            status = c.getresponse().status
        except (OSError, http.client.HTTPException):
            status = wanted  # closed on us in the middle: refused too
        c.close()
        t.equal(f"a body of 100 MB is refused ({name})", status, wanted)
    t.check("the broker did not grow", b.rss_kb() - before < 20000, f"{before} kB, then {b.rss_kb()} kB")


def test_follow(t, b, node):
    """A reader that sleeps holds back the gear's output, not the broker's memory."""
    basic = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    before = b.rss_kb()
    s = socket.create_connection(("127.0.0.1", b.port), timeout=DEADLINE)
    s.sendall(f"GET /broker/rest{APP}/logs?follow=true HTTP/1.1\r\nHost: b\r\n"
              f"Authorization: Basic {basic}\r\n\r\n".encode())
    text = b""
    while len(text) < 100000:
        text += s.recv(65536)
    t.check("lines are followed", text.startswith(b"HTTP/1.1 200") and b'"line":' in text.replace(b" ", b""), text[:300])
    t.equal("by one stream to the node", node.followers, 1)
    time.sleep(3)  # not a wait for anything: the time in which a broker without bounds would grow
    t.check("a slow reader costs no memory", b.rss_kb() - before < 20000, f"{before} kB, then {b.rss_kb()} kB")
    for _ in range(50):
        text = s.recv(65536)
    t.check("and goes on when it reads again", len(text) > 0)
    s.close()
    t.check("the stream ends with the reader", until(lambda: node.followers == 0), node.followers)


def test_race(t, b):
    """Forty creates at once for five free gears."""
    results = []

    def create(i):
        results.append(b.call("POST", "/domain/it/applications", {"name": f"r{i}", "cartridges": ["php"]})[0])

    threads = [threading.Thread(target=create, args=(i,)) for i in range(40)]
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    t.equal("a race cannot pass the quota", sorted(results), [201] * 5 + [422] * 35)
    t.equal("six gears are counted", consumed(b), 6)
    status, r = b.call("GET", "/applications")
    for a in r["data"]:
        if a["name"] != "web":
            b.call("DELETE", f"/application/{a['id']}")
    t.check("all are gone again", until(lambda: consumed(b) == 1), consumed(b))


def test_kill(t, b, node):
    """Killed in the middle of creates; then it is as it was acknowledged."""
    acknowledged = set()
    begun = set()  # their answer may have been lost
    stop = threading.Event()

    def work(i):
        for k in range(1000):
            if stop.is_set():
                return
            name = f"k{i}x{k}"
            begun.add(name)
            try:
                if b.call("POST", "/domain/it/applications", {"name": name, "cartridges": ["php"]})[0] == 201:
                    acknowledged.add(name)
                    if b.call("DELETE", f"/domain/it/application/{name}")[0] != 200:
                        return
                    acknowledged.discard(name)
                begun.discard(name)
            except (OSError, http.client.HTTPException, ValueError):
                return  # killed: not acknowledged, or a delete that may go either way

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for x in threads:
        x.start()
    time.sleep(1.5 + secrets.randbelow(1000) / 1000)
    b.kill()
    stop.set()
    for x in threads:
        x.join()
    b.start(f"127.0.0.1:{b.port}")
    t.check("the node is back", until(lambda: b.call("GET", "/status")[1]["data"]["nodes"][0]["state"] == "connected"))

    def settled():
        apps = b.call("GET", "/applications?nolinks=true")[1]["data"]
        names = {a["name"] for a in apps} - {"web"}
        return (names <= begun and all(a["state"] == "started" for a in apps)
                and consumed(b) == 1 + len(names) and len(node.gears) == 1 + len(names))

    t.check("after kill -9 each application is whole or gone", until(settled),
            (begun, acknowledged, consumed(b), list(node.gears), status_counts(b)))
    for a in b.call("GET", "/applications")[1]["data"]:
        if a["name"] != "web":
            b.call("DELETE", f"/application/{a['id']}")


def test_faults(t, b, node):
    """Dies just behind a step; then the application is whole: old or new, never between."""
    env = APP + "/environment-variables"
    cases = [
        ("app_vars_set", "PATCH", env, {"environment_variables": [{"name": "COLOUR", "value": "green"}]}, None),
        ("rollout_switched", "PATCH", env, {"environment_variables": [{"name": "COLOUR", "value": "grey"}]}, None),
        ("rollout_give_up", "PATCH", env, {"environment_variables": [{"name": "COLOUR", "value": "bad"}]}, "exit 1"),
        ("app_scaled", "POST", APP + "/events", {"event": "scale-up", "to": 2}, None),
        ("app_changed", "POST", APP + "/events", {"event": "restart"}, None),
        ("app_scaled", "POST", APP + "/events", {"event": "scale-down", "to": 1}, None),
        ("app_cart_stored", "POST", APP + "/cartridges", {"cartridge": "cron"}, None),
        ("rollout_give_up", "POST", APP + "/cartridges", {"cartridge": "metrics"}, "exit 1"),
        ("app_cart_stored", "DELETE", APP + "/cartridge/cron-1.4", None, None),
    ]

    def state():
        app = b.call("GET", APP)[1]["data"]
        return {
            "state": app["state"],
            "values": [v["value"] for v in b.call("GET", env)[1]["data"]],
            "of gears": [[v["value"] for v in g["env"]] for g in node.gears.values()],
            "gears": (app["gear_count"], len(node.gears), consumed(b)),
            "cartridges": sorted(c["name"].split("-")[0] for c in b.call("GET", APP + "/cartridges")[1]["data"]),
            "theirs": [sorted(c["name"] for c in g["cartridges"]) for g in node.gears.values()],
        }

    def whole():
        s = state()
        return (s["state"] == "started" and "bad" not in s["values"] and len(set(s["gears"])) == 1
                and all(v == s["values"] for v in s["of gears"]) and "metrics" not in s["cartridges"]
                and all(v == s["cartridges"] for v in s["theirs"]))

    for point, method, path, body, failure in cases:
        node.instance_failure = failure
        b.write("fault", point)
        try:
            answer = b.call(method, path, body)
        except (OSError, http.client.HTTPException, ValueError):
            answer = None
        died = until(lambda: b.process.poll() is not None) if answer is None else False
        if not died:  # built without fault points, or not passed
            b.kill()
        b.start(f"127.0.0.1:{b.port}")
        t.check(f"whole again after dying at {point}", until(whole), state())
        node.instance_failure = None


def test_end(t, b, node):
    status, r = b.call("GET", APP)
    t.equal("web serves still", (status, r["data"]["state"]), (200, "started"))
    status, r = b.call("DELETE", "/domain/it", {"force": True})
    t.check("the domain goes with all in it", status == 200, r)
    t.equal("nothing is left", status_counts(b), {"applications": 0, "gears": 0, "domains": 0})
    t.check("nor on the node", until(lambda: not node.gears and not node.instances), (node.gears, node.instances))
    t.equal("nor in the count", consumed(b), 0)


def main():
    t = Tests()
    b = Broker()
    node = None
    try:
        b.start()
        t.equal("the password of the first user works", b.call("GET", "/user")[0], 200)
        t.equal("a wrong one does not", b.call("GET", "/user", password="wrong", raw=True)[0], 401)
        status, r = b.call("POST", "/domain/it/applications", {"name": "web", "cartridges": ["nodejs"]})
        t.equal("without a node there is no place", (status, r["messages"][0]["exit_code"]), (500, 140))
        node = FakeNode(b.dir, b.internal, b.tokens["node"])
        t.check("a node joins", until(
            lambda: [n["state"] for n in b.call("GET", "/status")[1]["data"]["nodes"]] == ["connected"]))
        test_life(t, b, node)
        test_failures(t, b, node)
        test_lines(t, b)
        test_body(t, b)
        test_follow(t, b, node)
        test_race(t, b)
        test_kill(t, b, node)
        test_faults(t, b, node)
        test_end(t, b, node)
        node.stop()
        t.equal("it stops cleanly", b.stop(), 0)
    finally:
        if b.process.poll() is None:
            b.kill()
        if t.failed:
            print("# " + b.tail().replace("\n", "\n# "))
        shutil.rmtree(b.dir, ignore_errors=True)
    print(f"1..{t.n}")
    return 1 if t.failed else 0


sys.exit(main())
