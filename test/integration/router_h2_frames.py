#!/usr/bin/python3
"""RFC 9113 and 7541 at the router, clause by clause with raw frames: what breaks a stream, what the connection."""
import os, re, select, struct, sys, threading
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


# --- the connection must end with the code ---

def beyond_windows(p, n):
    """Data to an application that does not read, whatever room there is; of streams in turn."""
    ids = [p.start("POST", "/stuck", end=False) for _ in range(n)]
    p.s.settimeout(5)
    for _ in range(2000):
        for sid in ids:
            p.frame(DATA, 0, sid, bytes(16000))
        if select.select([p.s], [], [], 0)[0]:
            p.step()
            if p.goaway is not None or any(r.reset is not None for r in p.replies.values()):
                break
    return ids[0]


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
    ("7541 5.2 padding of a Huffman string longer than 7 bits", lambda p: p.frame(HEADERS, 5, 1, head(p) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"), (COMPRESSION,)),
    ("7541 5.2 padding of a Huffman string with zeros", lambda p: p.frame(HEADERS, 5, 1, head(p) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"), (COMPRESSION,)),
    ("7541 5.2 EOS within a Huffman string", lambda p: p.frame(HEADERS, 5, 1, head(p) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f"), (COMPRESSION,)),
    ("7541 2.3.3 a name's index beyond the tables", lambda p: p.frame(HEADERS, 5, 1, head(p) + b"\x7f\x80\x01\x01a"), (COMPRESSION,)),
    ("7541 4.3 an entry that a smaller table does not keep", lambda p: p.frame(HEADERS, 5, 1, b"\x20" + head(p) + b"\x40\x01x\x01y\xbe"), (COMPRESSION,)),
    ("7541 4.4 an entry larger than the table empties it", lambda p: p.frame(HEADERS, 5, 1, b"\x3f\x1f" + head(p) + b"\x40\x01x\x32" + b"v" * 50 + b"\xbe"), (COMPRESSION,)),
    ("7541 5.1 an integer that overflows", lambda p: p.frame(HEADERS, 5, 1, head(p) + b"\x00\x01x\x7f\xff\xff\xff\xff\xff\xff\xff\x0f"), (COMPRESSION,)),
    ("7541 5.2 a string that ends behind its head", lambda p: p.frame(HEADERS, 5, 1, head(p) + b"\x00\x01x\x05ab"), (COMPRESSION,)),
    ("7541 6.2 a field that ends within its name", lambda p: p.frame(HEADERS, 5, 1, head(p) + b"\x40\x05ab"), (COMPRESSION,)),
    ("5.1 half closed by us as well: a head on it", lambda p: (p.headers(finished(p), p.fields())), (CLOSED,)),
    ("6.5.2 ENABLE_CONNECT_PROTOCOL is neither 0 nor 1", lambda p: p.frame(SETTINGS, 0, 0, setting((8, 2))), (PROTOCOL,)),
    ("6.5.2 NO_RFC7540_PRIORITIES is neither 0 nor 1", lambda p: p.frame(SETTINGS, 0, 0, setting((9, 2))), (PROTOCOL,)),
    ("6.5 SETTINGS larger than SETTINGS_MAX_FRAME_SIZE", lambda p: p.frame(SETTINGS, 0, 0, setting((3, 1)) * 2731), (SIZE,)),
    ("6.8 GOAWAY of another size", lambda p: p.frame(GOAWAY, 0, 0, bytes(7)), (SIZE,)),
    ("6.9.1 more DATA than the connection's window", lambda p: beyond_windows(p, 5), (FLOW,)),
    ("6.6 PUSH_PROMISE on stream 0", lambda p: p.frame(PUSH, 4, 0, u32(2) + head(p)), (PROTOCOL,)),
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
    ("5.1.2 more streams than allowed", lambda p: [p.start("GET", "/hold") for _ in range(101)][-1], (PROTOCOL, REFUSED)),
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
    ("8.3.1 :path without a slash", raw_fields(M, S, (":path", "x"), A), (PROTOCOL,)),
    ("8.3.1 an asterisk of another method than OPTIONS", raw_fields(M, S, (":path", "*"), A), (PROTOCOL,)),
    ("8.5 CONNECT with :scheme and :path", raw_fields((":method", "CONNECT"), S, P, A), (PROTOCOL,)),
    ("8.5 CONNECT without :authority", raw_fields((":method", "CONNECT"), ("x", "y")), (PROTOCOL,)),
    ("8441 4 :protocol of another method", raw_fields(M, (":protocol", "websocket"), S, P, A), (PROTOCOL,)),
    ("8441 4 an extended CONNECT without :path", raw_fields((":method", "CONNECT"), (":protocol", "websocket"), S, A), (PROTOCOL,)),
    ("6.9.1 more DATA than a stream's window", lambda p: beyond_windows(p, 1), (FLOW,)),
    ("8.1 a second head without END_STREAM", trailers(*[("x", "y")], end=False), (PROTOCOL,)),
    ("8.1 upper case in a trailer", trailers(("X-Sum", "y")), (PROTOCOL,)),
    ("8.1 connection in a trailer", trailers(("connection", "close")), (PROTOCOL,)),
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


def largest_frame(p):
    sid = p.start("PUT", "/", ("content-length", "16384"), end=False)
    p.frame(DATA, END_STREAM, sid, bytes(16384))
    return sid


def frames_of_a_half_closed_stream(p):
    sid = p.start("GET", "/hold")
    p.frame(WINDOW, 0, sid, u32(1))
    p.frame(PRIORITY, 0, sid, u32(0) + b"\x01")
    p.ping()
    p.frame(RST, 0, sid, u32(CANCEL))
    return p.start()


def priorities(p):
    sid = opened(p)
    for other, weight in (0, 0), (0, 255), (sid + 2, 15), ((1 << 31) | (sid + 2), 15):
        p.frame(PRIORITY, 0, sid, u32(other) + bytes([weight]))
    p.frame(PRIORITY, 0, 99, u32(0) + b"\x0f")
    return p.start()


def reserved_bits(p):
    p.frame(PING, 0, 1 << 31, bytes(8))
    sid = 1
    p.frame(HEADERS, 5, 1 << 31 | sid, head(p))
    return sid


def settings_are_acknowledged(p):
    n = p.acks
    for k in range(3):
        p.frame(SETTINGS, 0, 0, setting((4, 5000), (4, 1), (6, 1000)) if k == 2 else b"")
    while p.acks < n + 3:
        p.step()
    p.auto = False
    sid = p.start("GET", "/long")  # the last value of two holds
    p.wait(sid, lambda r: r.body)
    p.ping()
    assert len(p.reply(sid).body) == 1, len(p.reply(sid).body)
    p.auto = True
    p.frame(WINDOW, 0, sid, u32(100000))
    return sid


def pings(p):
    p.frame(PING, ACK, 0, b"unasked ")
    p.frame(PING, 0, 0, b"payload!")
    while not p.pongs:
        p.step()
    assert p.pongs == [b"payload!"]
    return p.start()


def goaway_of_the_client(p):
    sid = p.start()
    p.frame(GOAWAY, 0, 0, u32(0) + u32(0xff) + b"debug")
    return sid


def unknown_code_of_a_reset(p):
    p.frame(RST, 0, opened(p), u32(0xff))
    return p.start()


def methods(p):
    assert p.get("HEAD").body == b"" and p.reply(p.next - 2).end
    sid = p.start("POST", "/", ("content-length", "4"), end=False)
    for part in (b"te", b"", b"st"):
        p.frame(DATA, 0, sid, part)
    p.frame(DATA, END_STREAM, sid)
    assert p.wait(sid).status == 200
    sid = p.start("POST", "/", ("trailer", "x-sum"), end=False)
    p.frame(DATA, 0, sid, b"test")
    p.headers(sid, [("x-sum", "1")])
    return sid


def connect_is_refused(p):
    sid = p.start(raw=[(":method", "CONNECT"), (":authority", "a.test:443")], end=False)
    assert p.wait(sid, lambda r: r.status).status == 405
    return p.start()


def representations(p):
    """Fields in each form: indexed; literal, with the name indexed or new, added to the table, not, never; plain and by Huffman."""
    sid = 1
    for huffman in False, True:
        for form in 0x40, 0x00, 0x10:
            one = bytearray(hpack.Encoder().encode([("x-new", "value")], huffman=huffman))
            two = bytearray(hpack.Encoder().encode([(":authority", "a.test")], huffman=huffman))
            assert one[0] == 0x40 and two[0] == 0x41
            one[0], two[0] = form, form | 1
            p.frame(HEADERS, 5, sid, b"\x82\x86\x84" + two + one)
            assert p.wait(sid).status == 200
            sid += 2
    p.frame(HEADERS, 5, sid, b"\x82\x86\x84\xbf\xbe")  # both of the table by now
    return sid


ACCEPTED = [("4.2 a frame of 16,384 bytes", largest_frame), ("5.1 WINDOW_UPDATE, PRIORITY and RST_STREAM of a half closed stream", frames_of_a_half_closed_stream),
            ("4.1 reserved bits", reserved_bits), ("6.3 weights, dependencies, exclusive ones", priorities), ("6.5.3 each SETTINGS is acknowledged, its last value holds", settings_are_acknowledged),
            ("6.7 PING is answered with its payload, an answer is not", pings), ("6.8 GOAWAY of the client, with an unknown code", goaway_of_the_client),
            ("7 RST_STREAM with an unknown code", unknown_code_of_a_reset), ("8.1 GET, HEAD, POST, trailers", methods),
            ("8.5 CONNECT", connect_is_refused), ("7541 6.2 each form of a field", representations), ("5.5 unknown frames, settings and flags", unknown_things), ("6.1 padding of DATA", padded_body),
            ("6.2 padding and priority of HEADERS, PRIORITY of idle streams", priority_and_padding),
            ("6.10 a head in parts", split_head), ("5.1 PRIORITY, WINDOW_UPDATE and RST_STREAM of a closed stream", frames_of_a_stream_that_ended),
            ("5.1 frames on their way to a stream that was reset", data_on_the_way_to_a_refused_stream),
            ("6.9.2 a window that becomes negative", window_that_becomes_negative), ("7541 6.3 size updates in front of a head", table_size_updates)]


def hold(i, c, head, rest):
    """/hold never answers; /stuck does not read either; /long answers with 4 KB."""
    if b" /stuck " in head:
        i.gate.wait(DEADLINE)
        return False
    if b" /hold " in head:
        with contextlib.suppress(OSError):
            while c.recv(65536):
                pass
        return False
    body = bytes(4096) if b" /long " in head else b"ok"
    length = re.search(rb"content-length: *(\d+)", head, re.I)
    while len(rest) < int(length[1]) if length else b"chunked" in head and not re.search(rb"(^|\r\n)0\r\n(.*\r\n)?\r\n$", rest, re.S):
        d = c.recv(65536)
        if not d:
            return False
        rest += d
    i.heads.append(head)
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    return True


def main(w):
    i = w.instance("a", hold)
    i.heads, i.gate = [], threading.Event()
    w.ends.append(i.gate.set)
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


def listed(w):
    """Those of the table that name another test, or none, are not asked for here."""
    number = re.compile(r"(?:7540 |7541 |8441 )?[0-9]+(?:\.[0-9]+)*")
    table = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "router", "conformance.md")).read().split("## HTTP/2")[1]
    rows = [l for l in table.splitlines() if re.match(r"\| [0-9]", l)]
    elsewhere = {number.match(l[2:])[0] for l in rows} & {"3.4", "9.1.1", "9.2", "10.5"}
    want = {number.match(l[2:])[0] for l in rows} - elsewhere
    have = {number.match(n[0])[0] for n in CONNECTION + STREAM + ACCEPTED}
    assert want == have, f"without a row: {have - want}; rows without a test: {want - have}"


run_tests([("conformance.md has each clause", listed), ("what breaks a connection, a stream, nothing", main), ("the preface", preface)])
