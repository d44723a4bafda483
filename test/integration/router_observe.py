#!/usr/bin/python3
"""What the router tells of its requests: metrics, the access log, the reports to the broker."""
import json, os, re, socket, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

TOKEN = "metrics-secret"


def slow(ms, body=b"slow"):
    def handler(i, c, head, rest):
        time.sleep(ms / 1000)
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return True
    return handler


def failing(i, c, head, rest):
    c.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    return True


def echo_tunnel(i, c, head, rest):
    c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    while data := c.recv(65536):
        c.sendall(data)
    return False


def metered(w, *args):
    with open(w.path("metrics-token"), "w") as f:
        f.write(TOKEN + "\n")
    return ["--metrics", "unix:" + w.path("metrics.sock"), "--metrics-token-file", w.path("metrics-token"),
            "--traffic-interval", "50", *args]


def ask(w, token=TOKEN, path="/metrics"):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(w.path("metrics.sock"))
        s.settimeout(DEADLINE)
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n".encode())
        return Answer(s).read()


def metrics(w):
    a = ask(w)
    assert a.status == 200, a.status
    out = {}
    for line in a.body.decode().splitlines():
        if not line.startswith("#"):
            m = re.fullmatch(r'([a-z_]+(?:\{[^}]*\})?) (-?[0-9.e+-]+)', line)
            assert m, line
            assert m[1] not in out, line
            out[m[1]] = float(m[2])
    return out


def upgrade(r, host):
    s = r.connect()
    s.sendall(f"GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode())
    a = Answer(s).read()
    assert a.status == 101, a.status
    return s


def metrics_need_the_token(w):
    w.static_router([("a.test", w.instance("i"))], *metered(w))
    assert ask(w, "wrong").status == 401
    assert ask(w, path="/").status == 404
    assert ask(w).headers["content-type"].startswith("text/plain; version=0.0.4")
    assert (os.stat(w.path("metrics.sock")).st_mode & 0o777) == 0o600
    with contextlib.suppress(AssertionError):
        Router(w.dir, "--routes", w.path("routes"), "--metrics", "127.0.0.1:0").start()
        raise SystemExit("metrics without a token are served")
    assert "metrics-token-file" in open(w.path("router.log")).read()


def metrics_count(w):
    r = w.static_router([("a.test", w.instance("i")), ("b.test", w.instance("bad", failing))], *metered(w))
    for _ in range(5):
        assert r.get("a.test", method="POST", body=b"12345").status == 200
    assert r.get("b.test").status == 500
    assert r.get("nobody.test").status == 404
    m = metrics(w)
    n = "pinion_router_"
    assert m[n + 'requests_total{code="2xx"}'] == 5 and m[n + 'requests_total{code="4xx"}'] == 1, m
    assert m[n + 'requests_total{code="5xx"}'] == 1, m
    assert m[n + "request_duration_seconds_count"] == 7 and m[n + 'request_duration_seconds_bucket{le="+Inf"}'] == 7
    assert m[n + "app_duration_seconds_count"] == 6
    assert m[n + "received_bytes_total"] == 25
    assert m[n + "connections_total"] == 7 and m[n + "routes"] == 2
    assert m[n + "upstream_connections_total"] >= 2 and m["process_resident_memory_bytes"] > 0
    buckets = [v for k, v in m.items() if k.startswith(n + "request_duration_seconds_bucket")]
    assert buckets == sorted(buckets)
    for app, code, count in ("a", "2xx", 5), ("b", "5xx", 1):  # each lane tells in its own time
        wait_for(lambda: metrics(w).get(n + f'app_requests_total{{app_id="{app}.test",app="",code="{code}"}}') == count, f"counts of {app}.test")
    m = metrics(w)
    assert m[n + 'app_concurrency{app_id="a.test",app=""}'] == 0


def routes_are_bounded(w):
    one = w.instance("i")
    r = w.static_router([(f"h{i}.test", one) for i in range(20)], *metered(w, "--metrics-apps", "5"))
    for i in range(20):
        for _ in range(1 + (i < 5)):
            assert r.get(f"h{i}.test").status == 200
    name = "pinion_router_app_request_seconds_total"
    def shown():
        m = metrics(w)
        return m.get('pinion_router_app_requests_total{app_id="other",app="",code="2xx"}') == 15 and \
            sorted(k for k in m if k.startswith(name))
    ids = wait_for(shown, "those beyond five as one")
    assert ids == sorted([f'{name}{{app_id="h{i}.test",app=""}}' for i in range(5)] + [f'{name}{{app_id="other",app=""}}'])


def lines(w, n):
    def read():
        text = open(w.path("access.log")).read().splitlines()
        return len(text) >= n and text
    return wait_for(read, f"{n} lines of the access log")


def log_tells_where_the_time_went(w):
    gone = w.instance("gone")
    gone.stop()
    make_certificate(w.path("cert"), "a.test")
    r = w.static_router([("a.test", w.instance("i", slow(100))), ("dead.test", gone)],
                        "--access-log", w.path("access.log"), "--access-log-format", "json", "--https", "127.0.0.1:0", "--cert", w.path("cert"))
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    assert r.get("a.test", headers=["User-Agent: me \"x\"", "Traceparent: " + trace]).status == 200
    assert r.get("dead.test").status == 502
    told = lambda n: sorted(map(json.loads, lines(w, n)), key=lambda l: l["time"])  # lanes write on their own
    ok, dead = told(2)
    assert ok["status"] == 200 and ok["app_us"] >= 100000 > ok["router_us"] and ok["connect_us"] > 0, ok
    assert ok["router_us"] + ok["queue_us"] + ok["connect_us"] + ok["retry_us"] + ok["app_us"] <= ok["us"], ok
    assert ok["user_agent"] == 'me "x"' and ok["traceparent"] == trace and ok["version"] == "1.1" and ok["tls_us"] == 0, ok
    assert dead["status"] == 502 and dead["tries"] == 1 and "does not accept" in dead["reason"] and dead["app_us"] == 0, dead
    tls = ssl_client(r)
    tls.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n" * 2)
    for _ in range(2):
        Answer(tls).read()
    first, second = told(4)[2:]
    assert first["tls_us"] > 0 and second["tls_us"] == 0 and first["proto"] == "https", (first, second)


def ssl_client(r):
    import ssl
    c = ssl.create_default_context()
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    return c.wrap_socket(socket.create_connection(("127.0.0.1", r.tls_port), DEADLINE), server_hostname="a.test")


def log_tells_of_tunnels(w):
    r = w.static_router([("a.test", w.instance("i", echo_tunnel))], *metered(w, "--access-log", w.path("access.log")))
    with upgrade(r, "a.test") as s:
        s.sendall(b"x" * 1000)
        got = b""
        while len(got) < 1000:
            got += s.recv(65536)
        wait_for(lambda: metrics(w).get('pinion_router_app_concurrency{app_id="a.test",app=""}') == 1, "the tunnel")
    line = lines(w, 1)[0]
    assert " status=101 bytes=1000 in=1000 " in line, line
    m = metrics(w)
    assert m["pinion_router_tunnel_duration_seconds_count"] == 1 and m["pinion_router_tunnel_duration_seconds_sum"] > 0
    assert m["pinion_router_request_duration_seconds_count"] == 0 and m["pinion_router_app_duration_seconds_count"] == 1
    wait_for(lambda: metrics(w).get('pinion_router_app_concurrency{app_id="a.test",app=""}') == 0, "its end")
    assert metrics(w)['pinion_router_app_request_seconds_total{app_id="a.test",app=""}'] == 0  # no latency


def combined_log(w):
    r = w.static_router([("a.test", w.instance("i"))], "--access-log", w.path("access.log"), "--access-log-format", "combined")
    assert r.get("a.test", "/p?q", headers=["Referer: http://r.test/", "User-Agent: me"]).status == 200
    line = lines(w, 1)[0]
    assert re.fullmatch(r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET /p\?q HTTP/1\.1" 200 1 "http://r\.test/" "me"', line), line


def broker_is_told(w):
    b = w.broker()
    inst = w.instance("i", slow(30))
    b.put("a.test", inst)
    rev = b.put("asleep.test")
    r = w.fed_router(b, "--traffic-interval", "50")
    b.wait_applied(rev)
    told = lambda: [a for rep in b.traffic for a in rep.get("apps", [])]
    assert r.get("asleep.test").status == 503
    first = wait_for(told, "an application")[0]
    assert first["ago_ms"] == -1 and first.get("errors") == 1, first  # the router's own answer is no use of the application
    for _ in range(4):
        assert r.get("a.test").status == 200
    wait_for(lambda: sum(a.get("requests", 0) for a in told()) == 5, "all requests, each once")
    rest = [a for a in told() if a.get("requests") and not a.get("errors")]
    assert all(a["id"] == "a1" and a["ago_ms"] >= 0 for a in rest), rest
    assert sum(a["us"] for a in rest) >= 4 * 30000, rest
    places = [p.split(":") for a in rest for p in a["took"].split()]
    assert sum(int(n) for _, n in places) == 4 and all(int(p) >= 28 for p, _ in places), places
    n = len(b.traffic)
    wait_for(lambda: len(b.traffic) > n + 1 and not b.traffic[-1].get("apps"), "a quiet second without applications")


run_tests([metrics_need_the_token, metrics_count, routes_are_bounded, log_tells_where_the_time_went, log_tells_of_tunnels,
           combined_log, broker_is_told])
