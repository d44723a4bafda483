#!/usr/bin/python3
"""The same bytes to our router, to haproxy and to nginx, with an instance that writes down what reaches
it: where ours lets through what another refuses, or reads requests otherwise than both, test/router/differences.md
says why. Inputs are the first bytes of test/router/*.case, and mutations of them by PINION_TEST_SEED
(PINION_TEST_MUTATIONS of them). Needs haproxy and nginx (Debian: nginx-light); without, nothing runs."""
import glob, os, random, re, shutil, socket, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

CASES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "router")
MUTATIONS = int(os.environ.get("PINION_TEST_MUTATIONS", "0"))
TOKENS = [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b",", b";", b"\0", b"\x0b", b"\x7f", b"\x80", b"0", b"5", b"+", b"-", b"chunked", b"identity",
          b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n", b"HTTP/1.0", b"HTTP/1.1", b"#", b"@", b"%00"]
HAPROXY = """
global
    maxconn 200
defaults
    mode http
    timeout client 3s
    timeout server 3s
    timeout connect 3s
frontend f
    bind 127.0.0.1:{port}
    default_backend b
backend b
    http-reuse never
    server s 127.0.0.1:{app}
"""
NGINX = """
daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/nginx.log crit; worker_processes 1;
events {{ worker_connections 200; }}
http {{
    access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;
    fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    client_body_timeout 3s; client_header_timeout 3s;
    server {{ listen 127.0.0.1:{port}; location / {{
        proxy_pass http://127.0.0.1:{app}; proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection ""; proxy_request_buffering off; }} }}
}}
"""


def streams():
    """(name, bytes): what the cases send first, for one host."""
    out = []
    for p in sorted(glob.glob(os.path.join(CASES, "*.case"))):
        send = re.match(r"(?:#.*\n)*send:\n((?:\|.*\n)+)", open(p).read())
        data = b""
        for line in send[1].splitlines():
            line = line[2:]
            bare = line.endswith("\\") and not line.endswith("\\\\")
            text = (line[:-1] if bare else line).encode()
            text = re.sub(rb"\\x([0-9a-fA-F]{2})|\\(.)", lambda m: bytes([int(m[1], 16)]) if m[1] else {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}[m[2]], text)
            data += text + (b"" if bare else b"\r\n")
        if b"HTTP/2.0\r\n\r\nSM" not in data and b"pgrade" not in data:
            out.append((os.path.basename(p)[:-5], data))
    return out


def mutations(seeds, n, seed):
    rnd = random.Random(seed)
    for k in range(n):
        name, data = rnd.choice(seeds)
        s = bytearray(data[:4000])
        for _ in range(rnd.choice([1, 1, 2, 3])):
            i = rnd.randrange(len(s) + 1)
            kind = rnd.randrange(4)
            if kind == 0:
                s[i:i] = rnd.choice(TOKENS)
            elif kind == 1:
                del s[i:i + rnd.randrange(1, 4)]
            elif kind == 2 and i < len(s):
                s[i] = rnd.choice([9, 10, 13, 32, 48, 58, 127, 200])
            else:
                j = s.rfind(b"\r\n", 0, i) + 2
                end = s.find(b"\r\n", i)
                s[i:i] = s[j:end + 2] if end >= 0 else b""
        yield f"{name}, mutation {k}", bytes(s)


class Watcher:
    """An instance that answers every request and keeps method, target and body of each."""

    def __init__(self, w, name):
        self.seen = []
        self.i = w.instance(name, self.handle)
        self.port, self.address = self.i.port, self.i.address

    def handle(self, i, c, head, rest):
        line = head.split(b"\r\n")[0]
        body, framing = b"", "none"
        m = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
        c.settimeout(2)
        whole = True
        try:
            if re.search(rb"\r\ntransfer-encoding: *chunked", head, re.I):
                framing = "body"
                while True:
                    while b"\r\n" not in rest:
                        rest += self.more(c)
                    size, rest = rest.split(b"\r\n", 1)
                    n = int(size.split(b";")[0], 16)
                    while len(rest) < n + 2:
                        rest += self.more(c)
                    body, rest = body + rest[:n], rest[n + 2:]
                    if n == 0:
                        break
            elif m:
                framing = "body" if int(m[1]) else "none"
                while len(rest) < int(m[1]):
                    rest += self.more(c)
                body, rest = rest[:int(m[1])], rest[int(m[1]):]
        except (OSError, ValueError):
            whole = False
        if whole:
            method, target = line.split(b" ")[:2]
            host = re.search(rb"\r\nhost:[ \t]*([^\r]*)", head, re.I)
            self.seen.append((method, target, (host[1] if host else b"").strip().lower(), body))
        if rest and whole:
            self.seen.append(("behind a request", rest))
        if whole:
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return whole

    @staticmethod
    def more(c):
        data = c.recv(65536)
        if not data:
            raise OSError
        return data


def status_of(port, data):
    """The statuses that the bytes get."""
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.settimeout(0.25)
        out = b""
        try:
            s.sendall(data)
            while True:
                more = s.recv(65536)
                if not more:
                    break
                out += more
        except OSError:
            pass
    return [int(x) for x in re.findall(rb"HTTP/1\.[01] ([2-5]\d\d)", out)]


def taken(watcher):
    """What was read, without the first of several same empty lines."""
    out = list(watcher.seen)
    watcher.seen.clear()
    return out


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def peers(w):
    """name: (port, watcher) of ours, haproxy and nginx."""
    out = {}
    for name in ("ours", "haproxy", "nginx"):
        watcher = Watcher(w, name)
        if name == "ours":
            w.write_routes([("app.test", watcher), ("other.test", watcher)])
            r = w.router("--routes", w.path("routes"))
            out[name] = (r.port, watcher)
            continue
        port, conf = free_port(), w.path(name + ".conf")
        with open(conf, "w") as f:
            f.write((HAPROXY if name == "haproxy" else NGINX).format(port=port, app=watcher.port, dir=w.dir))
        p = subprocess.Popen(["haproxy", "-db", "-q", "-f", conf] if name == "haproxy" else ["nginx", "-p", w.dir, "-c", conf], stderr=subprocess.DEVNULL)
        w.ends += [p.wait, p.kill]

        def listens():
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                return True
        wait_for(listens, name)
        out[name] = (port, watcher)
    return out


def explained():
    rows = open(os.path.join(CASES, "differences.md")).read()
    return set(re.findall(r"`([a-z0-9_]+)`", rows))


def ask_all(sides, data):
    """Concurrently; each side's statuses and what its instance read."""
    got = {}
    threads = [threading.Thread(target=lambda n=n: got.__setitem__(n, status_of(sides[n][0], data))) for n in sides]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return {n: (got.get(n, []), taken(sides[n][1])) for n in sides}


def same_bytes_to_three_routers(w):
    for program in ("haproxy", "nginx"):
        if shutil.which(program) is None and not os.path.exists("/usr/sbin/" + program):
            return f"not run: needs {program} (apt-get install {program})"
    sides, seeds, known, found = peers(w), streams(), explained(), []
    inputs = seeds + list(mutations(seeds, MUTATIONS, int(os.environ.get("PINION_TEST_SEED", "5"))))
    worse = []
    for name, data in inputs:
        got = ask_all(sides, data)
        ours, haproxy, nginx = (got[n][1] for n in ("ours", "haproxy", "nginx"))
        # Danger: our instance reads what neither of the others' does, or bytes are left behind a request.
        if any(x[0] == "behind a request" for x in ours) or any(x not in haproxy and x not in nginx for x in ours):
            worse.append((name, data, got))
        elif ours != haproxy or ours != nginx:
            found.append((name, got))
    if "PINION_TEST_TABLE" in os.environ:
        for name, got in found:
            print("#", name, {n: (s, [x[:2] for x in seen]) for n, (s, seen) in got.items()})
        for name, data, got in worse:
            print("# !", name, data[:300], got)
    new = [name for name, data, got in worse if name.split(",")[0] not in known]
    strange = [name for name, got in found if ", mutation" not in name and name not in known]
    assert not new, f"ours alone reads it so: {new}"
    assert not strange, f"not in test/router/differences.md: {strange}"
    return f"{len(inputs)} streams, {len(found)} differ from one of the others, {len(worse)} from both"


run_tests([same_bytes_to_three_routers])
