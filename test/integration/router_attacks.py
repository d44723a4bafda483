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


def idle_clients(port, tls_port):
    """Each had its answer and stays."""
    hold(many(3000, port, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"), b"")


def idle_tls_clients(port, tls_port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    socks = []
    for _ in range(3000):
        with contextlib.suppress(OSError):
            socks.append(context.wrap_socket(dial(tls_port), server_hostname="a.test"))
    hold(socks, b"")


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


@contextlib.contextmanager
def under_attack(w, r, kind):
    """Healthy clients and an attacker at its height; none of them may fail until the end."""
    with Load_for(r) as load:
        wait_for(lambda: load.count > 100, "the first requests")
        p = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--attack", kind.__name__, str(r.port), str(r.tls_port)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        w.ends.append(p.wait)
        w.ends.append(p.kill)
        assert p.stdout.readline() == b"ready\n", "the attacker failed"
        yield load
        at = load.count
        wait_for(lambda: load.count > at + 150, "requests during the attack")
        p.stdin.close()
        assert p.wait(30) == 0, "the attacker failed"
    assert r.p.poll() is None, "the router died: " + r.text()[-3000:]
    assert not load.bad, f"{len(load.bad)} of {load.count} requests failed: {load.bad[:3]}"


def victims(w, *args, **more):
    sink = Sink()
    sink.start()
    w.ends.append(lambda: setattr(sink, "ends", True))
    pem = make_certificate(w.path("pem"), "*.test")
    with open(w.path("token"), "w") as f:
        f.write("secret\n")
    return w.static_router([("a.test", w.instance("a")), ("victim.test", sink), ("pour.test", w.instance("pour", pour)), ("liar.test", w.instance("liar", lie))],
                           "--https", "127.0.0.1:0", "--cert", pem, "--request-timeout", "60", "--head-timeout", "60",
                           "--metrics", "unix:" + w.path("metrics.sock"), "--metrics-token-file", w.path("token"), *args, **more)


def metric(w, name):
    """The sum of all series of a metric."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(w.path("metrics.sock"))
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer secret\r\n\r\n")
        text = Answer(s).read().body.decode()
    return sum(float(v) for v in re.findall(r"^pinion_router_" + name + r"(?:\{.*\})? (\S+)$", text, re.M))


def attacked(kind, mb):
    """The attack at its height for some requests of healthy clients; the router's memory grows by less than mb."""
    def test(w):
        r = victims(w, files=raise_files())
        with under_attack(w, r, kind) as load:
            pass
        peak = int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{r.p.pid}/status").read())[1]) // 1024
        assert peak < mb, f"{peak} MB at its peak"
        assert r.get("a.test").status == 200
        return f"{load.count} requests, peak {peak} MB"
    return ("a healthy client during " + kind.__name__.replace("_", " "), test)


# --- too little for all ---

def short_of_files(kind):
    """Far more connections than there are descriptors."""
    def test(w):
        raise_files()
        r = victims(w, files=400)
        with under_attack(w, r, kind) as load:
            wait_for(lambda: metric(w, "shed_total") > 500, "connections to be closed")
        shed = metric(w, "shed_total")
        assert r.get("a.test").status == 200
        lines = r.text().count("load_shed")
        assert 0 < lines < 400, f"{lines} lines of the log"
        return f"{load.count} requests, {shed:.0f} connections closed, {lines} lines of the log"
    return ("a healthy client and few descriptors during " + kind.__name__.replace("_", " "), test)


def descriptors_end(w):
    """The limit falls below what is in use, and rises again."""
    raise_files()
    r = victims(w, files=4000)
    with under_attack(w, r, idle_clients):
        wait_for(lambda: metric(w, "connections") > 1000, "the attacker's connections")
        used = len(os.listdir(f"/proc/{r.p.pid}/fd"))
        resource.prlimit(r.p.pid, resource.RLIMIT_NOFILE, (used - 50, 4000))
        wait_for(lambda: metric(w, "shed_total") > 20, "connections to be closed")
        resource.prlimit(r.p.pid, resource.RLIMIT_NOFILE, (4000, 4000))
    assert r.get("a.test").status == 200


def all_are_busy(w):
    """Requests under way are not cut for others: who comes hears that it is to come again, until some end."""
    raise_files()
    sink, held = threading.Event(), []

    def wait(i, c, head, rest):
        sink.wait(DEADLINE)
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True
    w.ends.append(sink.set)
    r = w.static_router([("a.test", w.instance("a", wait))], files=160, threads=1)
    try:
        for _ in range(200):
            s = r.connect()
            s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            held.append(s)
        refused = Answer(held[-1]).read()
        assert refused.status == 503 and refused.headers["retry-after"] == "1", refused.status
        sink.set()
        answers = [Answer(s).read().status for s in held[:-1]]
    finally:
        for s in held:
            s.close()
    assert answers.count(200) > 40 and set(answers) <= {200, 503}, answers
    wait_for(lambda: r.get("a.test").status == 200, "the room to be there again")
    return f"{answers.count(200)} served, {answers.count(503) + 1} refused"


MEMORY = "/sys/fs/cgroup/memory" if os.path.isdir("/sys/fs/cgroup/memory") else "/sys/fs/cgroup"


def memory_file(group, name):
    """Of a cgroup: its names are others in version 1."""
    return os.path.join(group, name if MEMORY == "/sys/fs/cgroup" else {"memory.max": "memory.limit_in_bytes", "memory.current": "memory.usage_in_bytes"}[name])


def short_of_memory(kind, mb):
    """A cgroup, which would have the router killed, allows mb more than it takes before the attack."""
    def test(w):
        group = os.path.join(MEMORY, f"pinion-attacks-{os.getpid()}")
        try:
            os.mkdir(group)
            w.ends.append(lambda: os.rmdir(group))
            open(memory_file(group, "memory.max"), "r+").close()
        except OSError as e:
            return f"not done, no cgroup with a limit of memory: {e}"
        r = victims(w, files=raise_files(), cgroup=group)
        for _ in range(50):
            assert r.get("a.test").status == 200
        with open(memory_file(group, "memory.current")) as f:
            now = int(f.read())
        with open(memory_file(group, "memory.max"), "w") as f:
            f.write(str(now + (mb << 20)))
        with under_attack(w, r, kind) as load:
            pass
        assert kind is slow_readers or "memory_level" in r.text(), "there was memory enough"  # reads shrink before that
        assert r.get("a.test").status == 200
        return f"{load.count} requests, {metric(w, 'shed_total'):.0f} closed, {r.text().count('memory_level')} changes of level"
    return ("a healthy client, little memory, and " + kind.__name__.replace("_", " "), test)


def own_limit_of_memory(w):
    r = victims(w, "--memory-max", "1", threads=1)
    wait_for(lambda: "memory_level" in r.text(), "the level of memory")
    with r.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert Answer(s).read().status == 503
    assert metric(w, "refused_total") >= 1


# --- one address ---

def from_address(r, address, data=b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"):
    s = r.connect()
    s.sendall(f"PROXY TCP{6 if ':' in address else 4} {address} {'::1' if ':' in address else '127.0.0.1'} 1000 80\r\n".encode() + data)
    return s


def connections_of_an_address(w):
    r = victims(w, "--proxy-protocol", "http", "--address-connections", "5", threads=1)
    for others in (lambda n: "192.0.2.7", lambda n: f"2001:db8:1:2::{n}"):
        held = []
        for n in range(5):
            held.append(from_address(r, others(n)))
            assert Answer(held[-1]).read().status == 200
        for n in range(3):
            with from_address(r, others(10 + n)) as s:
                a = Answer(s).read()
                assert (a.status, a.headers["retry-after"], a.headers["connection"]) == (429, "1", "close"), a.status
                assert s.recv(1) == b""
        for other in ("192.0.2.8", "2001:db8:1:3::1"):
            with from_address(r, other) as s:
                assert Answer(s).read().status == 200
        held.pop().close()

        def again():
            with from_address(r, others(4)) as s:
                return Answer(s).read().status == 200
        wait_for(again, "the place of the one that left")
        for s in held:
            s.close()
    assert metric(w, "refused_total") >= 6
    assert r.text().count("load_shed") < 10


def speed_of_an_address(w):
    r = victims(w, "--proxy-protocol", "http", "--address-rate", "2", threads=1)
    got = []
    for _ in range(20):
        with from_address(r, "192.0.2.7") as s:
            got.append(Answer(s).read().status)
    assert got[:10] == [200] * 10 and got.count(429) >= 5, got
    with from_address(r, "192.0.2.8") as s:
        assert Answer(s).read().status == 200
    s = from_address(r, "192.0.2.9")
    for _ in range(30):  # a connection that is kept has no such limit
        assert Answer(s).read().status == 200
        s.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    s.close()


def no_limits_for_proxies(w):
    r = victims(w, "--proxy-protocol", "http", "--address-connections", "2", "--trusted-proxies", "192.0.2.0/24", threads=1)
    held = [from_address(r, "192.0.2.7") for _ in range(10)]
    for s in held:
        assert Answer(s).read().status == 200
        s.close()


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
           attacked(garbage, BASE), attacked(liars, BASE), attacked(drinker, BASE), renegotiation_is_refused,
           short_of_files(idle_clients), short_of_files(slow_heads), descriptors_end, all_are_busy,
           short_of_memory(idle_tls_clients, 10), short_of_memory(slow_readers, 40), own_limit_of_memory,
           connections_of_an_address, speed_of_an_address, no_limits_for_proxies])
