"""A peer of HTTP/2 that says what a test wants, frame by frame."""
import socket, ssl, struct, time
import hpack

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIO = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL, INTERNAL, FLOW, TIMEOUT, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, CONNECT, CALM = range(12)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WIDE = (1 << 31) - 1


def frame(kind, flags=0, sid=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, sid) + payload


def setting(*pairs):
    return b"".join(struct.pack(">HI", k, v) for k, v in pairs)


class Ended(Exception):
    """The connection ended: code is that of the GOAWAY, None without one."""

    def __init__(self, code=None):
        super().__init__(f"ended with {code}")
        self.code = code


class Reply:
    """What came on a stream so far."""

    def __init__(self):
        self.interim, self.headers, self.status, self.body, self.trailers, self.end, self.reset = [], None, None, bytearray(), None, False, None

    def get(self, name):
        return dict(self.headers).get(name)


class H2:
    """A client. window: of each stream, as it says in its settings; auto: it gives room for what it reads."""

    def __init__(self, port, host="a.test", window=WIDE, auto=True, tls=None, timeout=20, settings=(), preface=True):
        self.s = socket.create_connection(("127.0.0.1", port), timeout)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            c = ssl._create_unverified_context()
            c.set_alpn_protocols(["h2", "http/1.1"])
            self.s = c.wrap_socket(self.s, server_hostname=tls)
        self.begin(host, auto)
        if preface:
            self.send(PREFACE + frame(SETTINGS, 0, 0, setting((4, window), *settings)) + frame(WINDOW, 0, 0, struct.pack(">I", WIDE - 65535)))

    def begin(self, host=None, auto=True, buf=b""):
        self.host, self.auto, self.next, self.buf, self.goaway = host, auto, 1, buf, None
        self.enc, self.dec, self.replies, self.settings, self.pongs, self.acks = hpack.Encoder(), hpack.Decoder(), {}, {}, [], 0
        self.window, self.windows, self.windows0, self.updates = 65535, {}, 65535, 0
        self.dec.max_header_list_size = 1 << 20

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.s.close()

    def send(self, data):
        self.s.sendall(data)

    def frame(self, kind, flags=0, sid=0, payload=b""):
        self.send(frame(kind, flags, sid, payload))

    def fields(self, method="GET", path="/", *more, host=None, scheme="http"):
        return [(":method", method), (":scheme", scheme), (":path", path), (":authority", host or self.host), *more]

    def start(self, method="GET", path="/", *more, end=True, raw=None, **kw):
        """A request's head; returns its stream."""
        sid, self.next = self.next, self.next + 2
        self.headers(sid, raw if raw is not None else self.fields(method, path, *more, **kw), end)
        return sid

    def headers(self, sid, fields, end=True):
        self.frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), sid, self.enc.encode(fields, huffman=False))

    def data(self, sid, data, end=False):
        """As much as the windows allow, then waits for more of it."""
        while True:
            room = min(self.window, self.windows.setdefault(sid, self.windows0), 16384, len(data))
            if room == 0 and data:
                self.step()
                r = self.reply(sid)
                if (r.end and r.status) or r.reset is not None:
                    return
                continue
            part, data = data[:room], data[room:]
            self.window -= room
            self.windows[sid] -= room
            self.frame(DATA, END_STREAM if end and not data else 0, sid, part)
            if not data:
                return

    def reply(self, sid):
        return self.replies.setdefault(sid, Reply())

    def take(self, n):
        while len(self.buf) < n:
            try:
                d = self.s.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                d = b""
            if not d:
                raise Ended(self.goaway)
            self.buf += d
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def read(self):
        """One frame, as (kind, flags, stream, payload)."""
        head = self.take(9)
        return head[3], head[4], struct.unpack(">I", head[5:])[0] & WIDE, self.take(int.from_bytes(head[:3], "big"))

    def step(self):
        """Takes in one frame; returns it."""
        kind, flags, sid, p = f = self.read()
        r = self.reply(sid)
        if kind == SETTINGS and not flags & ACK:
            for i in range(0, len(p), 6):
                k, v = struct.unpack(">HI", p[i:i + 6])
                self.settings[k] = v
                if k == 4:
                    self.windows = {s: w + v - self.windows0 for s, w in self.windows.items()}
                    self.windows0 = v
            if self.auto:
                self.frame(SETTINGS, ACK)
        elif kind == SETTINGS:
            self.acks += 1
        elif kind == PING and flags & ACK:
            self.pongs.append(p)
        elif kind == WINDOW:
            n = struct.unpack(">I", p)[0]
            self.updates += 1
            if sid == 0:
                self.window += n
            else:
                self.windows[sid] = self.windows.get(sid, self.windows0) + n
        elif kind == GOAWAY:
            self.goaway = struct.unpack(">I", p[4:8])[0]
        elif kind == RST:
            r.reset = struct.unpack(">I", p)[0]
        elif kind == HEADERS:
            assert flags & END_HEADERS, "the tests know no split heads"
            h = [(k, v) for k, v in self.dec.decode(p)]
            status = dict(h).get(":status")
            if ":method" in dict(h):
                r.headers = h
            elif status is None:
                r.trailers = h
            elif int(status) < 200:
                r.interim.append((int(status), h))
            else:
                r.headers, r.status = h, int(status)
            r.end = r.end or bool(flags & END_STREAM)
        elif kind == DATA:
            r.body += p
            r.end = r.end or bool(flags & END_STREAM)
            if self.auto and p:
                self.frame(WINDOW, 0, 0, struct.pack(">I", len(p)))
                if not r.end:
                    self.frame(WINDOW, 0, sid, struct.pack(">I", len(p)))
        return f

    def wait(self, sid, condition=lambda r: r.end or r.reset is not None):
        r = self.reply(sid)
        while not condition(r):
            self.step()
        return r

    def get(self, *a, **kw):
        return self.wait(self.start(*a, **kw))

    def ping(self):
        """All before it has been answered."""
        want = struct.pack(">d", time.monotonic())
        self.frame(PING, 0, 0, want)
        while want not in self.pongs:
            self.step()

    def fails(self, seconds=5):
        """Reads to the end of the connection: the code it ended with; None: just closed."""
        self.s.settimeout(seconds)
        self.auto = False
        try:
            while True:
                self.step()
        except Ended as e:
            return e.code


class H2Instance(H2):
    """The other end: a connection that the router made, whose first line was read already."""

    def __init__(self, c, rest):
        self.s = c
        self.begin(buf=rest)
        assert self.take(6) == b"SM\r\n\r\n"

    def tell(self, *settings):
        self.frame(SETTINGS, 0, 0, setting((4, WIDE), *settings))
        self.frame(WINDOW, 0, 0, struct.pack(">I", WIDE - 65535))
