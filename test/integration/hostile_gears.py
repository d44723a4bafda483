#!/usr/bin/python3
"""Gears that want more than is theirs: the network, the host, each other, memory, processes, disk."""
import json, os, signal, socket, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from node_world import *

# Runs in the gear: GET /NAME?ARGUMENT calls the function and answers with JSON.
ATTACKER = r'''#!/usr/bin/python3
import ctypes, errno, http.server, json, os, resource, signal, socket, struct, subprocess, sys, urllib.parse
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *args):
    rc = libc[name](*args)
    return "done" if rc >= 0 else errno.errorcode[ctypes.get_errno()]

def opened(path, mode):
    try:
        with open(path, mode) as f:
            return "opened" if "w" in mode or f.read(1) is not None else ""
    except OSError as e:
        return errno.errorcode[e.errno]

def connect(arg):
    host, port = arg.rsplit(":", 1)
    s = socket.socket(); s.settimeout(2)
    try:
        s.connect((host, int(port))); return "connected"
    except OSError as e:
        return "refused"

def resolve(name):
    try:
        return socket.gethostbyname(name)
    except OSError:
        return "unknown"

def raw(_):
    out = {}
    for name, args in dict(raw=(socket.AF_INET, socket.SOCK_RAW, 1), packet=(socket.AF_PACKET, socket.SOCK_RAW, 0x300),
                           netlink_nf=(socket.AF_NETLINK, socket.SOCK_RAW, 12)).items():
        try:
            s = socket.socket(*args)
            if name != "netlink_nf":
                out[name] = "made"; continue
            # flush of the namespace's rules
            s.bind((0, 0))
            msg = struct.pack("=IHHII", 20, 10 << 8 | 2, 5, 1, 0) + struct.pack("=BBH", 0, 0, 0)
            s.send(msg); s.settimeout(1); a = s.recv(4096)
            out[name] = errno.errorcode.get(-struct.unpack_from("=i", a, 16)[0], "done")
        except OSError as e:
            out[name] = errno.errorcode.get(e.errno, str(e))
    return out

def system(_):
    out = {}
    out["user_ns"] = call("unshare", 0x10000000)
    out["mount"] = call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
    out["ptrace_init"] = call("ptrace", 16, 1, None, None)
    out["setuid"] = call("setuid", 0)
    out["kill_init"] = call("kill", 1, signal.SIGKILL)
    out["keyctl"] = call("syscall", 250, 0, -3, 0)
    out["bpf"] = call("syscall", 321, 0, 0, 0)
    out["chroot"] = call("chroot", b"/tmp")
    out["mknod"] = call("mknod", b"/tmp/sda", 0o60600, 8 << 8)
    out["reboot"] = call("reboot", 0)
    out["settime"] = call("settimeofday", ctypes.create_string_buffer(16), None)
    out["hostname"] = call("sethostname", b"x", 1)
    out["nice"] = call("setpriority", 0, 0, -10)
    return out

def files(_):
    out = {}
    for path in ("/proc/1/mem", "/proc/1/environ", "/proc/1/root/etc/hosts", "/proc/kcore", "/dev/mem", "/dev/sda", "/dev/kmsg"):
        out[path] = opened(path, "rb")
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/usr/bin/x",
                 "/etc/passwd", "/run/pinion/init", "/sys/kernel/uevent_helper", "/x"):
        out[path] = opened(path, "wb")
    return out

def see(_):
    pids = [p for p in os.listdir("/proc") if p.isdigit()]
    homes = os.listdir("/var/lib/openshift") if os.access("/var/lib/openshift", os.R_OK) else []
    links = os.listdir("/sys/class/net") if os.path.isdir("/sys/class/net") else []
    with open("/proc/self/status") as f:
        status = dict(x.split(":", 1) for x in f.read().splitlines() if ":" in x)
    with open("/proc/self/mountinfo") as f:
        mounts = f.read()
    return dict(pids=len(pids), homes=homes, links=links, caps=status["CapEff"].strip(), bound=status["CapBnd"].strip(),
                nnp=status["NoNewPrivs"].strip(), seccomp=status["Seccomp"].strip(), uid=os.getuid(), mounts=mounts,
                env={k: v for k, v in os.environ.items() if "TOKEN" not in k and "SECRET" not in k})

def fill(_):
    n = 0
    try:
        with open(os.environ["OPENSHIFT_DATA_DIR"] + "/big", "wb") as f:
            while n < 4096:
                f.write(bytes(1 << 20)); f.flush(); n += 1
    except OSError as e:
        return [errno.errorcode[e.errno], n]
    return ["done", n]

def empty(_):
    os.unlink(os.environ["OPENSHIFT_DATA_DIR"] + "/big"); return "done"

def bomb(_):
    subprocess.Popen([sys.executable, "-c", "import os\nwhile True:\n try: os.fork()\n except OSError: pass"],
                     start_new_session=True)
    return "done"

def babble(arg):
    for i in range(int(arg)):
        os.write(1, b"x" * 100000 + b"\xff\x00\n")
    return "done"

class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        u = urllib.parse.urlsplit(self.path)
        f = globals().get(u.path[1:])
        body = json.dumps(f(urllib.parse.unquote(u.query)) if f else "hello").encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a):
        pass
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), H).serve_forever()
'''
FILES = {".openshift/action_hooks/start": '#!/bin/bash\nexec python3 "$OPENSHIFT_REPO_DIR/server.py"\n', "server.py": ATTACKER}


def ask(w, i, path):
    st = w.broker.instances[i]
    c = http.client.HTTPConnection(st["address"], st["port"], timeout=60)
    c.request("GET", path)
    return json.loads(c.getresponse().read())


def pair(w, **more):
    """An attacker and a victim of another application, both ready."""
    w.start()
    layer = w.layer(FILES)
    out = []
    for name in ("shop", "bank"):
        g = w.gear(app_name=name, app_dns=f"{name}-demo.apps.test", gear_dns=f"{name}-demo.apps.test", **more)
        out.append(w.instance(g, layer))
    for i in out:
        st = w.wait_state(i, "ready", "failed")
        assert st["state"] == "ready", st
    return out


def the_network_ends_at_the_application(w):
    a, b = pair(w)
    mine, theirs = w.broker.instances[a]["address"], w.broker.instances[b]["address"]
    host = mine.rsplit(".", 2)[0]
    listener = socket.create_server(("0.0.0.0", 0))
    port = listener.getsockname()[1]
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.connect((mine, 9))
    addresses = {probe.getsockname()[0], "169.254.1.1", "0.0.0.0"}
    addresses |= {x[4][0] for x in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
                  if not x[4][0].startswith("127.")}
    for x in addresses:
        assert ask(w, a, f"/connect?{x}:{port}") == "refused", x
    assert ask(w, a, f"/connect?{theirs}:8080") == "refused"
    for x in (f"{host}.1.77:8080", "10.0.0.1:80", "192.168.0.1:80", "172.16.0.1:80", "169.254.169.254:80"):
        assert ask(w, a, f"/connect?{x}") == "refused", x
    assert ask(w, a, f"/connect?{mine}:8080") == "connected"
    assert ask(w, a, "/resolve?bank-demo.apps.test") == "unknown"
    wait_for(lambda: ask(w, a, "/resolve?shop-demo.apps.test") == mine, "its own name")
    # another gear of the same application is no stranger
    first = w.broker.instances[a]["gear"]
    g = w.gear(app_name="shop", app_id=first, gear_name="other", gear_dns="other-demo.apps.test")
    c = w.instance(g, w.layer(FILES))
    assert w.wait_state(c, "ready", "failed")["state"] == "ready", w.broker.instances[c]
    other = w.broker.instances[c]["address"]
    assert ask(w, a, f"/connect?{other}:8080") == "connected" and ask(w, c, f"/connect?{mine}:8080") == "connected"
    assert ask(w, c, f"/connect?{theirs}:8080") == "refused" and ask(w, b, f"/connect?{other}:8080") == "refused"
    wait_for(lambda: ask(w, a, "/resolve?other-demo.apps.test") == other, "name of the other gear")
    assert ask(w, b, "/resolve?other-demo.apps.test") == "unknown"
    got = ask(w, a, "/raw")
    assert got["raw"] != "made" and got["packet"] != "made" and got["netlink_nf"] != "done", got
    listener.close()


def the_host_is_out_of_reach(w):
    a, _ = pair(w)
    got = ask(w, a, "/system")
    assert got.pop("kill_init") in ("done", "EPERM"), got  # PID 1 of a namespace does not hear it
    assert all(x != "done" for x in got.values()), got
    got = ask(w, a, "/files")
    opened = [k for k, v in got.items() if v == "opened"]
    assert opened == [], got
    got = ask(w, a, "/see")
    assert got["pids"] < 20 and got["uid"] == 1000 and got["nnp"] == "1" and got["seccomp"] == "2", got
    assert int(got["caps"], 16) == 0 and int(got["bound"], 16) == 0, got
    assert len([x for x in got["homes"] if not x.startswith(".")]) <= 1, got["homes"]
    assert all(x in ("lo", "eth0") for x in got["links"]), got["links"]
    assert ask(w, a, "/hello") == "hello"


def memory_and_processes_are_its_own(w):
    a, b = pair(w)
    assert ask(w, a, "/bomb") == "done"
    began = time.monotonic()
    for _ in range(20):
        assert ask(w, b, "/hello") == "hello"
    took = time.monotonic() - began
    w.remove(a)
    wait_for(lambda: not any(a in x for x in w.left()), "end of the bomb")
    return f"20 requests to the neighbour in {took * 1000:.0f} ms beside a fork bomb"


def the_disk_is_its_own(w):
    a, b = pair(w)
    free = os.statvfs(w.root).f_bavail * os.statvfs(w.root).f_frsize
    why, mb = ask(w, a, "/fill")
    assert why in ("ENOSPC", "EDQUOT") and mb <= 64, (why, mb)
    assert free - os.statvfs(w.root).f_bavail * os.statvfs(w.root).f_frsize < 200 << 20
    assert ask(w, a, "/hello") == "hello" and ask(w, b, "/hello") == "hello"
    # a full disk: the logs lose lines, nothing blocks
    assert ask(w, a, "/babble?50") == "done"
    assert ask(w, a, "/empty") == "done"
    w.remove(a)


def babble_is_bounded(w):
    a, b = pair(w)
    assert ask(w, a, "/babble?300") == "done"
    gear = w.broker.instances[a]["gear"]
    logs = f"{w.data}/gears/{gear}/logs/{a}"
    sizes = [os.stat(f"{logs}/{x}").st_size for x in os.listdir(logs)]
    assert sum(sizes) < 16 << 20, sizes
    status, body = w.call("GET", f"/v1/gears/{gear}/logs?lines=100")
    lines = [json.loads(x) for x in body.splitlines()]
    assert status == 200 and 0 < len(lines) <= 100 and len(body) < 4 << 20, (status, len(lines), len(body))
    assert ask(w, b, "/hello") == "hello"


run_tests([the_network_ends_at_the_application, the_host_is_out_of_reach, memory_and_processes_are_its_own,
           the_disk_is_its_own, babble_is_bounded])
