#!/usr/bin/python3
"""An instance or a client fails at each point of a request: the status, what the client sees, and the
reason in the access log."""
import os, socket, struct, sys, types
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *

GET = "GET /{n} HTTP/1.1\r\nHost: {host}\r\n\r\n"
POST = "POST /{n} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 10\r\n\r\n"


def reset(c):
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


def says(data, then="close"):
    """A handler that sends data and then closes, resets, or waits for the router's end."""
    def handler(i, c, head, rest):
        c.sendall(data)
        if then == "reset":
            reset(c)
        elif then == "wait":
            while c.recv(65536):
                pass
        return False
    return handler


OK = b"HTTP/1.1 200 OK\r\n"
CUT = "The application closed the connection within its answer."
# name, handler, request, status (None: a cut answer), reason
POINTS = [
    ("closes without an answer", says(b""), POST, 502, "The application closed the connection without an answer."),
    ("resets without an answer", says(b"", "reset"), POST, 502, "The application closed the connection without an answer."),
    ("closes without an answer, each time", says(b""), GET, 502, "The application closed the connection without an answer."),
    ("closes within the head", says(b"HTTP/1.1 200 O"), GET, 502, "The application closed the connection within the head of its answer."),
    ("resets within the head", says(b"HTTP/1.1 200 O", "reset"), GET, 502, None),
    ("closes behind an interim answer", says(b"HTTP/1.1 103 Hints\r\n\r\n"), GET, 502, "The application closed the connection within the head of its answer."),
    ("says nothing", says(b"", "wait"), GET, 504, "The application did not answer in time."),
    ("stalls within the head", says(OK, "wait"), GET, 504, "The application did not answer in time."),
    ("speaks another protocol", says(b"220 mail ESMTP\r\n", "wait"), GET, 502, "The version is not of the form HTTP/1.1."),
    ("gives two lengths", says(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "wait"), GET, 502, "Content-Length is given more than once."),
    ("switches protocols unasked", says(b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "wait"), GET, 502, "The application switched protocols unasked."),
    ("closes within the body", says(OK + b"Content-Length: 9\r\n\r\nab"), GET, None, CUT),
    ("resets within the body", says(OK + b"Content-Length: 9\r\n\r\nab", "reset"), GET, None, None),
    ("closes within a chunk", says(OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nab"), GET, None, CUT),
    ("sends a bad chunk", says(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabXX", "wait"), GET, None, "A chunk does not end where its size says."),
    ("stalls within the body", says(OK + b"Content-Length: 9\r\n\r\nab", "wait"), GET, None, "The rest of the application's answer did not arrive in time."),
]


def lines_of(w, path):
    return [l for l in open(w.path("access.log"), errors="replace").read().splitlines() if f"path={path} " in l]


def check_log(w, path, status, reason):
    line = wait_for(lambda: lines_of(w, path), "the line of " + path)[0]
    assert f" status={status} " in line, line
    if reason:
        assert line.endswith(f'reason="{reason}"'), line
    else:
        assert "reason=" in line, line


def faulty_world(w, lines, *args):
    return w.static_router(lines, "--access-log", w.path("access.log"), "--request-timeout", "1", "--connect-timeout", "1",
                           "--head-timeout", "1", "--body-max", "1000", *args)


def ask(r, data):
    s = r.connect()
    s.sendall(data.encode())
    return s, Answer(s)


def every_point_of_the_answer(w):
    hosts = [(f"p{n}.test", w.instance(f"p{n}", point[1])) for n, point in enumerate(POINTS)]
    r = faulty_world(w, hosts)
    asked = []
    for n, (name, _, request, status, reason) in enumerate(POINTS):
        data = request.format(n=n, host=f"p{n}.test") + ("0123456789" if request == POST else "")
        asked.append((n, name, status, reason, *ask(r, data)))
    for n, name, status, reason, s, a in asked:
        try:
            while a.read().status < 200:
                pass
            assert status is not None, f"{name}: the answer seems whole: {a.body!r}"
            assert a.status == status, f"{name}: {a.status} {a.body}"
        except (ConnectionError, OSError) as e:
            assert status is None, f"{name}: {e!r}"
        s.close()
        check_log(w, f"/{n}", status or 200, reason)
    return f"{len(POINTS)} points"


def the_way_to_the_instance(w):
    gone = w.instance("gone")
    gone.stop()
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    endpoint = types.SimpleNamespace(address="127.0.0.1", port=full.getsockname()[1])
    fill = [socket.socket() for _ in range(4)]
    for f in fill:
        f.setblocking(False)
        f.connect_ex(full.getsockname())
    r = faulty_world(w, [("gone.test", gone), ("full.test", endpoint)])
    for n, (host, status, reason) in enumerate([
            ("gone.test", 502, "The application does not accept connections."),
            ("full.test", 504, "The application did not accept a connection in time."),
            ("nobody.test", 404, "There is no application at this address.")]):
        s, a = ask(r, GET.format(n=n, host=host))
        assert a.read().status == status, (host, a.status)
        s.close()
        check_log(w, f"/{n}", status, reason)
    for s in [full, *fill]:
        s.close()


def the_client_fails(w):
    def big(i, c, head, rest):
        c.sendall(OK + b"Content-Length: 100000000\r\n\r\n")
        for _ in range(100):
            c.sendall(bytes(1000000))
        return True

    def quiet(i, c, head, rest):
        while c.recv(1000):
            continue
        return False

    r = faulty_world(w, [("a.test", w.instance("a")), ("quiet.test", w.instance("quiet", quiet)),
                         ("big.test", w.instance("big", big))])
    s, a = ask(r, "GET /head HTTP/1.1\r\nHost: a.te")
    assert a.read().status == 408 and b"head of the request" in a.body
    s.close()
    check_log(w, "-", 408, "The head of the request did not arrive in time.")
    s, a = ask(r, POST.format(n="body", host="quiet.test") + "abc")
    assert a.read().status == 408, a.status
    s.close()
    check_log(w, "/body", 408, "The rest of the request did not arrive in time.")
    s, _ = ask(r, POST.format(n="gone", host="quiet.test") + "abc")
    s.close()
    check_log(w, "/gone", 499, "The client left within the body of its request.")
    s, a = ask(r, GET.format(n="left", host="big.test"))
    a.more()
    reset(s)
    check_log(w, "/left", 499, "The client left before it had the answer.")
    s, a = ask(r, GET.format(n="slow", host="big.test"))
    a.more()
    check_log(w, "/slow", 200, "The client did not take the answer in time.")
    s.close()
    s, a = ask(r, POST.format(n="large", host="a.test").replace(": 10", ": 1001"))
    assert a.read().status == 413
    s.close()
    check_log(w, "/large", 413, "The body of the request is larger than this router accepts.")


def states_of_the_application(w):
    b = w.broker()
    i = w.instance("a")
    b.change([route("stopped.test", i, state="stopped"), route("empty.test"), route("ok.test", i)])
    r = w.fed_router(b, "--access-log", w.path("access.log"))
    b.wait_applied(b.revision)
    for n, (host, status) in enumerate([("stopped.test", 503), ("empty.test", 503), ("ok.test", 200)]):
        s, a = ask(r, GET.format(n=n, host=host))
        assert a.read().status == status, (host, a.status)
        s.close()
    check_log(w, "/0", 503, "The application is stopped. Its owner can start it.")
    check_log(w, "/1", 503, "The application has no running instance.")
    assert "reason=" not in wait_for(lambda: lines_of(w, "/2"), "the last line")[0]


run_tests([every_point_of_the_answer, the_way_to_the_instance, the_client_fails, states_of_the_application])
