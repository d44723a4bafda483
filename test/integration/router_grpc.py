#!/usr/bin/python3
"""gRPC end to end: instances that speak HTTP/2 (h2c), trailers both by HTTP/2 and HTTP/1.1."""
import os, select, socket, struct, sys, threading, time
from concurrent import futures
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *
from h2_peer import *
import grpc

MB = 1 << 20


class Service(grpc.GenericRpcHandler):
    """Methods by name, of bytes."""

    def __init__(self):
        self.waiting = 0
        self.cancelled, self.seen, self.gate = threading.Event(), [], threading.Event()

    def service(self, details):
        self.seen.append((details.method, dict(details.invocation_metadata)))
        name = details.method.rsplit("/", 1)[1]
        kind = {"Echo": "unary_unary", "Fail": "unary_unary", "Wait": "unary_unary", "Count": "unary_stream", "Sum": "stream_unary", "Talk": "stream_stream"}.get(name)
        return kind and getattr(grpc, kind + "_rpc_method_handler")(getattr(self, name.lower()))

    def echo(self, request, context):
        context.set_trailing_metadata((("x-trailer", "yes"),))
        return request

    def fail(self, request, context):
        context.set_trailing_metadata((("x-why", "so"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")

    def wait(self, request, context):
        if not context.add_callback(self.cancelled.set):
            self.cancelled.set()
        self.waiting += 1
        self.gate.wait(20)
        return b""

    def count(self, request, context):
        for i in range(int(request)):
            yield b"%d" % i

    def sum(self, requests, context):
        return b"%d" % sum(len(r) for r in requests)

    def talk(self, requests, context):
        for r in requests:
            yield b"<" + r + b">"


def server(w):
    s = grpc.server(futures.ThreadPoolExecutor(40), options=[("grpc.max_receive_message_length", -1)])
    service = Service()
    s.add_generic_rpc_handlers((service,))
    port = s.add_insecure_port("127.0.0.1:0")
    s.start()
    w.ends.append(lambda: (service.gate.set(), s.stop(0).wait()))
    return service, port, s


def grpc_router(w, port, *args):
    with open(w.path("routes"), "w") as f:
        f.write(f"a.test 127.0.0.1:{port} protocol=h2c\n")
    return w.router("--routes", w.path("routes"), *args, threads=1)


def channel(w, r):
    c = grpc.insecure_channel(f"127.0.0.1:{r.port}", options=[("grpc.default_authority", "a.test"), ("grpc.max_receive_message_length", -1)])
    w.ends.append(c.close)
    return c


def calls(w):
    service, port, _ = server(w)
    r = grpc_router(w, port)
    c = channel(w, r)
    echo = c.unary_unary("/test.T/Echo")
    answer, call = echo.with_call(b"hello", timeout=10, metadata=(("x-own", "1"),))
    assert answer == b"hello" and dict(call.trailing_metadata())["x-trailer"] == "yes"
    method, meta = service.seen[0]
    assert method == "/test.T/Echo" and meta["x-own"] == "1" and meta["x-forwarded-proto"] == "http", meta
    try:
        c.unary_unary("/test.T/Fail")(b"", timeout=10)
        raise AssertionError("no failure")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.FAILED_PRECONDITION and e.details() == "not now" and dict(e.trailing_metadata())["x-why"] == "so"
    try:
        c.unary_unary("/test.T/None")(b"", timeout=10)
        raise AssertionError("no failure")
    except grpc.RpcError as e:  # trailers only
        assert e.code() == grpc.StatusCode.UNIMPLEMENTED, e
    data = os.urandom(3 * MB)
    assert echo(data, timeout=20) == data
    assert [int(x) for x in c.unary_stream("/test.T/Count")(b"1000", timeout=20)] == list(range(1000))
    assert c.stream_unary("/test.T/Sum")((bytes(1000) for _ in range(500)), timeout=20) == b"500000"
    many = [echo.future(b"%d" % i, timeout=20) for i in range(200)]
    assert [f.result() for f in many] == [b"%d" % i for i in range(200)]
    assert r.p.poll() is None


def streams_go_both_ways_at_once(w):
    """Each message is answered before the next is sent: nothing is held back."""
    _, port, _ = server(w)
    r = grpc_router(w, port)
    turn, asked = threading.Semaphore(1), []

    def ask():
        for i in range(50):
            turn.acquire(timeout=20)
            asked.append(i)
            yield b"%d" % i

    got = []
    for m in channel(w, r).stream_stream("/test.T/Talk")(ask(), timeout=30):
        got.append(m)
        assert len(asked) == len(got)
        turn.release()
    assert got == [b"<%d>" % i for i in range(50)]


def deadlines_and_cancels_reach_the_instance(w):
    service, port, _ = server(w)
    r = grpc_router(w, port)
    c = channel(w, r)
    try:
        c.unary_unary("/test.T/Wait")(b"", timeout=0.5)
        raise AssertionError("no deadline")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.DEADLINE_EXCEEDED, e
    wait_for(service.cancelled.is_set, "the end of the first call")
    service.cancelled.clear()
    f = c.unary_unary("/test.T/Wait").future(b"", timeout=20)
    wait_for(lambda: service.waiting == 2, "the call")
    f.cancel()
    wait_for(service.cancelled.is_set, "the cancel")
    service.gate.set()
    assert c.unary_unary("/test.T/Echo")(b"x", timeout=10) == b"x"


def an_instance_that_goes(w):
    service, port, s = server(w)
    r = grpc_router(w, port)
    c = channel(w, r)
    echo = c.unary_unary("/test.T/Echo")
    assert echo(b"1", timeout=10) == b"1"
    service.gate.set()
    s.stop(0).wait()
    try:
        echo(b"2", timeout=10)
        raise AssertionError("an answer of nobody")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.UNAVAILABLE, e
    with H2(r.port) as p:
        a = p.get("POST", "/test.T/Echo", ("content-type", "application/grpc"), ("te", "trailers"))
        assert a.status == 502, vars(a)


def plain_http_to_h2c(w):
    """Requests of HTTP/1.1 to such an instance, too."""
    service, port, _ = server(w)
    r = grpc_router(w, port)
    with r.connect() as s:
        a = Answer(s)
        for te, n in (("TE: trailers\r\nConnection: TE\r\n", 1),) * 2:
            s.sendall(("POST /test.T/Echo HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/grpc\r\n" + te + "Content-Length: 7\r\n\r\n").encode() + b"\0\0\0\0\x02hi")
            buf = b""
            while not buf.endswith(b"\r\n\r\n") or b"\r\n0\r\n" not in buf:
                buf += s.recv(65536)
            assert buf.startswith(b"HTTP/1.1 200") and b"\0\0\0\0\x02hi\r\n" in buf, buf
            assert (b"grpc-status: 0\r\n" in buf) == bool(n) and (b"x-trailer: yes\r\n" in buf) == bool(n), buf


def trailers_of_http1(w):
    """From an instance of HTTP/1.1 to both kinds of clients; what may not be a trailer is left out."""
    def handler(i, c, head, rest):
        i.te = b"\r\nte: trailers\r\n" in head.lower() + b"\r\n"
        c.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n"
                  b"X-Forwarded-For: 1.2.3.4\r\nTransfer-Encoding: x\r\nHost: b\r\nx-two:2\r\n\r\n")
        return True

    i = w.instance("a", handler)
    r = w.static_router([("a.test", i)], threads=1)
    with H2(r.port) as p:
        a = p.get("GET", "/", ("te", "trailers"))
        assert a.body == b"abc" and a.trailers == [("x-sum", "1"), ("x-two", "2")] and i.te, vars(a)
        assert p.get().trailers == [("x-sum", "1"), ("x-two", "2")] and not i.te
    with r.connect() as s:
        for te, end in ((b"", b"0\r\n\r\n"), (b"TE: trailers\r\nConnection: TE\r\n", b"0\r\nX-Sum: 1\r\nx-two:2\r\n\r\n")):
            s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n" + te + b"\r\n")
            buf = b""
            while not buf.endswith(b"\r\n3\r\nabc\r\n" + end):
                buf += s.recv(65536)


def h2c_app(*settings):
    """Takes a WebSocket (RFC 8441) and echoes; answers others with the trailers that came. Its settings wait for i.gate."""
    def handler(i, c, head, rest):
        p = H2Instance(c, rest)
        i.gate.wait(DEADLINE)
        p.tell(*settings)
        while True:
            try:
                kind, flags, sid, data = p.step()
            except Ended:
                return False
            r = p.reply(sid)
            if kind == HEADERS and (":protocol", "websocket") in r.headers:
                i.heads.append(dict(r.headers))
                p.headers(sid, [(":status", "403" if dict(r.headers)[":path"] == "/no" else "200"), ("sec-websocket-protocol", "chat")],
                          dict(r.headers)[":path"] == "/no")
            elif (":protocol", "websocket") in (r.headers or ()) and kind == DATA:
                while r.body:
                    part = bytes(r.body)
                    del r.body[:]
                    p.data(sid, part)
                if r.end:
                    p.data(sid, b"", end=True)
                    i.ended += 1
            elif r.headers and r.end and kind in (HEADERS, DATA):
                p.headers(sid, [(":status", "200")], False)
                p.data(sid, repr(r.trailers).encode(), end=True)
            elif kind == RST:
                i.resets += 1
    return handler


def h2c_world(w, *settings):
    i = w.instance("a", h2c_app(*settings))
    i.gate, i.heads, i.ended, i.resets = threading.Event(), [], 0, 0
    i.gate.set()
    w.ends.append(i.gate.set)
    return grpc_router(w, i.port), i


UPGRADE = (b"GET %s HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n\r\n")


def trailers_to_h2c(w):
    r, i = h2c_world(w)
    with H2(r.port) as p:
        sid = p.start("POST", "/", end=False)
        p.data(sid, b"abc")
        p.headers(sid, [("x-sum", "1"), ("host", "b")])
        assert p.wait(sid).body == b"[('x-sum', '1')]", p.reply(sid).body
    with r.connect() as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 2\r\nHost: b\r\n\r\n")
        assert Answer(s).read().body == b"[('x-sum', '2')]"
        s.sendall(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nHost: b\r\n\r\n")
        assert Answer(s).read().body == b"None"


def websockets_to_h2c(w):
    """An upgrade of HTTP/1.1, and one of RFC 8441, become an extended CONNECT, once the instance said that it can."""
    r, i = h2c_world(w, (8, 1))
    i.gate.clear()
    data = os.urandom(MB)
    with r.connect() as s, r.connect() as early:
        early.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        wait_for(lambda: i.connections == 1, "the connection")
        s.sendall(UPGRADE % b"/ws")
        assert not select.select([s], [], [], 0.2)[0] and not i.heads
        i.gate.set()
        assert Answer(early).read().status == 200
        a = Answer(s).read()
        assert a.status == 101 and a.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" and a.headers["upgrade"] == "websocket"
        assert a.headers["sec-websocket-protocol"] == "chat", a.headers
        head = i.heads[0]
        assert head[":method"] == "CONNECT" and head[":path"] == "/ws" and "sec-websocket-key" not in head and head["sec-websocket-version"] == "13", head
        sender = threading.Thread(target=s.sendall, args=(data,))
        sender.start()
        assert a.take(MB) == data
        sender.join()
        s.sendall(b"bye")
        s.shutdown(socket.SHUT_WR)
        assert a.take(3) == b"bye" and not a.more()
        wait_for(lambda: i.ended == 1, "the instance to hear of the end")
        assert i.resets == 0
    with H2(r.port) as p:
        fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws2"), (":authority", "a.test"), ("sec-websocket-version", "13")]
        sid = p.start(raw=fields, end=False)
        assert p.wait(sid, lambda a: a.status).status == 200
        p.data(sid, data[:100000], end=True)
        a = p.wait(sid)
        assert a.body == data[:100000] and a.end and a.reset is None
        sid = p.start(raw=fields, end=False)
        p.wait(sid, lambda a: a.status)
        p.frame(RST, 0, sid, struct.pack(">I", CANCEL))
        wait_for(lambda: i.resets == 1, "the reset")
    with r.connect() as s:
        s.sendall(UPGRADE % b"/no")
        assert Answer(s).read().status == 403
        s.sendall((UPGRADE % b"/ws").replace(b"Sec-WebSocket-Key", b"X-Key"))
        assert Answer(s).read().status == 400


def no_websockets_by_h2c(w):
    r, i = h2c_world(w)
    with r.connect() as s:
        s.sendall(UPGRADE % b"/ws")
        a = Answer(s).read()
        assert a.status == 501 and b"RFC 8441" in a.body and not i.heads, a.body
        s.sendall((UPGRADE % b"/").replace(b"websocket", b"other"))  # an application may leave an upgrade aside (RFC 9110 7.8)
        assert Answer(s).read().status == 200


run_tests([trailers_to_h2c, websockets_to_h2c, no_websockets_by_h2c, calls, streams_go_both_ways_at_once, deadlines_and_cancels_reach_the_instance, an_instance_that_goes, plain_http_to_h2c, trailers_of_http1])
