"""Routers as processes: pinion-router and HAProxy on the same table, what they use of CPU and memory."""
import http.client
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


class Table:
    """Hosts on addresses: a file for us, a map and backends for HAProxy."""

    def __init__(self, path, rows):
        self.path, self.rows = path, rows
        self.addresses = {}
        for _, address in rows:
            self.addresses.setdefault(address, f"e{len(self.addresses)}")
        path.write_text("".join(f"{host} {address}\n" for host, address in rows))
        path.with_suffix(".haproxy").write_text("".join(f"{h} {self.addresses[a]}\n" for h, a in rows))


def instances(directory, hosts, port, endpoints=1000):
    """Hosts on that many instances of upstream, each an address of the loopback net."""
    def address(i):
        k = i % endpoints
        return f"127.1.{k >> 8}.{k & 255}:{port}"
    return Table(directory / f"table{hosts}", [(f"app{i}.apps.test", address(i)) for i in range(hosts)])


class Router:
    def __init__(self, name, argv, ports, directory, cpus="0"):
        self.name, self.argv, self.directory, self.cpus = name, argv, directory, cpus
        self.port, self.tls = ports
        self.process = None

    def start(self, host):
        self.log = self.directory / f"{self.name}.log"
        with open(self.log, "wb") as out, open(self.directory / f"{self.name}.err", "wb") as err:
            self.process = subprocess.Popen(["taskset", "-c", self.cpus, *map(str, self.argv)], stdout=out, stderr=err,
                                            stdin=subprocess.DEVNULL, cwd=self.directory)
        end = time.monotonic() + 60
        while self.ask(host) != 200:
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"{self.name} does not serve: see {self.directory}/{self.name}.err")
            time.sleep(0.02)
        return self

    def ask(self, host):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/", headers={"Host": host, "Connection": "close"})
            return connection.getresponse().status
        except OSError:
            return 0

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def cpu(self):
        """Seconds on a processor, of all threads, to the nanosecond."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def memory(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) * 1024


def pinion(build, table, pem, ports, directory, cpus="0", threads=1, log=None, name="pinion"):
    argv = [build / "pinion-router", "--threads", threads, "--http", f"127.0.0.1:{ports[0]}",
            "--https", f"127.0.0.1:{ports[1]}", "--routes", table.path, "--cert", pem]
    if log:
        argv += ["--access-log", directory / log]
    return Router(name, argv, ports, directory, cpus)


def haproxy(table, pem, ports, directory, log=False, name="haproxy"):
    """Its log, where it is on, goes to a file, as ours does: a line by one write."""
    values = dict(port=ports[0], tls=ports[1], pem=pem, table=table.path.with_suffix(".haproxy"),
                  log_to="log stdout format raw local0" if log else "", log="log global\n    option httplog" if log else "")
    text = (HERE / "haproxy.cfg.in").read_text()
    text = re.sub(r"@(\w+)@", lambda m: str(values.get(m[1], m[0])), text)
    text += "".join(f"backend {name}\n    server s {address}\n" for address, name in table.addresses.items())
    path = directory / f"{name}.cfg"
    path.write_text(text)
    return Router(name, ["haproxy", "-db", "-f", path], ports, directory)


def machine_seconds(cpu):
    """Seconds that anybody used of this processor, the hypervisor's other guests included."""
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{cpu} "):
            f = list(map(int, line.split()[1:9]))
            return (f[0] + f[1] + f[2] + f[5] + f[6] + f[7]) / os.sysconf("SC_CLK_TCK")
    return 0
