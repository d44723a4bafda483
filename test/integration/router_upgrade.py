#!/usr/bin/python3
"""A new router takes the place of a running one: nobody is refused, reset or cut."""
import os, signal, ssl, struct, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

UPGRADES = 20


def web(i, c, head, rest):
    """Answers with its name; an upgrade becomes an echo."""
    if b"upgrade: echo" in head.lower():
        c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        while data := c.recv(4096):
            c.sendall(data)
        return False
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    return True


class Tls:
    """As a Router to Load, by TLS."""

    def __init__(self, router):
        self.port, self.context = router.tls_port, ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def connect(self):
        return self.context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), DEADLINE), server_hostname="a.test")


class Echo:
    def __init__(self, router):
        self.s = router.connect()
        self.s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        buf = b""
        while b"\r\n\r\n" not in buf:
            buf += self.s.recv(4096)
        assert b" 101 " in buf, buf

    def say(self, word):
        self.s.sendall(word)
        got = b""
        while len(got) < len(word):
            data = self.s.recv(4096)
            assert data, "the WebSocket was cut"
            got += data
        assert got == word


class H2(threading.Thread):
    """Requests by HTTP/2, one after the other on a connection until GOAWAY."""

    def __init__(self, router):
        super().__init__()
        self.router, self.stopped, self.count, self.bad, self.connections = router, False, 0, [], 0
        self.start()

    @staticmethod
    def frame(kind, flags, sid, payload=b""):
        return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, sid) + payload

    def run(self):
        while not self.stopped:
            try:
                self.connections += 1
                self.one_connection()
            except Exception as e:
                self.bad.append(repr(e))

    def one_connection(self):
        get = b"\x82\x86\x84\x41\x06a.test"  # GET http / a.test
        sid, goes_away = 1, False
        with self.router.connect() as s:
            a = Answer(s)  # for its take
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(4, 0, 0))
            while not self.stopped and not goes_away:
                s.sendall(self.frame(1, 5, sid, get))
                end = False
                while not end:
                    head = a.take(9)
                    n, kind, flags, on = int.from_bytes(head[:3], "big"), head[3], head[4], struct.unpack(">I", head[5:])[0]
                    body = a.take(n)
                    if kind == 7:
                        goes_away = True
                        if struct.unpack(">I", body[:4])[0] < sid:
                            return  # not served, says the router: safe to send again
                    elif kind == 4 and not flags & 1:
                        s.sendall(self.frame(4, 1, 0))
                    elif kind == 1:
                        assert body[:1] == b"\x88", body
                    elif kind == 3:
                        raise AssertionError("the stream was reset")
                    end = kind in (0, 1) and on == sid and flags & 1
                self.count += 1
                sid += 2

    def stop(self):
        self.stopped = True
        self.join()
        return self


class Line:
    """Routers that follow each other: started beside the running one, or by its SIGUSR2."""

    def __init__(self, w, *args, **more):
        self.w, self.args, self.more = w, args, more
        self.first = self.now = w.router(*args, **more)
        self.pid = self.now.p.pid
        w.ends.append(self.end)

    def start_another(self):
        r = self.w.router(*self.args, **self.more)
        assert (r.port, r.tls_port) == (self.first.port, self.first.tls_port)
        self.now, self.pid = r, r.p.pid

    def signal(self):
        os.kill(self.pid, signal.SIGUSR2)
        children = f"/proc/{self.pid}/task/{self.pid}/children"

        def child():
            try:
                return open(children).read().split()
            except FileNotFoundError:
                return ["gone"]
        pid = wait_for(child, "the new version")[0]
        assert pid != "gone"
        self.pid = int(pid)

    def upgrade(self, by_signal):
        left = self.now.text().count("router_leaves")
        if by_signal:
            self.signal()
        else:
            self.start_another()
        wait_for(lambda: self.now.text().count("router_leaves") > left, "the old one to leave")

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        wait_for(lambda: not alive(self.pid), "the last router's end")


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().split(")")[-1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def upgrades_under_load(w):
    app = w.instance("a", web)
    cert = make_certificate(w.path("cert"), "a.test")
    w.write_routes([("a.test", app)])
    line = Line(w, "--routes", w.path("routes"), "--state-dir", w.path("state"), "--https", "127.0.0.1:0", "--cert", cert,
                "--drain", "120")
    r = line.first
    echo, loads = Echo(r), [Load(r, "a.test", workers=6, pause=0.002), Load(Tls(r), "a.test", workers=2, pause=0.005), H2(r)]
    echo.say(b"before")
    old = []
    try:
        for i in range(UPGRADES):
            old.append(line.pid)
            line.upgrade(by_signal=i % 2 == 1)
            echo.say(b"after %d" % i)
            for load in loads:  # each kind is served by the new one, too
                n = load.count
                wait_for(lambda: load.count > n + 5 or load.bad, "requests after an upgrade")
    finally:
        for load in loads:
            load.stop()
    assert alive(old[0]), "the router of the WebSocket"
    for pid in old[1:]:
        wait_for(lambda: not alive(pid), f"the end of {pid}, which has no connection any more")
    echo.say(b"last")
    echo.s.close()
    wait_for(lambda: not alive(old[0]), "the end of the first")
    assert not any(load.bad for load in loads), [load.bad[:5] for load in loads]
    return f"{UPGRADES} upgrades, " + ", ".join(str(load.count) for load in loads) + " requests by HTTP/1.1, TLS, HTTP/2: 0 failed"


def idle_connections_end_with_an_answer(w):
    app = w.instance("a")
    w.write_routes([("a.test", app)])
    line = Line(w, "--routes", w.path("routes"), "--state-dir", w.path("state"), "--drain", "60")
    old = line.pid
    s = line.first.connect()
    a = Answer(s)
    s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert a.read().status == 200 and "connection" not in a.headers
    line.upgrade(False)
    s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert a.read().status == 200 and a.headers["connection"] == "close", a.headers
    assert s.recv(1) == b""
    s.close()
    wait_for(lambda: not alive(old), "the old one's end")


def the_queue_of_one_that_ended_is_served(w):
    app = w.instance("a")
    w.write_routes([("a.test", app)])
    line = Line(w, "--routes", w.path("routes"), "--state-dir", w.path("state"), threads=1)
    old = line.first
    line.upgrade(False)
    wait_for(lambda: not alive(old.p.pid), "its end")
    assert all(line.now.get("a.test").status == 200 for _ in range(50))


def another_number_of_threads(w):
    app = w.instance("a")
    w.write_routes([("a.test", app)])
    args = ("--routes", w.path("routes"), "--state-dir", w.path("state"))
    r = [w.router(*args, threads=n) for n in (4, 1, 3)]
    assert len({x.port for x in r}) == 1
    load = Load(r[0], "a.test", workers=4)
    wait_for(lambda: load.count > 200, "requests")
    assert not load.stop().bad, load.bad[:5]


def the_same_port_by_its_number(w):
    app = w.instance("a")
    w.write_routes([("a.test", app)])
    args = ("--routes", w.path("routes"), "--state-dir", w.path("state"))
    old = w.router(*args)
    waiting = [old.connect() for _ in range(20)]  # accepted with their first bytes: some by the new one
    new = w.router(*args, http=f"127.0.0.1:{old.port}")
    assert new.port == old.port
    wait_for(lambda: not alive(old.p.pid), "the old one's end")
    for s in waiting:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        assert Answer(s).read().status == 200


def a_new_version_that_fails_changes_nothing(w):
    app, b = w.instance("a"), w.broker()
    b.put("a.test", app)
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    bad = Router(w.dir, *r.args, "--https", "127.0.0.1:0", "--cert", w.path("none"))
    try:
        bad.start()
        raise AssertionError("it started")
    except AssertionError as e:
        assert "did not start" in str(e), e
    bad.p.wait()
    wait_for(lambda: "takeover_failed" in r.text(), "the old one to go on")
    b.wait_applied(b.put("b.test", app))
    assert r.get("a.test").status == r.get("b.test").status == 200
    wait_for(lambda: "b.test" in open(w.path("state/routes.log")).read(), "it to save its table again")


def the_table_goes_along_without_a_broker(w):
    app, b = w.instance("a"), w.broker()
    b.put("a.test", app)
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    b.stop()
    n = w.fed_router(b)
    assert n.port == r.port
    wait_for(lambda: not alive(r.p.pid), "the old one's end")
    assert n.get("a.test").status == 200


run_tests([upgrades_under_load, idle_connections_end_with_an_answer, the_queue_of_one_that_ended_is_served, another_number_of_threads,
           the_same_port_by_its_number,           a_new_version_that_fails_changes_nothing, the_table_goes_along_without_a_broker])
