#!/usr/bin/python3
"""Instances that fail, refuse, or go: what of it clients see, and who gets the requests."""
import os, socket, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def closes(i, c, head, rest):
    return False


def says(data):
    def handler(i, c, head, rest):
        c.sendall(data)
        return True
    return handler


def log_of(w):
    return open(w.path("access.log"), errors="replace").read()


def one_of_three_fails(kind):
    def test(w):
        bad = w.instance("bad", None if kind == "refuses" else closes)
        if kind == "refuses":
            bad.stop()
        r = w.static_router([("shop.test", w.instance("a"), bad, w.instance("b"))])
        load = Load(r, "shop.test", workers=6)
        wait_for(lambda: load.count >= 1500, "1500 requests", 60)
        load.stop()
        assert not load.bad, load.bad[:5]
        assert bad.requests <= 60, bad.requests
        return f"{load.count} requests, {bad.requests} of them at the bad one"
    return (f"one of three {kind}: no client sees it", test)


def errors_eject_the_one_that_has_them(w):
    bad = w.instance("bad", says(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"))
    r = w.static_router([("shop.test", w.instance("a"), bad, w.instance("b"))], threads=1)
    for _ in range(300):
        r.get("shop.test")
    assert bad.requests <= 40, bad.requests
    n = w.instance("n", says(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"))
    w.write_routes([("shop.test", n)])
    wait_for(lambda: r.get("shop.test").body == b"" and n.requests > 0, "the new table")
    assert all(r.get("shop.test").status == 500 for _ in range(30)), "an only one is never ejected"


def tries_are_budgeted(w):
    four = [w.instance(n, closes) for n in "abcd"]
    r = w.static_router([("shop.test", *four)], "--access-log", w.path("access.log"), threads=1)
    start = time.monotonic()
    for _ in range(60):
        assert r.get("shop.test").status == 502
    tries = sum(i.requests for i in four)
    most = 60 + 30 + 60 * 0.2 * 2 + 3 * (time.monotonic() - start) + 4
    assert 80 <= tries <= most, (tries, most)
    wait_for(lambda: "too many requests were tried again" in log_of(w), "the reason")
    # Another route has its own.
    w.write_routes([("shop.test", *four), ("other.test", w.instance("x", closes), w.instance("y"))])
    wait_for(lambda: r.get("other.test").status != 404, "the new table")
    assert all(r.get("other.test").status == 200 for _ in range(20))


WEBSOCKET = b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"


def long_ones(i, c, head, rest):
    c.sendall(WEBSOCKET if b"/ws" in head else b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
              if b"/long" in head else b"")
    while c.recv(65536):
        pass
    return False


def open_long(r, path):
    s = r.connect()
    upgrade = "Upgrade: websocket\r\nConnection: upgrade\r\n" if path == "/ws" else ""
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: shop.test\r\n{upgrade}\r\n".encode())
    if path != "/mute":
        assert s.recv(65536).startswith(b"HTTP/1.1 "), path
    return s


def ended(s):
    data = b""
    while True:
        got = s.recv(65536)
        if not got:
            return data
        data += got


def who_is_off_every_route_has_its_time(w):
    b = w.broker()
    old, new = w.instance("old", long_ones), w.instance("new")
    b.put("shop.test", old)
    b.put("alias.test", old)
    r = w.fed_router(b, "--drain-instance", "1", "--access-log", w.path("access.log"))
    wait_for(lambda: r.get("none.test").status == 404, "the table")
    socks = [open_long(r, p) for p in ("/ws", "/long", "/mute")]
    wait_for(lambda: old.requests == 3, "the requests")
    b.wait_applied(b.put("shop.test", new))  # alias.test has it still
    assert r.get("shop.test").body == b"new"
    time.sleep(1.5)  # longer than it would have
    socks[0].sendall(b"x")
    assert len(old.open) == 3, old.open
    began = time.monotonic()
    b.change(deletes=["alias.test"])
    b.wait_report(lambda x: x["draining"] == ["old"], "the one that drains")
    assert ended(socks[0]) == b"", "the tunnel"
    assert ended(socks[1]) in (b"", b"2\r\nok\r\n"), "the answer"
    assert Answer(socks[2]).read().status == 503
    assert time.monotonic() - began >= 0.8
    b.wait_report(lambda x: x["draining"] == [], "its end")
    wait_for(lambda: not old.open, "its connections")
    text = wait_for(lambda: log_of(w).count("reason=\"The instance was taken away") == 3 and log_of(w), "the reasons")
    assert "path=/mute " in text


class Slow:
    """A handler that answers a path when it is told to; knows how many it has at once, and the order."""

    def __init__(self):
        self.cond, self.now, self.most, self.order, self.free = threading.Condition(), 0, 0, [], 0

    def __call__(self, i, c, head, rest):
        with self.cond:
            self.now += 1
            self.most = max(self.most, self.now)
            self.order.append(head.split()[1].decode())
            self.cond.wait_for(lambda: self.free > 0, DEADLINE)
            self.free -= 1
            self.now -= 1
            c.sendall(OK)
        return True

    def answer(self, n=1):
        with self.cond:
            self.free += n
            self.cond.notify_all()


def limited_router(w, options, *instances, **more):
    with open(w.path("routes"), "w") as f:
        f.write("shop.test" + "".join(f" {i.address}:{i.port}" for i in instances) + " " + options + "\n")
    return w.router("--routes", w.path("routes"), "--access-log", w.path("access.log"), **more)


def ask(r, path):
    s = r.connect()
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n".encode())
    return s, Answer(s)


def requests_queue_in_order(w):
    slow = Slow()
    r = limited_router(w, "concurrency=2 queue=5 queue_s=20", w.instance("a", slow), threads=1)
    asked = []
    for n in range(7):
        asked.append(ask(r, f"/{n}"))
        wait_for(lambda: len(slow.order) == min(n + 1, 2), "the two")
        time.sleep(0.02)  # the order of arrival is that of sending
    full = r.get("shop.test")
    assert full.status == 503 and full.headers["retry-after"] == "1" and b"as much to do" in full.body, full.body
    for n in range(7):
        slow.answer()
        wait_for(lambda: len(slow.order) == min(n + 3, 7), "the next")
    assert all(x[1].read().status == 200 for x in asked)
    assert slow.order == [f"/{n}" for n in range(7)], slow.order
    assert slow.most == 2, slow.most
    wait_for(lambda: "queue_us=" in log_of(w), "the wait in the log")


def the_queue_has_a_time(w):
    slow = Slow()
    r = limited_router(w, "concurrency=1 queue=5 queue_s=1", w.instance("a", slow))
    first = ask(r, "/first")
    wait_for(lambda: slow.now == 1, "the first")
    late = r.get("shop.test")
    assert late.status == 503 and late.headers["retry-after"] == "5" and b"had room in time" in late.body, late.body
    slow.answer(2)
    assert first[1].read().status == 200
    assert r.get("shop.test").status == 200


def all_lanes_keep_the_limit(w):
    lock, now, most = threading.Lock(), [0, 0], [0, 0]

    def count(at):
        def handler(i, c, head, rest):
            with lock:
                now[at] += 1
                most[at] = max(most[at], now[at])
            time.sleep(0.002)
            with lock:
                now[at] -= 1
            c.sendall(OK)
            return True
        return handler

    r = limited_router(w, "concurrency=2 queue=100", w.instance("a", count(0)), w.instance("b", count(1)), threads=4)
    load = Load(r, "shop.test", workers=24)
    wait_for(lambda: load.count >= 1500, "1500 requests", 60)
    load.stop()
    assert not load.bad, load.bad[:5]
    assert most == [2, 2], most


def a_limit_that_goes_frees_the_queue(w):
    slow, b = Slow(), w.broker()
    a = w.instance("a", slow)
    b.change([dict(route("shop.test", a), options={"concurrency": 1, "queue": 10})])
    r = w.fed_router(b)
    wait_for(lambda: r.get("none.test").status == 404, "the table")
    asked = [ask(r, f"/{n}") for n in range(4)]
    wait_for(lambda: slow.now == 1, "the first")
    b.wait_applied(b.change([dict(route("shop.test", a), options={"concurrency": 3, "queue": 10})]))
    wait_for(lambda: slow.now == 3, "three at once")
    b.wait_applied(b.change([route("shop.test", a)]))
    wait_for(lambda: slow.now == 4, "all at once")
    slow.answer(4)
    assert all(x[1].read().status == 200 for x in asked)


def a_place_of_either_part_frees_the_queue(w):
    main, canary = Slow(), Slow()
    a, b = w.instance("a", main), w.instance("b", canary)
    r = limited_router(w, f"concurrency=1 queue=5 queue_s=20 canary=50 {b.address}:{b.port}", a, threads=1)
    asked = [ask(r, f"/{n}") for n in range(2)]
    wait_for(lambda: (main.now, canary.now) == (1, 1), "one at each")
    asked += [ask(r, f"/{n}") for n in range(2, 4)]
    time.sleep(0.02)  # they wait
    for part in (canary, main):
        part.answer()
        wait_for(lambda: len(part.order) == 2, "the next")
    main.answer()
    canary.answer()
    assert all(x[1].read().status == 200 for x in asked)


def a_second_instance_is_asked_when_the_first_is_late(w):
    slow = Slow()
    a, b = w.instance("a", slow), w.instance("b", slow)
    r = limited_router(w, "hedge_ms=50", a, b, threads=1)
    for path in ("/1", "/2", "/3"):
        s, got = ask(r, path)
        wait_for(lambda: slow.now == 2, "both are asked")
        slow.answer(1)
        got = got.read()
        assert got.status == 200 and got.body == b"ok", got.body
        wait_for(lambda: len(a.open) + len(b.open) == 1, "the other connection is closed")
        slow.answer(1)
        wait_for(lambda: slow.now == 0, "the other's end")
    assert slow.order == ["/1"] * 2 + ["/2"] * 2 + ["/3"] * 2, slow.order
    wait_for(lambda: all(log_of(w).count(f"path=/{n} ") == 1 for n in (1, 2, 3)), "a line each")


def what_is_never_asked_twice(w):
    slow = Slow()
    a, b = w.instance("a", slow), w.instance("b", slow)
    r = limited_router(w, "hedge_ms=20", a, b, threads=1)
    s = r.connect()
    s.sendall(b"POST /post HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\n\r\n")
    wait_for(lambda: slow.now == 1, "the POST")
    s2, got2 = ask(r, "/get")
    wait_for(lambda: slow.now == 3, "the GET, at both")
    assert slow.order == ["/post", "/get", "/get"], slow.order
    slow.answer(3)
    assert Answer(s).read().status == 200 and got2.read().status == 200


def the_second_goes_on_when_the_first_fails(w):
    late = threading.Event()
    first, lock = [], threading.Lock()

    def handler(i, c, head, rest):
        with lock:
            first.append(i)
            is_first = len(first) % 2 == 1
        if is_first:
            late.wait(DEADLINE)
            return False
        wait_for(lambda: len(first) % 2 == 0, "both")
        late.set()
        time.sleep(0.05)
        c.sendall(OK)
        return True

    r = limited_router(w, "hedge_ms=20", w.instance("a", handler), w.instance("b", handler), threads=1)
    assert r.get("shop.test").body == b"ok"
    assert len(first) == 2, "no third try"


def tries_can_be_switched_off(w):
    bad = [w.instance(n, closes) for n in "ab"]
    r = limited_router(w, "retry_percent=-1", *bad, threads=1)
    got = [r.get("shop.test") for _ in range(5)]
    assert all(x.status == 502 and b"without an answer" in x.body for x in got), got[0].body
    assert sum(i.requests for i in bad) == 5


run_tests([one_of_three_fails("refuses"), one_of_three_fails("closes"), errors_eject_the_one_that_has_them, tries_are_budgeted,
           who_is_off_every_route_has_its_time, requests_queue_in_order, the_queue_has_a_time, all_lanes_keep_the_limit,
           a_limit_that_goes_frees_the_queue, a_place_of_either_part_frees_the_queue,
           a_second_instance_is_asked_when_the_first_is_late, what_is_never_asked_twice, the_second_goes_on_when_the_first_fails,
           tries_can_be_switched_off])
