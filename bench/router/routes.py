#!/usr/bin/env python3
"""Tables of 1,000 to 1,000,000 routes: memory of a route, CPU of a request, how soon a change is seen and what it costs,
what is lost by changes, and latency while they go on.

    bench/router/routes.py [--json] [--sizes 1000,100000,1000000] [--changes 100000]

Needs what run.sh needs."""
import argparse
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import routers

HERE = pathlib.Path(__file__).resolve().parent
HOSTS_BASE = 1000


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def build(directory):
    for name in ("load", "upstream"):
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", directory / name, HERE / f"{name}.c", "-lssl", "-lcrypto", "-lm"], check=True)


class Echo:
    """An instance that upgrades and sends back what comes."""

    def __init__(self):
        self.s = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = "127.0.0.1:%d" % self.s.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            c, _ = self.s.accept()
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        head = b""
        while b"\r\n\r\n" not in head:
            head += c.recv(4096)
        c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while data := c.recv(4096):
            c.sendall(data)


class Kept:
    """Connections that are open all the time: a WebSocket, or keep-alive."""

    def __init__(self, port, host, upgrades):
        self.s = socket.create_connection(("127.0.0.1", port), 10)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host, self.upgrades = host, upgrades
        if upgrades:
            self.s.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
            if b" 101 " not in self.s.recv(4096):
                sys.exit("the WebSocket was refused")

    def works(self):
        try:
            if self.upgrades:
                self.s.sendall(b"ping")
                return self.s.recv(100) == b"ping"
            self.s.sendall(f"GET /10 HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
            data = b""
            while b"\r\n\r\n" not in data:
                more = self.s.recv(4096)
                if not more:
                    return False
                data += more
            return b" 200 " in data.split(b"\r\n")[0]
        except OSError:
            return False


class Cell:
    def __init__(self, o, directory):
        self.o, self.dir = o, directory
        self.upstream_port = free_port()
        self.upstream = subprocess.Popen(["taskset", "-c", "1", directory / "upstream", str(self.upstream_port)])

    def start(self, n, *more):
        table = routers.instances(self.dir, n, self.upstream_port, endpoints=min(n, HOSTS_BASE))
        with open(table.path, "a") as f:
            f.writelines(line + "\n" for line in more)
        pem = self.dir / "pem"
        if not pem.exists():
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                            "-keyout", self.dir / "key", "-out", self.dir / "crt", "-subj", "/CN=bench"], check=True, stderr=subprocess.DEVNULL)
            pem.write_bytes((self.dir / "crt").read_bytes() + (self.dir / "key").read_bytes())
        r = routers.pinion(pathlib.Path(os.environ.get("PINION_BUILDDIR", HERE.parent.parent)), table, pem,
                           (free_port(), free_port()), self.dir)
        begun = time.monotonic()
        r.start("app0.apps.test")
        return r, table, time.monotonic() - begun

    def load(self, r, table, *args):
        out = subprocess.run(["taskset", "-c", "1", self.dir / "load", *map(str, args), str(r.port), table.path], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        return json.loads(out)

    def cpu(self, r, table):
        """µs of a request, over all hosts in turn."""
        self.load(r, table, "-c", 64, "-d", 1)
        values = []
        for _ in range(self.o.rounds):
            before = r.cpu()
            done = self.load(r, table, "-c", 64, "-d", self.o.seconds)
            values.append((r.cpu() - before) / done["requests"] * 1e6)
        return statistics.median(values)

    def change(self, r, table):
        """Lines at the end of the file, one at a time: until a request finds the host, on a connection that is open."""
        s = socket.create_connection(("127.0.0.1", r.port), 10)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        took, cpu = [], []
        for i in range(self.o.probes):
            host, before = f"new{i}.apps.test", r.cpu()
            request = f"GET /10 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            fd = os.open(table.path, os.O_WRONLY | os.O_APPEND)
            os.write(fd, f"{host} 127.1.0.1:{self.upstream_port}\n".encode())
            begun = time.perf_counter()
            os.close(fd)
            tries = 0
            while True:
                s.sendall(request)
                tries += 1
                data = s.recv(65536)
                if b" 200 " in data[:15]:
                    break
                if b"\r\nConnection: close" in data:
                    s.close()
                    s = socket.create_connection(("127.0.0.1", r.port), 10)
                if time.perf_counter() - begun > 30:
                    sys.exit("the change was never seen: " + repr(data[:200]))
            took.append(time.perf_counter() - begun)
            cpu.append((r.cpu() - before) / tries)
            time.sleep(0.02)
        s.close()
        return statistics.median(took) * 1e3, statistics.median(cpu) * 1e3

    def changes(self, r, table, n, seconds=None):
        """Appends n changes of hosts that exist, as fast as it goes, or evenly over seconds."""
        begun, batch = time.monotonic(), 1 if seconds else 100
        for i in range(0, n, batch):
            with open(table.path, "a") as f:
                f.writelines(f"app{(i + k) % 1000}.apps.test 127.1.{(i // 1000) % 4}.{(i + k) % 250}:{self.upstream_port}\n" for k in range(batch))
            if seconds:
                time.sleep(max(0, begun + seconds * i / n - time.monotonic()))

    def loss(self, n):
        """Changes with WebSockets and kept connections open, and requests all the while."""
        echo = Echo()
        r, table, _ = self.start(n, f"echo.apps.test {echo.address}", f"kept.apps.test 127.1.0.1:{self.upstream_port}")
        try:
            kept = [Kept(r.port, "echo.apps.test", True) for _ in range(50)] + [Kept(r.port, "kept.apps.test", False) for _ in range(50)]
            hosts = self.dir / "first"
            hosts.write_text("".join(f"app{i}.apps.test x\n" for i in range(1000)))
            t = threading.Thread(target=self.changes, args=(r, table, self.o.changes))
            t.start()
            requests = failed = 0
            while t.is_alive():
                done = json.loads(subprocess.run(["taskset", "-c", "1", self.dir / "load", "-c", "16", "-d", "1", str(r.port), hosts],
                                                 check=True, stdout=subprocess.PIPE, text=True).stdout)
                requests, failed = requests + done["requests"], failed + done["failed"]
            t.join()
            return {"changes": self.o.changes, "requests": requests, "failed": failed, "cut": sum(not k.works() for k in kept)}
        finally:
            r.stop()

    def latency(self, n):
        """p99.9 at half of what it can do, without and with 1,000 changes a second."""
        r, table, _ = self.start(n)
        hosts = self.dir / "first"
        hosts.write_text("".join(f"app{i}.apps.test x\n" for i in range(1000)))
        table.path, whole = hosts, table.path
        try:
            most = self.load(r, table, "-c", 64, "-d", 2)["requests"] / 2
            seconds, quiet, busy = 5, [], []
            for _ in range(self.o.rounds):
                quiet.append(self.load(r, table, "-c", 64, "-d", seconds, "-r", int(most / 2))["p999_us"])
                there = routers.Table.__new__(routers.Table)
                there.path = whole
                t = threading.Thread(target=self.changes, args=(r, there, 1000 * seconds, seconds))
                t.start()
                busy.append(self.load(r, table, "-c", 64, "-d", seconds, "-r", int(most / 2))["p999_us"])
                t.join()
            return {"rate": int(most / 2), "p999_us": statistics.median(quiet), "p999_changing_us": statistics.median(busy),
                    "ratio": round(statistics.median(busy) / statistics.median(quiet), 2)}
        finally:
            r.stop()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--json", action="store_true", help="nothing but the figures, as JSON")
    p.add_argument("--sizes", default="1000,100000,1000000")
    p.add_argument("--changes", type=int, default=100000)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=1.5)
    p.add_argument("--probes", type=int, default=25)
    o = p.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="pinion-routes-"))
    cell, rows, first = None, {}, None
    try:
        build(directory)
        cell = Cell(o, directory)
        for n in map(int, o.sizes.split(",")):
            r, table, took = cell.start(n)
            try:
                row = {"start_s": round(took, 2), "mib": round(r.memory() / 2**20, 1)}
                first = first or (n, r.memory())
                if n > first[0]:
                    row["bytes_per_route"] = round((r.memory() - first[1]) / (n - first[0]))
                row["cpu_us"] = round(cell.cpu(r, table), 2)
                row["change_ms"], row["change_cpu_ms"] = (round(x, 3) for x in cell.change(r, table))
            finally:
                r.stop()
            rows[f"routes_{n}"] = row
            say(n, row)
        rows["loss"] = cell.loss(100000)
        say("loss", rows["loss"])
        rows["latency"] = cell.latency(100000)
        say("latency", rows["latency"])
    finally:
        if cell:
            cell.upstream.kill()
            cell.upstream.wait()
        shutil.rmtree(directory)
    print(json.dumps(rows, indent=None if o.json else 4))


main()
