#!/usr/bin/python3
"""CPU of the reports of traffic by application: a router with many routes, of which few, some or all have requests between two
reports. Prints ms of CPU of the control thread for a report.
usage: traffic_reports.py PINION-ROUTER [ROUTES [APPLICATIONS...]]"""
import os, socket, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../test/lib"))
os.environ.setdefault("PINION_BUILDDIR", os.path.dirname(os.path.abspath(sys.argv[1])))
from router_world import *

ROUTES = int(sys.argv[2]) if len(sys.argv) > 2 else 100000
COUNTS = [int(a) for a in sys.argv[3:]] or [10, 1000, ROUTES]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BATCH = 64


def serve(c):
    rest = b""
    while data := c.recv(1 << 16):
        n = (rest + data).count(b"\r\n\r\n")
        rest = (rest + data).rpartition(b"\r\n\r\n")[2]
        c.sendall(ANSWER * n)


def cpu_ms(pid):
    """Of the control thread: it is the first one."""
    with open(f"/proc/{pid}/task/{pid}/schedstat", encoding="ascii") as f:
        return int(f.read().split()[0]) / 1e6


def ask(s, names):
    for at in range(0, len(names), BATCH):
        some = names[at:at + BATCH]
        s.sendall(b"".join(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % n for n in some))
        seen = b""
        while seen.count(b"\r\n\r\nok") < len(some):
            seen += s.recv(1 << 16)


def measure(w, count):
    b = w.broker()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    ends = [{"id": "i1", "address": "127.0.0.1", "port": port}]
    b.change([dict(route(f"h{i}.test"), app_id=f"{i:024x}", state="live", endpoints=ends) for i in range(ROUTES)])
    r = w.fed_router(b, "--traffic-interval", "60000" if count > 10000 else "1000", threads=1)
    b.wait_applied(b.revision)
    names = [b"h%d.test" % i for i in range(count)]
    told = lambda: sum(len(t["apps"]) for t in b.traffic)
    with r.connect() as s:
        rounds = 1 if count > 10000 else 5
        before, reports, used = cpu_ms(r.p.pid), len(b.traffic), 0
        for _ in range(rounds):
            want = told() + count
            ask(s, names)
            wait_for(lambda: told() >= want, "a report of all", 120)
        used = cpu_ms(r.p.pid) - before
        reports = sum(not t.get("more") for t in b.traffic[reports:])
    print(f"{ROUTES} routes, {count} with traffic: {used / rounds:.2f} ms of CPU for their reports "
          f"({reports} in all)", flush=True)


for n in COUNTS:
    with World() as w:
        measure(w, n)
