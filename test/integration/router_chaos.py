#!/usr/bin/python3
"""Clients and instances that do everything at random, while routes change: what a client gets is the
answer to its own request or an end, never another's bytes, the router outlives it, and its memory stays flat.
By plain TCP and TLS; with PINION_TEST_REQUESTS also that many by h2load (Debian: nghttp2-client) over HTTP/1.1,
TLS and HTTP/2, to an nginx."""
import os, random, re, socket, ssl, subprocess, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

REQUESTS = int(os.environ.get("PINION_TEST_REQUESTS", "0"))
SECONDS = float(os.environ.get("PINION_TEST_SECONDS", "8"))
CLIENTS = 24


def text_for(token, n):
    """n bytes that tell whose they are."""
    return (token.encode() + b".") * (n // (len(token) + 1) + 1)


def in_pieces(rnd, s, data):
    """Sends data in pieces of any size."""
    if rnd.random() < 0.5:
        return s.sendall(data)
    at = 0
    while at < len(data):
        n = rnd.choice([1, 2, 3, 17, 100, 1460, 5000, 70000, 300000])
        s.sendall(data[at:at + n])
        at += n
        if rnd.random() < 0.05:
            time.sleep(rnd.random() * 0.01)


def chunks(rnd, data):
    out, at = b"", 0
    while at < len(data):
        n = rnd.choice([1, 5, 100, 4096, 65536])
        piece = data[at:at + n]
        out += b"%x%s\r\n%s\r\n" % (len(piece), rnd.choice([b"", b";a=b"]), piece)
        at += n
    return out + b"0\r\n" + rnd.choice([b"", b"X-T: 1\r\n"]) + b"\r\n"


def read_body(c, head, rest):
    m = re.search(rb"content-length: *(\d+)", head, re.I)
    if m:
        while len(rest) < int(m[1]):
            data = c.recv(65536)
            if not data:
                raise ConnectionError
            rest += data
        return rest[:int(m[1])]
    if re.search(rb"transfer-encoding: *chunked", head, re.I):
        body = b""
        while True:
            while b"\r\n" not in rest:
                data = c.recv(65536)
                if not data:
                    raise ConnectionError
                rest += data
            line, rest = rest.split(b"\r\n", 1)
            n = int(line, 16)
            while len(rest) < n + 2:
                data = c.recv(65536)
                if not data:
                    raise ConnectionError
                rest += data
            body, rest = body + rest[:n], rest[n + 2:]
            if n == 0:
                return body
    return b""


def echo(rnd, c, rest):
    c.sendall(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n" + rest)
    while True:
        data = c.recv(rnd.choice([100, 5000, 200000]))
        if not data or rnd.random() < 0.002:
            return False
        c.sendall(data)


def moody(i, c, head, rest):
    """Answers /TOKEN/N/MODE with N bytes of TOKEN; a body must be of TOKEN too."""
    rnd = random.Random()
    m = re.match(rb"(\w+) /(\w+)/(\d+)/(\w+) ", head)
    method, token, n, mode = m[1].decode(), m[2].decode(), int(m[3]), m[4].decode()
    if mode == "early":  # answers before it has the body, and goes
        c.sendall(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        return False
    if mode == "deaf":
        return False
    if mode == "tunnel":
        return echo(rnd, c, rest)
    body = read_body(c, head, rest)
    if body != text_for(token, len(body))[:len(body)]:
        i.wrong.append((token, body[:200]))
    data = text_for(token, n)[:n]
    if method == "HEAD":
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n)
        return True
    if rnd.random() < 0.1:
        c.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
    if mode == "chunked":
        in_pieces(rnd, c, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(rnd, data))
    elif mode == "close":
        in_pieces(rnd, c, b"HTTP/1.1 200 OK\r\n\r\n" + data)
        return False
    elif mode == "cut":
        in_pieces(rnd, c, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (n + 1) + data)
        return False
    elif mode == "fin":  # keep-alive, then gone
        in_pieces(rnd, c, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n + data)
        return False
    else:
        in_pieces(rnd, c, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n + data)
    return True


class Secure:
    """A socket with TLS of which one thread reads while another writes: ssl's own may not."""

    def __init__(self, s, context):
        self.s, self.lock, self.order = s, threading.Lock(), threading.Lock()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.o = context.wrap_bio(self.incoming, self.outgoing, server_hostname="a.test")
        self.step(self.o.do_handshake)
        s.sendall(self.outgoing.read())

    def step(self, do):
        while True:
            with self.lock:
                try:
                    return do()
                except ssl.SSLWantReadError:
                    out = self.outgoing.read()
            if out:
                self.s.sendall(out)
            data = self.s.recv(65536)
            if not data:
                raise ConnectionError
            with self.lock:
                self.incoming.write(data)

    def recv(self, n):
        try:
            return self.step(lambda: self.o.read(n))
        except (ssl.SSLZeroReturnError, ConnectionError):
            return b""

    def sendall(self, data):
        with self.order:
            with self.lock:
                self.o.write(data)
                out = self.outgoing.read()
            self.s.sendall(out)

    def shutdown(self, how):
        self.s.shutdown(how)

    def close(self):
        self.s.close()


class Client:
    def __init__(self, router, number, seen):
        self.r, self.rnd, self.number, self.seen, self.count = router, random.Random(number), number, seen, 0
        self.errors, self.stopped = [], False
        self.tls = None
        if number % 3 == 0:
            self.tls = ssl.create_default_context()
            self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        self.t = threading.Thread(target=self.run)
        self.t.start()

    def request(self):
        self.count += 1
        token, n = f"c{self.number}r{self.count}", self.rnd.choice([0, 1, 10, 1000, 70000, 400000])
        mode = self.rnd.choice(["plain"] * 6 + ["chunked"] * 3 + ["close", "cut", "fin", "early", "deaf"])
        method = self.rnd.choice(["GET", "GET", "HEAD", "POST", "PUT"])
        head = f"{method} /{token}/{n}/{mode} HTTP/1.1\r\nHost: a.test\r\n"
        body = b""
        if method in ("POST", "PUT"):
            data = text_for(token, 200000)[:self.rnd.choice([0, 3, 5000, 200000])]
            if self.rnd.random() < 0.5:
                head += "Transfer-Encoding: chunked\r\n"
                body = chunks(self.rnd, data)
            else:
                head += f"Content-Length: {len(data)}\r\n"
                body = data
        return token, n, mode, method, head.encode() + b"\r\n" + body

    def check(self, a, token, n, mode, method):
        if a.status == 200 and a.method != "HEAD" and a.body != text_for(token, n)[:n]:
            self.errors.append(f"{token} {n} {mode}: wrong body of {len(a.body)}: {a.body[:60]!r}")
        if a.status == 200 and mode == "cut" and a.method != "HEAD":
            self.errors.append(f"{token}: a cut answer came whole")
        with self.seen[0]:
            self.seen[1][(a.status, mode)] = self.seen[1].get((a.status, mode), 0) + 1
        if a.status not in (200, 413, 502):
            self.errors.append(f"{token} {mode}: {a.status}")
        # Nobody may send a POST twice: one that meets a close under way is lost.
        if a.status == 502 and method in ("POST", "PUT") and b"without an answer" in a.body:
            return
        if a.status != 200 and mode in ("plain", "chunked", "close", "fin"):
            self.errors.append(f"{method} {token} {mode}: {a.status} {a.body[-200:]}")

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.r.tls_port if self.tls else self.r.port), DEADLINE)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Secure(s, self.tls) if self.tls else s

    def one_connection(self):
        s = self.connect()
        a = Answer(s)
        for _ in range(self.rnd.choice([1, 2, 5, 20])):
            if self.stopped:
                break
            todo = [self.request() for _ in range(self.rnd.choice([1, 1, 1, 3]))]
            data = b"".join(t[4] for t in todo)
            if self.rnd.random() < 0.03:  # leaves in the middle
                s.sendall(data[:self.rnd.randrange(len(data))])
                break
            sender = threading.Thread(target=self.send, args=(s, data))
            sender.start()
            try:
                for token, n, mode, method, _ in todo:
                    self.now = f"{method} /{token}/{n}/{mode}, {len(todo)} pipelined"
                    a.method = method
                    while a.read().status < 200:
                        pass
                    self.check(a, token, n, mode, method)
                    if a.headers.get("connection") == "close" or a.status == 413:
                        raise ConnectionError
                    if self.rnd.random() < 0.02:
                        raise ConnectionError  # does not want the rest
            finally:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                sender.join() if sys.exc_info()[0] else None
            sender.join()
            s.close()
            return
        s.close()

    def one_tunnel(self):
        """What comes back is the beginning of what was sent; all of it, unless the instance leaves."""
        self.count += 1
        token = f"c{self.number}r{self.count}"
        self.now = f"tunnel {token}"
        data = text_for(token, 1000000)[:self.rnd.choice([1, 1000, 100000, 1000000])]
        with self.r.connect() as s:
            fin = self.rnd.random() < 0.7
            head = f"GET /{token}/0/tunnel HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
            sender = threading.Thread(target=self.send, args=(s, head.encode() + data, fin))
            sender.start()
            a, got = Answer(s), b""
            try:
                if a.read().status == 101:
                    got = a.buf
                    while (fin or len(got) < len(data)) and self.rnd.random() > 0.01:
                        more = s.recv(200000)
                        if not more:
                            break
                        got += more
            finally:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                sender.join()
            if got != data[:len(got)]:
                self.errors.append(f"{token}: the tunnel gave {got[:60]!r}")
            with self.seen[0]:
                self.seen[1][("tunnel", len(got) == len(data))] = self.seen[1].get(("tunnel", len(got) == len(data)), 0) + 1

    def send(self, s, data, fin=False):
        try:
            in_pieces(self.rnd, s, data)
            if fin:
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def run(self):
        while not self.stopped:
            try:
                self.one_tunnel() if not self.tls and self.rnd.random() < 0.1 else self.one_connection()
            except TimeoutError:
                self.errors.append(f"waits for ever: {self.now}")
                return
            except (ConnectionError, OSError, ValueError, IndexError):
                pass


def start_loads(w, b, r):
    """A third of REQUESTS each over HTTP/1.1, the same by TLS, and HTTP/2."""
    if REQUESTS == 0:
        return []
    s = socket.create_server(("127.0.0.1", 0))
    port = s.getsockname()[1]
    s.close()
    with open(w.path("nginx.conf"), "w") as f:
        f.write("daemon off; pid %s; error_log stderr crit; events { worker_connections 2000; }\n"
                "http { access_log off; keepalive_requests 1000000; server { listen 127.0.0.1:%d; return 200 %s; } }\n" % (w.path("pid"), port, "x" * 1000))
    nginx = subprocess.Popen(["nginx", "-c", w.path("nginx.conf"), "-p", w.dir])
    w.ends += [nginx.wait, nginx.terminate]
    route_of = route("127.0.0.1")  # h2load's own Host
    route_of["endpoints"], route_of["state"] = [{"id": "n", "address": "127.0.0.1", "port": port}], "live"
    b.change([route_of])
    wait_for(lambda: r.get("127.0.0.1").status == 200, "the load's instance")
    ways = [["--h1", f"http://127.0.0.1:{r.port}/"], ["--h1", f"https://127.0.0.1:{r.tls_port}/"], [f"https://127.0.0.1:{r.tls_port}/"]]
    return [subprocess.Popen(["h2load", "-n", str(REQUESTS // 3), "-c", "20", "-m", "10", *way],
                             stdout=subprocess.PIPE, text=True) for way in ways]


def check_loads(loads):
    done = 0
    for p in loads:
        out = p.communicate()[0]
        m = re.search(r"(\d+) succeeded, (\d+) failed", out)
        assert m and m[2] == "0" and int(m[1]) == REQUESTS // 3, out
        done += int(m[1])
    return f", {done} by h2load" if loads else ""


def clients_and_instances_at_random(w):
    b = w.broker()
    instances = [w.instance(f"i{k}", moody) for k in range(4)]
    for i in instances:
        i.wrong = []
    b.put("a.test", *instances[:2])
    pem = make_certificate(w.path("pem"), "a.test")
    r = w.fed_router(b, "--access-log", w.path("access.log"), "--https", "127.0.0.1:0", "--cert", pem)
    b.wait_applied(b.revision)
    seen = (threading.Lock(), {})
    clients = [Client(r, k, seen) for k in range(CLIENTS)]
    rnd, end = random.Random(1), time.monotonic() + SECONDS
    loads, rss = start_loads(w, b, r), []
    while time.monotonic() < end or any(p.poll() is None for p in loads):
        b.put("a.test", *rnd.sample(instances, rnd.choice([1, 2, 3])))
        b.change([route(f"h{k}.test", instances[0]) for k in range(20)] if rnd.random() < 0.5 else [], [f"h{k}.test" for k in range(10)])
        rss.append(r.rss_kb())
        time.sleep(0.03)
    note = check_loads(loads)
    early, late = sorted(rss[len(rss) // 5:len(rss) * 2 // 5]), sorted(rss[-len(rss) // 5:])
    early, late = early[len(early) // 2], late[len(late) // 2]  # what is in flight swings by a few MB
    assert late < early * 1.2 + 20000, f"memory grew from {early} KB to {late} KB"
    for c in clients:
        c.stopped = True
    for c in clients:
        c.t.join()
    assert r.p.poll() is None, "the router died: " + r.text()[-4000:]
    errors = [e for c in clients for e in c.errors] + [e for i in instances for e in i.wrong]
    assert not errors, (len(errors), errors[:10])
    total = sum(seen[1].values())
    assert total > 200 and seen[1].get(("tunnel", True), 0) > 5, seen[1]
    b.change(deletes=["a.test"])
    b.wait_report(lambda x: x.get("draining") == [], "the drain")
    return f"{total} answers of {sum(c.count for c in clients)} requests, {b.revision} revisions, {early} KB to {late} KB{note}"


run_tests([clients_and_instances_at_random])
