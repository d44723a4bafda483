"""A running `pinion up` for the benches: started below a temporary directory, ended by its process."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

TOP = pathlib.Path(__file__).resolve().parents[2]


def build_dir(program="pinion"):
    """Where the programs are: PINION_BUILDDIR, or the source tree."""
    path = pathlib.Path(os.environ.get("PINION_BUILDDIR", TOP))
    if not (path / program).exists():
        sys.exit(f"no {path}/{program}: build first, or set PINION_BUILDDIR")
    return path


class World:
    def __init__(self):
        if os.geteuid() != 0:
            sys.exit("needs root: it makes containers")
        self.build = build_dir()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pinion-bench."))
        self.env = dict(os.environ, XDG_CONFIG_HOME=str(self.dir / "config"), HOME=str(self.dir),
                        GIT_CONFIG_GLOBAL=str(self.dir / "gitconfig"), GIT_TERMINAL_PROMPT="0")
        self.log = open(self.dir / "up.log", "wb")
        ready = self.dir / "ready"
        self.up = subprocess.Popen(
            [self.build / "pinion", "up", "--data", self.dir / "data", "--listen", "127.0.0.1:0",
             "--router-listen", "127.0.0.1:0", "--ready-file", ready],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (ready.exists() and ready.stat().st_size):
            if time.monotonic() > deadline or self.up.poll() is not None:
                sys.exit(f"pinion up is not ready: see {self.dir}/up.log")
            time.sleep(0.02)
        self.ready = json.loads(ready.read_text())
        for key, value in (("user.name", "Bench"), ("user.email", "bench@example.org")):
            self.run("git", "config", "--global", key, value)
        self.pinion("login", self.ready["broker_url"], "--user", "admin", "--password-file",
                    self.ready["admin_password_file"])
        self.pinion("domain", "create", "bench")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.up.send_signal(signal.SIGTERM)
        self.up.wait()
        self.log.close()
        shutil.rmtree(self.dir)

    def run(self, *argv, cwd=None):
        done = subprocess.run(argv, env=self.env, cwd=cwd, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}")
        return done.stdout

    def pinion(self, *argv, cwd=None):
        return self.run(self.build / "pinion", *argv, cwd=cwd)

    def get(self, app, path="/"):
        """Body of one request through the router, on a connection of its own."""
        url = urllib.parse.urlsplit(self.ready["router_url"])
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
        connection.request("GET", path, headers={"Host": f"{app}-bench.{self.ready['domain']}"})
        response = connection.getresponse()
        body = response.read().decode("utf-8", "replace")
        connection.close()
        return response.status, body

    def wait_for(self, app, text, timeout=30):
        deadline = time.monotonic() + timeout
        while True:
            status, body = self.get(app)
            if status == 200 and text in body:
                return
            if time.monotonic() > deadline:
                sys.exit(f"{app} does not serve {text!r}: {status} {body[:200]!r}")
            time.sleep(0.002)

    def events(self, name):
        """Fields of the log lines with this event, in order."""
        self.log.flush()
        found = []
        for line in (self.dir / "up.log").read_text(errors="replace").splitlines():
            words = line.split(" ")
            if len(words) > 3 and words[3] == name:
                found.append(dict(w.split("=", 1) for w in words[4:] if "=" in w))
        return found

    def daemons(self):
        """Processes of the platform: pinion up and its children, by name."""
        found = {"pinion-up": self.up.pid}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[1]) == self.up.pid:
                    found[pathlib.Path(os.readlink(entry / "exe")).name] = int(entry.name)
            except OSError:
                continue
        return found


def pss_kb(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def summary(values):
    """min, median, max of seconds as milliseconds."""
    ms = [v * 1000 for v in values]
    return {"min": round(min(ms), 1), "median": round(statistics.median(ms), 1), "max": round(max(ms), 1)}


def show(rows, as_json):
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    width = max(map(len, rows))
    for name, value in rows.items():
        if isinstance(value, dict):
            value = "  ".join(f"{k} {v}" for k, v in value.items())
        print(f"{name:<{width}}  {value}")
