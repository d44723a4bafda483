"""What pinion-router costs beside HAProxy, on this machine, in pairs.

A cell is measured pair by pair: our router and HAProxy (each one thread, on processor 0; clients and
upstream on processor 1) get the same load one after the other, who begins changes from pair to pair. The
ratio of a pair is that of what was used: processor time for a request, a handshake or a GB. A cell tells the
median of the pairs' ratios with its 95 % interval (by order statistics). A pair in which others used more
than --noise of processor 0 is measured again, up to as many times as there are pairs; what remains noisy
counts, and the table says so. Where that is allowed, all runs with a high priority.

usage: run.sh [--cells NAME,…] [--pairs N] [--seconds N] [--noise PERCENT] [--json FILE] [--list]
"""
import argparse
import contextlib
import json
import math
import os
import pathlib
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))
import routers
from lib.world import World, build_dir

UPSTREAM = 7101
HOSTS = 1000
GB = 1 << 30
LOADS = {  # name: options of load, TLS, our target
    "ka": ("-c 64", False, 0.60),
    "rate20k": ("-c 256 -r 20000", False, 0.75),
    "rate": ("-c 256 -r 4000", False, None),
    "close": ("-c 64 -x", False, 0.78),
    "log_ka": ("-c 64", False, 0.75),
    "log_rate20k": ("-c 256 -r 20000", False, 0.75),
    "tls_ka": ("-c 64", True, 0.75),
    "tls_hs": ("-c 64 -x", True, 0.85),
}
STREAMS = {  # name: to the application, TLS
    "down": (False, False),
    "up": (True, False),
    "tls_down": (False, True),
    "tls_up": (True, True),
}
TARGETS = {"h2": 1.0, "h2_tls": 1.0, "down": 0.85, "up": 0.85, "tls_down": 0.85, "tls_up": 0.85, "threads": 1.1}
MEMORY = {"idle": (False, 400), "tls_idle": (True, 10000)}
ABOUT = {
    "ka": "a request, keep-alive, closed loop",
    "rate20k": "a request, open loop, 20,000/s",
    "rate": "a request, open loop, 4,000/s",
    "close": "a request, a connection each",
    "log_ka": "the same as ka, access logs on",
    "log_rate20k": "the same as rate20k, access logs on",
    "tls_ka": "a request, TLS 1.3, keep-alive",
    "tls_hs": "a request with a full handshake",
    "h2": "a request, HTTP/2 without TLS in front, 1 KB",
    "h2_tls": "a request, HTTP/2 over TLS in front, 1 KB",
    "down": "1 GB to the client", "up": "1 GB to the application",
    "tls_down": "1 GB to the client, TLS", "tls_up": "1 GB to the application, TLS",
    "gears": "a request, open loop, 4,000/s, to 8 gears",
    "threads": "a request, 20,000/s: two threads against one",
    "idle": "bytes for an idle connection", "tls_idle": "bytes for an idle connection, TLS",
    "routes": "tables of 1,000 to 1,000,000 routes",
}
ORDER = [*LOADS, "h2", "h2_tls", *STREAMS, "gears", "threads", *MEMORY, "routes"]


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def interval(values):
    """Bounds of the median with at least 95 %, by order statistics; all there is with few values."""
    v, n = sorted(values), len(values)
    k, tail = 0, 0.5 ** n
    while k < n // 2 and 2 * (tail + math.comb(n, k + 1) * 0.5 ** n) <= 0.05:
        k += 1
        tail += math.comb(n, k) * 0.5 ** n
    return v[k], v[n - 1 - k]


class Bench:
    def __init__(self, options):
        self.o = options
        self.build = build_dir("pinion-router")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pinion-router-bench."))
        self.running, self.next_port, self.upstream = [], 8200, None
        self.rows = {}
        for name in ("load", "upstream"):
            subprocess.run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-o", self.dir / name, HERE / f"{name}.c",
                            "-lssl", "-lcrypto", "-lm"], check=True)
        self.pem = self.dir / "cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                        "-subj", "/CN=apps.test", "-addext", "subjectAltName=DNS:*.apps.test", "-keyout", self.dir / "key.pem",
                        "-out", self.dir / "only.pem"], check=True, stderr=subprocess.DEVNULL)
        self.pem.write_bytes((self.dir / "only.pem").read_bytes() + (self.dir / "key.pem").read_bytes())
        self.table = routers.instances(self.dir, HOSTS, UPSTREAM)
        self.upstream = subprocess.Popen(["taskset", "-c", "1", self.dir / "upstream", str(UPSTREAM)])

    def close(self):
        for r in self.running:
            r.stop()
        if self.upstream is not None:
            self.upstream.kill()
            self.upstream.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def ports(self):
        self.next_port += 2
        return self.next_port, self.next_port + 1

    def start(self, router, host="app1.apps.test"):
        self.running.append(router)
        return router.start(host)

    def stop_all(self):
        for r in self.running:
            r.stop()
        self.running.clear()

    def both(self, table=None, log=False):
        table = table or self.table
        host = table.rows[1][0]
        ours = routers.pinion(self.build, table, self.pem, self.ports(), self.dir, log="pinion.access" if log else None)
        theirs = routers.haproxy(table, self.pem, self.ports(), self.dir, log=log)
        return self.start(ours, host), self.start(theirs, host)

    # --- one measurement: what a unit of work costs in seconds, and what else was seen ---

    def work(self, router, argv, count, cpu):
        """Runs argv; count tells the units that its output names. Noise: others' share of the router's processor."""
        before, machine, t = router.cpu(), routers.machine_seconds(cpu), time.monotonic()
        done = subprocess.run(["taskset", "-c", "1", *map(str, argv)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=120)
        used, wall = router.cpu() - before, time.monotonic() - t
        noise = max(0.0, (routers.machine_seconds(cpu) - machine - used) / wall) if cpu is not None else 0.0
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, argv))}: {done.stdout[-300:]}{done.stderr[-300:]}")
        units, more = count(done.stdout)
        if units == 0:  # starved
            return {"cost": 0.0, "noise": 1.0, **more}
        return {"cost": used / units, "noise": noise, **more}

    def load(self, router, options, tls, table=None, cpu=0):
        def count(out):
            j = json.loads(out)
            if j["failed"]:
                sys.exit(f"{router.name}: {j}")
            return j["requests"], {"p50_us": j["p50_us"], "p99_us": j["p99_us"], "rps": j["rps"]}
        argv = [self.dir / "load", *options.split(), "-d", self.o.seconds, *(["-t"] if tls else []),
                router.tls if tls else router.port, (table or self.table).path]
        return self.work(router, argv, count, cpu)

    def h2load(self, router, tls):
        def count(out):
            m = re.search(r"requests: (\d+) total, .* (\d+) succeeded, (\d+) failed", out)
            if m is None or int(m[3]):
                sys.exit(f"{router.name}: {out[-500:]}")
            return int(m[2]), {}
        port = router.tls if tls else router.port
        return self.work(router, ["h2load", "-t1", "-c16", "-m16", "-D", max(1, round(self.o.seconds)), "-H", ":authority: app1.apps.test",
                                  "--connect-to", f"127.0.0.1:{port}", f"http{'s' * tls}://app1.apps.test:{port}/"], count, 0)

    def stream(self, router, up, tls):
        def count(out):
            status, size = out.split()
            if status != "200" or int(size) != GB:
                sys.exit(f"{router.name}: {out}")
            return 1, {}
        port = router.tls if tls else router.port
        argv = ["curl", "-sSk", "--http1.1", "-o", "/dev/null", "-w", f"%{{http_code}} %{{size_{'upload' if up else 'download'}}}",
                "--connect-to", f"::127.0.0.1:{port}", "-H", "Expect:", "-m", "100"]
        argv += ["-T", self.zeros(), "-X", "PUT"] if up else []
        return self.work(router, argv + [f"http{'s' * tls}://app1.apps.test/{1 if up else GB}"], count, 0)

    def zeros(self):
        path = self.dir / "zeros"
        with open(path, "ab") as f:
            f.truncate(GB)
        return path

    # --- cells ---

    def pairs(self, name, measure, ours, theirs, unit=1e6):
        """measure(router) for both, in turn."""
        kept, again, end = [], self.o.pairs, time.monotonic() + self.o.minutes * 60
        for r in (ours, theirs):
            measure(r)  # warm
        i = 0
        while len(kept) < self.o.pairs and time.monotonic() < end:
            order = (ours, theirs) if i % 2 == 0 else (theirs, ours)
            got = {id(r): measure(r) for r in order}
            a, b = got[id(ours)], got[id(theirs)]
            i += 1
            noise = max(a["noise"], b["noise"])
            if a["cost"] == 0 or b["cost"] == 0:
                continue
            if noise * 100 > self.o.noise and again > 0:
                again -= 1
                continue
            kept.append((a, b, noise))
        if not kept:
            sys.exit(f"{name}: no pair within {self.o.minutes} minutes")
        ratios = [a["cost"] / b["cost"] for a, b, _ in kept]
        low, high = interval(ratios)
        target = LOADS[name][2] if name in LOADS else TARGETS.get(name)
        row = {"what": ABOUT[name], "ours": statistics.median(a["cost"] for a, _, _ in kept) * unit,
               "theirs": statistics.median(b["cost"] for _, b, _ in kept) * unit, "ratio": statistics.median(ratios),
               "low": low, "high": high, "target": target, "pairs": len(kept), "repeated": self.o.pairs - again,
               "noisy": sum(n * 100 > self.o.noise for _, _, n in kept), "unit": "us" if unit == 1e6 else "s"}
        for key in ("p50_us", "p99_us", "rps"):
            if key in kept[0][0]:
                row[key] = [round(statistics.median(x[k][key] for x in kept)) for k in (0, 1)]
        self.keep(name, row)

    def keep(self, name, row):
        self.rows[name] = {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}
        say(name, json.dumps(self.rows[name]))

    def cell(self, name):
        if name in LOADS:
            options, tls, _ = LOADS[name]
            ours, theirs = self.both(log=name.startswith("log_"))
            self.pairs(name, lambda r: self.load(r, options, tls), ours, theirs)
        elif name in ("h2", "h2_tls"):
            ours, theirs = self.both()
            self.pairs(name, lambda r: self.h2load(r, name == "h2_tls"), ours, theirs)
        elif name in STREAMS:
            ours, theirs = self.both()
            self.pairs(name, lambda r: self.stream(r, *STREAMS[name]), ours, theirs, unit=1)
        elif name in MEMORY:
            self.memory(name, *MEMORY[name])
        else:
            getattr(self, name)()
        self.stop_all()

    def threads(self):
        """Ours with two threads against ours with one, both on all processors, at the same rate."""
        cpus = f"0-{os.cpu_count() - 1}"
        two, one = (self.start(routers.pinion(self.build, self.table, self.pem, self.ports(), self.dir, cpus, n, name=f"threads{n}"))
                    for n in (2, 1))
        self.pairs("threads", lambda r: self.load(r, "-c 256 -r 20000", False, cpu=None), two, one)

    def gears(self):
        """Through the network of real instances: of a world of its own, to which both routers are led."""
        with World() as world:
            for i in range(8):
                world.pinion("app", "create", f"g{i}", "static")
                world.wait_for(f"g{i}", "")
            addresses, end = set(), time.monotonic() + 10
            while len(addresses) < 8:  # the router keeps its table in a file, a little later
                if time.monotonic() > end:
                    sys.exit(f"gears: {len(addresses)} instances are in the router's table, not 8")
                known = (world.dir / "data" / "router" / "routes.log").read_text(errors="replace")
                addresses = set(re.findall(r'"address":"([0-9.]+)","port":(\d+)', known))
            rows = [(f"g{i}.apps.test", ":".join(a)) for i, a in enumerate(sorted(addresses))]
            table = routers.Table(self.dir / "gears", rows)
            ours, theirs = self.both(table)
            self.pairs("gears", lambda r: self.load(r, "-c 64 -r 4000", False, table), ours, theirs)

    def memory(self, name, tls, target):
        """Growth by 5,000 connections after the first 2,000, which use what the start has freed."""
        ours, theirs = self.both()
        bytes_of = [self.idle(r, tls) for r in (ours, theirs)]
        self.keep(name, {"what": ABOUT[name], "ours": bytes_of[0], "theirs": bytes_of[1], "ratio": bytes_of[0] / bytes_of[1],
                         "target": target, "unit": "B"})

    def idle(self, router, tls):
        few = routers.Table(self.dir / "few", self.table.rows[:8])  # their instances' connections are there after the first
        holders, sizes = [], []
        try:
            for n in (2000, 5000):
                argv = [self.dir / "load", *(["-t"] if tls else []), "-i", str(n), str(router.tls if tls else router.port),
                        few.path]
                holders.append(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
                told = json.loads(holders[-1].stdout.readline())
                if told["ready"] != n:
                    sys.exit(f"{router.name}: {told} of {n} idle connections")
                time.sleep(0.5)  # until freed pages are given back
                sizes.append(router.memory())
        finally:
            for h in holders:
                h.stdin.close()
                h.wait()
        return (sizes[1] - sizes[0]) / 5000

    def routes(self):
        """Tables of many sizes: a program of its own."""
        program = HERE / "routes.py"
        if not program.exists():
            say("routes: there is no", program)
            return
        out = subprocess.run([sys.executable, program, "--json"], check=True, stdout=subprocess.PIPE, text=True).stdout
        self.rows["routes"] = json.loads(out)


def table_of(rows):
    lines = ["| cell | CPU for, or bytes | Pinion | HAProxy | ratio | 95 % | target | pairs (noisy) |", "|---|---|---|---|---|---|---|---|"]
    for name, r in rows.items():
        if "ours" not in r:
            continue
        digits = {"us": 1, "s": 3, "B": 0}[r["unit"]]
        span = f"{r['low']:.2f}–{r['high']:.2f}" if "low" in r else ""
        target = "" if r["target"] is None else f"{r['target']} B" if r["unit"] == "B" else f"{r['target']:.2f}"
        pairs = f"{r['pairs']} ({r['noisy']})" if "pairs" in r else ""
        lines.append(f"| {name} | {r['what']} | {r['ours']:.{digits}f} {r['unit']} | {r['theirs']:.{digits}f} | {r['ratio']:.2f} | "
                     f"{span} | {target} | {pairs} |")
    return "\n".join(lines)


def take_priority():
    """Over what else runs, by a scheduling group of our own where the kernel makes one for each session."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
        os.setsid()
        pathlib.Path("/proc/self/autogroup").write_text("-15")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cells", default=",".join(ORDER), help="some of " + " ".join(ORDER))
    p.add_argument("--pairs", type=int, default=15)
    p.add_argument("--seconds", type=float, default=1.5, help="of a measurement")
    p.add_argument("--noise", type=float, default=10, help="percent of processor 0 that others may use")
    p.add_argument("--minutes", type=float, default=5, help="of a cell at most")
    p.add_argument("--json", metavar="FILE", help="where the figures go, too")
    o = p.parse_args()
    if os.cpu_count() < 2:
        sys.exit("needs two processors: one for the router, one for clients and upstream")
    wanted = o.cells.split(",")
    for name in wanted:
        if name not in ORDER:
            sys.exit(f"--cells: there is no {name}; there are {', '.join(ORDER)}")
    for tool in ("haproxy", "h2load", "curl", "openssl", "cc", "taskset"):
        if shutil.which(tool) is None:
            sys.exit(f"needs {tool}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    take_priority()
    load_before = os.getloadavg()[0]
    bench = Bench(o)
    try:
        for name in wanted:
            bench.cell(name)
    finally:
        bench.close()
    about = {"processors": os.cpu_count(), "kernel": os.uname().release, "load_before": round(load_before, 1),
             "haproxy": subprocess.run(["haproxy", "-v"], capture_output=True, text=True).stdout.split()[2], "pairs": o.pairs,
             "seconds": o.seconds}
    if o.json:
        pathlib.Path(o.json).write_text(json.dumps({"about": about, "cells": bench.rows}, indent=2) + "\n")
    print(table_of(bench.rows))
    print("\n" + json.dumps(about))


if __name__ == "__main__":
    main()
