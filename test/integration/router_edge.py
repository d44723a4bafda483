#!/usr/bin/python3
"""The router's edge: the PROXY protocol, trusted proxies, IPv6, limits, scarcity."""
import json, os, socket, ssl, struct, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

SIGN = b"\r\n\r\n\0\r\nQUIT\n"
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n"


def show(i, c, head, rest):
    """Answers with the fields that it got."""
    fields = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        k, v = line.split(":", 1)
        fields[k.lower()] = v.strip()
    body = json.dumps(fields).encode()
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    return True


def v2(command, family, body):
    return SIGN + bytes([0x20 | command, family]) + struct.pack(">H", len(body)) + body


def inet(client, to="192.0.2.254"):
    six = ":" in client
    pack = lambda a: socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, a)
    return (0x21 if six else 0x11), pack(client) + pack("2001:db8::fe" if six else to) + struct.pack(">HH", 4711, 443)


def seen(answer):
    assert answer.status == 200, answer.status
    return json.loads(answer.body)


def ask(port, before=b"", tls=None, pieces=False, more=b"", family=socket.AF_INET):
    """before: what comes in front of all, byte by byte if pieces. None: closed without an answer."""
    with socket.socket(family) as s:
        s.settimeout(DEADLINE)
        s.connect(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for part in [before[i:i + 1] for i in range(len(before))] if pieces else [before]:
                s.sendall(part)
            if tls:
                s = tls.wrap_socket(s, server_hostname="a.test")
            s.sendall(GET + more + b"\r\n")
            return Answer(s).read()
        except (ConnectionError, IndexError, ssl.SSLError):
            return None


def unverified():
    c = ssl.create_default_context()
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    return c


def proxy_protocol(w):
    cert, tls = make_certificate(w.path("cert"), "a.test"), unverified()
    log = w.path("access")
    r = w.static_router([("a.test", w.instance("a", show))], "--proxy-protocol", "http,https", "--https", "127.0.0.1:0", "--cert", cert,
                        "--access-log", log)
    tlv = b"\x01\x00\x02h2\x20\x00\x05\x01\x00\x00\x00\x00\x04\x00\x00"
    for head, client in [(b"PROXY TCP4 192.0.2.7 192.0.2.254 4711 80\r\n", "192.0.2.7"),
                         (b"PROXY TCP6 2001:db8::7 2001:db8::fe 4711 80\r\n", "2001:db8::7"),
                         (b"PROXY UNKNOWN\r\n", "127.0.0.1"), (b"PROXY UNKNOWN ffff:: ffff:: 1 1\r\n", "127.0.0.1"),
                         (v2(1, *inet("192.0.2.8")), "192.0.2.8"), (v2(1, *inet("2001:db8::8")), "2001:db8::8"),
                         (v2(1, 0x11, inet("192.0.2.9")[1] + tlv), "192.0.2.9"), (v2(1, 0x11, inet("192.0.2.9")[1] + b"x" * 3000), "192.0.2.9"),
                         (v2(0, 0, b""), "127.0.0.1"), (v2(0, *inet("192.0.2.8")), "127.0.0.1"),
                         (v2(1, 0x31, b"/a".ljust(216, b"\0")), "127.0.0.1"), (v2(1, 0, b""), "127.0.0.1")]:
        for port, t in ((r.port, None), (r.tls_port, tls)):
            for pieces in (False, True):
                f = seen(ask(port, head, t, pieces))
                assert f["x-client-ip"] == client and f["x-forwarded-for"] == client, (head, f)
                node = f'"[{client}]"' if ":" in client else client
                assert f["forwarded"].startswith(f"for={node};"), f
    wait_for(lambda: "2001:db8::8" in open(log).read(), "the client in the log")
    for bad in (b"", b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", b"PROXY TCP4 ::1 ::1 1 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 70000\r\n",
                b"PROXY UNKNOWN\n", b"PROXY TCP4 " + b"1" * 200, b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n", v2(2, *inet("192.0.2.8")),
                v2(1, 0x21, inet("192.0.2.8")[1]), v2(1, 0x11, inet("192.0.2.8")[1] + b"x" * 5000), b"\r\n\r\n\0\r\nQUIP\n\x21\x11\0\0"):
        assert ask(r.port, bad) is None, bad


def a_head_of_the_proxy_protocol_that_stays_away(w):
    r = w.static_router([("a.test", w.instance("a", show))], "--proxy-protocol", "http", "--head-timeout", "1")
    for part, ends in ((b"PROXY TCP4 192.0.2.7 ", False), (SIGN + b"\x21\x11", True)):
        with r.connect() as s:
            s.sendall(part)
            if ends:
                s.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                assert s.recv(1) == b"", "it is closed"
    assert ask(r.port, b"PROXY UNKNOWN\r\n").status == 200


def proxy_protocol_of_some(w):
    r = w.static_router([("a.test", w.instance("a", show))], "--proxy-protocol", "http", "--proxy-protocol-from", "192.0.2.0/24,2001:db8::/32")
    assert seen(ask(r.port))["x-client-ip"] == "127.0.0.1"
    answer = ask(r.port, b"PROXY TCP4 192.0.2.7 192.0.2.254 4711 80\r\n")
    assert answer.status == 400, "nobody else is believed"


def trusted_proxies(w):
    log = w.path("access")
    r = w.static_router([("a.test", w.instance("a", show))], "--trusted-proxies", "127.0.0.0/8, 10.0.0.0/8,2001:db8:1::/48", "--access-log", log)

    def with_(*fields):
        return seen(ask(r.port, more="".join(f + "\r\n" for f in fields).encode()))
    for fields, client in [(["X-Forwarded-For: 192.0.2.1"], "192.0.2.1"), (["X-Forwarded-For: 192.0.2.66, 192.0.2.1, 10.1.1.1"], "192.0.2.1"),
                           (["X-Forwarded-For: 192.0.2.66", "X-Forwarded-For: 2001:db8::1, 10.9.9.9"], "2001:db8::1"),
                           (["X-Forwarded-For: 10.0.0.1, 10.0.0.2"], "10.0.0.1"), (["X-Forwarded-For: 192.0.2.1:4711"], "192.0.2.1"),
                           (["X-Forwarded-For: [2001:db8::1]:4711, [2001:db8:1::7]"], "2001:db8::1"), (["X-Forwarded-For: unknown, 10.0.0.3"], "10.0.0.3"),
                           (["X-Forwarded-For: 192.0.2.1, nonsense"], "127.0.0.1"), (["Forwarded: for=192.0.2.1"], "192.0.2.1"),
                           (['Forwarded: for=192.0.2.66;proto=http, For="[2001:db8::2]:4711";proto=https, for=10.0.0.1'], "2001:db8::2"),
                           (["Forwarded: for=192.0.2.1, for=_hidden"], "127.0.0.1"), (["Forwarded: for=unknown, for=10.3.3.3"], "10.3.3.3"),
                           (['Forwarded: for="192.0.2.1:80, for=10.0.0.1'], "127.0.0.1"),
                           (['Forwarded: by="a\\",for=10.0.0.1";for=192.0.2.5'], "192.0.2.5"), (["X-Client-IP: 192.0.2.1"], "192.0.2.1"), ([], "127.0.0.1")]:
        f = with_(*fields)
        assert f["x-client-ip"] == client, (fields, f)
        assert f["x-forwarded-for"].endswith("127.0.0.1") and "for=127.0.0.1;" in f["forwarded"], f
    f = with_("X-Forwarded-For: 192.0.2.1, 2001:db8::5", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example", "X-Forwarded-Port: 8443")
    assert f["x-forwarded-for"] == "192.0.2.1, 2001:db8::5, 127.0.0.1", f
    assert f["forwarded"] == 'for=192.0.2.1, for="[2001:db8::5]", for=127.0.0.1;host="a.test";proto=http', f
    assert (f["x-forwarded-proto"], f["x-forwarded-host"], f["x-forwarded-port"]) == ("https", "shop.example", "8443"), f
    f = with_('Forwarded: for=192.0.2.1;host="b.example";proto=https')
    assert f["x-forwarded-for"] == "192.0.2.1, 127.0.0.1" and f["forwarded"].startswith('for=192.0.2.1;host="b.example";proto=https, for=127.0.0.1;'), f
    assert (f["x-forwarded-proto"], f["x-forwarded-host"], f["x-forwarded-port"]) == ("https", "b.example", "443"), f
    f = with_("X-Forwarded-For: " + ", ".join(["10.0.0.1"] * 500), 'X-Forwarded-Host: a"b', "X-Forwarded-Proto: gopher", "X-Forwarded-Port: 0")
    assert f["x-client-ip"] == "10.0.0.1" and (f["x-forwarded-host"], f["x-forwarded-proto"], f["x-forwarded-port"]) == ("a.test", "http", str(r.port)), f
    wait_for(lambda: "2001:db8::2" in open(log).read(), "the client in the log")


def others_are_not_trusted(w):
    r = w.static_router([("a.test", w.instance("a", show))], "--trusted-proxies", "192.0.2.0/24")
    f = seen(ask(r.port, more=b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nX-Client-IP: 192.0.2.1\r\n"))
    assert (f["x-client-ip"], f["x-forwarded-proto"], f["x-forwarded-host"]) == ("127.0.0.1", "http", "a.test"), f


def both_together(w):
    """A balancer that speaks the PROXY protocol in front of a proxy that is trusted."""
    r = w.static_router([("a.test", w.instance("a", show))], "--trusted-proxies", "192.0.2.0/24", "--proxy-protocol", "http")
    f = seen(ask(r.port, v2(1, *inet("192.0.2.7")), more=b"X-Forwarded-For: 198.51.100.3\r\n"))
    assert f["x-client-ip"] == "198.51.100.3" and f["x-forwarded-for"] == "198.51.100.3, 192.0.2.7", f
    f = seen(ask(r.port, v2(1, *inet("198.51.100.9")), more=b"X-Forwarded-For: 198.51.100.3\r\n"))
    assert f["x-client-ip"] == "198.51.100.9", f


def ipv6_everywhere(w):
    app = w.instance("a", show)
    six = w.instance("six", show, address="::1")
    with open(w.path("routes"), "w") as f:
        f.write(f"a.test [::1]:{six.port}\n[::1] {app.address}:{app.port}\n")
    r = w.router("--routes", w.path("routes"), http="[::]:0,127.0.0.3:0")
    assert seen(ask(r.port, family=socket.AF_INET6))["x-client-ip"] == "::1"
    assert seen(ask(r.port))["x-client-ip"] == "127.0.0.1", "IPv4 by the same socket"
    with socket.create_connection(("::1", r.port), DEADLINE) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: [::1]:%d\r\nConnection: close\r\n\r\n" % r.port)
        f = seen(Answer(s).read())
    assert f["forwarded"] == f'for="[::1]";host="[::1]:{r.port}";proto=http', f
    assert f["x-forwarded-for"] == "::1" and f["host"] == f"[::1]:{r.port}", f


run_tests([proxy_protocol, a_head_of_the_proxy_protocol_that_stays_away, proxy_protocol_of_some, trusted_proxies, others_are_not_trusted,
           both_together, ipv6_everywhere])
