#!/usr/bin/python3
"""Certificates of the router: by host, by file and by feed, replaced under open connections; session
tickets that routers share; stapled OCSP responses; profiles; TLS to instances."""
import base64, os, ssl, struct, subprocess, sys, warnings
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

HOUR = 3600


def dial(r, name, session=None, version=None, alpn=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if session:
        c = session[0]
    if version:
        c.minimum_version = c.maximum_version = version
    if alpn:
        c.set_alpn_protocols(alpn)
    s = socket.create_connection(("127.0.0.1", r.tls_port), DEADLINE)
    t = c.wrap_socket(s, server_hostname=name, session=session and session[1])
    t.context_used = c
    return t


def names_of(pem):
    text = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=pem, capture_output=True, text=True, check=True).stdout
    return re.findall(r"DNS:([^,\s]+)", text)


def served(r, name):
    """The names of the certificate that a client of that name gets."""
    with dial(r, name) as t:
        return names_of(ssl.DER_cert_to_PEM_cert(t.getpeercert(True)))


def get(t, host):
    t.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return Answer(t).read()


def record(w, host, *names, **more):
    path = make_certificate(w.path("made.pem"), *(names or (host,)))
    text = open(path).read()
    at = text.index("-----BEGIN PRIVATE KEY")
    return {"host": host, "chain": text[:at], "key": text[at:], "added_at": 0, "not_before": 0, "not_after": 0, **more}


def ticket_key(n):
    return {"key": base64.b64encode(bytes([n]) * 80).decode(), "made_at": n}


def files_by_name(w):
    os.mkdir(w.path("certs"))
    make_certificate(w.path("first.pem"), "first.test")
    make_certificate(w.path("certs/b.pem"), "b.test", "*.b.test")
    make_certificate(w.path("certs/c.pem"), "C.test")
    r = w.static_router([("a.test", w.instance("a"))], "--https", "127.0.0.1:0", "--cert", w.path("first.pem"), "--cert", w.path("certs"))
    for name, want in (("first.test", ["first.test"]), ("other.test", ["first.test"]), (None, ["first.test"]),
                       ("b.test", ["b.test", "*.b.test"]), ("X.b.test", ["b.test", "*.b.test"]), ("x.y.b.test", ["first.test"]),
                       ("c.test", ["C.test"])):
        assert served(r, name) == want, (name, served(r, name))
    t = dial(r, "c.test")
    first = t.getpeercert(True)
    make_certificate(w.path("certs/c.pem"), "c.test", "d.test")
    make_certificate(w.path("first.pem"), "second.test")
    r.p.send_signal(signal.SIGHUP)
    wait_for(lambda: served(r, "d.test") == ["c.test", "d.test"], "the new certificate")
    assert served(r, "other.test") == ["second.test"]
    assert get(t, "a.test").body == b"a" and t.getpeercert(True) == first, "the old connection lives on"
    t.close()


def bad_files(w):
    with open(w.path("bad.pem"), "w") as f:
        f.write("nothing")
    for args, word in ((("--cert", w.path("bad.pem")), "BEGIN CERTIFICATE"), (("--cert", w.path("none.pem")), "none.pem"),
                       ((), "--cert"), (("--cert", w.path("bad.pem"), "--tls-profile", "old"), "modern")):
        p = subprocess.run([os.path.join(BUILD, "pinion-router"), "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--routes", "/dev/null", *args],
                           capture_output=True, text=True, timeout=60)
        assert p.returncode != 0 and word in p.stderr, p.stderr


def certificates_of_the_feed(w):
    b = w.broker()
    b.put("a.test", w.instance("a"))
    b.set("cert", "a.test", record(w, "a.test"))
    b.set("cert", "*.b.test", record(w, "*.b.test"))
    r = w.fed_router(b, "--https", "127.0.0.1:0")
    b.wait_applied(b.revision)
    assert served(r, "a.test") == ["a.test"]
    assert served(r, "x.b.test") == ["*.b.test"]
    assert served(r, "other.test") == ["localhost"]
    t = dial(r, "a.test")
    first = t.getpeercert(True)
    b.wait_applied(b.set("cert", "a.test", record(w, "a.test", "a.test", "new.test")))
    assert served(r, "a.test") == ["a.test", "new.test"]
    assert get(t, "a.test").body == b"a" and t.getpeercert(True) == first
    b.wait_applied(b.set("cert", "bad.test", {**record(w, "bad.test"), "key": "no key"}))
    assert served(r, "bad.test") == ["localhost"], "one that cannot be used is as none"
    b.wait_applied(b.set("cert", "*.b.test", None))
    assert served(r, "x.b.test") == ["localhost"]
    t.close()
    b.stop()
    r.stop()
    r = w.fed_router(b, "--https", "127.0.0.1:0")
    assert served(r, "a.test") == ["a.test", "new.test"], "it knows them without a broker"
    assert get(dial(r, "a.test"), "a.test").body == b"a"


def resumed(r, session):
    with dial(r, "a.test", session) as t:
        get(t, "a.test")
        return t.session_reused


def tickets_are_shared(w):
    b = w.broker()
    b.put("a.test", w.instance("a"))
    b.set("cert", "a.test", record(w, "a.test"))
    b.set("tickets", "all", {"keys": [ticket_key(1)]})
    one = w.fed_router(b, "--https", "127.0.0.1:0")
    two = w.router("--feed", "unix:" + b.path, "--token-file", w.path("token"), "--id", "r2", "--https", "127.0.0.1:0")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        b.set("tickets", "all", {"keys": [ticket_key(1)]})
        wait_for(lambda: {x.get("router") for x in b.reports if x.get("revision", 0) >= b.revision} >= {"r1", "r2"}, "both")
        with dial(one, "a.test", version=version) as t:
            get(t, "a.test")
            assert not t.session_reused
            session = (t.context_used, t.session)
        assert resumed(one, session) and resumed(two, session)
        b.set("tickets", "all", {"keys": [ticket_key(2), ticket_key(1)]})
        wait_for(lambda: {x.get("router") for x in b.reports if x.get("revision", 0) >= b.revision} >= {"r1", "r2"}, "both")
        assert resumed(two, session), "the old key is still taken"
        b.set("tickets", "all", {"keys": [ticket_key(3)]})
        wait_for(lambda: {x.get("router") for x in b.reports if x.get("revision", 0) >= b.revision} >= {"r1", "r2"}, "both")
        assert not resumed(two, session), "a key that is gone is not"


def staples(w):
    b = w.broker()
    b.put("a.test", w.instance("a"))
    pem = record(w, "a.test")
    for name in ("chain", "key"):
        with open(w.path(name), "w") as f:
            f.write(pem[name])
    with open(w.path("index"), "w") as f:
        serial = subprocess.run(["openssl", "x509", "-noout", "-serial", "-in", w.path("chain")], capture_output=True, text=True, check=True).stdout
        f.write(f"V\t491231235959Z\t\t{serial.strip().split('=')[1]}\tunknown\t/CN=a.test\n")
    subprocess.run(["openssl", "ocsp", "-issuer", w.path("chain"), "-cert", w.path("chain"), "-reqout", w.path("req"), "-no_nonce"], check=True, capture_output=True)
    subprocess.run(["openssl", "ocsp", "-index", w.path("index"), "-rsigner", w.path("chain"), "-rkey", w.path("key"), "-CA", w.path("chain"),
                    "-reqin", w.path("req"), "-respout", w.path("resp"), "-ndays", "1"], check=True, capture_output=True)
    b.set("cert", "a.test", {**pem, "staple": base64.b64encode(open(w.path("resp"), "rb").read()).decode()})
    r = w.fed_router(b, "--https", "127.0.0.1:0")
    b.wait_applied(b.revision)
    out = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{r.tls_port}", "-servername", "a.test", "-status"],
                         input="", capture_output=True, text=True).stdout
    assert "OCSP Response Status: successful" in out, out


def challenges_by_alpn(w):
    b = w.broker()
    b.put("a.test", w.instance("a"))
    b.set("cert", "a.test", record(w, "a.test"))
    b.set("cert", "*.b.test", record(w, "*.b.test"))
    b.set("cert", "acme-tls/1 a.test", record(w, "acme-tls/1 a.test", "challenge.test"))
    r = w.fed_router(b, "--https", "127.0.0.1:0")
    b.wait_applied(b.revision)
    with dial(r, "a.test", alpn=["acme-tls/1"]) as t:
        assert t.selected_alpn_protocol() == "acme-tls/1"
        assert names_of(ssl.DER_cert_to_PEM_cert(t.getpeercert(True))) == ["challenge.test"]
    with dial(r, "a.test", alpn=["h2", "http/1.1"]) as t:
        assert t.selected_alpn_protocol() == "h2"
        assert names_of(ssl.DER_cert_to_PEM_cert(t.getpeercert(True))) == ["a.test"]
    for name in ("x.b.test", "other.test"):
        try:
            dial(r, name, alpn=["acme-tls/1"]).close()
            raise AssertionError(name + ": nobody asked for that")
        except ssl.SSLError:
            pass


def challenges_by_http(w):
    """What an authority asks is answered whatever the owner set; all else goes to the application."""
    def challenge(host, token, **more):
        return {"host": host, "token": token, "answer": token + ".key", **more}

    b, path = w.broker(), "/.well-known/acme-challenge/"
    b.put("a.test", w.instance("a"))
    b.change([{**route("b.test", w.instance("b")), "options": {"maintenance": True}}])
    for host, token in (("a.test", "T-_1"), ("b.test", "T2"), ("no.test", "T3")):
        b.set("challenge", f"{host}/{token}", challenge(host, token))
    for key, value in (("a.test/other", challenge("a.test", "T9")), ("a.test/x y", challenge("a.test", "x y")),
                       ("a.test/T8", challenge("a.test", "T8", answer="a\r\nb"))):
        b.set("challenge", key, value)
    r = w.fed_router(b, "--https", "127.0.0.1:0")
    b.wait_applied(b.revision)
    for host, token in (("a.test", "T-_1"), ("A.test:80", "T-_1"), ("b.test", "T2"), ("no.test", "T3")):
        a = r.get(host, path + token)
        assert a.status == 200 and a.body == (token + ".key").encode() and a.headers["content-type"] == "text/plain", (host, a.body)
    for target in ("other", "T9", "T8", "T2", "", "T-_1/", "T-_1?", "x%20y", "T" * 2000):
        assert r.get("a.test", path + target).body == b"a", target
    assert r.get("a.test", path + "T-_1", method="POST").body == b"a"
    a = r.get("b.test", path + "T-_1")
    assert a.status == 503, (a.status, a.body)
    with dial(r, "a.test") as t:
        t.sendall(f"GET {path}T-_1 HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        assert Answer(t).read().body == b"T-_1.key"
    b.wait_applied(b.set("challenge", "a.test/T-_1", None))
    assert r.get("a.test", path + "T-_1").body == b"a"
    b.stop()
    r.stop()
    r = w.fed_router(b, "--https", "127.0.0.1:0")
    assert r.get("b.test", path + "T2").body == b"T2.key", "it knows them without a broker"


def profiles(w):
    make_certificate(w.path("first.pem"), "first.test")
    args = ("--https", "127.0.0.1:0", "--cert", w.path("first.pem"))
    r = w.static_router([("a.test", w.instance("a"))], *args, "--tls-profile", "modern")
    assert dial(r, "a.test").version() == "TLSv1.3"
    try:
        dial(r, "a.test", version=ssl.TLSVersion.TLSv1_2)
        raise AssertionError("TLS 1.2 with the modern profile")
    except ssl.SSLError:
        pass
    r.stop()
    r = w.static_router([("a.test", w.instance("a"))], *args)
    assert dial(r, "a.test", version=ssl.TLSVersion.TLSv1_2).version() == "TLSv1.2"


# --- TLS to instances ---


def server_tls(w, version=None):
    """A context for an instance: .asked: the names that clients asked for; .seen: (resumed, version) of each handshake's end."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(make_certificate(w.path("instance.pem"), "nobody.test"))
    c.set_alpn_protocols(["h2", "http/1.1"])
    c.asked = []
    c.sni_callback = lambda s, name, ctx: c.asked.append(name)
    if version:
        c.minimum_version = c.maximum_version = version
    return c


def tell_tls(i, s, head, rest):
    """Answers with what it was asked; /close ends; /upgrade becomes an echo; a body comes back."""
    path = head.split()[1]
    if path == b"/upgrade":
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := s.recv(65536):
            s.sendall(data)
        return False
    if path == b"/close":
        s.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")
        return False  # without close_notify
    m = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
    while m and len(rest) < int(m[1]):
        rest += s.recv(65536)
    body = rest or f"{s.version()} {s.selected_alpn_protocol()} {s.session_reused}".encode()
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    return True


def instances_by_tls(w):
    for version, name in ((ssl.TLSVersion.TLSv1_3, b"TLSv1.3"), (ssl.TLSVersion.TLSv1_2, b"TLSv1.2")):
        tls = server_tls(w, version)
        i = w.instance("a", tell_tls, tls=tls)
        r = w.static_router([("a.test", i), ("b.test", i), ("127.0.0.9", i)], threads=1)
        for _ in range(3):
            assert r.get("a.test").body == name + b" http/1.1 False"
        assert i.connections == 1 and tls.asked == ["a.test"], (i.connections, tls.asked)
        assert r.get("b.test").body == name + b" http/1.1 False" and tls.asked == ["a.test", "b.test"], tls.asked
        assert r.get("127.0.0.9").status == 200 and tls.asked[2] is None, tls.asked  # RFC 6066 3
        assert i.connections == 3
        with r.connect() as s:
            s.sendall(b"GET /close HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert Answer(s).read().body == b"until the end"
        assert r.get("a.test").body == name + b" http/1.1 False"  # the last session is of another name
        with r.connect() as s:
            s.sendall(b"GET /close HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert Answer(s).read().body == b"until the end"
        assert r.get("a.test").body == name + b" http/1.1 True", "the session is used again"
        big = os.urandom(3000000)
        with r.connect() as s:
            threading.Thread(target=lambda: s.sendall(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(big) + big)).start()
            assert Answer(s).read().body == big
        with r.connect() as s:
            s.sendall(b"GET /upgrade HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
            a = Answer(s)
            assert a.read().status == 101 and a.take(5) == b"early"
            threading.Thread(target=s.sendall, args=(big,)).start()
            assert a.take(len(big)) == big
            s.shutdown(socket.SHUT_WR)
            assert not a.more()
        r.stop()
        i.stop()


def stall(i, s, head, rest):
    return False


def handshakes_that_fail(w):
    """Who does not speak TLS, breaks off, says nothing, knows old versions only; and who closes an idle connection."""
    def listen(fn):
        s = socket.create_server(("127.0.0.1", 0))

        def run():
            with contextlib.suppress(OSError):
                while True:
                    c, _ = s.accept()
                    threading.Thread(target=fn, args=(c,), daemon=True).start()
        threading.Thread(target=run, daemon=True).start()
        w.ends.append(lambda: (s.shutdown(socket.SHUT_RDWR), s.close()))
        return s.getsockname()[1]

    def reset(c):
        c.recv(1)
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()

    old = server_tls(w)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    warnings.simplefilter("ignore", DeprecationWarning)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1

    def old_tls(c):
        with contextlib.suppress(OSError):
            old.wrap_socket(c, server_side=True)

    plain = listen(lambda c: (c.recv(1000), c.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"), c.close()))
    ports = {"plain": plain, "ends": listen(lambda c: (c.recv(1000), c.close())), "resets": listen(reset),
             "stalls": listen(lambda c: None), "old": listen(old_tls)}
    lone = socket.socket()
    lone.bind(("127.0.0.1", 0))  # nobody listens
    ports["lone"] = lone.getsockname()[1]
    good = w.instance("good", tls=server_tls(w))
    with open(w.path("routes"), "w") as f:
        for name, port in ports.items():
            f.write(f"{name}.test https://127.0.0.1:{port}\n")
        f.write(f"both.test https://127.0.0.1:{ports['ends']} https://127.0.0.1:{good.port}\n")
    r = w.router("--routes", w.path("routes"), "--connect-timeout", "1", "--access-log", w.path("access.log"), threads=1)
    for name, status, why in (("plain", 502, "does not speak TLS, though its cartridge says so"),
                              ("ends", 502, "closed the connection within the TLS handshake"),
                              ("resets", 502, "broke the connection off within the TLS handshake"),
                              ("stalls", 504, "did not accept a connection in time"),
                              ("old", 502, "speaks no TLS that is 1.2 or newer"),
                              ("lone", 502, "does not accept connections")):
        a = r.get(name + ".test")
        assert a.status == status, (name, a.status)
        line = wait_for(lambda: [l for l in open(w.path("access.log")) if f"host={name}.test" in l], "the line of " + name)[0]
        assert why in line, (name, line)
    assert {r.get("both.test").status for _ in range(10)} == {200}
    closing = w.instance("closing", stall, tls=server_tls(w))
    w.write_routes([("closing.test", closing)])
    wait_for(lambda: r.get("both.test").status == 404, "the new table")
    assert r.get("closing.test").status == 502


def tls_by_the_feed(w):
    """A path by TLS beside a plain address; kept over a restart without the broker."""
    b = w.broker()
    tls, plain = w.instance("tls", tls=server_tls(w)), w.instance("plain")
    revision = b.change([route("a.test", plain, paths=["/in"]), route("a.test/in", tls, tls=True, backend="/in"), route("b.test", plain)])
    r = w.fed_router(b, threads=1)
    b.wait_applied(revision)

    def all_as_said(r):
        got = [r.get(host, path).body for host, path in (("a.test", "/"), ("b.test", "/"), ("a.test", "/in/x"))]
        assert got == [b"plain", b"plain", b"tls"], got

    all_as_said(r)
    b.stop()
    r.stop()
    r = r.start()
    all_as_said(r)
    b.start()
    b.wait_applied(b.put("a.test", tls, tls=True))
    assert r.get("a.test").body == b"tls"
    b.wait_applied(b.put("a.test", plain))
    assert r.get("a.test").body == b"plain"


run_tests([instances_by_tls, handshakes_that_fail, tls_by_the_feed, files_by_name, bad_files, certificates_of_the_feed, tickets_are_shared, staples, challenges_by_alpn, challenges_by_http, profiles])
