"""What the router's tests share: the router as a process, instances, a broker's feed, TAP output."""
import contextlib, json, os, re, resource, select, shutil, signal, socket, socketserver, subprocess, sys, tempfile, threading, time, traceback
import http.server

BUILD = os.environ.get("PINION_BUILDDIR", ".")
DEADLINE = 20  # seconds until a wait fails


def wait_for(condition, what, seconds=DEADLINE):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.005)


def make_certificate(path, *names):
    """A certificate of its own authority, with its key, into one PEM file."""
    key = path + ".key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-keyout", key, "-out", path, "-subj", "/CN=" + names[0], "-addext",
                    "subjectAltName=" + ",".join("DNS:" + n for n in names)], check=True, stderr=subprocess.DEVNULL)
    with open(path, "a") as out, open(key) as f:
        out.write(f.read())
    os.unlink(key)
    return path


class Router:
    """A running pinion-router. args: its options but --http and --ready-fd."""

    def __init__(self, directory, *args, threads=2, http="127.0.0.1:0", files=None, cgroup=None):
        self.dir, self.args, self.threads, self.http, self.files, self.p = directory, args, threads, http, files, None
        self.cgroup = cgroup

    def prepare(self):
        """In the process that becomes the router: its limit of files, its cgroup."""
        if self.files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.files, self.files))
        if self.cgroup:
            with open(os.path.join(self.cgroup, "cgroup.procs"), "w") as f:
                f.write("0")

    def start(self):
        r, w = os.pipe()
        self.log = open(os.path.join(self.dir, "router.log"), "ab")
        self.p = subprocess.Popen(
            [os.path.join(BUILD, "pinion-router"), "--http", self.http, "--threads", str(self.threads), "--ready-fd", str(w), *self.args],
            env=dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"),
            preexec_fn=self.prepare if self.files or self.cgroup else None,
            pass_fds=[w], stdout=self.log, stderr=self.log)
        os.close(w)
        ready, _, _ = select.select([r], [], [], DEADLINE)
        line = os.read(r, 100) if ready else b""
        os.close(r)
        if not line:
            raise AssertionError("the router did not start: " + self.text()[-2000:])
        ports = json.loads(line)
        self.port, self.tls_port = ports["http"], ports["https"]
        return self

    def text(self):
        return open(os.path.join(self.dir, "router.log"), errors="replace").read()

    def rss_kb(self):
        return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{self.p.pid}/status").read())[1])

    def stop(self, sig=signal.SIGTERM):
        if self.p is None:
            return 0
        if self.p.poll() is None:
            self.p.send_signal(sig)
        try:
            rc = self.p.wait(30)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
            raise AssertionError("the router did not end: " + self.text()[-2000:])
        self.p = None
        self.log.close()
        if sig == signal.SIGTERM and rc != 0:
            raise AssertionError(f"the router ended with {rc}: {self.text()[-4000:]}")
        return rc

    def connect(self, timeout=DEADLINE):
        s = socket.create_connection(("127.0.0.1", self.port), timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def get(self, host, path="/", headers=(), method="GET", body=b""):
        with self.connect() as s:
            head = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
            if body:
                head.append(f"Content-Length: {len(body)}")
            s.sendall("\r\n".join(head + ["", ""]).encode() + body)
            return Answer(s).read()


class Answer:
    """Reads answers from a socket, one after the other."""

    def __init__(self, sock, method="GET"):
        self.s, self.buf, self.method = sock, b"", method

    def more(self):
        data = self.s.recv(65536)
        self.buf += data
        return bool(data)

    def take(self, n):
        while len(self.buf) < n:
            if not self.more():
                raise ConnectionError("cut short")
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def line(self):
        while b"\r\n" not in self.buf:
            if not self.more():
                raise ConnectionError("cut short")
        out, self.buf = self.buf.split(b"\r\n", 1)
        return out

    def read(self):
        status = self.line().decode("latin-1")
        self.status, self.headers = int(status.split()[1]), {}
        while True:
            line = self.line().decode("latin-1")
            if not line:
                break
            k, v = line.split(":", 1)
            self.headers[k.lower()] = v.strip()
        if self.method == "HEAD" or self.status in (204, 304) or self.status < 200:
            self.body = b""
        elif "content-length" in self.headers:
            self.body = self.take(int(self.headers["content-length"]))
        elif self.headers.get("transfer-encoding") == "chunked":
            self.body = b""
            while True:
                n = int(self.line().split(b";")[0], 16)
                self.body += self.take(n)
                if self.line() != b"":
                    raise ConnectionError("bad chunk")
                if n == 0:
                    break
        else:
            while self.more():
                pass
            self.body, self.buf = self.buf, b""
        return self


class Instance:
    """An application's instance: answers each request with its name; counts them. handler(instance,
    socket, head, rest) may take over: it returns True when it answered, False to close. tls: a context
    of SSL that it speaks."""

    def __init__(self, name, handler=None, address="127.0.0.1", tls=None):
        self.name, self.handler, self.requests, self.connections, self.open, self.tls = name, handler, 0, 0, {}, tls
        self.s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.s.bind((address, 0))
        self.s.listen(512)
        self.address, self.port = self.s.getsockname()[:2]
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def endpoint(self):
        return {"id": self.name, "address": self.address, "port": self.port}

    def accept(self):
        while True:
            try:
                c, _ = self.s.accept()
            except OSError:
                return
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                self.open[c] = self.connections  # which one it was
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        s = c
        with contextlib.suppress(OSError):
            s = self.tls.wrap_socket(c.dup(), server_side=True) if self.tls else c
            self.answer_all(s)
        with self.lock:
            self.open.pop(c)
        s.close()
        c.close()

    def answer_all(self, c):
        buf = b""
        while True:
            while b"\r\n\r\n" not in buf:
                data = c.recv(65536)
                if not data:
                    return
                buf += data
            head, buf = buf.split(b"\r\n\r\n", 1)
            with self.lock:
                self.requests += 1
            if self.handler:
                if not self.handler(self, c, head, buf):
                    break
                buf = b""
                continue
            m = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
            n = int(m[1]) if m else 0
            while len(buf) < n:
                buf += c.recv(65536)
            buf = buf[n:]
            body = self.name.encode()
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def stop(self):
        """As a process that ends: everything is closed."""
        with contextlib.suppress(OSError):
            self.s.shutdown(socket.SHUT_RDWR)
        self.s.close()
        with self.lock:
            for c in self.open:
                with contextlib.suppress(OSError):
                    c.shutdown(socket.SHUT_RDWR)


class Broker:
    """The broker's side of the feed: a table with revisions; keeps the router's reports."""

    def __init__(self, path, token="secret", cluster="c1", epoch=1, revision=10):
        self.path, self.token, self.cluster, self.epoch = path, token, cluster, epoch
        self.routes, self.others, self.log, self.revision, self.reports, self.traffic, self.asked = {}, {}, [], revision, [], [], []
        self.cond, self.server, self.running, self.starts = threading.Condition(), None, False, 0

    def start(self):
        broker = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *a):
                pass

            def address_string(self):
                return "unix"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers["authorization"] != "Bearer " + broker.token:
                    return self.send_error(401)
                if self.path == "/internal/router/traffic":
                    with broker.cond:
                        broker.traffic.append(json.loads(body))
                if self.path == "/internal/router/report":
                    with broker.cond:
                        broker.reports.append(json.loads(body))
                        broker.cond.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def do_GET(self):
                if self.headers["authorization"] != "Bearer " + broker.token:
                    return self.send_error(401)
                m = re.search(r"[?&]from=(\d+)", self.path)
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.close_connection = True
                with contextlib.suppress(OSError):
                    broker.feed(self, int(m[1]) if m else None)

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # the router went away

        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.running, self.starts = True, self.starts + 1
        self.server = Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self):
        """The broker dies: connections end, the socket is dead."""
        with self.cond:
            self.running = False
            self.cond.notify_all()
        self.server.shutdown()
        self.server.server_close()
        os.unlink(self.path)

    def feed(self, h, since):
        def send(**line):
            data = json.dumps(line).encode() + b"\n"
            h.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

        origin = {"cluster": self.cluster, "epoch": self.epoch}
        with self.cond:
            self.asked.append(since)
            start = self.starts
            at, seen = len(self.log), self.revision
            if since is None or since > self.revision + 1:
                send(type="reset", **origin)
                for host, r in self.routes.items():
                    send(type="put", kind="route", key=host, value=r)
                for (kind, key), value in self.others.items():
                    send(type="put", kind=kind, key=key, value=value)
                send(type="sync", revision=self.revision)
            else:
                send(type="sync", revision=since - 1, **origin)
                at = next((i for i, (rev, _) in enumerate(self.log) if rev >= since), len(self.log))
                seen = since - 1
        while True:
            with self.cond:
                self.cond.wait_for(lambda: not self.running or self.starts != start or len(self.log) > at, 1)
                if not self.running or self.starts != start:
                    return
                todo, at, revision = self.log[at:], len(self.log), self.revision
            for _, line in todo:
                send(**line)
            send(type="sync", revision=revision)

    def change(self, puts=(), deletes=()):
        """One revision; returns it."""
        with self.cond:
            self.revision += 1
            for r in puts:
                self.routes[r["host"]] = r
                self.log.append((self.revision, {"type": "put", "kind": "route", "key": r["host"], "value": r}))
            for host in deletes:
                self.routes.pop(host, None)
                self.log.append((self.revision, {"type": "delete", "kind": "route", "key": host}))
            self.cond.notify_all()
            return self.revision

    def set(self, kind, key, value):
        """A record of another kind; None: it goes. Returns the revision."""
        with self.cond:
            self.revision += 1
            self.others.pop((kind, key), None)
            line = {"type": "delete", "kind": kind, "key": key}
            if value is not None:
                self.others[kind, key] = value
                line |= {"type": "put", "value": value}
            self.log.append((self.revision, line))
            self.cond.notify_all()
            return self.revision

    def put(self, host, *instances, **more):
        return self.change([route(host, *instances, **more)])

    def wait_report(self, condition, what, seconds=DEADLINE):
        with self.cond:
            if not self.cond.wait_for(lambda: self.reports and condition(self.reports[-1]), seconds):
                raise AssertionError(f"no report of {what} within {seconds} s, the last: {self.reports[-1:]}")
            return self.reports[-1]

    def wait_applied(self, revision):
        return self.wait_report(lambda r: r["revision"] >= revision, f"revision {revision}")


def route(host, *instances, state=None, app="shop", timeout_s=0, **more):
    return {"host": host, "app_id": "a1", "app": app, "domain": "dom", "state": state or ("live" if instances else "empty"),
            "endpoints": [i.endpoint() for i in instances], "timeout_s": timeout_s, **more}


class World:
    """A directory, what was started in it, and its end."""

    def __init__(self):
        self.dir, self.ends = tempfile.mkdtemp(prefix="pinion-router-"), []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        errors = []
        for end in reversed(self.ends):
            try:
                end()
            except Exception as e:
                errors.append(e)
        shutil.rmtree(self.dir, ignore_errors=True)
        if errors and kind is None:
            raise errors[0]

    def path(self, name):
        return os.path.join(self.dir, name)

    def instance(self, name, handler=None, **more):
        i = Instance(name, handler, **more)
        self.ends.append(i.stop)
        return i

    def router(self, *args, **more):
        r = Router(self.dir, *args, **more)
        self.ends.append(r.stop)
        return r.start()

    def static_router(self, lines, *args, **more):
        self.write_routes(lines)
        return self.router("--routes", self.path("routes"), *args, **more)

    def write_routes(self, lines):
        with open(self.path("routes"), "w") as f:
            f.writelines(host + "".join(f" {'https://' if getattr(i, 'tls', None) else ''}{i.address}:{i.port}" for i in instances) + "\n" for host, *instances in lines)

    def broker(self, **more):
        b = Broker(self.path("broker.sock"), **more).start()
        with open(self.path("token"), "w") as f:
            f.write(b.token + "\n")
        self.ends.append(lambda: b.running and b.stop())
        return b

    def fed_router(self, broker, *args, **more):
        return self.router("--feed", "unix:" + broker.path, "--token-file", self.path("token"), "--id", "r1",
                           "--state-dir", self.path("state"), *args, **more)


class Load:
    """Closed loop on one host: half the workers keep their connection, half make one for each request."""

    def __init__(self, router, host, workers=8, pause=0.0):
        self.router, self.host, self.pause, self.stopped = router, host, pause, False
        self.count, self.bad, self.bodies, self.lock = 0, [], {}, threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(i % 2 == 0,), daemon=True) for i in range(workers)]
        for t in self.threads:
            t.start()

    def work(self, keep):
        s = a = None
        head = f"GET / HTTP/1.1\r\nHost: {self.host}\r\n" + ("" if keep else "Connection: close\r\n") + "\r\n"
        while not self.stopped:
            try:
                if s is None:
                    s = self.router.connect()
                    a = Answer(s)
                s.sendall(head.encode())
                a.read()
                with self.lock:
                    self.count += 1
                    if a.status != 200:
                        self.bad.append(a.status)
                    else:
                        self.bodies[a.body] = self.bodies.get(a.body, 0) + 1
                if not keep or a.headers.get("connection") == "close":
                    s.close()
                    s = None
            except Exception as e:
                with self.lock:
                    self.count += 1
                    self.bad.append(repr(e))
                s = None
            if self.pause:
                time.sleep(self.pause)
        if s:
            s.close()

    def stop(self):
        self.stopped = True
        for t in self.threads:
            t.join()
        return self


def run_tests(tests):
    """tests: functions of a World, or (name, function). Prints TAP; ends the process."""
    only, failed = sys.argv[1:], 0
    tests = [t if isinstance(t, tuple) else (t.__name__.replace("_", " "), t) for t in tests]
    tests = [t for t in tests if not only or any(o in t[0] for o in only)]
    print(f"1..{len(tests)}", flush=True)
    for i, (name, fn) in enumerate(tests, 1):
        try:
            with World() as w:
                note = fn(w)
            print(f"ok {i} - {name}" + (f" # {note}" if note else ""), flush=True)
        except Exception:
            failed += 1
            print(f"not ok {i} - {name}", flush=True)
            print("".join("# " + l + "\n" for l in traceback.format_exc().splitlines()), flush=True)
    sys.exit(failed != 0)
