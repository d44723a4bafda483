"""A builder alone (test/lib/build_host), with gears, and pushes to it as the broker sends them."""
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time

SRC = os.environ.get("PINION_SRCDIR") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.environ.get("PINION_BUILDDIR") or SRC
VERSIONS = {"nodejs": "18", "python": "3.11", "php": "8.2", "static": "1.0", "diy": "0.1"}


def gear(cart, **more):
    uuid = secrets.token_hex(12)
    name = f"{cart}app"
    g = {
        "uuid": uuid, "app_id": secrets.token_hex(12), "app_name": name, "domain": "test", "gear_name": name,
        "app_dns": f"{name}-test.apps.localhost", "gear_dns": f"{name}-test.apps.localhost", "profile": "small",
        "limits": {"memory_mb": 512, "cpu_percent": 200, "cpu_shares": 128, "pids": 250, "disk_mb": 1024, "files": 80000},
        "cartridges": [{"name": cart, "version": VERSIONS[cart], "cart_version": "0.1.0", "vendor": "pinion", "is_web": True}],
        "env": [], "secret_token": "x" * 128, "deployment_branch": "main", "auto_deploy": True,
        "keep_deployments": 10, "env_rev": 1, "want": "present",
    }
    g.update(more)
    return g


class Build:
    """What came back of one build."""

    def __init__(self, lines, result, seconds):
        self.lines, self.result, self.seconds = lines, result, seconds
        self.text = "\n".join(lines)
        self.ok = bool(result and result.get("ok"))

    def __str__(self):
        return f"{self.text}\n{json.dumps(self.result)} {self.seconds * 1000:.1f} ms"


class World:
    def __init__(self, gears, fault=None):
        self.dir = tempfile.mkdtemp(prefix="pinion-test-build.")
        self.socket = os.path.join(self.dir, "sock")
        with open(os.path.join(self.dir, "gears"), "w") as f:
            for g in gears:
                f.write(json.dumps(g) + "\n")
        env = dict(os.environ)
        self.log = open(os.path.join(self.dir, "log"), "w")
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "test/lib/build_host"), self.dir, self.socket, SRC, BUILD, os.path.join(self.dir, "gears")],
            stdout=subprocess.PIPE, stderr=self.log, env=env, text=True)
        line = self.process.stdout.readline()
        if line != "ready\n":
            raise RuntimeError(f"build_host did not start: {open(self.log.name).read()}")
        self.previous = {}

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.log.close()
        log = open(self.log.name).read()
        subprocess.run(["umount", "-l", os.path.join(self.dir, "run/stack/usr")], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)
        if code != 0:
            raise RuntimeError(f"build_host ended with {code}: {log[-4000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def layer(self, digest):
        return os.path.join(self.dir, "node/layers", digest.split(":")[1])

    def repo(self, build):
        return os.path.join(self.layer(build.result["layers"]["app"]), "app-root/runtime/repo")

    def scratch(self):
        return os.listdir(os.path.join(self.dir, "node/scratch"))

    def order(self, g, **more):
        o = {"id": secrets.token_hex(8), "gear": g, "deployment_id": secrets.token_hex(4), "ref": "refs/heads/main",
             "sha1": secrets.token_hex(20), "timeout_s": 300, "output_max": 10 << 20}
        last = self.previous.get(g["uuid"])
        if last:
            o["previous"] = last["layers"]
            o["previous_deps_key"] = last["deps_key"]
        o.update(more)
        return o

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.socket)
        s.settimeout(330)
        return s

    def send(self, s, order, tar):
        body = json.dumps(order).encode() + b"\n" + tar
        s.sendall(b"POST /v1/builds HTTP/1.1\r\nHost: node\r\nContent-Length: %d\r\n\r\n" % len(body))
        try:
            s.sendall(body)
        except BrokenPipeError:
            pass

    def build_tar(self, g, tar, **more):
        start = time.monotonic()
        s = self.connect()
        self.send(s, self.order(g, **more), tar)
        f = s.makefile("rb")
        status = f.readline()
        assert b" 200 " in status, status + f.read(2000)
        while f.readline().strip():
            pass
        data = b""
        while True:
            n = int(f.readline().strip() or b"0", 16)
            if n == 0:
                break
            data += f.read(n)
            f.readline()
        s.close()
        lines, result = [], None
        for raw in data.decode().splitlines():
            x = json.loads(raw)
            if x.get("has_result"):
                result = x["result"]
            else:
                lines.append(x["line"])
        b = Build(lines, result, time.monotonic() - start)
        if b.ok:
            self.previous[g["uuid"]] = result
        return b

    def build(self, g, files, **more):
        return self.build_tar(g, tar_of(files), **more)


def tar_of(files):
    """A tar as git archive makes it: files is a folder, or a map of name -> text, bytes, ("link", target)."""
    with tempfile.TemporaryDirectory() as d:
        if isinstance(files, str):
            shutil.copytree(files, d, symlinks=True, dirs_exist_ok=True)
        else:
            for name, content in files.items():
                path = os.path.join(d.encode(), name if isinstance(name, bytes) else name.encode())
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if isinstance(content, tuple) and content[0] == "link":
                    os.symlink(content[1], path)
                    continue
                executable = isinstance(content, tuple) and content[0] == "exec"
                data = content[1] if isinstance(content, tuple) else content
                with open(path, "wb") as f:
                    f.write(data.encode() if isinstance(data, str) else data)
                if executable:
                    os.chmod(path, 0o755)
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main", "-c", "core.autocrlf=false",
               "-c", "core.hooksPath=/dev/null", "-C", d]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "add", "-A", "-f"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
        return subprocess.run([*git, "archive", "--format=tar", "HEAD"], check=True, stdout=subprocess.PIPE).stdout


class Tap:
    """Tests that print TAP, each with its own output on failure."""

    def __init__(self):
        self.n, self.failed = 0, 0

    def run(self, name, fn, *args):
        self.n += 1
        try:
            fn(*args)
            print(f"ok {self.n} - {name}", flush=True)
        except Exception as e:
            self.failed += 1
            print(f"not ok {self.n} - {name}", flush=True)
            for line in f"{type(e).__name__}: {e}".splitlines():
                print(f"#   {line}", flush=True)

    def end(self):
        print(f"1..{self.n}", flush=True)
        return 1 if self.failed else 0
