#!/usr/bin/python3
"""Clients and instances that do everything at random, while routes change: what a client gets is the
answer to its own request or an end, never another's bytes, and the router outlives it."""
import os, random, re, socket, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

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


class Client:
    def __init__(self, router, number, seen):
        self.r, self.rnd, self.number, self.seen, self.count = router, random.Random(number), number, seen, 0
        self.errors, self.stopped = [], False
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

    def one_connection(self):
        s = self.r.connect()
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
                self.one_tunnel() if self.rnd.random() < 0.1 else self.one_connection()
            except TimeoutError:
                self.errors.append(f"waits for ever: {self.now}")
                return
            except (ConnectionError, OSError, ValueError, IndexError):
                pass


def clients_and_instances_at_random(w):
    b = w.broker()
    instances = [w.instance(f"i{k}", moody) for k in range(4)]
    for i in instances:
        i.wrong = []
    b.put("a.test", *instances[:2])
    r = w.fed_router(b, "--access-log", w.path("access.log"))
    b.wait_applied(b.revision)
    seen = (threading.Lock(), {})
    clients = [Client(r, k, seen) for k in range(CLIENTS)]
    rnd, end = random.Random(1), time.monotonic() + SECONDS
    while time.monotonic() < end:
        b.put("a.test", *rnd.sample(instances, rnd.choice([1, 2, 3])))
        b.change([route(f"h{k}.test", instances[0]) for k in range(20)] if rnd.random() < 0.5 else [], [f"h{k}.test" for k in range(10)])
        time.sleep(0.03)
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
    b.wait_report(lambda x: x["draining"] == [], "the drain")
    return f"{total} answers of {sum(c.count for c in clients)} requests, {b.revision} revisions"


run_tests([clients_and_instances_at_random])
