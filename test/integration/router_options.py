#!/usr/bin/python3
"""What an owner sets about a route, each option over HTTP/1.1, TLS and HTTP/2."""
import base64, gzip, hashlib, os, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

WAYS = {"plain": ["--http1.1"], "tls": ["--http1.1", "-k"], "h2": ["--http2", "-k"]}
TEXT = b"All work and no play makes a dull page. " * 5000


class Reply:
    def __init__(self, raw):
        head, self.body = raw.split(b"\r\n\r\n", 1)
        while head.split()[1].startswith(b"1"):
            head, self.body = self.body.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.fields = [(k.lower(), v.strip()) for k, v in (l.split(":", 1) for l in lines[1:])]
        self.headers = dict(self.fields)


def ask(r, way, host, path="/", *args, data=None):
    scheme, port = ("http", r.port) if way == "plain" else ("https", r.tls_port)
    out = subprocess.run(["curl", "-s", "-i", "--path-as-is", "--max-time", "20", *WAYS[way], *args, "--resolve", f"{host}:{port}:127.0.0.1",
                          f"{scheme}://{host}:{port}{path}"], input=data, stdout=subprocess.PIPE)
    assert out.stdout, (way, host, path, args, out.returncode)
    return Reply(out.stdout)


def hashed(password, salt="00ff"):
    key = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 100)
    return f"pbkdf2-sha256$100${salt}${key.hex()}"


def echo(i, c, head, rest):
    """Answers with what it was asked; /status/N so; /text a page that compresses, in pieces."""
    path = head.split()[1].decode()
    m = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
    while m and len(rest) < int(m[1]):
        rest += c.recv(65536)
    while b"\r\ntransfer-encoding" in head.lower() and not rest.endswith(b"0\r\n\r\n"):
        data = c.recv(65536)
        if not data:
            return False
        rest += data
    if path == "/stall":
        c.recv(1)
        return False
    fields, body, status = b"", i.name.encode() + b"\n" + head, b"200 OK"
    if path.startswith("/status/"):
        status = path[8:].encode() + b" So"
    if path.startswith("/text"):
        body, fields = TEXT, b"Content-Type: text/html\r\nETag: \"v1\"\r\nX-Powered-By: it\r\n"
    if path == "/sts":
        fields = b"Strict-Transport-Security: max-age=5\r\n"
    if path == "/text/gz":
        body, fields = gzip.compress(TEXT), fields + b"Content-Encoding: gzip\r\n"
    if path == "/text/kept":
        fields += b"Cache-Control: public, no-transform\r\n"
    if path == "/text/part":
        status, fields = b"206 Partial Content", fields + b"Content-Range: bytes 0-9/100\r\n"
    if path == "/text/small":
        body = b"small"
    if path == "/text/chunks":
        c.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%s\r\n" % fields)
        for at in range(0, len(TEXT), 7777):
            piece = TEXT[at:at + 7777]
            c.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        c.sendall(b"0\r\n\r\n")
        return True
    if head.startswith(b"HEAD "):
        body = b""
    c.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), fields, body))
    return True


def world(w, *args, **hosts):
    """A router with a route for each: host name → options. args: more options of its own."""
    app, other = w.instance("app", echo), w.instance("other", echo)
    with open(w.path("routes"), "w") as f:
        f.write(f"other.test {other.address}:{other.port}\n")
        for host, options in hosts.items():
            words = [f"{k}={v if isinstance(v, str) else json.dumps(v, separators=(',', ':'))}" for k, v in options.items()]
            f.write(f"{host}.test {'127.0.0.1:1' if host == 'dead' else f'{app.address}:{app.port}'} {' '.join(words)}\n")
    cert = make_certificate(w.path("cert.pem"), "*.test")
    return w.router("--routes", w.path("routes"), "--https", "127.0.0.1:0", "--cert", cert, *args, threads=1)


def each_way(fn):
    def run(w):
        for way in WAYS:
            fn(w, way)
    run.__name__ = fn.__name__
    return run


def maintenance(w):
    r = world(w, shut={"maintenance": True, "maintenance_page": "<h1>Back\u00a0soon</h1>{request_id}"},
              mine={"maintenance": True, "maintenance_retry_s": 7, "maintenance_allow": ["127.0.0.0/8"]},
              theirs={"maintenance": True, "maintenance_retry_s": 7, "maintenance_allow": ["::1"]})
    for way in WAYS:
        a = ask(r, way, "shut.test")
        assert a.status == 503 and a.headers["retry-after"] == "60" and a.body.startswith("<h1>Back\u00a0soon</h1>".encode()), a.body
        assert a.body.decode().endswith(a.headers["x-request-id"])
        a = ask(r, way, "shut.test", "/", "-H", "Accept: application/json")
        assert json.loads(a.body)["status"] == 503
        assert ask(r, way, "mine.test").status == 200
        assert ask(r, way, "theirs.test").headers["retry-after"] == "7"


def allow_list(w):
    r = world(w, here={"allow": ["127.0.0.1", "2001:db8::/32"]}, away={"allow": ["10.0.0.0/8", "2001:db8::/32"]})
    for way in WAYS:
        assert ask(r, way, "here.test").status == 200
        assert ask(r, way, "away.test").status == 403


def basic_auth(w):
    users = [{"name": "ann", "hash": hashed("s3:cret")}, {"name": "bob", "hash": hashed("x", "01")}]
    r = world(w, open={}, shut={"auth_users": users, "auth_realm": "inner"}, hides={"auth_users": users, "auth_hides": True})
    for way in WAYS:
        a = ask(r, way, "shut.test")
        assert a.status == 401 and a.headers["www-authenticate"] == 'Basic realm="inner", charset="UTF-8"', a.headers
        for _ in range(2):  # the second one is remembered
            a = ask(r, way, "shut.test", "/", "-u", "ann:s3:cret")
            assert a.status == 200 and b"uthorization: Basic" in a.body
        assert ask(r, way, "shut.test", "/", "-u", "bob:x").status == 200
        assert b"uthorization" not in ask(r, way, "hides.test", "/", "-u", "ann:s3:cret").body
    for bad in ("ann:no", "eve:s3:cret", "ann:"):
        assert ask(r, "plain", "shut.test", "/", "-u", bad).status == 401, bad
    for bad in ("Bearer x", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"nocolon").decode(), "Basic " + "A" * 4000,
                "Basic " + base64.b64encode(b"ann:s3:cret\0").decode()):
        assert ask(r, "plain", "shut.test", "/", "-H", "Authorization: " + bad).status == 401, bad
    statuses = {r.get("shut.test", headers=["Authorization: Basic " + base64.b64encode(b"ann:%d" % i).decode()]).status for i in range(60)}
    assert statuses == {401, 429}, statuses
    assert ask(r, "plain", "shut.test", "/", "-u", "ann:s3:cret").status == 200  # who is known is not slowed


def rate(w):
    for way in WAYS:
        with World() as own:
            r = world(own, slow={"rate": 1, "rate_s": 3600, "rate_burst": 2}, free={"rate": 1000})
            assert [ask(r, way, "slow.test").status for _ in range(3)] == [200, 200, 429]
            a = ask(r, way, "slow.test")
            assert 3500 <= int(a.headers["retry-after"]) <= 3601 and a.headers["ratelimit-limit"] == "2", a.headers
            assert a.headers["ratelimit-remaining"] == "0" and a.headers["ratelimit-reset"] == a.headers["retry-after"]
            assert ask(r, way, "free.test").status == 200


def sizes(w):
    r = world(w, small={"body_max": 1000})
    for way in ("plain", "tls"):
        for more in ([], ["-H", "Transfer-Encoding: chunked"]):
            assert ask(r, way, "small.test", "/", "--data-binary", "@-", *more, data=b"x" * 1000).status == 200
            a = ask(r, way, "small.test", "/", "--data-binary", "@-", *more, data=b"x" * 1001)
            assert a.status == 413 and b"application accepts" in a.body, (way, more, a.status)
    with r.connect() as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: small.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(11):
            s.sendall(b"64\r\n" + b"x" * 100 + b"\r\n")
        assert Answer(s).read().status == 413


def time_limits(w):
    r = world(w, quick={"body_s": 1, "answer_s": 1})
    for way in WAYS:
        assert ask(r, way, "quick.test", "/stall").status == 504
    with r.connect() as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: quick.test\r\nContent-Length: 1000\r\n\r\n")
        end = threading.Event()

        def drip():  # each byte alone would keep it alive
            while not end.wait(0.2):
                with contextlib.suppress(OSError):
                    s.sendall(b"x")

        t = threading.Thread(target=drip)
        t.start()
        assert Answer(s).read().status == 408
        end.set()
        t.join()


def header_rules(w):
    rules = [{"op": "set", "name": "X-Tier", "value": "gold"}, {"op": "remove", "name": "Cookie"},
             {"op": "add", "name": "X-Many", "value": "two"}, {"response": True, "op": "remove", "name": "X-Powered-By"},
             {"response": True, "op": "set", "name": "X-Frame-Options", "value": "DENY"},
             {"response": True, "op": "add", "name": "Cache-Control", "value": "private"}]
    r = world(w, rules={"headers": rules})
    for way in WAYS:
        seen = ask(r, way, "rules.test", "/", "-H", "X_Tier: lead", "-H", "x-tier: tin", "-H", "Cookie: a=b", "-H", "X-Many: one").body.lower()
        assert seen.count(b"tier: gold") == 1 and b"lead" not in seen and b"tin\r" not in seen and b"cookie" not in seen, seen
        assert b"x-many: one" in seen and b"x-many: two" in seen
        a = ask(r, way, "rules.test", "/text")
        assert a.body == TEXT and "x-powered-by" not in a.headers
        assert a.headers["x-frame-options"] == "DENY" and a.headers["cache-control"] == "private"


def redirects(w):
    rules = [{"path": "/old", "to": "/new", "status": 301}, {"path": "/blog/*", "to": "https://blog.test/*", "status": 308},
             {"path": "/r/*", "to": "/*"}, {"host": "elsewhere.test", "path": "/*", "to": "/no"}]
    r = world(w, moved={"redirects": rules})
    for way in WAYS:
        for path, status, to in (("/old", 301, "/new"), ("/old?a=1", 301, "/new"), ("/blog/a/b?c", 308, "https://blog.test/a/b?c"),
                                 ("/blog/", 308, "https://blog.test/"), ("/r//evil.test/x", 302, "/evil.test/x")):
            a = ask(r, way, "moved.test", path)
            assert (a.status, a.headers.get("location")) == (status, to), (path, a.status, a.headers)
        for path in ("/older", "/old/", "/blog", "/"):
            assert ask(r, way, "moved.test", path).status == 200, path


def error_pages(w):
    pages = [{"status": 502, "body": "<p>ours</p>{status}"}, {"status": 404, "body": "<p>lost</p>"}]
    r = world(w, dead={"error_pages": pages[:1]}, both={"error_pages": pages, "error_pages_for_app": True})
    for way in WAYS:
        a = ask(r, way, "dead.test")
        assert a.status == 502 and a.body == b"<p>ours</p>502", (a.status, a.body)
        a = ask(r, way, "both.test", "/status/404")
        assert a.status == 404 and a.body == b"<p>lost</p>", (a.status, a.body)
        assert ask(r, way, "both.test", "/status/410").body.startswith(b"app\n")
        assert ask(r, way, "both.test", "/").status == 200


def paths_and_shares(w):
    r = world(w, main={"paths": [{"path": "/shop", "host": "other.test", "strips": True}, {"path": "/shop/raw", "host": "other.test"}]},
              all={"weights": [{"host": "other.test", "weight": 100}]}, none={"weights": [{"host": "other.test", "weight": 0}]},
              lost={"paths": [{"path": "/x", "host": "nobody.test"}]},
              locked={"allow": ["10.0.0.0/8"]}, around={"paths": [{"path": "/in", "host": "locked.test"}]})
    for way in WAYS:
        for path, name, seen in (("/", "app", "/"), ("/shop", "other", "/"), ("/shop?q", "other", "/?q"), ("/shop/a?b", "other", "/a?b"),
                                 ("/shop/raw/x", "other", "/shop/raw/x"), ("/shopping", "app", "/shopping")):
            a = ask(r, way, "main.test", path)
            assert a.body.startswith(f"{name}\nGET {seen} HTTP/1.1\r\n".encode()), (path, a.body)
        assert ask(r, way, "all.test").body.startswith(b"other\n") and ask(r, way, "none.test").body.startswith(b"app\n")
        assert ask(r, way, "lost.test", "/x").status == 404 and ask(r, way, "lost.test", "/y").status == 200
        assert ask(r, way, "around.test", "/in").status == 403  # its own rules hold there, too


def sticky(r, way, host, path="/", cookie=None, *args):
    """An answer and the cookie that came with it, or None."""
    a = ask(r, way, host, path, *(["-H", "Cookie: " + cookie] if cookie else []), *args)
    new = [v for k, v in a.fields if k == "set-cookie"]
    assert len(new) <= 1, new
    return a, new[0] if new else None


def sticky_sessions(w):
    apps = [w.instance(f"i{k}", echo) for k in range(4)]
    ends = " ".join(f"{i.address}:{i.port}" for i in apps)
    w.instance("other", echo)
    r = world(w, path={"paths": [{"path": "/shop", "host": "other.test"}], "sticky_cookie": "GEAR"}, free={})
    with open(w.path("routes"), "a") as f:
        f.write(f"st.test {ends} sticky_cookie=GEAR\nlong.test {ends} sticky_cookie=S sticky_s=600\n")
    r.p.send_signal(signal.SIGHUP)
    wait_for(lambda: ask(r, "plain", "long.test").status == 200, "the new routes")
    for way in WAYS:
        a, new = sticky(r, way, "st.test")
        m = re.fullmatch(r"GEAR=([0-9a-f]{16}-[0-9a-f]{8}); Path=/; HttpOnly; SameSite=Lax(; Secure)?", new)
        assert m and bool(m[2]) == (way != "plain"), new
        assert ("cache-control", "private") in a.fields
        name = a.body.split(b"\n")[0]
        for _ in range(8):
            a, again = sticky(r, way, "st.test", "/", f"a=1; GEAR={m[1]}; b=2")
            assert a.body.startswith(name + b"\n") and again is None and "cache-control" not in a.headers, (a.body, again)
            assert b"GEAR" not in a.body and b"ookie: a=1; b=2\r\n" in a.body, a.body
        seen = {sticky(r, way, "st.test")[0].body.split(b"\n")[0] for _ in range(60)}
        assert len(seen) > 1, seen
        for bad in ("GEAR=x", "GEAR=0123456789abcdef-00000000", "GEAR=", f"gear={m[1]}"):
            assert sticky(r, way, "st.test", "/", bad)[1], bad
        assert sticky(r, way, "long.test")[1].replace("; Secure", "").endswith("; Path=/; HttpOnly; SameSite=Lax; Max-Age=600")
        assert sticky(r, way, "free.test", "/", f"GEAR={m[1]}")[1] is None
        a, new = sticky(r, way, "path.test", "/shop/x")
        assert a.body.startswith(b"other\n") and "; Path=/shop; " in new, new
        assert "; Path=/; " in sticky(r, way, "path.test", "/")[1]
    a, new = sticky(r, "plain", "st.test")
    name, cookie = a.body.split(b"\n")[0], new.split(";")[0]
    next(i for i in apps if i.name.encode() == name).stop()
    a, new = sticky(r, "plain", "st.test", "/", cookie)
    assert a.status == 200 and not a.body.startswith(name + b"\n"), a.body
    assert new and new.split(";")[0][-8:] == cookie[-8:] and new.split(";")[0] != cookie, (cookie, new)
    b, again = sticky(r, "plain", "st.test", "/", new.split(";")[0])
    assert b.body.split(b"\n")[0] == a.body.split(b"\n")[0] and again is None


def a_websocket_is_sticky(w):
    def upgrade(i, c, head, rest):
        c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n" + i.name.encode())
        return False
    apps = [w.instance(f"i{k}", upgrade) for k in range(3)]
    with open(w.path("routes"), "w") as f:
        f.write("ws.test " + " ".join(f"{i.address}:{i.port}" for i in apps) + " sticky_cookie=GEAR\n")
    r = w.router("--routes", w.path("routes"), threads=1)

    def handshake(cookie=b""):
        with r.connect() as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: ws.test\r\nUpgrade: x\r\nConnection: Upgrade\r\n" + cookie + b"\r\n")
            got = b""
            while data := s.recv(4096):
                got += data
        return got
    first = handshake()
    cookie = re.search(rb"\r\nSet-Cookie: (GEAR=[^;]+);", first)[1]
    for _ in range(6):
        again = handshake(b"Cookie: " + cookie + b"\r\n")
        assert again[-2:] == first[-2:] and b"Set-Cookie" not in again, again


def from_address(k):
    return f"127.0.{1 + k // 200}.{1 + k % 200}"


def canaries_take_a_share_of_the_clients(w):
    old, new = w.instance("old", echo), w.instance("new", echo)
    cert, version = make_certificate(w.path("cert.pem"), "*.test"), 0

    def table(percent, sticky=""):
        with open(w.path("routes"), "w") as f:
            f.write(f"c.test {old.address}:{old.port} {sticky} canary={percent} {new.address}:{new.port}\nv{version}.test {old.address}:{old.port}\n")
    table(20)
    r = w.router("--routes", w.path("routes"), "--https", "127.0.0.1:0", "--cert", cert, threads=1)

    def reload(*args):
        nonlocal version
        version += 1
        table(*args)
        r.p.send_signal(signal.SIGHUP)
        wait_for(lambda: ask(r, "plain", f"v{version}.test").status == 200, "the new table")

    def who(k, way="plain", *args):
        return ask(r, way, "c.test", "/", "--interface", from_address(k), *args).body.split(b"\n")[0].decode()
    def takers():
        return {k for k in range(100) if who(k) == "new"}
    twenty = takers()
    assert 8 <= len(twenty) <= 34, len(twenty)
    one, none = min(twenty), min(set(range(100)) - twenty)
    for way in WAYS:
        assert [who(one, way) for _ in range(5)] == ["new"] * 5 and [who(none, way) for _ in range(5)] == ["old"] * 5
    reload(50)
    fifty = takers()
    assert twenty < fifty and 34 <= len(fifty) <= 66, (twenty - fifty, len(fifty))
    reload(100)
    assert who(none) == "new"
    reload(0)
    assert who(one) == "old"
    reload(20, "sticky_cookie=GEAR")
    cookies = {}
    for k in (one, none):
        _, cookies[k] = sticky(r, "plain", "c.test", "/", None, "--interface", from_address(k))
        cookies[k] = cookies[k].split(";")[0]
    for a, b in ((one, none), (none, one)):  # another address, the same client
        got, again = sticky(r, "plain", "c.test", "/", cookies[a], "--interface", from_address(b))
        assert got.body.split(b"\n")[0].decode() == ("new" if a == one else "old") and again is None, (got.body, again)
    reload(0, "sticky_cookie=GEAR")  # the share decides, then the cookie
    got, again = sticky(r, "plain", "c.test", "/", cookies[one])
    assert got.body.startswith(b"old\n") and again
    reload(20)
    new.stop()
    assert who(one) == "old"  # who cannot be served there is served
    return f"{len(twenty)} and {len(fifty)} of 100 clients by 20 and 50 %"


def compression(w):
    r = world(w, zip={"compress": True}, off={})
    for way in WAYS:
        for accept, coding in (("gzip", "gzip"), ("gzip, br", "br"), ("br;q=0.5, gzip;q=0.8", "gzip"), ("*", "br"), ("br;q=0, *", "gzip"),
                               ("", None), ("identity", None), ("gzip;q=0", None), ("identity, gzip;q=0.5", None), ("gzip;q=nonsense", None)):
            for path in ("/text", "/text/chunks"):
                a = ask(r, way, "zip.test", path, "-H", "Accept-Encoding: " + accept if accept else "Accept-Encoding:")
                assert a.headers.get("content-encoding") == coding, (way, accept, a.headers)
                assert a.headers["vary"] == "Accept-Encoding"
                if coding == "gzip":
                    assert gzip.decompress(a.body) == TEXT
                assert a.headers["etag"] == ('W/"v1"' if coding else '"v1"')
        for path in ("/text", "/text/chunks"):
            for accept in ("br", "gzip"):
                a = ask(r, way, "zip.test", path, "--compressed", "-H", "Accept-Encoding: " + accept)
                assert a.body == TEXT, (path, accept)
        for path in ("/text/kept", "/text/part", "/text/small", "/"):
            assert "content-encoding" not in ask(r, way, "zip.test", path, "-H", "Accept-Encoding: gzip, br").headers, path
        assert gzip.decompress(ask(r, way, "zip.test", "/text/gz", "-H", "Accept-Encoding: gzip, br").body) == TEXT
        assert "content-encoding" not in ask(r, way, "zip.test", "/text", "-I", "-H", "Accept-Encoding: gzip").headers
        a = ask(r, way, "off.test", "/text", "-H", "Accept-Encoding: gzip")
        assert "vary" not in a.headers and a.headers["content-length"] == str(len(TEXT))


CHALLENGE = "/.well-known/acme-challenge/another-token"


def https(w):
    r = world(w, go={"https": "redirect"}, must={"https": "require"}, off={"https": "off"}, up={"redirects": [{"path": "/*", "to": "https://up.test/*"}]},
              inner={"https": "redirect", "maintenance": True, "allow": ["127.0.0.1"]},
              outer={"paths": [{"path": "/in", "host": "inner.test", "strips": True}]})
    for way in ("tls", "h2"):
        assert ask(r, way, "go.test").status == 200 and ask(r, way, "must.test").status == 200
        a = ask(r, way, "off.test")
        assert a.status == 403 and b"not served by https" in a.body
        assert ask(r, way, "outer.test", "/in/x").status == 503
        assert ask(r, way, "up.test", "/a?b", "-H", "Host: up.test").status == 200  # where it leads already
    for host, path in (("go.test", "/a//b?c=d"), ("inner.test", "/"), ("outer.test", "/in/x")):
        a = ask(r, "plain", host, path)
        assert (a.status, a.headers.get("location")) == (301, f"https://{host}:{r.tls_port}{path}"), (host, a.status, a.headers)
        a = ask(r, "plain", host, path, "-H", "Host: " + host.upper(), "-H", "X-Forwarded-Proto: https", "-H", "X_Forwarded-Proto: https")
        assert (a.status, a.headers.get("location")) == (301, f"https://{host.upper()}{path}"), (host, a.status, a.headers)
        assert ask(r, "plain", host, path, "-I").status == 301
        for method in ("POST", "PUT", "OPTIONS"):
            assert ask(r, "plain", host, path, "-X", method, "--data", "x").status == 308
    assert r.get("go.test", "*", method="OPTIONS").headers["location"] == "https://go.test"
    assert ask(r, "plain", "up.test", "/a?b").headers["location"] == "https://up.test/a?b"
    a = ask(r, "plain", "must.test")
    assert a.status == 403 and b"to be reached by https" in a.body
    assert ask(r, "plain", "off.test").status == 200
    for host in ("go.test", "must.test"):
        assert ask(r, "plain", host, CHALLENGE).status == 200


def https_behind_a_balancer(w):
    """A trusted proxy says by what a request came."""
    r = world(w, "--trusted-proxies", "127.0.0.0/8", go={"https": "redirect", "hsts_s": 60}, up={"redirects": [{"path": "/*", "to": "https://up.test/*"}]})
    for said in ("X-Forwarded-Proto: https", "Forwarded: for=192.0.2.1;proto=https"):
        a = ask(r, "plain", "go.test", "/", "-H", said)
        assert a.status == 200 and a.headers["strict-transport-security"] == "max-age=60"
        assert ask(r, "plain", "up.test", "/x", "-H", said, "-H", "X-Forwarded-Host: up.test").status == 200
    for way in WAYS:
        a = ask(r, way, "go.test", "/x", "-H", "X-Forwarded-Proto: http", "-H", "X-Forwarded-Host: shop.example:81")
        assert (a.status, a.headers["location"]) == (301, "https://shop.example/x") and "strict-transport-security" not in a.headers, a.headers
    assert ask(r, "plain", "go.test", "/x", "-H", "X-Forwarded-Host: [2001:db8::1]:80").headers["location"] == "https://[2001:db8::1]/x"
    assert ask(r, "plain", "go.test", "/x", "-H", "X-Forwarded-Host: [2001:db8::1]").headers["location"] == "https://[2001:db8::1]/x"


def hsts(w):
    r = world(w, short={"hsts_s": 60}, long={"hsts_s": 31536000, "hsts_subdomains": True, "hsts_preload": True}, off={"rate": 1000},
              shut={"hsts_s": 60, "maintenance": True},
              set={"hsts_s": 60, "headers": [{"response": True, "op": "set", "name": "Strict-Transport-Security", "value": "max-age=9"}]})
    for way in ("tls", "h2"):
        for host, path, value in (("short.test", "/", "max-age=60"), ("short.test", "/status/404", "max-age=60"), ("short.test", "/sts", "max-age=5"),
                                  ("long.test", "/", "max-age=31536000; includeSubDomains; preload"), ("off.test", "/", None),
                                  ("off.test", "/sts", "max-age=5"), ("shut.test", "/", "max-age=60"), ("set.test", "/", "max-age=9")):
            assert [v for k, v in ask(r, way, host, path).fields if k == "strict-transport-security"] == ([value] if value else []), (way, host, path)
    for host in ("short.test", "long.test", "shut.test"):  # RFC 6797 7.2
        assert "strict-transport-security" not in ask(r, "plain", host).headers


def routes_to_https(w):
    """What cartridges ask for (tohttps): a path, and a whole address; with an owner's options beside, and asleep."""
    b = w.broker()
    i = w.instance("app", echo)
    revision = b.change([route("all.test", i, answer="to_https"), route("held.test", state="parked", answer="to_https"),
                         route("some.test", i, paths=["/safe"]), route("some.test/safe", i, answer="to_https", backend="/inner"),
                         route("opts.test", i, answer="to_https", options={"hsts_s": 60, "headers": [{"op": "remove", "name": "X-Y"}]}),
                         route("front.test", i, options={"paths": [{"path": "/x", "app": "all", "host": "all.test", "strips": True}]})])
    cert = make_certificate(w.path("cert.pem"), "*.test")
    r = w.fed_router(b, "--https", "127.0.0.1:0", "--cert", cert, threads=1)
    b.wait_applied(revision)
    for host, path, seen in (("all.test", "/a?b", "/a?b"), ("some.test", "/safe/y?z", "/inner/y?z"), ("opts.test", "/c", "/c"), ("front.test", "/x/d", "/d")):
        a = ask(r, "plain", host, path)
        assert (a.status, a.headers.get("location")) == (302, f"https://{host}:{r.tls_port}{path}"), (host, a.status, a.headers)
        assert "strict-transport-security" not in a.headers
        for way in ("tls", "h2"):
            a = ask(r, way, host, path)
            assert a.status == 200 and b" " + seen.encode() + b" HTTP" in a.body, (host, a.body)
    assert ask(r, "plain", "held.test").status == 302
    assert ask(r, "plain", "all.test", CHALLENGE).status == 200 and ask(r, "plain", "some.test").status == 200
    r.stop()
    r = w.fed_router(b, threads=1)  # it has no https to send anybody to
    b.wait_applied(revision)
    assert r.get("all.test").status == 200 and r.get("some.test", "/safe").status == 200
    r.stop()
    r = w.fed_router(b, "--trusted-proxies", "127.0.0.1", threads=1)  # who stands before it has
    b.wait_applied(revision)
    a = r.get("all.test", "/x", ["X-Forwarded-Proto: http"])
    assert (a.status, a.headers["location"]) == (302, "https://all.test/x")
    assert r.get("all.test", "/x", ["X-Forwarded-Proto: https"]).status == 200


def options_by_the_feed(w):
    """They come, change and go with one update; what is saved has them, too."""
    b = w.broker()
    i = w.instance("app", echo)

    def put(**options):
        record = route("shop.test", i)
        if options:
            record["options"] = options
        b.wait_applied(b.change([record]))

    b.put("shop.test", i)
    r = w.fed_router(b, threads=1)
    put(maintenance=True)
    assert r.get("shop.test").status == 503
    put(allow=["10.0.0.0/8"])
    assert r.get("shop.test").status == 403
    b.stop()
    r.stop()
    r = r.start()
    assert r.get("shop.test").status == 403
    b.start()
    put()
    assert r.get("shop.test").status == 200


run_tests([maintenance, allow_list, basic_auth, rate, sizes, time_limits, header_rules, redirects, error_pages, paths_and_shares,
           sticky_sessions, a_websocket_is_sticky, canaries_take_a_share_of_the_clients, compression,
           https, https_behind_a_balancer, hsts, routes_to_https, options_by_the_feed])
