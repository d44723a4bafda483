#!/usr/bin/python3
"""Runs test/router/*.case: bytes from a client, what reaches the application, bytes back."""
import fnmatch, glob, html, os, re, select, socket, ssl, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

CASES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "router")
ADDED = ["x-forwarded-for", "x-client-ip", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded", "traceparent",
         "x-request-start", "x-request-id"]
STEPS = ["send:", "app gets:", "app gets bytes:", "app sends:", "app closes", "app sees end", "client gets:", "client closes", "client ends",
         "client sees end", "client gets bytes:", "app sees fin", "client sees fin", "client sees reset", "nothing reaches the app"]
WAIT = 10


def parse(text):
    steps = []
    for line in text.split("\n"):
        if line in STEPS:
            steps.append((line, []))
        elif line.startswith("|"):
            steps[-1][1].append(line[2:])
        elif line and not line.startswith("#"):
            raise AssertionError("not a step: " + line)
    return steps


def unescape(line):
    known = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
    out = b""
    for m in re.finditer(r"\\x([0-9a-fA-F]{2})|\\(.)|([^\\]+)", line, re.S):
        out += bytes([int(m[1], 16)]) if m[1] else known[m[2]] if m[2] else m[3].encode()
    return out


def wire(lines):
    out = b""
    for line in lines:
        bare = line.endswith("\\") and not line.endswith("\\\\")
        out += unescape(line[:-1]) if bare else unescape(line) + b"\r\n"
    return out


class Side:
    def __init__(self, sock, who):
        self.s, self.who, self.buf = sock, who, b""
        sock.settimeout(WAIT)

    def until(self, enough, what):
        while not enough():
            try:
                data = self.s.recv(65536)
            except TimeoutError:
                raise AssertionError(f"{self.who} waits for {what}, has {self.buf!r}")
            if not data:
                raise AssertionError(f"{self.who} sees the end before {what}, has {self.buf!r}")
            self.buf += data

    def head(self):
        self.until(lambda: b"\r\n\r\n" in self.buf, "a head")
        head, self.buf = self.buf.split(b"\r\n\r\n", 1)
        return head.decode("latin-1").split("\r\n")

    def body(self, want):
        self.until(lambda: len(self.buf) >= len(want), f"{want!r}")
        got, self.buf = self.buf[:len(want)], self.buf[len(want):]
        assert got == want, f"{self.who} gets {got!r}, not {want!r}"

    def end(self, how=None):
        assert self.buf == b"", f"{self.who} has more: {self.buf!r}"
        try:
            data, got = self.s.recv(65536), "fin"
        except TimeoutError:
            raise AssertionError(f"{self.who} sees no end")
        except ConnectionResetError:
            data, got = b"", "reset"
        except ssl.SSLEOFError:
            data, got = b"", "reset"
        assert data == b"", f"{self.who} gets {data!r}, not the end"
        assert how in (None, got), f"{self.who} sees a {got}"


def matches(want, got):
    return re.fullmatch(".*".join(re.escape(p) for p in want.split("{any}")), got) is not None


def split(lines):
    """Head lines, and the bytes of the body."""
    if "" not in lines:
        return lines, b""
    at = lines.index("")
    return lines[:at], wire(lines[at + 1:])


def names(head):
    return [l.split(":")[0].lower() for l in head[1:]]


class Case:
    def __init__(self, text, port, listener, tls=None):
        self.steps, self.listener, self.app = parse(text), listener, None
        s = socket.create_connection(("127.0.0.1", port))
        self.client = Side(tls.wrap_socket(s, suppress_ragged_eofs=False) if tls else s, "the client")

    def accept(self):
        ready, _, _ = select.select([self.listener], [], [], WAIT)
        assert ready, "nothing connects to the app"
        self.app = Side(self.listener.accept()[0], "the app")

    def app_gets(self, lines):
        if self.app is None:
            self.accept()
        want, body = split(lines)
        head = self.app.head()
        absent = [l[2:].lower() for l in want if l.startswith("- ")]
        asked = [l[2:] for l in want if l.startswith("+ ")]
        want = [l for l in want if not l.startswith(("- ", "+ "))]
        for name in absent:
            assert name not in names(head), f"the app gets {name}: {head}"
        for line in asked:
            assert any(matches(line, h) for h in head), f"the app does not get {line}: {head}"
        kept = [h for h in head if h.split(":")[0].lower() not in ADDED]
        for name in ADDED:
            assert names(head).count(name) == 1, f"the app gets {name} {names(head).count(name)} times"
        assert len(want) == len(kept) and all(matches(w, k) for w, k in zip(want, kept)), f"the app gets {kept}, not {want}"
        self.app.body(body)

    def client_gets(self, lines):
        want, body = split(lines)
        head = self.client.head()
        assert matches(want[0], head[0]), f"the client gets {head[0]}, not {want[0]}"
        for line in want[1:]:
            if line.startswith("- "):
                assert line[2:].lower() not in names(head), f"the client gets {line[2:]}: {head}"
            else:
                assert any(matches(line, h) for h in head), f"the client does not get {line}: {head}"
        if body.startswith(b"{page"):
            n = int(next(h.split(":")[1] for h in head if h.lower().startswith("content-length")))
            self.client.until(lambda: len(self.client.buf) >= n, "a page")
            assert n <= 4096
            page = html.unescape(self.client.buf[:n].decode())
            text = body[6:].strip().removesuffix(b"}").strip().decode()
            assert text in page, f"the page does not say {text}: {page}"
            self.client.buf = self.client.buf[n:]
        else:
            self.client.body(body)

    def step(self, what, lines):
        if what == "send:":
            self.client.s.sendall(wire(lines))
        elif what == "app gets:":
            self.app_gets(lines)
        elif what == "app gets bytes:":
            self.app.body(wire(lines))
        elif what == "app sends:":
            self.app.s.sendall(wire(lines))
        elif what == "app closes":
            self.app.s.close()
            self.app = None
        elif what == "app sees end":
            self.app.end()
            self.app = None
        elif what == "client gets:":
            self.client_gets(lines)
        elif what == "client gets bytes:":
            self.client.body(wire(lines))
        elif what == "app sees fin":
            self.app.end()
        elif what == "client closes":
            self.client.s.close()
        elif what == "client ends":
            self.client.s.shutdown(socket.SHUT_WR)
        elif what.startswith("client sees "):
            self.client.end(what[12:].replace("end", "") or None)
        else:
            assert self.app is None and not select.select([self.listener], [], [], 0)[0], "something reaches the app"

    def run(self):
        for i, (what, lines) in enumerate(self.steps):
            try:
                self.step(what, lines)
            except (OSError, AssertionError) as e:
                raise AssertionError(f"step {i + 1}, {what} {e}") from e
        assert self.app is None or self.app.buf == b"", f"the app has more: {self.app.buf!r}"


def suits_tls(text):
    """A client of TLS cannot end one direction and read on."""
    return "client ends" not in text


def main():
    paths = sorted(glob.glob(os.path.join(CASES, "*.case")))
    with World() as w:
        # Each case has a host of its own, as long as app.test.
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2 * len(paths))]
        with open(w.path("routes"), "w") as f:
            f.writelines(f"c{i:03}.tst 127.0.0.1:{l.getsockname()[1]}\n" for i, l in enumerate(listeners))
        pem = make_certificate(w.path("pem"), "*.tst")
        tls = ssl.create_default_context(cafile=pem)
        tls.check_hostname = False
        r = w.router("--routes", w.path("routes"), "--access-log", w.path("access.log"), "--body-max", "1000000",
                     "--https", "127.0.0.1:0", "--cert", pem)

        def runs(i, path, tls=None):
            def fn(_):
                port = r.tls_port if tls else r.port
                text = open(path).read().replace("app.test", f"c{i:03}.tst").replace("APP.TEST", f"C{i:03}.TST")
                text = text.replace("{port}", str(port)).replace("{proto}", "https" if tls else "http")
                Case(text, port, listeners[i], tls).run()
                assert r.p.poll() is None, "the router died: " + r.text()[-3000:]
            return fn

        def ends(_):
            r.stop()
            log = open(w.path("access.log"), "rb").read()
            assert all(b in b"\n" or 0x20 <= b < 0x7f for b in log), "the access log has control characters"

        def listed(_):
            rows = open(os.path.join(CASES, "conformance.md")).read()
            rows = set(re.findall(r"`([a-z0-9_*]+)`", "".join(l for l in rows.splitlines(True) if l.startswith("|"))))
            names = [os.path.basename(p)[:-5] for p in paths]
            lost = [n for n in names if not any(fnmatch.fnmatchcase(n, row) for row in rows)]
            empty = [row for row in rows if "_" in row and not fnmatch.filter(names, row)]
            assert not lost and not empty, f"cases in no row of conformance.md: {lost}; rows without a case: {empty}"

        def name(p):
            return os.path.basename(p)[:-5].replace("_", " ")

        cases = [(name(p), runs(i, p)) for i, p in enumerate(paths)]
        cases += [(name(p) + ", by TLS", runs(len(paths) + i, p, tls)) for i, p in enumerate(paths) if suits_tls(open(p).read())]
        run_tests(cases + [("conformance.md names each case", listed), ("the router ends cleanly", ends)])


main()
