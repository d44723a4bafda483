"""Asks an application of HTTP/2 in a gear, through the router: routes_h2.py HTTP_PORT HTTPS_PORT HOST KIND, in
which KIND names a function below."""
import socket, ssl, sys, threading
from h2_peer import *

PORT, TLS_PORT, HOST = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


def each_way():
    yield "h2c", H2(PORT, HOST)
    yield "tls", H2(TLS_PORT, HOST, tls=HOST)


def trailers():
    """Both ways at once, each message answered before the next; trailers at the end."""
    for way, c in each_way():
        sid = c.start("POST", "/rpc", ("content-type", "application/grpc"), ("te", "trailers"), end=False)
        for i in range(20):
            c.data(sid, b"message %d;" % i)
            r = c.wait(sid, lambda r: r.body.endswith(b"<message %d;>" % i) or r.end)
            assert not r.end, (way, r.body)
        c.data(sid, b"", end=True)
        r = c.wait(sid)
        assert r.status == 200 and dict(r.trailers) == {"grpc-status": "0", "x-count": "20"}, (way, r.status, r.trailers)


def events():
    """Each event is there before the next is asked for."""
    for way, c in each_way():
        sid = c.start("GET", f"/events?{way}")
        for i in range(5):
            c.wait(sid, lambda r: b"data: %d\n\n" % i in r.body)
            assert b"data: %d\n" % (i + 1) not in c.reply(sid).body
            assert c.get(path=f"/next?{way}").status == 200
        assert dict(c.reply(sid).headers)["content-type"] == "text/event-stream"


def websocket_2():
    """RFC 8441, with the session's cookie."""
    for way, c in each_way():
        while 8 not in c.settings:
            c.step()
        sid = c.start(end=False, raw=[(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/ws"),
                                      (":authority", HOST), ("sec-websocket-version", "13"), ("cookie", "a=1"), ("cookie", "b=2")])
        r = c.wait(sid, lambda r: r.status is not None)
        assert r.status == 200, (way, r.headers)
        for text in (b"one", b"two" * 1000):
            seen = len(r.body)
            c.data(sid, text)
            c.wait(sid, lambda r: bytes(r.body[seen:]).endswith(text))
        assert b"a=1" in r.body and b"b=2" in r.body, r.body[:200]


def websocket_1():
    plain = socket.create_connection(("127.0.0.1", PORT), 20)
    tls = ssl._create_unverified_context().wrap_socket(socket.create_connection(("127.0.0.1", TLS_PORT), 20), server_hostname=HOST)
    for s in (plain, tls):
        s.sendall(f"GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                  f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: a=1; b=2\r\n\r\n".encode())
        got = b""
        s.sendall(b"one")
        while not got.endswith(b"one"):
            d = s.recv(65536)
            assert d, got
            got += d
        assert got.startswith(b"HTTP/1.1 101 ") and b"a=1; b=2" in got, got


globals()[sys.argv[4]]()
