#!/usr/bin/python3
"""Requests that wait for an application that is being handed over: in order, in bounds, none lost."""
import os, socket, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

REQUEST = b"GET /%d HTTP/1.1\r\nHost: shop.test\r\n\r\n"


def hand_over(w, b, old, new):
    """As the broker does it: parked, the old one ends, the new one begins."""
    rev = b.put("shop.test", state="parked")
    b.wait_report(lambda x: x["revision"] >= rev and old.name not in x["draining"], f"drain of {old.name}")
    old.stop()
    b.wait_applied(b.put("shop.test", new))


def a_hand_over_loses_no_request(w):
    b = w.broker()
    old = w.instance("v0")
    b.put("shop.test", old)
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    load = Load(r, "shop.test")
    for i in range(1, 21):
        new = w.instance(f"v{i}")
        wait_for(lambda: old.requests > 20, f"requests at {old.name}")
        hand_over(w, b, old, new)
        old = new
    wait_for(lambda: old.requests > 20, f"requests at {old.name}")
    load.stop()
    assert not load.bad, load.bad[:10]
    return f"{load.count} requests, 20 hand-overs"


def they_are_let_go_in_order_with_their_bodies(w):
    seen = []

    def note(i, c, head, rest):
        n = int(re.search(rb"content-length: *(\d+)", head, re.I)[1])
        while len(rest) < n:
            rest += c.recv(65536)
        seen.append((i.open[c], int(head.split()[1][1:])))
        c.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (n, rest))
        return False  # a connection for each, so that their order tells

    b = w.broker()
    b.put("shop.test", state="parked")
    r = w.fed_router(b, threads=1)
    b.wait_applied(b.revision)
    socks = []
    for i in range(200):
        s = r.connect()
        body = b"%d" % i * (1 if i % 10 else 50000)
        s.sendall(b"POST /%d HTTP/1.1\r\nHost: shop.test\r\nContent-Length: %d\r\n\r\n%s" % (i, len(body), body))
        socks.append((s, body))
        assert r.get("other.test").status == 404  # it is held before the next comes
    b.put("shop.test", w.instance("new", note))
    for s, body in socks:
        a = Answer(s).read()
        assert a.status == 200 and a.body == body, (a.status, len(a.body), len(body))
        s.close()
    assert [path for _, path in sorted(seen)] == list(range(200)), sorted(seen)


def one_that_waits_too_long_is_told_so(w):
    b = w.broker()
    b.put("shop.test", state="parked")
    r = w.fed_router(b, "--hold-timeout", "1")
    b.wait_applied(b.revision)
    with r.connect() as s:
        s.sendall(REQUEST % 1)
        a = Answer(s).read()
        assert a.status == 503 and a.headers["retry-after"] == "5" and b"did not become ready" in a.body
        b.wait_applied(b.put("shop.test", w.instance("new")))
        s.sendall(REQUEST % 2)  # the connection lives on
        assert Answer(s).read().body == b"new"


BROWSER = b"GET /%s HTTP/1.1\r\nHost: shop.test\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\r\n"


def a_browser_gets_a_page_that_loads_itself_again(w):
    b = w.broker()
    b.put("shop.test", state="parked")
    r = w.fed_router(b, "--hold-page", "1")
    b.wait_applied(b.revision)
    others = [REQUEST % 1, BROWSER.replace(b"text/html,", b""), BROWSER.replace(b"GET", b"HEAD"),
              BROWSER.replace(b"GET", b"POST").replace(b"Accept", b"Content-Length: 2\r\nAccept") + b"ab"]
    socks = [r.connect() for _ in others]
    for s, text in zip(socks, others):
        s.sendall(text.replace(b"%s", b"x"))
    with r.connect() as s:
        s.sendall(BROWSER % b"page")
        a = Answer(s).read()
        assert a.status == 503 and a.headers["refresh"] == "2" == a.headers["retry-after"], a.headers
        assert b"is starting" in a.body and a.headers["content-type"].startswith("text/html")
        assert a.headers["cache-control"] == "no-store"
        for o in socks:  # the others wait on
            o.settimeout(0.01)
            try:
                assert not o.recv(1)
            except TimeoutError:
                o.settimeout(DEADLINE)
        b.wait_applied(b.put("shop.test", w.instance("new")))
        s.sendall(BROWSER % b"page")  # by itself, on the same connection
        assert Answer(s).read().body == b"new"
    for o, text in zip(socks, others):
        assert Answer(o, text.split()[0].decode()).read().status == 200
        o.close()


def more_than_fit_are_refused(w):
    b = w.broker()
    b.put("shop.test", state="parked")
    b.put("blog.test", state="parked")
    r = w.fed_router(b, "--hold-max", "6", "--hold-app-max", "4", threads=1)
    b.wait_applied(b.revision)
    socks = []
    for i in range(4):
        s = r.connect()
        s.sendall(REQUEST % i)
        socks.append(s)
    assert r.get("other.test").status == 404  # those are held
    a = r.get("shop.test")
    assert a.status == 503 and a.headers["retry-after"] == "1" and b"Too many" in a.body
    for i in range(2):
        s = r.connect()
        s.sendall((REQUEST % i).replace(b"shop", b"blog"))
        socks.append(s)
    assert r.get("other.test").status == 404
    assert r.get("blog.test").status == 503
    new = w.instance("new")
    b.change([route("shop.test", new), route("blog.test", new)])
    for s in socks:
        assert Answer(s).read().body == b"new"
        s.close()
    b.wait_applied(b.put("shop.test", state="parked"))
    with r.connect() as s:  # there is room again
        s.sendall(REQUEST % 9)
        assert r.get("other.test").status == 404
        b.put("shop.test", new)
        assert Answer(s).read().body == b"new"


def clients_that_leave_give_their_place_back_in_time(w):
    b = w.broker()
    b.put("shop.test", state="parked")
    r = w.fed_router(b, "--hold-max", "3", "--hold-timeout", "2", threads=1)
    b.wait_applied(b.revision)
    for i in range(3):
        s = r.connect()
        s.sendall(REQUEST % i)
        assert r.get("other.test").status == 404
        s.close()
    assert r.get("shop.test").status == 503
    new = w.instance("new")

    def held():
        s = r.connect()
        s.sendall(REQUEST % 7)
        s.settimeout(0.2)
        try:
            return None if s.recv(1) else None
        except TimeoutError:
            return s

    s = wait_for(held, "a free place")
    s.settimeout(DEADLINE)
    b.put("shop.test", new)
    assert Answer(s).read().body == b"new"
    s.close()


def what_ends_otherwise_is_answered_so(w):
    b = w.broker()
    r = None
    for after, status in (({"state": "stopped"}, 503), ({"state": "empty"}, 503), (None, 404)):
        b.put("shop.test", state="parked")
        r = r or w.fed_router(b)
        b.wait_applied(b.revision)
        with r.connect() as s:
            s.sendall(REQUEST % 1)
            s.settimeout(0.1)
            try:
                assert not s.recv(1)
            except TimeoutError:
                s.settimeout(DEADLINE)
            if after:
                b.put("shop.test", **after)
            else:
                b.change(deletes=["shop.test"])
            assert Answer(s).read().status == status


def it_ends_though_requests_wait(w):
    b = w.broker()
    b.put("shop.test", state="parked")
    r = w.fed_router(b, "--drain", "1")
    b.wait_applied(b.revision)
    s = r.connect()
    s.sendall(REQUEST % 1)
    assert r.get("other.test").status == 404
    r.stop()
    s.close()


run_tests([a_hand_over_loses_no_request, they_are_let_go_in_order_with_their_bodies, one_that_waits_too_long_is_told_so,
           a_browser_gets_a_page_that_loads_itself_again,
           more_than_fit_are_refused, clients_that_leave_give_their_place_back_in_time, what_ends_otherwise_is_answered_so,
           it_ends_though_requests_wait])
