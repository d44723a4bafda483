#!/usr/bin/python3
"""Attacks, each from a process of its own, beside clients of another application: none of these loses a
request, and the router's memory stays within a bound. PINION_TEST_ATTACK_GB: what an instance pours."""
import ctypes, os, random, socket, ssl, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

FILES = 60000
GB = float(os.environ.get("PINION_TEST_ATTACK_GB", "0.2"))


def raise_files():
    """As many descriptors as this process may have."""
    for n in (FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))
            return n


# --- in the attacker's process: each prints "ready" at its height and ends with its standard input ---

def dial(port):
    """From one of many addresses, so that ports do not run out."""
    s = socket.socket()
    s.bind((f"127.0.{random.randrange(1, 200)}.{random.randrange(1, 250)}", 0))
    s.connect(("127.0.0.1", port))
    return s


def hold(socks, drip):
    print("ready", flush=True)
    for s in socks:
        s.setblocking(False)
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        for s in random.sample(socks, min(500, len(socks))):
            with contextlib.suppress(OSError):
                s.send(drip)


def many(n, port, data):
    out = []
    for _ in range(n):
        s = dial(port)
        s.sendall(data)
        out.append(s)
    return out


def until_told(turn):
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        with contextlib.suppress(OSError):
            turn()


def slow_heads(port, tls_port):
    hold(many(10000, port, b"GET / HTTP/1.1\r\nHost: victim.test\r\nX-A: "), b"a")


def slow_bodies(port, tls_port):
    hold(many(10000, port, b"POST / HTTP/1.1\r\nHost: victim.test\r\nContent-Length: 1000000\r\n\r\nab"), b"a")


def slow_readers(port, tls_port):
    hold(many(500, port, b"GET /pour HTTP/1.1\r\nHost: pour.test\r\n\r\n" * 3), b"")


def connections(port, tls_port):
    def turn():
        socks = [dial(port) for _ in range(200)]
        for s in socks[::2]:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        for s in socks:
            s.close()
    until_told(turn)


def giant_heads(port, tls_port):
    def turn():
        for start in (b"GET /", b"GET / HTTP/1.1\r\nHost: victim.test\r\nX: ", b"GET / HTTP/1.1\r\nHost: ", b"", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 99):
            with dial(port) as s:
                s.sendall(start + b"a" * 4000000)
    until_told(turn)


def unknown_hosts(port, tls_port):
    def turn():
        with dial(port) as s:
            s.sendall(b"".join(b"GET / HTTP/1.1\r\nHost: h%d.nowhere.test\r\nAccept: application/json\r\n\r\n" % random.randrange(10**9) for _ in range(1000)))
            a = Answer(s)
            for _ in range(1000):
                assert a.read().status == 404
    until_told(turn)


def half_handshakes(port, tls_port):
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = context.wrap_bio(incoming, outgoing, server_hostname="a.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        o.do_handshake()
    hello = outgoing.read()
    hold(many(1500, tls_port, hello[:100]) + many(500, tls_port, hello), b"")


def handshakes(port, tls_port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def turn():
        with dial(tls_port) as s:
            context.wrap_socket(s, server_hostname="a.test").close()
    until_told(turn)


def new_keys(port, tls_port):
    """Updates of keys, as fast as they can be made: each costs the reader more."""
    tls = ctypes.CDLL("libssl.so.3")
    for name, result, *args in (("TLS_client_method", ctypes.c_void_p), ("SSL_CTX_new", ctypes.c_void_p, ctypes.c_void_p),
                                ("SSL_new", ctypes.c_void_p, ctypes.c_void_p), ("SSL_free", None, ctypes.c_void_p),
                                ("SSL_set_fd", ctypes.c_int, ctypes.c_void_p, ctypes.c_int), ("SSL_connect", ctypes.c_int, ctypes.c_void_p),
                                ("SSL_key_update", ctypes.c_int, ctypes.c_void_p, ctypes.c_int), ("SSL_do_handshake", ctypes.c_int, ctypes.c_void_p)):
        getattr(tls, name).restype, getattr(tls, name).argtypes = result, args
    context = tls.SSL_CTX_new(tls.TLS_client_method())

    def turn():
        with dial(tls_port) as s:
            ssl = tls.SSL_new(context)
            tls.SSL_set_fd(ssl, s.fileno())
            assert tls.SSL_connect(ssl) == 1
            for i in range(1000000):
                tls.SSL_key_update(ssl, i % 2)  # 1: both are to have new ones
                if tls.SSL_do_handshake(ssl) != 1:
                    break
            else:
                print("a million updates were taken", flush=True)
                sys.exit(1)
            tls.SSL_free(ssl)
    until_told(turn)


def garbage(port, tls_port):
    rnd = random.Random(7)

    def turn():
        with dial(rnd.choice([port, tls_port])) as s:
            s.settimeout(0.05)
            s.sendall(rnd.choice([b"", b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n"]) + rnd.randbytes(rnd.randrange(1, 3000)))
            s.recv(1000)
    until_told(turn)


def liars(port, tls_port):
    """What the instance of liar.test does is in the path."""
    def turn():
        for mode in (b"early", b"long", b"short", b"reset", b"stall", b"chunks", b"two", b"garbage"):
            with dial(port) as s:
                s.settimeout(0.1)
                s.sendall(b"POST /%s HTTP/1.1\r\nHost: liar.test\r\nContent-Length: 100000\r\n\r\n" % mode + bytes(50000))
                with contextlib.suppress(OSError):
                    while s.recv(65536):
                        pass
    until_told(turn)


def drinker(port, tls_port):
    """Takes GB gigabytes from an instance that never ends."""
    s = dial(port)
    s.sendall(b"GET /pour HTTP/1.1\r\nHost: pour.test\r\n\r\n")
    left = GB * 1e9
    while left > 0:
        n = len(s.recv(1 << 20, socket.MSG_TRUNC))
        assert n > 0
        left -= n
    print("ready", flush=True)
    sys.stdin.read()


# --- the test ---

def pour(i, c, head, rest):
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
    data = bytes(1 << 20)
    while True:
        c.sendall(data)


def lie(i, c, head, rest):
    mode = head.split()[1]
    c.sendall({b"/early": b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno", b"/long": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nmuch more",
               b"/short": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nless", b"/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\nx",
               b"/two": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"/garbage": os.urandom(100000),
               b"/stall": b"HTTP/1.1 2"}.get(mode, b""))
    if mode == b"/reset":
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    if mode == b"/stall":
        c.recv(10000000)
        c.recv(10000000)
    return False


class Sink(threading.Thread):
    """An instance that takes what comes and never answers."""

    def __init__(self):
        super().__init__(daemon=True)
        self.s = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.address, self.port = self.s.getsockname()
        self.held, self.ends = [], False

    def run(self):
        self.s.settimeout(0.2)
        while not self.ends:
            with contextlib.suppress(OSError):
                self.held.append(self.s.accept()[0])
        for c in [self.s, *self.held]:
            c.close()


def attacked(kind, mb):
    """The attack at its height for some requests of healthy clients; the router's memory grows by less than mb."""
    def test(w):
        sink = Sink()
        sink.start()
        w.ends.append(lambda: setattr(sink, "ends", True))
        pem = make_certificate(w.path("pem"), "*.test")
        r = w.static_router([("a.test", w.instance("a")), ("victim.test", sink), ("pour.test", w.instance("pour", pour)), ("liar.test", w.instance("liar", lie))],
                            "--https", "127.0.0.1:0", "--cert", pem, "--request-timeout", "60", "--head-timeout", "60", files=raise_files())
        with Load_for(r) as load:
            wait_for(lambda: load.count > 100, "the first requests")
            p = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--attack", kind.__name__, str(r.port), str(r.tls_port)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            w.ends.append(p.wait)
            w.ends.append(p.kill)
            assert p.stdout.readline() == b"ready\n", "the attacker failed"
            at = load.count
            wait_for(lambda: load.count > at + 150, "requests during the attack")
            p.stdin.close()
            assert p.wait(30) == 0, "the attacker failed"
        assert r.p.poll() is None, "the router died: " + r.text()[-3000:]
        assert not load.bad, f"{len(load.bad)} of {load.count} requests failed: {load.bad[:3]}"
        peak = int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{r.p.pid}/status").read())[1]) // 1024
        assert peak < mb, f"{peak} MB at its peak"
        assert r.get("a.test").status == 200
        return f"{load.count} requests, peak {peak} MB"
    return ("a healthy client during " + kind.__name__.replace("_", " "), test)


@contextlib.contextmanager
def Load_for(r):
    load = Load(r, "a.test", workers=4, pause=0.002)
    try:
        yield load
    finally:
        load.stop()


def renegotiation_is_refused(w):
    pem = make_certificate(w.path("pem"), "*.test")
    r = w.static_router([("a.test", w.instance("a"))], "--https", "127.0.0.1:0", "--cert", pem)
    p = subprocess.run(["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{r.tls_port}", "-servername", "a.test"],
                       input=b"R\n", capture_output=True, timeout=DEADLINE)
    assert b"RENEGOTIATING" in p.stdout + p.stderr and b"renegotiation" in p.stderr, p.stderr[-500:]
    assert r.get("a.test").status == 200


if sys.argv[1:2] == ["--attack"]:
    raise_files()
    globals()[sys.argv[2]](int(sys.argv[3]), int(sys.argv[4]))
    sys.exit(0)
BASE = 150  # MB, sanitizers included
run_tests([attacked(slow_heads, BASE + 100), attacked(slow_bodies, BASE + 150), attacked(slow_readers, BASE + 100), attacked(connections, BASE),
           attacked(giant_heads, BASE), attacked(unknown_hosts, BASE), attacked(half_handshakes, BASE + 250), attacked(handshakes, BASE), attacked(new_keys, BASE),
           attacked(garbage, BASE), attacked(liars, BASE), attacked(drinker, BASE), renegotiation_is_refused])
