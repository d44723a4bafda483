#!/usr/bin/python3
"""Certificates of the router: by host, by file and by feed, replaced under open connections; session
tickets that routers share; stapled OCSP responses; profiles."""
import base64, os, ssl, subprocess, sys
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


run_tests([files_by_name, bad_files, certificates_of_the_feed, tickets_are_shared, staples, challenges_by_alpn, challenges_by_http, profiles])
