"""A pinion-node with a broker of our own: feed, reports, gears, instances; all cleaned up at the end."""
import hashlib, http.client, io, json, os, queue, shutil, signal, socket, socketserver, subprocess, sys
import tarfile, tempfile, threading, time, traceback

SRC = os.environ.get("PINION_SRCDIR") or os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("PINION_BUILDDIR", ".")
DEADLINE = 40
TOKEN, BROKER_TOKEN = "node-token-0123456789", "broker-token-0123456789"


def wait_for(cond, what, deadline=DEADLINE):
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        v = cond()
        if v:
            return v
        time.sleep(0.005)
    raise AssertionError(f"no {what} within {deadline} s")


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, address):
        if not isinstance(sys.exc_info()[1], OSError):  # the node may be killed at any time
            super().handle_error(request, address)


def repository():
    """The tree of an application's repository, as the broker sends it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        head = tarfile.TarInfo("app/git/app.git/HEAD")
        head.size, head.mode = 21, 0o644
        t.addfile(head, io.BytesIO(b"ref: refs/heads/main\n"))
    return out.getvalue()


REPOSITORY = repository()


class Broker:
    """Serves the feed to one node and keeps its reports."""

    def __init__(self, path):
        self.path, self.revision, self.records = path, 1, {}
        self.lock, self.feeds = threading.Lock(), []
        self.instances, self.gears, self.reports, self.log = {}, {}, 0, []
        self.server, self.facts = None, {}
        self.start()

    def start(self):
        broker = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                while True:
                    line = self.rfile.readline()
                    if not line:
                        return
                    method, target, _ = line.decode().split(" ", 2)
                    length = 0
                    while True:
                        h = self.rfile.readline()
                        if h in (b"\r\n", b"\n", b""):
                            break
                        k, _, v = h.decode().partition(":")
                        if k.lower() == "content-length":
                            length = int(v)
                        if k.lower() == "authorization":
                            assert v.strip() == "Bearer " + TOKEN, v
                    body = self.rfile.read(length)
                    if target.startswith("/internal/node/feed"):
                        return broker.feed(self.wfile, target)
                    if target == "/internal/node/report":
                        broker.report(json.loads(body))
                    if target == "/internal/node/hello":
                        broker.facts = json.loads(body)
                    if target.startswith("/internal/node/layer"):
                        self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                        continue
                    answer = REPOSITORY if target.startswith("/internal/node/repo") else b"{}"
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)

        if os.path.exists(self.path):
            os.unlink(self.path)
        self.server = UnixServer(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        with self.lock:
            for q in self.feeds:
                q.put(None)

    def sync(self, first=False):
        d = {"type": "sync", "revision": self.revision}
        if first:
            d.update(cluster="c1", epoch=1)
        return d

    def feed(self, out, target):
        q = queue.Queue()

        def send(d):
            data = (json.dumps(d) + "\n").encode()
            out.write(b"%x\r\n%s\r\n" % (len(data), data))
            out.flush()

        try:
            out.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            with self.lock:
                if "from=" in target:
                    send(self.sync(True))
                else:
                    send({"type": "reset", "cluster": "c1", "epoch": 1})
                    for (kind, key), value in self.records.items():
                        send({"type": "put", "kind": kind, "key": key, "value": value})
                    send(self.sync())
                self.feeds.append(q)
            while True:
                try:
                    d = q.get(timeout=2)
                except queue.Empty:
                    d = [self.sync()]
                if d is None:
                    return
                for x in d:
                    send(x)
        except OSError:
            pass
        finally:
            with self.lock:
                if q in self.feeds:
                    self.feeds.remove(q)

    def change(self, lines):
        for q in self.feeds:
            q.put(lines + [self.sync()])

    def put(self, kind, key, value):
        with self.lock:
            self.revision += 1
            self.records[kind, key] = value
            self.change([{"type": "put", "kind": kind, "key": key, "value": value}])

    def delete(self, kind, key):
        with self.lock:
            self.revision += 1
            self.records.pop((kind, key), None)
            self.change([{"type": "delete", "kind": kind, "key": key}])

    def report(self, r):
        with self.lock:
            self.reports += 1
            for i in r.get("instances") or []:
                self.instances[i["id"]] = i
                self.log.append((i["id"], i["state"]))
            for g in r.get("gears") or []:
                self.gears[g["uuid"]] = g


class Node:
    """A world: temp root, broker, daemon."""

    def __init__(self, cartridges=None, **env):
        self.root = tempfile.mkdtemp(prefix="pinion-test-node.")
        self.env = env
        self.data, self.run = self.root + "/node", self.root + "/run"
        os.mkdir(self.run)
        for name, text in (("token", TOKEN), ("broker-token", BROKER_TOKEN)):
            with open(f"{self.root}/{name}", "w") as f:
                f.write(text + "\n")
        self.cartridges = cartridges or SRC + "/cartridges"
        self.broker = Broker(self.root + "/broker.sock")
        self.process, self.is_closed = None, False
        self.log_path = self.root + "/log"
        self.gear_specs, self.count = {}, 0

    @property
    def tag(self):
        return hashlib.sha256(os.path.realpath(self.data).encode()).hexdigest()[:8]

    # --- the daemon ---

    def start(self, wait=True, **env):
        if self.is_closed:
            return
        r, w = os.pipe()
        self.log_file = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [BUILD + "/pinion-node", "--id", "n1", "--data", self.data, "--run", self.run,
             "--broker", "unix:" + self.broker.path, "--token-file", self.root + "/token",
             "--broker-token-file", self.root + "/broker-token", "--cartridges", self.cartridges,
             "--stack", SRC + "/stacks/host", "--ready-fd", str(w), "--log-level", "debug"],
            pass_fds=[w], stdout=self.log_file, stderr=self.log_file, env={**os.environ, **self.env, **env})
        os.close(w)
        try:
            if wait:
                assert os.read(r, 1000), "the daemon did not get ready"
        finally:
            os.close(r)

    def kill(self, signo=signal.SIGKILL):
        self.process.send_signal(signo)
        return self.process.wait(DEADLINE)

    def restart(self, **env):
        self.kill()
        self.start(**env)

    def call(self, method, path, body=None):
        c = http.client.HTTPConnection("node", timeout=DEADLINE)
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.settimeout(DEADLINE)
        try:
            c.sock.connect(self.run + "/node.sock")
        except OSError:  # it is starting
            return 0, b""
        c.request(method, path, body, {"Authorization": "Bearer " + BROKER_TOKEN, "Connection": "close"})
        r = c.getresponse()
        return r.status, r.read()

    def inventory(self):
        status, body = self.call("GET", "/v1/inventory")
        assert status == 200, (status, body)
        return json.loads(body)

    # --- records ---

    def layer(self, files):
        """Puts a layer of the repository's files into the store by hand; its digest."""
        digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        top = f"{self.data}/layers/{digest}"
        for name, text in files.items():
            path = f"{top}/app-root/runtime/repo/{name}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(text)
            os.chmod(path, 0o755 if text.startswith("#!") else 0o644)
        for path, dirs, names in os.walk(top):
            for n in [path] + [os.path.join(path, n) for n in names]:
                os.chown(n, 1000, 1000, follow_symlinks=False)
        os.chown(top, 0, 1000)
        os.chmod(top, 0o750)
        os.chown(top + "/app-root", 0, 1000)
        os.chmod(top + "/app-root", 0o750)
        return "sha256:" + digest

    def gear(self, cart="diy", version="0.1", **more):
        self.count += 1
        uuid = f"{os.getpid() % 0xffffff:06x}{self.count:018x}"
        spec = dict(uuid=uuid, app_id=uuid, app_name="shop", domain="demo", gear_name="shop",
                    app_dns="shop-demo.apps.test", gear_dns="shop-demo.apps.test", profile="small",
                    limits=dict(memory_mb=256, cpu_percent=200, cpu_shares=128, pids=100, disk_mb=64, files=1000),
                    cartridges=[dict(name=cart, version=version, cart_version="0.1.0", vendor="pinion", is_web=True)],
                    env=[], secret_token="s" * 128, deployment_branch="master", auto_deploy=True,
                    keep_deployments=10, env_rev=1, want="present")
        spec.update(more)
        self.gear_specs[uuid] = spec
        self.broker.put("gear", uuid, spec)
        return uuid

    def change_gear(self, uuid, **more):
        self.gear_specs[uuid].update(more)
        self.broker.put("gear", uuid, self.gear_specs[uuid])

    def instance(self, gear, layer, **more):
        self.count += 1
        iid = f"{gear[:8]}-{self.count:06x}"
        spec = dict(id=iid, gear=gear, app_id=self.gear_specs[gear]["app_id"], deployment_id="d%d" % self.count,
                    layers=dict(app=layer, deps="", rest=""), start=dict(kind="", command="", why=""),
                    release="", runs_release=False, health_path="", start_timeout_s=20, stop_timeout_s=5,
                    generation=1, want="present")
        spec.update(more)
        self.broker.put("instance", iid, spec)
        return iid

    def change(self, iid, **more):
        spec = dict(self.broker.records["instance", iid])
        spec.update(more)
        spec["generation"] += 1
        self.broker.put("instance", iid, spec)

    def state(self, iid):
        return self.broker.instances.get(iid, {}).get("state")

    def wait_state(self, iid, *states, deadline=DEADLINE):
        wait_for(lambda: self.state(iid) in states, f"state {states} of {iid} (is {self.broker.instances.get(iid)})",
                 deadline)
        return self.broker.instances[iid]

    def wait_gear(self, uuid, state):
        wait_for(lambda: self.broker.gears.get(uuid, {}).get("state") == state, f"gear state {state}")

    def get(self, iid, path="/"):
        st = self.broker.instances[iid]
        c = http.client.HTTPConnection(st["address"], st["port"], timeout=10)
        c.request("GET", path)
        r = c.getresponse()
        return r.status, r.read().decode()

    def remove(self, iid):
        self.change(iid, want="gone")
        self.wait_state(iid, "gone")
        self.broker.delete("instance", iid)

    def remove_gear(self, uuid):
        self.change_gear(uuid, want="gone")
        self.wait_gear(uuid, "gone")
        self.broker.delete("gear", uuid)

    # --- what is left ---

    def left(self):
        """Everything of this node that exists beyond a daemon without gears."""
        out = []
        with open("/proc/self/mountinfo") as f:
            out += [x.split()[4] for x in f if self.root in x and "/run/stack/" not in x
                    and x.split()[4] not in (self.data + "/gears", self.run + "/netns")]
        for ctrl in os.listdir("/sys/fs/cgroup"):
            base = f"/sys/fs/cgroup/{ctrl}/pinion/{self.tag}"
            if os.path.isdir(base):
                out += [f"{base}/{x}" for x in os.listdir(base) if os.path.isdir(f"{base}/{x}")]
        out += [x for x in os.listdir("/sys/class/net") if x.startswith("pn" + self.tag)]
        for d in ("inst", "crun", "netns"):
            if os.path.isdir(f"{self.run}/{d}"):
                out += [f"{d}/{x}" for x in os.listdir(f"{self.run}/{d}") if not x.startswith(".")]
        for x in os.listdir(f"{self.data}/aside") + os.listdir(f"{self.data}/gears") + os.listdir(f"{self.data}/scratch"):
            out.append(x)
        for n in os.listdir("/sys/block"):
            try:
                with open(f"/sys/block/{n}/loop/backing_file") as f:
                    if self.root in f.read():
                        out.append(n)
            except OSError:
                pass
        return out

    def close(self):
        """Whatever a test left, even a failed one."""
        self.is_closed = True
        try:
            if self.process is not None and self.process.poll() is None:
                self.kill()
            self.broker.stop()
            try:
                os.kill(int(open(self.run + "/resolver.pid").read()), signal.SIGTERM)
            except OSError:
                pass
            shutil.rmtree(f"/run/pinion/resolver-{self.tag}", ignore_errors=True)
            for ctrl in os.listdir("/sys/fs/cgroup"):
                for top, _, files in os.walk(f"/sys/fs/cgroup/{ctrl}/pinion/{self.tag}"):
                    try:
                        for pid in open(top + "/cgroup.procs").read().split():
                            os.kill(int(pid), signal.SIGKILL)
                    except OSError:
                        pass
            time.sleep(0.1)
            for ctrl in os.listdir("/sys/fs/cgroup"):
                for top, _, _ in os.walk(f"/sys/fs/cgroup/{ctrl}/pinion/{self.tag}", topdown=False):
                    try:
                        os.rmdir(top)
                    except OSError:
                        pass
        finally:
            with open("/proc/self/mountinfo") as f:
                points = [x.split()[4] for x in f if self.root in x.split()[4]]
            for p in reversed(points):
                subprocess.run(["umount", "-l", p], stderr=subprocess.DEVNULL)
            subprocess.run(["nft", "delete", "table", "inet", "pinion_" + self.tag], stderr=subprocess.DEVNULL)
            for x in os.listdir("/sys/class/net"):
                if x.startswith("pn" + self.tag):
                    subprocess.run(["ip", "link", "delete", x], stderr=subprocess.DEVNULL)
            shutil.rmtree(self.root, ignore_errors=True)


def run_tests(tests):
    """TAP."""
    print(f"1..{len(tests)}", flush=True)
    if os.geteuid() != 0:
        for n, t in enumerate(tests, 1):
            print(f"ok {n} - {t.__name__} # SKIP needs root", flush=True)
        return
    only = sys.argv[1:]
    bad = 0
    for n, t in enumerate(tests, 1):
        if only and t.__name__ not in only:
            print(f"ok {n} - {t.__name__} # SKIP", flush=True)
            continue
        w = Node()
        began = time.monotonic()
        try:
            more = t(w)
            print(f"ok {n} - {t.__name__.replace('_', ' ')}{': ' + more if more else ''} "
                  f"# {time.monotonic() - began:.1f} s", flush=True)
        except Exception:
            bad += 1
            print(f"not ok {n} - {t.__name__.replace('_', ' ')}", flush=True)
            traceback.print_exc(file=sys.stdout)
            if os.path.exists(w.log_path):
                with open(w.log_path, errors="replace") as f:
                    print("".join("# " + x for x in f.readlines()[-int(os.environ.get("LOG_LINES", "60")):]), flush=True)
        finally:
            w.close()
    sys.exit(bad != 0)
