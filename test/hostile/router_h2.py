#!/usr/bin/python3
"""Attacks by frames of HTTP/2: each bounded in memory and time, while a healthy client loses nothing."""
import os, struct, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *
from h2_peer import *

u32 = lambda v: struct.pack(">I", v)
SECONDS, MEMORY_MB = 2, 96  # of each attack; that it may cost, sanitizers included


class Healthy(threading.Thread):
    """Asks over HTTP/1.1 and HTTP/2 until the end; counts."""

    def __init__(self, r):
        super().__init__(daemon=True)
        self.r, self.ends, self.good, self.bad = r, threading.Event(), 0, []

    def run(self):
        p = H2(self.r.port)
        while not self.ends.is_set():
            try:
                ok = p.get().status == 200 and self.r.get("a.test").status == 200
            except Exception as e:
                self.bad.append(repr(e))
                return
            if not ok:
                self.bad.append("refused")
            self.good += 1

    def __exit__(self, *a):
        self.ends.set()
        self.join()
        assert not self.bad, self.bad
        assert self.good > 5, self.good

    def __enter__(self):
        self.start()
        return self


def slow(i, c, head, rest):
    if b" /stall" in head:
        with contextlib.suppress(OSError):
            while c.recv(65536):
                pass
        return False
    body = bytes(1 << 20) if b" /large" in head else b"ok"
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    return True


def drain(p):
    """Takes what has come, without waiting."""
    p.s.setblocking(False)
    try:
        while p.s.recv(1 << 20):
            pass
        raise Ended
    except (BlockingIOError, InterruptedError):
        pass
    finally:
        p.s.setblocking(True)


def flood(make, reads=True):
    """make(peer) gives bytes to send again and again; a connection that ends is made anew. Returns how many ended."""
    def attack(r):
        ended, end = 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            with H2(r.port) as p:
                p.s.settimeout(5)
                try:
                    data = make(p)
                    while time.monotonic() < end:
                        p.send(next(data))
                        if reads:
                            drain(p)
                except (Ended, OSError):
                    ended += 1
        return ended
    return attack


def again(data):
    def make(p):
        while True:
            yield data
    return make


def head(p, path="/"):
    return hpack.Encoder().encode(p.fields("GET", path), huffman=False)


def rapid_reset(p):
    sid, block = 1, head(p, "/stall")
    while True:
        out = b""
        for _ in range(100):
            out += frame(HEADERS, 5, sid, block) + frame(RST, 0, sid, u32(CANCEL))
            sid += 2
        yield out


def made_resets(p):
    """The router is made to reset: a head that is no good, again and again."""
    sid, block = 1, head(p) + b"\x00\x01X\x01a"
    while True:
        yield b"".join(frame(HEADERS, 5, sid + 2 * i, block) for i in range(100))
        sid += 200


def endless_head(p):
    yield frame(HEADERS, 1, 1, head(p))
    while True:
        yield frame(CONTINUATION, 0, 1, b"\x00\x01x\x01a" * 100) * 10


def empty_continuations(p):
    yield frame(HEADERS, 1, 1, head(p))
    while True:
        yield frame(CONTINUATION, 0, 1) * 1000


def bomb(p):
    """A field of 4 KB, named thousands of times by one byte."""
    sid, first = 1, b"\x40\x01x\x7f\x81\x1e" + b"v" * 3968
    while True:
        yield frame(HEADERS, 5, sid, head(p)[:0] + hpack.Encoder().encode(p.fields(), huffman=False) + first + b"\xbe" * 12000)
        sid += 2


def never_finished(p):
    sid, block = 1, head(p, "/stall")
    while True:
        yield b"".join(frame(HEADERS, 4, sid + 2 * i, block) for i in range(20))
        sid += 40
        time.sleep(0.01)


def zero_window(p):
    p.send(frame(SETTINGS, 0, 0, setting((4, 0))))
    sid, block = 1, head(p, "/large")
    for _ in range(100):
        yield frame(HEADERS, 5, sid, block)
        sid += 2
    while True:
        time.sleep(0.05)
        yield frame(PING, 0, 0, bytes(8))


def empty_data(p):
    yield frame(HEADERS, 4, 1, hpack.Encoder().encode(p.fields("POST", "/stall"), huffman=False))
    while True:
        yield frame(DATA, 0, 1) * 2000


def window_updates(p):
    yield frame(HEADERS, 4, 1, hpack.Encoder().encode(p.fields("POST", "/stall"), huffman=False))
    while True:
        yield frame(WINDOW, 0, 1, u32(1)) * 2000


ATTACKS = [  # name, what is sent, whether each connection must end for it
    ("rapid reset", flood(rapid_reset), True),
    ("streams that the router must reset", flood(made_resets), True),
    ("a head without end", flood(endless_head), True),
    ("empty CONTINUATION", flood(empty_continuations), True),
    ("a bomb of HPACK", flood(bomb), False),
    ("SETTINGS", flood(again(frame(SETTINGS) * 2000)), True),
    ("SETTINGS whose answers are not read", flood(again(frame(SETTINGS) * 2000), reads=False), True),
    ("PING", flood(again(frame(PING, 0, 0, bytes(8)) * 2000)), True),
    ("PING whose answers are not read", flood(again(frame(PING, 0, 0, bytes(8)) * 2000), reads=False), True),
    ("empty DATA", flood(empty_data), True),
    ("WINDOW_UPDATE", flood(window_updates), True),
    ("PRIORITY", flood(again(frame(PRIORITY, 0, 1, u32(3) + b"\xff") * 2000)), True),
    ("unknown frames", flood(again(frame(0x77, 0, 1, b"x") * 2000)), True),
    ("streams that are never finished", flood(never_finished), False),
    ("windows of zero", flood(zero_window), False),
]


def attack(run, must_end):
    def test(w):
        r = w.static_router([("a.test", w.instance("a", slow))], threads=1)
        for _ in range(20):
            r.get("a.test")
        before = r.rss_kb()
        with Healthy(r) as h:
            ended = run(r)
            grown = r.rss_kb() - before
        assert grown < MEMORY_MB * 1024, f"{grown} KB"
        assert ended or not must_end, "no connection was ended"
        assert r.get("a.test").status == 200
        return f"{h.good} healthy requests, {ended} connections ended, {max(grown, 0) >> 10} MB"
    return test


run_tests([(name, attack(run, must_end)) for name, run, must_end in ATTACKS])
