#!/usr/bin/python3
"""The command line before a person: prompts, echo, confirmations, interrupts, on a pseudo terminal;
exit codes, JSON and quiet, against a broker that is played here. Needs no root."""
import base64
import fcntl
import http.server
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import time

BUILD = os.environ.get("PINION_BUILDDIR", os.path.join(os.path.dirname(__file__), "../.."))
PINION = os.path.join(BUILD, "pinion")
DEADLINE = float(os.environ.get("PINION_TEST_DEADLINE", "60"))
REST = "/broker/rest/"
count = 0


class Broker(http.server.BaseHTTPRequestHandler):
    """Answers by path from `answers`; remembers what it was asked."""
    protocol_version = "HTTP/1.1"
    answers = {}
    calls = []

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.removeprefix(REST)
        self.calls.append((self.command, path, body.decode(), self.headers.get("Authorization")))
        status, reply = self.answers.get((self.command, path), (200, envelope("ok", None)))
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

    def log_message(self, *_):
        pass


def envelope(status, data, *errors):
    return {"status": status, "data": data, "version": "1.7", "messages": [
        {"severity": "error", "text": text, "field": field, "exit_code": 1}
        for field, text in errors]}


def check(name, is_good, shown=""):
    global count
    count += 1
    print(f"{'ok' if is_good else 'not ok'} {count} - {name}")
    if not is_good:
        print("# " + repr(shown), flush=True)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *args):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(PINION, [PINION, *args])

    def expect(self, text):
        end = time.monotonic() + DEADLINE
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"no {text!r} in {self.seen!r}")
            try:
                chunk = os.read(self.fd, 4096)
            except OSError:
                chunk = b""
            if not chunk:
                raise EOFError(f"no {text!r} in {self.seen!r}")
            self.seen += chunk.decode(errors="replace")

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def ask(self, question, answer, hidden=False):
        """Waits for a question, answers it. Returns whether the echo was as it should be."""
        self.expect(question)
        good = self.echoes() != hidden
        os.write(self.fd, answer.encode())
        return good

    def end(self):
        """The exit code, after all output."""
        try:
            while chunk := os.read(self.fd, 4096):
                self.seen += chunk.decode(errors="replace")
        except OSError:
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def run(*args, stdin=""):
    return subprocess.run([PINION, *args], input=stdin, capture_output=True, text=True,
                          timeout=DEADLINE)


def asked(method):
    return [c for c in Broker.calls if c[0] == method]


def logins(url, config):
    Broker.answers["POST", "user/authorizations"] = 201, envelope("created", {"token": "t0k"})
    t = Terminal("login", url, "--user", "dev")
    good = t.ask("Password: ", "s3cret word\n", hidden=True)
    rc = t.end()
    check("login asks for the password without echo", good and rc == 0, t.seen)
    check("the password is not shown", "s3cret" not in t.seen, t.seen)
    want = "Basic " + base64.b64encode(b"dev:s3cret word").decode()
    check("it reaches the broker", asked("POST")[-1][3] == want, Broker.calls)
    path = os.path.join(config, "pinion/login.json")
    with open(path, encoding="utf-8") as f:
        login = json.load(f)
    check("the login is kept as a token, mode 0600",
          login == {"url": url, "user": "dev", "token": "t0k"}
          and os.stat(path).st_mode & 0o777 == 0o600, login)
    t = Terminal("login", url.removeprefix("http://") + "/console")
    good = t.ask("User: ", "ada\n") and t.ask("Password: ", "pw\n", hidden=True)
    rc = t.end()
    check("login asks for the user with echo; scheme and path do not matter",
          good and rc == 0 and f"Logged in to {url} as ada." in t.seen, t.seen)
    r = run("login", url, "--user", "dev", "--password-file", "-", stdin="pw two\n")
    want = "Basic " + base64.b64encode(b"dev:pw two").decode()
    check("the password may come from standard input",
          r.returncode == 0 and asked("POST")[-1][3] == want, r)
    r = run("login", url, "--password-file", "/nonexistent", "--user", "dev")
    check("a password file that is not there", r.returncode != 0 and "/nonexistent" in r.stderr, r)


def interrupted(url):
    n = len(Broker.calls)
    for number in (signal.SIGINT, signal.SIGTERM):
        t = Terminal("login", url, "--user", "dev")
        t.expect("Password: ")
        if number == signal.SIGINT:
            os.write(t.fd, b"half\x03")
        else:
            os.kill(t.pid, number)
        # The terminal belongs to the session: it is looked at before the last byte is read.
        end = time.monotonic() + DEADLINE
        while not t.echoes() and time.monotonic() < end:
            time.sleep(0.01)
        good = t.echoes()
        rc = t.end()
        check(f"{number.name} at the prompt brings the echo back", good and rc == -number,
              (rc, t.seen))
    check("nothing was sent", len(Broker.calls) == n, Broker.calls[n:])
    t = Terminal("login", url, "--user", "dev")
    t.ask("Password: ", "\x04", hidden=True)
    check("the end of input at the prompt is an error", t.end() == 2, t.seen)
    t = Terminal("login", url, "--user", "dev")
    t.ask("Password: ", "\n", hidden=True)
    check("an empty password is refused", t.end() == 2 and "no password" in t.seen, t.seen)


def confirmations():
    path = "domain/lab/application/hello"
    cases = [("n\n", 6, 0), ("\n", 6, 0), ("yes\n", 0, 1), ("y\n", 0, 1), ("\x04", 6, 0)]
    for answer, code, calls in cases:
        n = len(asked("DELETE"))
        t = Terminal("app", "delete", "lab/hello")
        t.ask("[y/N] ", answer)
        rc = t.end()
        check(f"app delete, answered {answer!r}: exit {code}",
              rc == code and len(asked("DELETE")) == n + calls, (rc, t.seen))
    check("the right application is deleted", asked("DELETE")[-1][1] == path, Broker.calls)
    for args in (["app", "delete", "lab/hello", "--yes"], ["domain", "delete", "lab", "-y"],
                 ["user", "delete", "ada", "--force", "--yes"]):
        t = Terminal(*args)
        rc = t.end()
        check(f"{' '.join(args)}: asks nothing", rc == 0 and "[y/N]" not in t.seen, (rc, t.seen))
    r = run("app", "delete", "lab/hello")
    check("without a terminal nothing is asked", r.returncode == 0, r)


def secrets():
    t = Terminal("passwd")
    good = (t.ask("Present password: ", "old\n", True) and t.ask("New password: ", "new\n", True)
            and t.ask("New password again: ", "other\n", True))
    check("passwd: two different new ones change nothing",
          good and t.end() == 2 and not asked("PUT"), t.seen)
    t = Terminal("passwd")
    good = (t.ask("Present password: ", "old\n", True) and t.ask("New password: ", "n\"w\n", True)
            and t.ask("New password again: ", "n\"w\n", True))
    rc = t.end()
    check("passwd sends old and new", good and rc == 0
          and json.loads(asked("PUT")[-1][2]) == {"old": "old", "new": "n\"w"}, (rc, t.seen))
    r = run("passwd", stdin="old\nnew\n")
    check("passwd without a terminal wants files", r.returncode == 2 and "-file" in r.stderr, r)
    t = Terminal("env", "set", "KEY", "--app", "lab/hello")
    good = t.ask("Value of KEY: ", "v a l\n", True)
    rc = t.end()
    sent = json.loads(asked("PATCH")[-1][2])
    check("env set NAME asks for the value without echo", good and rc == 0 and
          sent["environment_variables"] == [{"name": "KEY", "value": "v a l"}], (rc, sent))
    r = run("env", "set", "CERT", "A=1", "--app", "lab/hello", stdin="one\ntwo\n\n")
    sent = json.loads(asked("PATCH")[-1][2])
    check("or takes it whole from standard input", r.returncode == 0 and
          {"name": "CERT", "value": "one\ntwo\n"} in sent["environment_variables"], sent)
    r = run("env", "set", "A B=1", "--app", "lab/hello")
    check("a bad name is told", r.returncode == 2 and r.stderr.startswith("pinion: A B: "), r)


def errors():
    cases = [
        (401, "unauthorized", "No login.", 7), (403, "forbidden", "Not yours.", 6),
        (404, "not_found", "No such thing.", 4), (409, "conflict", "It exists.", 5),
        (422, "unprocessable_entity", "Bad name.", 2), (429, "too_many_requests", "Slow.", 8),
        (500, "internal_server_error", "Broken.", 1), (503, "service_unavailable", "Busy.", 9),
    ]
    for status, word, text, code in cases:
        Broker.answers["GET", "user"] = status, envelope(word, None, ("name", text))
        r = run("whoami")
        check(f"{status} is exit {code}, with the broker's words", r.returncode == code
              and r.stderr == f"pinion: name: {text}\n" and r.stdout == "", r)
    logs = "domain/lab/application/x/logs?lines=100&follow=false"
    Broker.answers["GET", logs] = 404, envelope("not_found", None, (None, "No application x."))
    r = run("logs", "lab/x")
    check("logs tell the broker's words too", r.returncode == 4
          and "No application x." in r.stderr, r)
    env = dict(os.environ, PINION_URL="http://127.0.0.1:1", PINION_TOKEN="t")
    r = subprocess.run([PINION, "whoami"], capture_output=True, text=True, env=env, check=False)
    check("no broker there is exit 1, with its address", r.returncode == 1
          and "127.0.0.1:1" in r.stderr, r)
    env = dict(os.environ, XDG_CONFIG_HOME="/nonexistent")
    r = subprocess.run([PINION, "whoami"], capture_output=True, text=True, env=env, check=False)
    check("not logged in is exit 7, and says how", r.returncode == 7
          and "pinion login" in r.stderr, r)


def output():
    apps = [{"name": "hello", "domain_id": "lab", "framework": "nodejs", "gear_count": 1,
             "app_url": "http://hello-lab.x/"}]
    Broker.answers["GET", "applications"] = 200, envelope("ok", apps)
    r = run("app", "list", "--json")
    check("--json is the API's data", r.returncode == 0 and json.loads(r.stdout) == apps, r)
    r = run("app", "list", "-q")
    check("-q leaves the header out", r.stdout.split() == ["hello", "lab", "nodejs", "1",
                                                            "http://hello-lab.x/"], r)
    with open("/dev/full", "w", encoding="utf-8") as full:
        r = subprocess.run([PINION, "app", "list"], stdout=full, stderr=subprocess.PIPE, text=True,
                           check=False)
    check("output that cannot be written is exit 1", r.returncode == 1
          and "cannot write" in r.stderr, r)
    Broker.answers["GET", "applications"] = 200, envelope("ok", [])
    r = run("app", "list", "--json")
    check("an empty list is []", r.stdout.strip() == "[]", r)
    listed = [line[2:].split("  ")[0].split() for line in run("help").stdout.split("\n")
              if line.startswith("  ") and line[2:3].isalpha()]
    bad = [r for r in (run("help", *words) for words in listed)
           if r.returncode != 0 or "usage: pinion" not in r.stdout]
    check(f"help of each of {len(listed)} commands", len(listed) > 25 and not bad, bad)
    bad = [r for r in (run(*words, "--help") for words in listed) if r.returncode != 0]
    check("--help of each says the same", not bad, bad)
    r = run("help", "app")
    check("help of a group lists it", "app create" in r.stdout and "scale" not in r.stdout, r)


def traffic(sort, *apps):
    def row(name, requests, errors, times):
        return {"id": "1" * 24, "name": name, "domain_id": "lab", "active": 2, "concurrency": 1.5,
                "requests": requests, "errors": errors, "bytes": 0, "p50_us": 768, "p95_us": 12288,
                "p99_us": 1572864, "took": [{"below_us": b, "requests": n} for b, n in times]}
    times = [(256, 1), (768, 8), (12288, 4), (1 << 40, 1)]
    data = {"seconds": 5, "applications_with_traffic": len(apps),
            "total": row(None, sum(a[1] for a in apps), 0, times),
            "applications": [row(*a, times) for a in apps]}
    Broker.answers["GET", f"traffic?sort={sort}&window=5&limit=50"] = 200, envelope("ok", data)


def live():
    evil = "evil\x1b[2J\x1b]0;owned\x07\u202e\x9b31mname"
    traffic("requests", ("first", 50, 0), (evil, 5, 1), ("a-name-that-is-longer-than-its-column", 1, 0))
    os.environ["LC_ALL"] = "C.UTF-8"
    r = run("admin", "top", "--once")
    lines = r.stdout.splitlines()
    check("admin top --once: totals, then rows", r.returncode == 0 and len(lines) == 6
          and lines[2].split()[:5] == ["all", "11.2", "56", "0", "2"]
          and lines[3].split()[:8] == ["lab/first", "10.0", "50", "0", "2", "768us", "12.3ms", "1.6s"]
          and lines[3].endswith(" ▁█ ▄     ▁"), r)
    check("names are without control characters", not any(c in r.stdout for c in "\x1b\x07\u202e\x9b")
          and "lab/evil" in r.stdout, r)
    os.environ["LC_ALL"] = "C"
    r = run("admin", "top")
    check("without a terminal it is shown once, in ASCII", r.stdout.isascii()
          and r.stdout.splitlines()[3].endswith(" .@ =     ."), r)
    r = run("admin", "top", "--json")
    check("--json is the API's data", json.loads(r.stdout)["total"]["requests"] == 56, r)
    r = run("admin", "top", "--sort", "name")
    check("another order is refused", r.returncode == 2 and "latency" in r.stderr, r)
    traffic("errors", (evil, 5, 1))
    t = Terminal("admin", "top")
    fcntl.ioctl(t.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 60, 0, 0))
    t.expect("by requests")
    t.seen = ""
    Broker.answers["GET", "traffic?sort=requests&window=5&limit=50"] = 503, envelope(
        "service_unavailable", None, (None, "Busy\x1b[31m."))
    t.expect("Busy.")
    check("it goes on while the broker has no answer", "lab/first" in t.seen, t.seen)
    t.seen = ""
    os.write(t.fd, b"e")
    t.expect("by errors")
    t.expect("q quit")
    frame = t.seen[t.seen.rindex("\x1b[H"):].replace("\x1b[K", "").replace("\x1b[H", "")
    check("a key changes the order, at once; no line is wider than the terminal",
          all(len(line) <= 60 for line in frame.split("\r\n")[:-1]), frame)
    fcntl.ioctl(t.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 4, 30, 0, 0))
    t.seen = ""
    os.kill(t.pid, signal.SIGWINCH)
    t.expect("q quit")
    frame = t.seen[t.seen.rindex("\x1b[H") + 3:].replace("\x1b[K", "").split("\r\n")
    check("it follows the size of the terminal", len(frame) <= 4 and len(frame[0]) <= 30, frame)
    check("its echo is off", not t.echoes())
    os.write(t.fd, b"q")
    t.expect("\x1b[?1049l")
    good = t.echoes()
    check("q ends it and the terminal is as before", t.end() == 0 and good and
          t.seen.count("\x1b[?25h") == 1, t.seen)
    for end in (signal.SIGTERM, b"\x03"):
        t = Terminal("admin", "top", "--sort", "errors")
        t.expect("by errors")
        os.write(t.fd, end) if isinstance(end, bytes) else os.kill(t.pid, end)
        t.expect("\x1b[?1049l")
        check(f"{end!r} ends it the same way", t.end() == 0, t.seen)


def main():
    config = tempfile.mkdtemp()
    os.environ["XDG_CONFIG_HOME"] = config
    for name in ("PINION_URL", "PINION_TOKEN"):
        os.environ.pop(name, None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        logins(url, config)
        interrupted(url)
        confirmations()
        secrets()
        errors()
        output()
        live()
    except (TimeoutError, EOFError) as e:
        check("the dialogue goes on", False, e)
    shutil.rmtree(config)
    print(f"1..{count}")


main()
