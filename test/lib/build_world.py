"""Builds as the broker orders them from a node, and the instances that come of them."""
import http.client, io, json, os, secrets, shutil, socket, subprocess, tarfile, tempfile, time

from node_world import BROKER_TOKEN, SRC

VERSIONS = {"nodejs": "18", "python": "3.11", "php": "8.2", "static": "1.0", "diy": "0.1", "perl": "5.36", "ruby": "3.1",
            "java": "17", "go": "1.19", "make": "1.0"}


class Build:
    """What came back of one build."""

    def __init__(self, lines, result, seconds):
        self.lines, self.result, self.seconds = lines, result or {}, seconds
        self.text = "\n".join(lines)
        self.ok = bool(self.result.get("ok"))

    def __str__(self):
        return f"{self.text}\n{json.dumps(self.result)} {self.seconds * 1000:.1f} ms"

    def says(self, *words):
        for w in words:
            assert w in self.text + "\n" + (self.result.get("reason") or ""), f"'{w}' is not in: {self}"
        return self


class App:
    """A gear, its builds and its running instance."""

    def __init__(self, w, cart, **more):
        self.w, self.cart = w, cart
        limits = dict(memory_mb=512, cpu_percent=200, cpu_shares=128, pids=200, disk_mb=512, files=100000)
        self.gear = w.gear(cart, VERSIONS[cart], **{"limits": limits, **more})
        self.last, self.running = None, None

    def order(self, **more):
        o = {"id": secrets.token_hex(8), "gear": self.w.gear_specs[self.gear], "deployment_id": secrets.token_hex(4),
             "ref": "refs/heads/main", "sha1": secrets.token_hex(20), "timeout_s": 300, "output_max": 10 << 20}
        if self.last:
            o["previous"], o["previous_deps_key"] = self.last.result["layers"], self.last.result["deps_key"]
        o.update(more)
        return o

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.w.run + "/node.sock")
        s.settimeout(330)
        return s

    def head(self, n):
        return (f"POST /v1/builds HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {BROKER_TOKEN}\r\n"
                f"Content-Length: {n}\r\n\r\n").encode()

    def build_tar(self, tar, **more):
        body = json.dumps(self.order(**more)).encode() + b"\n" + tar
        start = time.monotonic()
        s = self.connect()
        try:
            s.sendall(self.head(len(body)) + body)
        except OSError:
            pass  # refused early: the answer is there
        r = http.client.HTTPResponse(s)
        r.begin()
        data = r.read()
        s.close()
        assert r.status == 200, (r.status, data)
        lines, result = [], None
        for raw in data.decode().splitlines():
            x = json.loads(raw)
            if x.get("has_result"):
                result = x["result"]
            else:
                lines.append(x["line"])
        b = Build(lines, result, time.monotonic() - start)
        if b.ok:
            self.last = b
        return b

    def build(self, files, **more):
        return self.build_tar(tar_of(files), **more)

    def env(self, **variables):
        self.w.change_gear(self.gear, env=[{"name": k, "value": v} for k, v in variables.items()],
                           env_rev=self.w.gear_specs[self.gear]["env_rev"] + 1)

    def run(self, build=None, **more):
        """Starts an instance of the last build in place of the one before; its status."""
        r = (build or self.last).result
        i = self.w.instance(self.gear, "", layers=r["layers"], start=r["start"], **more)
        st = self.w.wait_state(i, "ready", "failed")
        assert st["state"] == "ready", st
        if self.running:
            self.w.remove(self.running)
        self.running = i
        return st

    def get(self, path="/", **headers):
        st = self.w.broker.instances[self.running]
        c = http.client.HTTPConnection(st["address"], st["port"], timeout=20)
        c.request("GET", path, headers=headers)
        r = c.getresponse()
        return r.status, r.read().decode(errors="replace")

    def serves(self, text, path="/"):
        status, body = self.get(path)
        assert status == 200 and text in body, (status, body[:2000])

    def deploy(self, files, text, path="/", **more):
        """Build, start, ask: the whole way."""
        b = self.build(files)
        assert b.ok, b
        st = self.run(**more)
        self.serves(text, path)
        b.notes = st.get("notes") or []
        return b

    def layer_path(self, what="app", build=None):
        return f"{self.w.data}/layers/" + (build or self.last).result["layers"][what].split(":")[1]

    def repo(self, build=None):
        return self.layer_path("app", build) + "/app-root/runtime/repo"


def sample(name):
    """A sample application of test/apps."""
    return os.path.join(SRC, "test/apps", name)


def plain_tar(files):
    """A tar of (name, text), in memory: for more files than one wants to see on disk."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, text in files:
            i = tarfile.TarInfo(name)
            i.size, i.mtime = len(text), 1700000000
            t.addfile(i, io.BytesIO(text.encode()))
    return out.getvalue()


def tar_of(files):
    """A tar by git archive: files is a folder, or a map of name -> text, bytes, ("link", target), ("exec", text)."""
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
                data = content[1] if isinstance(content, tuple) else content
                with open(path, "wb") as f:
                    f.write(data.encode() if isinstance(data, str) else data)
                if isinstance(content, tuple):
                    os.chmod(path, 0o755)
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main",
               "-c", "core.autocrlf=false", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-C", d]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "add", "-A", "-f"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
        return subprocess.run([*git, "archive", "--format=tar", "HEAD"], check=True, stdout=subprocess.PIPE).stdout
