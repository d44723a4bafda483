#!/usr/bin/python3
"""HTTP/2 in front: requests and answers, bodies with flow control, WebSockets, cancelled streams, the end."""
import os, re, struct, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *
from h2_peer import *

MB = 1 << 20
u32 = lambda v: struct.pack(">I", v)


def body_of(c, head, rest):
    """The body of a request, decoded; None: cut short."""
    def more(rest):
        d = c.recv(65536)
        if not d:
            raise ConnectionError("cut short")
        return rest + d

    m = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
    if m:
        while len(rest) < int(m[1]):
            rest = more(rest)
        return rest
    if b"transfer-encoding: chunked" not in head.lower():
        return b""
    out = b""
    while True:
        while b"\r\n" not in rest:
            rest = more(rest)
        n, rest = rest.split(b"\r\n", 1)
        n = int(n, 16)
        if n == 0:
            while not rest.startswith(b"\r\n") and b"\r\n\r\n" not in rest:
                rest = more(rest)
            return out + rest[:-2]  # trailers, as lines
        while len(rest) < n + 2:
            rest = more(rest)
        out, rest = out + rest[:n], rest[n + 2:]


def echo(i, c, head, rest):
    """Answers with the head and body that came; paths ask for more."""
    path = head.split()[1].decode()
    try:
        body = body_of(c, head, rest)
    except ConnectionError:
        i.cut = getattr(i, "cut", 0) + 1
        return False
    with i.lock:
        i.heads = getattr(i, "heads", []) + [head.decode("latin-1")]
    if path == "/wait":
        i.gate.wait(DEADLINE)
    if path == "/204":
        c.sendall(b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n")
    elif path == "/304":
        c.sendall(b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\n")
    elif path == "/hints":
        c.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    elif path == "/close":
        c.sendall(b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\nto the end")
        return False
    elif path == "/cut":
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        return False
    elif path == "/none":
        return False
    elif path.startswith("/size/"):
        n, chunk = int(path.split("/")[2]), bytes(65536)
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n if path.endswith("/length") else b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while n > 0:
            part = chunk[:n]
            i.sent = getattr(i, "sent", 0) + len(part)
            c.sendall(part if path.endswith("/length") else b"%x\r\n%s\r\n" % (len(part), part))
            n -= len(part)
        if not path.endswith("/length"):
            c.sendall(b"0\r\n\r\n")
    else:
        answer = head + b"\r\n\r\n" + body
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Two: a\r\nX-Two: b\r\n\r\n" % len(answer))
        if not head.startswith(b"HEAD "):
            c.sendall(answer)
    return True


def start(w, *args, handler=echo, **more):
    i = w.instance("a", handler)
    i.gate, i.heads = threading.Event(), []
    w.ends.append(i.gate.set)
    return w.static_router([("a.test", i)], *args, threads=1, **more), i


def trailers(p, fields, *more):
    sid = p.start("POST", "/", *more, end=False)
    p.data(sid, b"abc")
    for i in range(0, len(block := p.enc.encode(fields, huffman=False)), 16384):
        p.frame(CONTINUATION if i else HEADERS, (END_HEADERS if i + 16384 >= len(block) else 0) | (0 if i else END_STREAM), sid, block[i:i + 16384])
    return p.wait(sid)


def requests(w):
    pem = make_certificate(w.path("pem"), "a.test")
    r, i = start(w, "--https", "127.0.0.1:0", "--cert", pem)
    for tls in (None, "a.test"):
        with H2(r.tls_port if tls else r.port, tls=tls) as p:
            a = p.get("GET", "/path?q=1", ("cookie", "a=1"), ("cookie", "b=2"), ("x-own", "v"), ("te", "trailers"))
            text = a.body.decode().lower()
            assert a.status == 200 and text.startswith("get /path?q=1 http/1.1\r\n"), a.body
            assert "\r\ncookie: a=1; b=2\r\n" in text and "\r\nhost: a.test\r\n" in text and "\r\nx-own: v\r\n" in text, text
            assert f"\r\nx-forwarded-proto: {'https' if tls else 'http'}\r\n" in text and "transfer-encoding" not in text, text
            assert [v for k, v in a.headers if k == "x-two"] == ["a", "b"] and a.get("x-request-id"), a.headers
            a = p.get("HEAD")
            assert a.status == 200 and a.body == b"" and int(a.get("content-length")) > 50
            a = p.get(path="/204")
            assert a.status == 204 and a.body == b"" and a.get("x-a") == "b" and a.get("content-length") is None
            a = p.get(path="/304")
            assert a.status == 304 and a.body == b"" and a.get("content-length") == "10"
            a = p.get(path="/hints")
            assert [s for s, h in a.interim] == [103, 103] and dict(a.interim[1][1])["link"] == "</b>" and a.body == b"ok"
            a = p.get(path="/close")
            assert a.body == b"to the end" and not [k for k, v in a.headers if k in ("connection", "keep-alive", "transfer-encoding", "x-hop")], a.headers
            a = p.get(path="/cut")
            assert a.reset == INTERNAL and not a.end, vars(a)
            a = p.get(path="/none")
            assert a.status == 502 and a.reset is None
            sid = p.start("POST", "/", ("expect", "100-continue"), ("content-length", "3"), end=False)
            p.data(sid, b"abc", end=True)
            assert p.wait(sid).body.endswith(b"\r\n\r\nabc")
            a = trailers(p, [("x-trailer", "1"), ("host", "b.test"), ("authorization", "Basic YTpi"), ("x-two", "")])
            assert a.body.endswith(b"\r\n\r\nabcx-trailer: 1\r\nx-two: \r\n"), a.body
            assert trailers(p, [("x", "y")], ("content-length", "3")).body.endswith(b"\r\n\r\nabc")  # no place for them in HTTP/1.1
            for large in [("x", "y" * 9000)], [("x" * 9000, "y")], [("x%d" % n, "y" * 1000) for n in range(9)]:
                assert trailers(p, large).status == 400
            assert len(trailers(p, [("x%d" % n, "y" * 1000) for n in range(8)]).body) > 8000
            assert p.get("OPTIONS", "*").body.startswith(b"OPTIONS * HTTP/1.1\r\n")


def hosts_and_targets(w):
    r, i = start(w)
    with H2(r.port) as p:
        for more, status in [([("host", "a.test")], 200), ([("host", "A.TEST")], 200), ([("host", "b.test")], 400)]:
            a = p.get("GET", "/", *more)
            assert a.status == status, (more, vars(a))
        only_host = [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a.test")]
        assert p.get(raw=only_host).status == 200
        assert p.get(raw=only_host[:3]).reset == PROTOCOL or p.reply(p.next - 2).status == 400  # no host at all
        assert p.get(raw=only_host[:3] + [("host", "a.test"), ("host", "b.test")]).status != 200
        assert p.get(host="b.test").status == 404
        assert p.get(host="user@a.test").status != 200
        a = p.get(path="http://b.test/x")  # no absolute form in HTTP/2
        assert a.reset == PROTOCOL or a.status == 400, vars(a)
        a = p.get(raw=[(":method", "CONNECT"), (":authority", "a.test:443")])
        assert a.status in (405, 404), vars(a)
        a = p.get(raw=[(":method", "CONNECT"), (":protocol", "connect-udp"), (":scheme", "https"), (":path", "/"), (":authority", "a.test")])
        assert a.status in (400, 405, 404, 501), vars(a)
        assert p.get().status == 200
    assert all(h.split("\r\n")[0] in ("GET / HTTP/1.1",) for h in i.heads), i.heads


def heads_that_are_too_large(w):
    r, i = start(w)
    with H2(r.port) as p:
        # Not split: one frame of 16 KB carries more when fields repeat by index.
        block = p.enc.encode(p.fields(), huffman=False) + b"\x40\x01x\x7f\x81\x1e" + b"v" * 3968 + b"\xbe" * 20
        p.frame(HEADERS, 5, 1, block)
        a = p.wait(1)
        assert a.status == 431, vars(a)
        p.next, p.enc = 3, hpack.Encoder()
        assert p.get().status == 200
        assert p.get("GET", "/", *[(f"x{n}", "v" * 90) for n in range(90)]).status == 200
        assert p.get("GET", "/", *[(f"x{n}", "v") for n in range(300)]).status == 431
        assert p.get(path="/" + "a" * 14000).status == 200
    assert len(i.heads) == 3


def large_bodies(w):
    r, i = start(w)
    with H2(r.port) as p:
        for how in ("length", "chunked"):
            a = p.get(path=f"/size/{20 * MB}/{how}")
            assert len(a.body) == 20 * MB and a.end, (how, len(a.body))
        sid = p.start("POST", "/", end=False)
        data = os.urandom(3 * MB)
        p.data(sid, data, end=True)
        assert p.wait(sid).body.endswith(data)


def many_streams_at_once(w):
    r, i = start(w)
    with H2(r.port) as p:
        p.get()
        assert p.settings[3] == 100
        ids = [p.start("GET", f"/{n}" if n % 3 else "/wait") for n in range(100)]
        for n, sid in enumerate(ids):
            if n % 3:
                assert p.wait(sid).body.startswith(b"GET /%d " % n)
        i.gate.set()
        for sid in ids:
            assert p.wait(sid).status == 200
        p.auto = False


def slow_readers_hold_back_the_app(w):
    r, i = start(w)
    with H2(r.port, window=1000, auto=False) as p:
        p.frame(SETTINGS, ACK)
        ids = [p.start("GET", f"/size/{64 * MB}/length") for _ in range(10)]
        for sid in ids:
            p.wait(sid, lambda r: len(r.body) == 1000)
        p.ping()
        last = -1
        while last != i.sent:  # the instances' sockets are full
            last = i.sent
            time.sleep(0.3)
        kb = r.rss_kb()
        assert i.sent < 10 * 16 * MB, i.sent
        p2 = H2(r.port)  # others are served meanwhile
        assert p2.get().status == 200
        for sid in ids[1:]:
            p.frame(RST, 0, sid, u32(CANCEL))
        p.frame(WINDOW, 0, ids[0], u32(WIDE - 1000))
        p.wait(ids[0], lambda r: len(r.body) == 64 * MB)
        return f"{i.sent >> 20} MB were sent by the instances, the router had {kb >> 10} MB"


def a_slow_app_holds_back_the_client(w):
    go = threading.Event()

    def slow(i, c, head, rest):
        if b"POST" in head:
            go.wait(DEADLINE)
        return echo(i, c, head, rest)

    r, i = start(w, handler=slow)
    with H2(r.port) as p:
        p.get()
        sid = p.start("POST", "/", end=False)
        sent, data = 0, bytes(16384)
        while True:  # until no window is left and none comes
            while min(p.window, p.windows.setdefault(sid, p.windows0)) >= 16384:
                p.data(sid, data)
                sent += 16384
            n = p.updates
            p.s.settimeout(1)
            try:
                while p.updates == n:
                    p.step()
            except TimeoutError:
                break
        assert sent < 16 * MB, sent
        p.s.settimeout(20)
        assert p.get().status == 200  # other streams go on
        go.set()
        p.data(sid, b"end", end=True)
        assert len(p.wait(sid).body) > sent


def early_answers_are_read(w):
    """413 while the body is on its way: the answer comes whole, then the stream is ended without an error."""
    r, i = start(w, "--body-max", "1000000")
    with H2(r.port) as p:
        p.get()
        sid = p.start("POST", "/", ("content-length", str(4 * MB)), end=False)
        p.data(sid, bytes(MB))
        a = p.wait(sid, lambda r: r.end)
        assert a.status == 413 and a.reset is None, vars(a)
        p.data(sid, bytes(3 * MB), end=True)  # all of it is taken, and thrown away
        assert p.get().status == 200 and a.reset is None
        sid = p.start("POST", "/", ("content-length", str(4 * MB)), end=False)
        a = p.wait(sid)
        assert a.end and a.status == 413, vars(a)
        a = p.wait(sid, lambda r: r.reset is not None)  # one that never ends is ended
        assert a.reset == NO_ERROR
        assert p.get().status == 200
    with open(w.path("body"), "wb") as f:
        f.truncate(8 * MB)
    for args in (["--http2-prior-knowledge"], []):
        out = subprocess.run(["curl", "-sS", *args, "-o", w.path("out"), "-w", "%{http_code}", "-H", "Host: a.test", "-H", "Expect:", "--data-binary",
                              "@" + w.path("body"), f"http://127.0.0.1:{r.port}/"], capture_output=True, text=True)
        assert out.stdout == "413" and out.returncode == 0, (args, out)


def streams_that_are_reset(w):
    """In every phase; the application sees that its client went away, the connection serves on."""
    gone = []

    def watch(i, c, head, rest):
        if b" /stall" in head:
            if b"/stall/answer" in head:
                c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            i.waiting = getattr(i, "waiting", 0) + 1
            while c.recv(65536):
                pass
            gone.append(head.split()[1])
            return False
        return echo(i, c, head, rest)

    r, i = start(w, handler=watch)
    with H2(r.port) as p:
        p.get()
        sid = p.start("POST", "/stall/body", end=False)
        p.data(sid, b"abc")
        wait_for(lambda: getattr(i, "waiting", 0) == 1, "the request")
        p.frame(RST, 0, sid, u32(CANCEL))
        p.frame(RST, 0, p.start("GET", "/never"), u32(CANCEL))  # at once
        sid = p.start("GET", "/stall/wait")
        wait_for(lambda: i.waiting == 2, "the request")
        p.frame(RST, 0, sid, u32(CANCEL))
        sid = p.start("GET", "/stall/answer")
        p.wait(sid, lambda r: r.body == b"half")
        p.frame(RST, 0, sid, u32(CANCEL))
        wait_for(lambda: len(gone) == 3, "the instance to hear of it")
        assert p.get().status == 200
        for _ in range(100):
            sid = p.start("GET", f"/size/{MB}/chunked")
            p.wait(sid, lambda r: r.status is not None)
            p.frame(RST, 0, sid, u32(CANCEL))
        assert p.get().status == 200
    with H2(r.port) as p:  # the connection goes with streams under way
        for n in range(20):
            p.start("GET", "/stall/wait")
        wait_for(lambda: i.waiting == 23, "the requests")
    wait_for(lambda: len(gone) == 23, "the instance to hear of it")


def the_end_loses_nothing(w):
    r, i = start(w, "--drain", "10")
    p = H2(r.port)
    p.get()
    idle = H2(r.port)
    idle.get()
    ids = [p.start("GET", "/wait") for _ in range(20)]
    wait_for(lambda: len(i.heads) == 22, "the requests")
    r.p.send_signal(signal.SIGTERM)
    while p.goaway is None:
        p.step()
    assert p.goaway == NO_ERROR
    assert idle.fails() == NO_ERROR
    i.gate.set()
    for sid in ids:
        assert p.wait(sid).status == 200
    assert p.fails() == NO_ERROR
    r.stop()


def idle_connections_end(w):
    r, i = start(w, "--idle-timeout", "1", "--head-timeout", "1")
    with H2(r.port) as p, H2(r.port) as silent:
        p.get()
        assert p.fails() == NO_ERROR
        assert silent.fails() == NO_ERROR
    with H2(r.port, preface=False) as half:
        half.send(PREFACE[:10])
        assert half.fails() is None
    with H2(r.port) as p:  # a head that does not end
        p.frame(HEADERS, 1, 1, p.enc.encode(p.fields()))
        p.fails()


def websocket(i, c, head, rest):
    """Takes a WebSocket, then echoes bytes until the end."""
    key = re.search(rb"sec-websocket-key: *(\S+)", head, re.I)
    if b"upgrade: websocket" not in head.lower() or not key:
        return echo(i, c, head, rest)
    import base64, hashlib
    accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    if b" /no " in head:
        c.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        return True
    c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept +
              b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
    i.tunnels = getattr(i, "tunnels", 0) + 1
    while True:
        d = rest or c.recv(65536)
        rest = b""
        if not d:
            break
        c.sendall(d)
    i.ended = getattr(i, "ended", 0) + 1
    return False


def ws_fields(path="/ws"):
    return [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", path), (":authority", "a.test"),
            ("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat"), ("origin", "https://a.test")]


def websockets(w):
    r, i = start(w, handler=websocket)
    with H2(r.port) as p:
        p.get()
        assert p.settings[8] == 1  # RFC 8441 3
        ids = [p.start(raw=ws_fields(), end=False) for _ in range(10)]
        for sid in ids:
            a = p.wait(sid, lambda r: r.status is not None)
            assert a.status == 200 and a.get("sec-websocket-protocol") == "chat" and a.get("sec-websocket-accept") is None and a.get("upgrade") is None
        for n, sid in enumerate(ids):
            p.data(sid, b"hello %d" % n)
        for n, sid in enumerate(ids):
            p.wait(sid, lambda r: r.body == b"hello %d" % n)
        assert p.get().status == 200
        data = os.urandom(MB)
        t = threading.Thread(target=lambda: None)
        for at in range(0, MB, 16384):
            p.data(ids[0], data[at:at + 16384])
        p.wait(ids[0], lambda r: len(r.body) == MB + 7)
        assert p.reply(ids[0]).body == b"hello 0" + data
        p.data(ids[0], b"bye", end=True)  # the end goes both ways
        a = p.wait(ids[0])
        assert a.end and a.reset is None and a.body.endswith(b"bye"), (a.end, a.reset)
        p.frame(RST, 0, ids[1], u32(CANCEL))
        wait_for(lambda: i.ended == 2, "the instance to hear of the reset")
        a = p.get(raw=ws_fields("/no"), end=False)
        assert a.status == 403 and a.body == b"no"
        p.ping()
    wait_for(lambda: i.ended == 10, "the instance to hear of the end")
    with r.connect() as s:  # and over HTTP/1.1, as it was
        s.sendall(b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nearly")
        buf = b""
        while not buf.endswith(b"early"):
            buf += s.recv(65536)
        assert buf.startswith(b"HTTP/1.1 101 ") and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in buf, buf
        s.shutdown(socket.SHUT_WR)
        assert s.recv(100) == b""


run_tests([requests, hosts_and_targets, heads_that_are_too_large, large_bodies, many_streams_at_once, slow_readers_hold_back_the_app,
           a_slow_app_holds_back_the_client, early_answers_are_read, streams_that_are_reset, the_end_loses_nothing, idle_connections_end, websockets])
