#!/usr/bin/python3
"""RFC 9113 and 7541 at the router, clause by clause with raw frames: what breaks a stream, what the connection."""
import os, struct, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *
from h2_peer import *

u32 = lambda v: struct.pack(">I", v)
EITHER = (PROTOCOL, CLOSED)


def settled(p):
    """Both sides' settings are known."""
    while not p.settings or not p.acks:
        p.step()
    return p


def opened(p, method="POST"):
    """A stream whose request is not finished."""
    return p.start(method, "/hold", end=False)


def finished(p):
    sid = p.start()
    p.wait(sid)
    return sid


def head(p, *more):
    return p.enc.encode(p.fields("GET", "/", *more), huffman=False)


# --- each returns what it did on purpose: the connection must end with the code ---

def c_3_4_bad_preface(p):
    p.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")


def c_4_1_a_reserved_bit(p):
    p.send(frame(PING, 0, 1 << 31, b"12345678"))
    while not p.pongs:
        p.step()


def lives(p):
    assert p.get().status == 200


CONNECTION = [  # clause, what is sent, codes
    ("4.2 a frame larger than SETTINGS_MAX_FRAME_SIZE", lambda p: p.frame(DATA, 0, opened(p), bytes(16385)), (SIZE,)),
    ("4.2 a head larger than SETTINGS_MAX_FRAME_SIZE", lambda p: p.frame(HEADERS, 5, 1, bytes(16385)), (SIZE,)),
    ("4.3 a head that cannot be decoded", lambda p: p.frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff"), (COMPRESSION,)),
    ("4.3 PRIORITY within a head", lambda p: (p.frame(HEADERS, 1, 1, head(p)), p.frame(PRIORITY, 0, 1, u32(0) + b"\xff")), (PROTOCOL,)),
    ("4.3 another stream's HEADERS within a head", lambda p: (p.frame(HEADERS, 1, 1, head(p)), p.frame(HEADERS, 5, 3, head(p))), (PROTOCOL,)),
    ("4.3 an unknown frame within a head", lambda p: (p.frame(HEADERS, 1, 1, head(p)), p.frame(0x16, 0, 1, b"x")), (PROTOCOL,)),
    ("5.1 idle: DATA", lambda p: p.frame(DATA, 1, 1, b"x"), (PROTOCOL,)),
    ("5.1 idle: RST_STREAM", lambda p: p.frame(RST, 0, 1, u32(CANCEL)), (PROTOCOL,)),
    ("5.1 idle: WINDOW_UPDATE", lambda p: p.frame(WINDOW, 0, 1, u32(100)), (PROTOCOL,)),
    ("5.1 idle: CONTINUATION", lambda p: p.frame(CONTINUATION, 4, 1, head(p)), (PROTOCOL,)),
    ("5.1 closed: DATA", lambda p: p.frame(DATA, 1, finished(p), b"x"), (CLOSED,)),
    ("5.1 closed: HEADERS", lambda p: p.headers(finished(p), p.fields()), (CLOSED,)),
    ("5.1 closed: CONTINUATION", lambda p: p.frame(CONTINUATION, 4, finished(p), head(p)), EITHER),
    ("5.1 closed by RST_STREAM: DATA", lambda p: [(p.frame(RST, 0, s, u32(CANCEL)), p.frame(DATA, 1, s, b"x")) for s in [opened(p)]], (CLOSED,)),
    ("5.1 closed by RST_STREAM: HEADERS", lambda p: [(p.frame(RST, 0, s, u32(CANCEL)), p.headers(s, p.fields())) for s in [opened(p)]], (CLOSED,)),
    ("5.1 closed by RST_STREAM: CONTINUATION", lambda p: [(p.frame(RST, 0, s, u32(CANCEL)), p.frame(CONTINUATION, 4, s, head(p))) for s in [opened(p)]], EITHER),
    ("5.1 half closed: CONTINUATION", lambda p: p.frame(CONTINUATION, 4, p.start("GET", "/hold"), head(p)), EITHER),
    ("5.1.1 an even stream", lambda p: p.frame(HEADERS, 5, 2, head(p)), (PROTOCOL,)),
    ("5.1.1 a stream smaller than one before", lambda p: (p.frame(HEADERS, 5, 5, head(p)), p.frame(HEADERS, 5, 3, head(p))), (PROTOCOL,)),
    ("6.1 DATA on stream 0", lambda p: p.frame(DATA, 1, 0, b"x"), (PROTOCOL,)),
    ("6.1 padding as long as the frame", lambda p: p.frame(DATA, PADDED, opened(p), b"\x05test"), (PROTOCOL,)),
    ("6.2 HEADERS on stream 0", lambda p: p.frame(HEADERS, 5, 0, head(p)), (PROTOCOL,)),
    ("6.2 padding longer than the head", lambda p: p.frame(HEADERS, 5 | PADDED, 1, b"\xff" + head(p)), (PROTOCOL,)),
    ("6.3 PRIORITY on stream 0", lambda p: p.frame(PRIORITY, 0, 0, u32(0) + b"\xff"), (PROTOCOL,)),
    ("6.3 PRIORITY of another size", lambda p: p.frame(PRIORITY, 0, 1, bytes(4)), (SIZE,)),
    ("7540 5.3.1 PRIORITY of a stream on itself", lambda p: p.frame(PRIORITY, 0, 1, u32(1) + b"\xff"), (PROTOCOL,)),
    ("6.4 RST_STREAM on stream 0", lambda p: p.frame(RST, 0, 0, u32(CANCEL)), (PROTOCOL,)),
    ("6.4 RST_STREAM of another size", lambda p: p.frame(RST, 0, opened(p), b"123"), (SIZE,)),
    ("6.5 SETTINGS acknowledged with a payload", lambda p: p.frame(SETTINGS, ACK, 0, setting((1, 1))), (SIZE,)),
    ("6.5 SETTINGS on a stream", lambda p: p.frame(SETTINGS, 0, 1, setting((3, 1))), (PROTOCOL,)),
    ("6.5 SETTINGS of another size", lambda p: p.frame(SETTINGS, 0, 0, b"\0\0\0"), (SIZE,)),
    ("6.5.2 ENABLE_PUSH is neither 0 nor 1", lambda p: p.frame(SETTINGS, 0, 0, setting((2, 2))), (PROTOCOL,)),
    ("6.5.2 INITIAL_WINDOW_SIZE beyond 2^31-1", lambda p: p.frame(SETTINGS, 0, 0, setting((4, 1 << 31))), (FLOW,)),
    ("6.5.2 MAX_FRAME_SIZE below 16384", lambda p: p.frame(SETTINGS, 0, 0, setting((5, 16383))), (PROTOCOL,)),
    ("6.5.2 MAX_FRAME_SIZE beyond 2^24-1", lambda p: p.frame(SETTINGS, 0, 0, setting((5, 1 << 24))), (PROTOCOL,)),
    ("6.6 PUSH_PROMISE of a client", lambda p: p.frame(PUSH, 4, p.start("GET", "/hold"), u32(2) + head(p)), (PROTOCOL,)),
    ("6.7 PING on a stream", lambda p: p.frame(PING, 0, 1, bytes(8)), (PROTOCOL,)),
    ("6.7 PING of another size", lambda p: p.frame(PING, 0, 0, bytes(6)), (SIZE,)),
    ("6.8 GOAWAY on a stream", lambda p: p.frame(GOAWAY, 0, 1, u32(0) + u32(0)), (PROTOCOL,)),
    ("6.9 WINDOW_UPDATE by 0", lambda p: p.frame(WINDOW, 0, 0, u32(0)), (PROTOCOL,)),
    ("6.9 WINDOW_UPDATE of another size", lambda p: p.frame(WINDOW, 0, 0, b"123"), (SIZE,)),
    ("6.9.1 the connection's window beyond 2^31-1", lambda p: (p.frame(WINDOW, 0, 0, u32(WIDE)), p.frame(WINDOW, 0, 0, u32(WIDE))), (FLOW,)),
    ("6.10 CONTINUATION without HEADERS", lambda p: p.frame(CONTINUATION, 4, finished(p), head(p)), EITHER),
    ("6.10 CONTINUATION on stream 0", lambda p: (p.frame(HEADERS, 1, 1, head(p)), p.frame(CONTINUATION, 4, 0, b"")), (PROTOCOL,)),
    ("6.10 CONTINUATION behind END_HEADERS", lambda p: p.frame(CONTINUATION, 4, p.start("GET", "/hold"), b""), EITHER),
    ("6.10 DATA within a head", lambda p: (p.frame(HEADERS, 0, 1, head(p)), p.frame(DATA, 1, 1, b"x")), (PROTOCOL,)),
    ("6.10 CONTINUATION of another stream", lambda p: (p.frame(HEADERS, 1, 1, head(p)), p.frame(CONTINUATION, 4, 3, b"")), (PROTOCOL,)),
    ("7541 2.3.3 an index beyond the tables", lambda p: p.frame(HEADERS, 5, 1, head(p) + b"\xff\x80\x01"), (COMPRESSION,)),
    ("7541 6.1 index 0", lambda p: p.frame(HEADERS, 5, 1, head(p) + b"\x80"), (COMPRESSION,)),
    ("7541 4.2 a size update at the end of a head", lambda p: p.frame(HEADERS, 5, 1, head(p) + b"\x20"), (COMPRESSION,)),
    ("7541 6.3 a size update beyond the setting", lambda p: p.frame(HEADERS, 5, 1, b"\x3f\xe2\xff\x03" + head(p)), (COMPRESSION,)),
    ("7541 5.2 padding of a Huffman string with EOS", lambda p: p.frame(HEADERS, 5, 1, head(p) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"), (COMPRESSION,)),
    ("7541 5.2 padding of a Huffman string with zeros", lambda p: p.frame(HEADERS, 5, 1, head(p) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"), (COMPRESSION,)),
]


def raw_fields(*fields):
    return lambda p: p.start(raw=list(fields))


def more(*fields):
    return lambda p: p.start("GET", "/", *fields)


def length(n, *parts, end=True):
    def send(p):
        sid = p.start("POST", "/", ("content-length", n), end=not parts)
        for i, part in enumerate(parts):
            p.frame(DATA, END_STREAM if end and i == len(parts) - 1 else 0, sid, part)
        return sid
    return send


def trailers(*fields, end=True):
    def send(p):
        sid = p.start("POST", "/", end=False)
        p.headers(sid, list(fields), end)
        return sid
    return send


def on_half_closed(kind):
    def send(p):
        sid = p.start("GET", "/hold")
        p.frame(DATA, 1, sid, b"x") if kind == DATA else p.headers(sid, p.fields())
        return sid
    return send


def window(n, times=1):
    def send(p):
        sid = opened(p)
        p.send(frame(WINDOW, 0, sid, u32(n)) * times)
        return sid
    return send


M, S, P, A = (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")
STREAM = [  # clause, what is sent (returns the stream), codes: of the stream, or of the connection
    ("5.1 half closed: DATA", on_half_closed(DATA), (CLOSED,)),
    ("5.1 half closed: HEADERS", on_half_closed(HEADERS), (CLOSED,)),
    ("7540 5.3.1 HEADERS of a stream on itself", lambda p: p.frame(HEADERS, 5 | PRIO, 1, u32(1) + b"\xff" + head(p)) or p.reply(1) and setattr(p, "next", 3) or 1, (PROTOCOL,)),
    ("6.9 WINDOW_UPDATE of a stream by 0", window(0), (PROTOCOL,)),
    ("6.9.1 a stream's window beyond 2^31-1", window(WIDE, 2), (FLOW,)),
    ("8.1 trailers without END_STREAM", trailers(("x", "y"), end=False), (PROTOCOL,)),
    ("8.1 pseudo-fields in trailers", trailers((":method", "GET")), (PROTOCOL,)),
    ("8.2.1 upper case in a name", more(("X-Upper", "a")), (PROTOCOL,)),
    ("8.2.1 a space in a name", more(("x y", "a")), (PROTOCOL,)),
    ("8.2.1 a colon in a name", more(("x:y", "a")), (PROTOCOL,)),
    ("8.2.1 an empty name", more(("", "a")), (PROTOCOL,)),
    ("8.2.1 CR in a value", more(("x", "a\rb: c")), (PROTOCOL,)),
    ("8.2.1 LF in a value", more(("x", "a\nb: c")), (PROTOCOL,)),
    ("8.2.1 CR LF in a value", more(("x", "a\r\ntransfer-encoding: chunked")), (PROTOCOL,)),
    ("8.2.1 NUL in a value", more(("x", "a\0b")), (PROTOCOL,)),
    ("8.2.1 a space in front of a value", more(("x", " a")), (PROTOCOL,)),
    ("8.2.1 a space behind a value", more(("x", "a ")), (PROTOCOL,)),
    ("8.2.2 connection", more(("connection", "close")), (PROTOCOL,)),
    ("8.2.2 keep-alive", more(("keep-alive", "timeout=5")), (PROTOCOL,)),
    ("8.2.2 proxy-connection", more(("proxy-connection", "keep-alive")), (PROTOCOL,)),
    ("8.2.2 transfer-encoding", more(("transfer-encoding", "chunked")), (PROTOCOL,)),
    ("8.2.2 upgrade", more(("upgrade", "websocket")), (PROTOCOL,)),
    ("8.2.2 te that is not trailers", more(("te", "trailers, deflate")), (PROTOCOL,)),
    ("8.3 an unknown pseudo-field", raw_fields(M, S, P, A, (":test", "a")), (PROTOCOL,)),
    ("8.3 a response's pseudo-field", raw_fields(M, S, P, A, (":status", "200")), (PROTOCOL,)),
    ("8.3 a pseudo-field behind others", raw_fields(M, S, A, ("x", "y"), P), (PROTOCOL,)),
    ("8.3.1 no :method", raw_fields(S, P, A), (PROTOCOL,)),
    ("8.3.1 no :scheme", raw_fields(M, P, A), (PROTOCOL,)),
    ("8.3.1 no :path", raw_fields(M, S, A), (PROTOCOL,)),
    ("8.3.1 an empty :path", raw_fields(M, S, (":path", ""), A), (PROTOCOL,)),
    ("8.3.1 :method twice", raw_fields(M, M, S, P, A), (PROTOCOL,)),
    ("8.3.1 :scheme twice", raw_fields(M, S, S, P, A), (PROTOCOL,)),
    ("8.3.1 :path twice", raw_fields(M, S, P, P, A), (PROTOCOL,)),
    ("8.3.1 :authority twice", raw_fields(M, S, P, A, A), (PROTOCOL,)),
    ("8.3.1 CR LF in :path", raw_fields(M, S, (":path", "/ HTTP/1.1\r\nhost: b.test\r\n\r\n"), A), (PROTOCOL,)),
    ("8.3.1 a space in :method", raw_fields((":method", "GET / HTTP/1.1"), S, P, A), (PROTOCOL,)),
    ("8.3.1 LF in :authority", raw_fields(M, S, P, (":authority", "a.test\nx: y")), (PROTOCOL,)),
    ("8.1.1 content-length above the body", length("5", b"abcd"), (PROTOCOL,)),
    ("8.1.1 content-length below the body", length("3", b"ab", b"cd"), (PROTOCOL,)),
    ("8.1.1 content-length without a body", length("1"), (PROTOCOL,)),
    ("8.1.1 content-length that is no number", length("+1", b"a"), (PROTOCOL,)),
    ("8.1.1 two content-lengths", lambda p: p.start("POST", "/", ("content-length", "1"), ("content-length", "1"), end=False), (PROTOCOL,)),
]


def accepted(p, send):
    sid = send(p)
    assert p.wait(sid).status == 200, vars(p.reply(sid))


def split_head(p):
    block = head(p)
    p.frame(HEADERS, END_STREAM, 1, block[:3])
    p.frame(CONTINUATION, 0, 1, block[3:9])
    p.frame(CONTINUATION, 0, 1, b"")
    p.frame(CONTINUATION, END_HEADERS, 1, block[9:])
    return 1


def priority_and_padding(p):
    p.frame(PRIORITY, 0, 1, u32(0) + b"\xff")
    p.frame(PRIORITY, 0, 77, u32(1) + b"\x01")  # of an idle stream
    p.frame(HEADERS, 5 | PADDED | PRIO, 1, b"\x04" + u32(0) + b"\x0f" + head(p) + bytes(4))
    return 1


def padded_body(p):
    sid = p.start("PUT", end=False)
    p.frame(DATA, PADDED, sid, b"\x03abc" + bytes(3))
    p.frame(DATA, PADDED, sid, b"\x00")
    p.frame(DATA, END_STREAM, sid)
    return sid


def unknown_things(p):
    p.frame(0x16, 0xff, 0, b"unknown")
    p.frame(0x17, 0, 99, b"")
    p.frame(SETTINGS, 0, 0, setting((0xff, 1), (3, 7)))
    p.frame(PING, 0xfe, 0, bytes(8))
    return p.start()


def frames_of_a_stream_that_ended(p):
    sid = finished(p)
    p.frame(PRIORITY, 0, sid, u32(0) + b"\x01")
    p.frame(WINDOW, 0, sid, u32(1))
    p.frame(RST, 0, sid, u32(CANCEL))
    return p.start()


def data_on_the_way_to_a_refused_stream(p):
    """What a client sent before it saw our RST_STREAM is no fault of it."""
    sid = p.start("POST", "/", ("x", "a\nb"), end=False)
    p.wait(sid)
    p.frame(DATA, 0, sid, b"abc")
    p.headers(sid, [("x", "y")])
    return p.start()


def window_that_becomes_negative(p):
    p.frame(SETTINGS, 0, 0, setting((4, 3)))
    p.ping()
    sid = p.start("GET", "/long")
    p.wait(sid, lambda r: len(r.body) == 3)
    p.auto = False
    p.frame(SETTINGS, 0, 0, setting((4, 1)))
    p.ping()
    p.frame(WINDOW, 0, sid, u32(2))
    p.ping()
    assert len(p.reply(sid).body) <= 6
    p.frame(SETTINGS, 0, 0, setting((4, 100000)))
    return sid


def table_size_updates(p):
    p.frame(HEADERS, 5, 1, b"\x20\x3f\xe1\x1f" + head(p))
    return 1


ACCEPTED = [("5.5 unknown frames, settings and flags", unknown_things), ("6.1 padding of DATA", padded_body),
            ("6.2 padding and priority of HEADERS, PRIORITY of idle streams", priority_and_padding),
            ("6.10 a head in parts", split_head), ("5.1 PRIORITY, WINDOW_UPDATE and RST_STREAM of a closed stream", frames_of_a_stream_that_ended),
            ("5.1 frames on their way to a stream that was reset", data_on_the_way_to_a_refused_stream),
            ("6.9.2 a window that becomes negative", window_that_becomes_negative), ("7541 6.3 size updates in front of a head", table_size_updates)]


def hold(i, c, head, rest):
    """/hold never answers; /long with 4 KB."""
    if b" /hold " in head:
        with contextlib.suppress(OSError):
            while c.recv(65536):
                pass
        return False
    body = bytes(4096) if b" /long " in head else b"ok"
    length = re.search(rb"content-length: *(\d+)", head, re.I)
    while len(rest) < int(length[1]) if length else b"chunked" in head and not rest.endswith(b"0\r\n\r\n"):
        d = c.recv(65536)
        if not d:
            return False
        rest += d
    i.heads.append(head)
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    return True


def main(w):
    i = w.instance("a", hold)
    i.heads = []
    pem = make_certificate(w.path("pem"), "a.test")
    r = w.static_router([("a.test", i)], "--https", "127.0.0.1:0", "--cert", pem, threads=1)

    def run(name, fn):
        try:
            with settled(H2(r.port)) as p:
                fn(p)
        except Exception as e:
            bad.append(f"{name}: {e!r}")

    def ends(send, codes):
        def fn(p):
            send(p)
            code = p.fails()
            assert code in codes, f"ended with {code}, not {codes}"
        return fn

    def resets(send, codes):
        def fn(p):
            n = len(i.heads)
            sid = send(p)
            try:
                reply = p.wait(sid)
            except Ended as e:
                assert e.code in codes, f"the connection ended with {e.code}, not {codes}"
                return
            assert reply.reset in codes, f"{vars(reply)}, not {codes}"
            p.ping()
            assert len(i.heads) == n, "it reached the application"
            assert p.get().status == 200
        return fn

    bad = []
    for name, send, codes in CONNECTION:
        run(name, ends(send, codes))
    for name, send, codes in STREAM:
        run(name, resets(send, codes))
    for name, send in ACCEPTED:
        run(name, lambda p: accepted(p, send))
    assert not bad, "\n".join(bad)
    assert r.get("a.test").status == 200
    return f"{len(CONNECTION)} connection errors, {len(STREAM)} stream errors, {len(ACCEPTED)} accepted"


def preface(w):
    i = w.instance("a")
    r = w.static_router([("a.test", i)], threads=1)
    with H2(r.port, preface=False) as p:  # in pieces
        for x in PREFACE + frame(SETTINGS):
            p.send(bytes([x]))
        assert p.get().status == 200
    for start in (PREFACE[:-4] + b"XX\r\n\r\n", PREFACE + frame(PING, 0, 0, bytes(8)), b"INVALID CONNECTION PREFACE\r\n\r\n" + frame(SETTINGS)):
        with socket.create_connection(("127.0.0.1", r.port), 10) as s:
            s.sendall(start)
            with contextlib.suppress(ConnectionResetError):
                while s.recv(65536):
                    pass


run_tests([("what breaks a connection, a stream, nothing", main), ("the preface", preface)])
