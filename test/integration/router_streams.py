#!/usr/bin/python3
"""Long and large things through the router: bodies of a gigabyte, tunnels, slow peers, timeouts."""
import os, re, socket, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

GB = 1 << 30
BLOCK = bytes(range(256)) * 1024


def pour(i, c, head, rest):
    """GET /N answers N bytes; ?chunked in chunks. A body is read and counted."""
    m = re.search(rb"content-length: *(\d+)", head, re.I)
    if m:
        left, buf = int(m[1]) - len(rest), bytearray(1 << 18)
        while left > 0:
            n = c.recv_into(buf, min(left, len(buf)))
            if n == 0:
                return False
            left -= n
        body = str(int(m[1])).encode()
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return True
    n = int(re.match(rb"GET /(\d+)", head)[1])
    if b"?chunked" in head:
        c.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while n > 0:
            k = min(n, len(BLOCK))
            c.sendall(b"%x\r\n%s\r\n" % (k, BLOCK[:k]))
            n -= k
        c.sendall(b"0\r\n\r\n")
        return True
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n)
    while n > 0:
        n -= c.send(BLOCK[:n] if n < len(BLOCK) else BLOCK)
    return True


def head_of(s):
    buf = b""
    while b"\r\n\r\n" not in buf:
        buf += s.recv(65536)
    return buf.split(b"\r\n\r\n", 1)


def download(r, path, total):
    with r.connect() as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        _, rest = head_of(s)
        got, buf = len(rest), bytearray(1 << 18)
        while got < total:
            n = s.recv_into(buf)
            assert n > 0, f"cut at {got}"
            got += n
        return got


def a_gigabyte_to_the_client(w):
    r = w.static_router([("a.test", w.instance("a", pour))])
    download(r, "/10000000", 10000000)
    before = r.rss_kb()
    t = time.monotonic()
    download(r, f"/{GB}", GB)
    took = time.monotonic() - t
    grown = r.rss_kb() - before
    assert grown < 8000, f"grew by {grown} KB"
    return f"{took:.1f} s, grew by {grown} KB"


def a_gigabyte_to_the_client_in_chunks(w):
    r = w.static_router([("a.test", w.instance("a", pour))])
    before = r.rss_kb()
    with r.connect() as s:
        s.sendall(f"GET /{GB // 4}?chunked HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        a, got = Answer(s), 0
        assert a.line() == b"HTTP/1.1 200 OK"
        while a.line():
            pass
        while True:
            n = int(a.line(), 16)
            data = a.take(n)
            assert a.line() == b""
            if n == 0:
                break
            at = got % 256
            assert data[:256] == (bytes(range(256)) * 2)[at:at + 256][:len(data)], f"wrong bytes at {got}"
            got += n
    assert got == GB // 4, got
    assert r.rss_kb() - before < 12000, r.rss_kb() - before


def a_gigabyte_to_the_app(w):
    r = w.static_router([("a.test", w.instance("a", pour))])
    before = r.rss_kb()
    with r.connect() as s:
        s.sendall(f"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {GB}\r\n\r\n".encode())
        for _ in range(GB // len(BLOCK)):
            s.sendall(BLOCK)
        assert Answer(s).read().body == str(GB).encode()
    grown = r.rss_kb() - before
    assert grown < 8000, f"grew by {grown} KB"
    return f"grew by {grown} KB"


def slow_readers_hold_back_the_app(w):
    r = w.static_router([("a.test", w.instance("a", pour))])
    before, slow = r.rss_kb(), []
    for _ in range(30):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", r.port))
        s.sendall(f"GET /{100 * 1000 * 1000} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        slow.append(s)
    # while they do not read, others are served and nothing piles up
    for _ in range(20):
        assert download(r, "/1000", 1000) == 1000
    time.sleep(0.5)
    grown = r.rss_kb() - before
    assert grown < 30 * 600, f"grew by {grown} KB"
    s = slow[0]
    _, rest = head_of(s)
    got = len(rest)
    while got < 10 * 1000 * 1000:
        data = s.recv(1 << 16)
        at = got % 256
        assert data and data[:1] == bytes([at])
        got += len(data)
    for s in slow:
        s.close()


def a_slow_app_holds_back_the_client(w):
    go = threading.Event()

    def wait(i, c, head, rest):
        go.wait(DEADLINE)
        return pour(i, c, head, rest)

    r = w.static_router([("a.test", w.instance("a", wait))])
    before, n = r.rss_kb(), 64 << 20
    with r.connect(1) as s:
        s.sendall(f"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {n}\r\n\r\n".encode())
        sent = 0
        try:
            while sent < n:
                sent += s.send(BLOCK[: n - sent])
        except TimeoutError:
            pass
        assert sent < n, "all was taken though the app read nothing"
        assert r.rss_kb() - before < 4000
        go.set()
        s.settimeout(DEADLINE)
        while sent < n:
            at = sent % len(BLOCK)
            sent += s.send(BLOCK[at:at + n - sent])
        assert Answer(s).read().body == str(n).encode()


def echo(i, c, head, rest):
    """Accepts any upgrade, then sends back what comes."""
    if b"pgrade: websocket" not in head:
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
        return True
    c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + rest)
    while True:
        data = c.recv(65536)
        if not data:
            c.sendall(b"bye")
            return False
        c.sendall(data)


UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"


def exactly(s, n):
    out = b""
    while len(out) < n:
        data = s.recv(n - len(out))
        assert data, f"cut at {len(out)} of {n}"
        out += data
    return out


def tunnels_survive_route_changes(w):
    b = w.broker()
    old, new = w.instance("old", echo), w.instance("new", echo)
    b.put("a.test", old)
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    with r.connect() as s:
        s.sendall(UPGRADE + b"\x81\x85abcdearly")
        head, rest = head_of(s)
        assert head.startswith(b"HTTP/1.1 101"), head
        assert (rest + exactly(s, 11 - len(rest))) == b"\x81\x85abcdearly"
        b.wait_applied(b.put("a.test", new))
        assert b.reports[-1]["draining"] == ["old"]
        b.wait_applied(b.change(deletes=["a.test"]))
        for size in (1, 125, 126, 65536, 3000000):
            data = os.urandom(size)
            t = threading.Thread(target=s.sendall, args=(data,))
            t.start()
            assert exactly(s, size) == data
            t.join()
        b.stop()
        s.sendall(b"still")
        assert exactly(s, 5) == b"still"
        b.start()
        s.shutdown(socket.SHUT_WR)  # half-close: the other direction still speaks
        assert exactly(s, 3) == b"bye"
        assert s.recv(1) == b""
    b.wait_report(lambda x: x["draining"] == [], "the drain")


def tunnel_ends_reach_the_other_side(w):
    a = w.instance("a", echo)
    r = w.static_router([("a.test", a)])
    with r.connect() as s:
        s.sendall(UPGRADE)
        head_of(s)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_for(lambda: not a.open, "the app's side to close")
    with r.connect() as s:
        s.sendall(UPGRADE)
        head_of(s)
        a.stop()
        assert s.recv(10) in (b"bye", b"")


def many_tunnels_at_once(w):
    a = w.instance("a", echo)
    r = w.static_router([("a.test", a)])
    all_ = []
    for i in range(200):
        s = r.connect()
        s.sendall(UPGRADE)
        head_of(s)
        all_.append(s)
    for i, s in enumerate(all_):
        s.sendall(b"%06d" % i)
    for i, s in enumerate(all_):
        assert exactly(s, 6) == b"%06d" % i
        s.close()
    wait_for(lambda: not a.open, "all to close")


def a_request_times_out(w):
    never = threading.Event()
    b = w.broker()
    a = w.instance("a", lambda *x: never.wait(DEADLINE))
    b.put("a.test", a, timeout_s=1)
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    t = time.monotonic()
    x = r.get("a.test", headers=["Accept: application/json"])
    took = time.monotonic() - t
    assert x.status == 504 and 0.9 < took < 3, (x.status, took)
    assert json.loads(x.body)["request_id"] == x.headers["x-request-id"]
    never.set()


def a_body_that_does_not_come_times_out(w):
    b = w.broker()
    b.put("a.test", w.instance("a", pour), timeout_s=1)
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    with r.connect() as s:
        s.sendall(b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc")
        assert Answer(s).read().status == 408


def an_instance_that_does_not_answer_connects_is_passed_over(w):
    # a full backlog: the connection stays in SYN-SENT
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    clog = [socket.socket() for _ in range(4)]
    for c in clog:
        c.setblocking(False)
        c.connect_ex(full.getsockname())
    live = w.instance("live")
    with open(w.path("routes"), "w") as f:
        f.write(f"a.test 127.0.0.1:{full.getsockname()[1]} 127.0.0.1:{live.port}\n")
    r = w.router("--routes", w.path("routes"), "--connect-timeout", "1", threads=1)
    t = time.monotonic()
    got = [r.get("a.test").body for _ in range(2)]
    assert got == [b"live", b"live"], got
    took = time.monotonic() - t
    assert took < 4, took
    for c in clog + [full]:
        c.close()


def slow_heads_are_refused_in_time(w):
    r = w.static_router([("a.test", w.instance("a"))], "--head-timeout", "2")
    with r.connect(40) as s:
        t = time.monotonic()
        s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nX: ")
        stop = threading.Event()

        def drip():
            while not stop.wait(0.1):
                try:
                    s.send(b"a")
                except OSError:
                    return

        d = threading.Thread(target=drip)
        d.start()
        status = Answer(s).read().status
        took = time.monotonic() - t
        stop.set()
        d.join()
        assert status == 408 and 1.9 < took < 5, (status, took)


def idle_clients_are_closed(w):
    r = w.static_router([("a.test", w.instance("a"))], "--idle-timeout", "1")
    with r.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert Answer(s).read().body == b"a"
        t = time.monotonic()
        assert s.recv(1) == b""
        assert 0.8 < time.monotonic() - t < 3


def a_head_byte_by_byte(w):
    r = w.static_router([("a.test", w.instance("a"))])
    with r.connect() as s:
        for c in b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc":
            s.send(bytes([c]))
        assert Answer(s).read().body == b"a"


def an_answer_byte_by_byte(w):
    def drip(i, c, head, rest):
        for x in b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n":
            c.send(bytes([x]))
        return True

    r = w.static_router([("a.test", w.instance("a", drip))])
    with r.connect() as s:
        a = Answer(s)
        for _ in range(3):
            s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert a.read().status == 103
            assert a.read().body == b"abcde"


def deep_pipelines_keep_their_order(w):
    def path(i, c, head, rest):
        body = head.split()[1]
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return True

    r = w.static_router([("a.test", w.instance("a", path))])
    with r.connect() as s:
        s.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % i for i in range(500)))
        a = Answer(s)
        for i in range(500):
            assert a.read().body == b"/%d" % i


def idle_connections_hold_little(w):
    r = w.static_router([("a.test", w.instance("a"))])

    def hold(n):
        out = []
        for _ in range(n):
            s = r.connect()
            s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            out.append(s)
        for s in out:
            assert Answer(s).read().status == 200
        return out

    first = hold(100)
    before = r.rss_kb()
    more = hold(400)
    assert r.get("a.test").status == 200
    grown = (r.rss_kb() - before) * 1024 / 400
    for s in first + more:
        s.close()
    assert grown < 4096, grown  # sanitizers included


def a_flood_of_refused_requests_is_answered(w):
    r = w.static_router([("a.test", w.instance("a"))])
    with r.connect() as s:
        t = threading.Thread(target=s.sendall, args=(b"GET / HTTP/1.1\r\nHost: b.test\r\nAccept: application/json\r\n\r\n" * 5000,))
        t.start()
        a = Answer(s)
        for _ in range(5000):
            assert a.read().status == 404
        t.join()


def a_full_disk_costs_the_log_and_no_request(w):
    r = w.static_router([("a.test", w.instance("a"))], "--access-log", "/dev/full")
    for _ in range(50):
        assert r.get("a.test").body == b"a"
    wait_for(lambda: "access_log_write_failed" in r.text(), "a warning")
    assert r.text().count("access_log_write_failed") < 10


def too_many_clients_wait(w):
    r = w.static_router([("a.test", w.instance("a"))], "--idle-timeout", "1", threads=1, files=264)
    held = []
    for _ in range(100):  # of (264 - 64) / 2
        s = r.connect()
        s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert Answer(s).read().body == b"a"
        held.append(s)
    late = [r.connect() for _ in range(20)]
    for s in late:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    for s in late:  # once the idle ones are closed
        assert Answer(s).read().body == b"a"
    assert "accept_paused" in r.text()
    for s in held + late:
        s.close()


run_tests([a_gigabyte_to_the_client, a_gigabyte_to_the_client_in_chunks, a_gigabyte_to_the_app, slow_readers_hold_back_the_app,
           a_slow_app_holds_back_the_client, tunnels_survive_route_changes, tunnel_ends_reach_the_other_side, many_tunnels_at_once,
           a_request_times_out, a_body_that_does_not_come_times_out, an_instance_that_does_not_answer_connects_is_passed_over,
           slow_heads_are_refused_in_time, idle_clients_are_closed, a_head_byte_by_byte, an_answer_byte_by_byte, deep_pipelines_keep_their_order, a_full_disk_costs_the_log_and_no_request, a_flood_of_refused_requests_is_answered, too_many_clients_wait,
           idle_connections_hold_little])
