"""The program of a hostile gear: GET /NAME?ARGUMENT calls the function and answers with JSON. Runs in the
gear; the tests never import it."""
import ctypes, errno, http.server, json, mmap, os, resource, signal, socket, struct, subprocess, sys, threading, time, urllib.parse
libc = ctypes.CDLL(None, use_errno=True)
DATA = os.environ["OPENSHIFT_DATA_DIR"]


def call(name, *args):
    rc = libc[name](*args)
    return "done" if rc >= 0 else errno.errorcode.get(ctypes.get_errno(), "?")


def opened(path, mode):
    try:
        with open(path, mode) as f:
            return "opened" if "w" in mode or f.read(1) else "empty"
    except OSError as e:
        return errno.errorcode.get(e.errno, "?")


def hello(_):
    return "hello"


# --- the network ---

def connect(arg):
    host, port = arg.rsplit(":", 1)
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    s.settimeout(2)
    try:
        s.connect((host, int(port)))
        return "connected"
    except OSError:
        return "refused"


def connect_by_link(arg):
    """Past the routing: bound to the link, which has route_localnet."""
    host, port = arg.rsplit(":", 1)
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    s.settimeout(2)
    try:
        s.setsockopt(socket.SOL_SOCKET, 25, b"eth0\0")
        if ":" in host:
            s.connect((host, int(port), 0, socket.if_nametoindex("eth0")))
        else:
            s.connect((host, int(port)))
        return "connected"
    except OSError:
        return "refused"


def each(f, args):
    """f of all at once, since most of it is waiting."""
    out = {}

    def one(x):
        out[x] = f(x)

    threads = [threading.Thread(target=one, args=(x,)) for x in args]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return out


def reach(arg):
    """Which of the addresses HOST:PORT answer, by the routes or by the link."""
    args = arg.split()
    a, b = each(connect, args), each(connect_by_link, args)
    return sorted(x for x in args if "connected" in (a[x], b[x]))


def tell(arg):
    """Which of HOST|PORT|TEXT answer a datagram."""
    return {k: v for k, v in each(say, arg.split()).items() if v != "none"}


def say(arg):
    """UDP to wherever, broadcast and multicast allowed; an answer tells."""
    host, port, text = arg.split("|")
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.settimeout(1)
    try:
        for _ in range(3):
            s.sendto(text.encode(), (host, int(port)))
        return s.recv(100).decode()
    except OSError as e:
        return "none"


def resolve(name):
    try:
        return socket.gethostbyname(name)
    except OSError:
        return "unknown"


def families(_):
    """Which kinds of sockets can be made."""
    out = []
    for name in ("UNIX", "INET", "INET6", "NETLINK", "PACKET", "VSOCK", "ALG", "TIPC", "BLUETOOTH", "CAN", "RDS", "QIPCRTR",
                 "X25", "AX25", "IPX", "APPLETALK", "LLC", "KEY", "PPPOX", "XDP", "SMC", "PHONET", "IEEE802154", "KCM"):
        number = dict(X25=9, IPX=4, IEEE802154=36, KCM=41, XDP=44, SMC=43, KEY=15, AX25=3, PHONET=35).get(name) or getattr(socket, "AF_" + name, 0)
        for kind in (1, 2, 3, 5):
            try:
                socket.socket(number, kind).close()
                out.append(name)
                break
            except OSError:
                pass
    return out


def vsock(_):
    """The machine's hypervisor, the machine, other machines: no namespace keeps them apart."""
    out = {}
    for cid in (0, 1, 2, 3):
        for port in (22, 1024, 52, 10000):
            try:
                s = socket.socket(40, socket.SOCK_STREAM)
                s.settimeout(0.3)
                s.connect((cid, port))
                out[f"{cid}:{port}"] = "connected"
            except OSError as e:
                out[f"{cid}:{port}"] = errno.errorcode.get(e.errno, "timeout")
    return out


def raw(_):
    out = {}
    for name, args in dict(raw=(socket.AF_INET, socket.SOCK_RAW, 1), raw6=(socket.AF_INET6, socket.SOCK_RAW, 58),
                           packet=(socket.AF_PACKET, socket.SOCK_RAW, 0x300), ping=(socket.AF_INET, socket.SOCK_DGRAM, 1),
                           netlink_nf=(socket.AF_NETLINK, socket.SOCK_RAW, 12)).items():
        try:
            s = socket.socket(*args)
            if name != "netlink_nf":
                out[name] = "made"
                continue
            # flush of the namespace's rules
            s.bind((0, 0))
            msg = struct.pack("=IHHII", 20, 10 << 8 | 2, 5, 1, 0) + struct.pack("=BBH", 0, 0, 0)
            s.send(msg)
            s.settimeout(1)
            a = s.recv(4096)
            out[name] = errno.errorcode.get(-struct.unpack_from("=i", a, 16)[0], "done")
        except OSError as e:
            out[name] = errno.errorcode.get(e.errno, str(e))
    return out


def abstract(name):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect("\0" + name)
        return "connected"
    except OSError:
        return "refused"


held = []


def listen_abstract(name):
    s = socket.socket(socket.AF_UNIX)
    s.bind("\0" + name)
    s.listen(8)
    held.append(s)
    return "done"


def sink(port):
    """Takes connections and holds them."""
    s = socket.create_server(("", int(port)), backlog=512)

    def accept():
        while True:
            try:
                held.append(s.accept()[0])
            except OSError:
                time.sleep(0.1)

    threading.Thread(target=accept, daemon=True).start()
    return "done"


def connections(arg):
    """Opens as many as it can and holds them."""
    host, port, n = arg.split("|")
    got = bad = 0
    while got < int(n) and bad < 5:
        s = socket.socket()
        s.settimeout(0.5)
        try:
            s.connect((host, int(port)))
            held.append(s)
            got += 1
        except OSError:
            s.close()
            bad += 1
    return got


# --- the kernel ---

# Where success would hurt the machine that runs the tests, the arguments are wrong: then it must be EPERM.
BAD_TIME = ctypes.create_string_buffer(struct.pack("=qq", 0, 2 << 30))
BAD_IOV = ctypes.create_string_buffer(struct.pack("=qq", 4096, 8))
SYSCALLS = dict(  # x86_64: number and arguments that would do harm, or at least something
    mount=(165, b"none", b"/tmp", b"tmpfs", 0, None), umount2=(166, b"/tmp", 2), pivot_root=(155, b"/", b"/tmp"),
    chroot=(161, b"/tmp"), unshare_user=(272, 0x10000000), unshare_net=(272, 0x40000000), unshare_ns=(272, 0x20000),
    unshare_time=(272, 0x80), setns=(308, 0, 0), open_tree=(428, -100, b"/", 1), move_mount=(429, -1, b"", -1, b"", 0),
    fsopen=(430, b"tmpfs", 0), fspick=(433, -100, b"/", 0), mount_setattr=(442, -100, b"/", 0x8000, None, 0),
    bpf_map=(321, 0, ctypes.create_string_buffer(struct.pack("=IIII", 2, 4, 4, 1).ljust(128, b"\0")), 128),
    bpf_prog=(321, 5, ctypes.create_string_buffer(128), 128),
    io_uring_setup=(425, 8, ctypes.create_string_buffer(120)), userfaultfd=(323, 0), userfaultfd_user=(323, 1),
    keyctl_session=(250, 1, 0), keyctl_read=(250, 11, -3, 0, 0), add_key=(248, b"user", b"x", b"y", 1, -3),
    request_key=(249, b"user", b"x", 0, -3), perf_event_open=(298, ctypes.create_string_buffer(128), 0, -1, -1, 0),
    ptrace_init=(101, 16, 1, 0, 0), ptrace_seize_init=(101, 0x4206, 1, 0, 0),
    vm_read_init=(310, 1, BAD_IOV, 1, BAD_IOV, 1, 0), pidfd_getfd=(438, 0, 0, 0),
    kexec_load=(246, 0, 0, 0, 0), init_module=(175, 0, 0, b""), finit_module=(313, 0, b"", 0), delete_module=(176, b"no such module", 0),
    reboot=(169, 1, 1, 0, None), swapon=(167, b"/tmp/x", 0), acct=(163, None), iopl=(172, 3),
    ioperm=(173, 0, 8, 1),
    settimeofday=(164, BAD_TIME, None), clock_settime=(227, 0, BAD_TIME),
    sethostname=(170, b"x", 1), setdomainname=(171, b"x", 1), quotactl=(179, 0x800002, b"/dev/loop0", 0, None),
    open_by_handle_at=(304, 0, ctypes.create_string_buffer(64), 0), syslog=(103, 3, ctypes.create_string_buffer(4096), 4096),
    syslog_size=(103, 10, None, 0), fanotify_init=(300, 0, 0), lookup_dcookie=(212, 0, None, 0), kcmp=(312, 1, 1, 0, 0, 0),
    mknod_block=(133, b"/tmp/sda", 0o60600, 8 << 8), mknod_char=(133, b"/tmp/mem", 0o20600, 1 << 8 | 1),
    mknod_data=(133, (DATA + "/mem").encode(), 0o20600, 1 << 8 | 1),
    setuid=(105, 0), setgid=(106, 0), setresuid=(117, 0, 0, 0), setgroups=(116, 1, (ctypes.c_uint * 1)(0)),
    setpriority=(141, 0, 0, ctypes.c_long(-10)), sched_fifo=(144, 0, 1, ctypes.byref(ctypes.c_int(1))),
    chown_root=(92, (DATA + "/mine").encode(), 0, 0), nfsservctl=(180, 0, 0, 0), vhangup=(153,), modify_ldt=(154, 1, ctypes.create_string_buffer(16), 16),
    personality_addr=(135, 0x0040000))


def system(_):
    open(DATA + "/mine", "w").close()
    return {name: call("syscall", *args) for name, args in SYSCALLS.items()}


def kill_init(_):
    return call("kill", 1, signal.SIGKILL)


def suid(_):
    """Programs with a set-id bit, the system's and one of our own: who are we in them?"""
    out = {}
    own = DATA + "/suid"
    with open("/usr/bin/id", "rb") as f, open(own, "wb") as g:
        g.write(f.read())
    out["chmod"] = call("chmod", own.encode(), 0o6755)
    out["own"] = subprocess.run([own, "-u"], stdout=-1).stdout.decode().strip()
    os.unlink(own)
    for p in ("/usr/bin/su", "/usr/bin/sudo", "/usr/bin/mount", "/usr/bin/newgrp", "/usr/bin/passwd"):
        if not os.path.exists(p):
            continue
        # the program waits for input that never comes: what is its user?
        try:
            r, w = os.pipe()
            q = subprocess.Popen([p], stdin=r, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with open(f"/proc/{q.pid}/status") as f:
                status = dict(x.split(":", 1) for x in f.read().splitlines() if ":" in x)
            out[p] = status["Uid"].split()[1] + " " + status["CapEff"].strip().lstrip("0")
            q.kill()
            q.wait()
            os.close(r), os.close(w)
        except OSError as e:
            out[p] = errno.errorcode.get(e.errno, "?")
    return out


def devices(_):
    """Device nodes below /dev that can be opened, and what of them is no plain one."""
    out = []
    for top, _, names in os.walk("/dev"):
        for n in names:
            path = os.path.join(top, n)
            try:
                st = os.lstat(path)
                if st.st_mode & 0o170000 in (0o20000, 0o60000):
                    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
                    out.append(path)
            except OSError:
                pass
    return sorted(out)


# --- files ---

def files(_):
    out = {}
    for path in ("/proc/1/mem", "/proc/1/environ", "/proc/1/root/etc/hosts", "/proc/kcore", "/dev/mem", "/dev/sda", "/dev/kmsg",
                 "/proc/kmsg", "/proc/keys", "/proc/timer_list", "/proc/1/cwd/etc/hosts", "/proc/1/map_files"):
        out[path] = opened(path, "rb")
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/usr/bin/x",
                 "/etc/passwd", "/run/pinion/init", "/sys/kernel/uevent_helper", "/x", "/proc/sys/user/max_user_namespaces",
                 "/proc/sys/fs/inotify/max_user_instances", "/proc/1/oom_score_adj", "/run/x", "/var/x", "/sys/fs/cgroup/memory/x",
                 "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cgroup.procs"):
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


def hunt(secret):
    """Looks for the text in whatever can be read: environments, memory files, small files everywhere but /usr."""
    found, looked, needle = [], 0, secret.encode()
    mine = os.getpid()
    for p in [p for p in os.listdir("/proc") if p.isdigit()]:
        for name in ("environ", "cmdline"):
            try:
                with open(f"/proc/{p}/{name}", "rb") as f:
                    looked += 1
                    if needle in f.read():
                        found.append(f"/proc/{p}/{name}")
            except OSError:
                pass
    seen = set()
    for top in ("/var", "/run", "/tmp", "/home", "/root", "/srv", "/mnt", "/dev/shm", "/etc", "/sys", "/opt", "/proc/1/root",
                "/proc/1/cwd", "/proc/self/fd", "/proc/1/fd"):
        for path, dirs, names in os.walk(top):
            dirs[:] = [d for d in dirs if os.path.join(path, d) not in ("/proc/1/root/proc", "/proc/1/root/usr")]
            for n in names:
                try:
                    full = os.path.join(path, n)
                    st = os.stat(full)
                    if (st.st_dev, st.st_ino) in seen or st.st_mode & 0o170000 != 0o100000 or st.st_size > 1 << 20:
                        continue
                    seen.add((st.st_dev, st.st_ino))
                    with open(full, "rb") as f:
                        looked += 1
                        if needle in f.read():
                            found.append(full)
                except OSError:
                    pass
    return dict(found=found, looked=looked)


def put(arg):
    name, text = arg.split("|", 1)
    with open(os.path.join(DATA, name), "w") as f:
        f.write(text)
    return "done"


def get(path):
    try:
        with open(path if path.startswith("/") else os.path.join(DATA, path)) as f:
            return f.read(4096)
    except OSError as e:
        return errno.errorcode.get(e.errno, "?")


def sysv(_):
    """Shared memory of the kernel's own name space: makes one, lists all."""
    i = libc.shmget(0x70696e, 4096, 0o1666)
    with open("/proc/sysvipc/shm") as f:
        return [i >= 0, len(f.readlines()) - 1]


def many_files(arg):
    """So many files in the data directory, as far as they go."""
    top, n = DATA + "/many", 0
    os.makedirs(top, exist_ok=True)
    why = "done"
    try:
        for n in range(int(arg)):
            if n % 1000 == 0:
                os.makedirs(f"{top}/{n // 1000}", exist_ok=True)
            os.close(os.open(f"{top}/{n // 1000}/{n}", os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError as e:
        why = errno.errorcode[e.errno]
    return [why, n]


def no_files(_):
    subprocess.run(["rm", "-rf", DATA + "/many"])
    return "done"


def fill(arg):
    path = arg or DATA + "/big"
    n = 0
    try:
        with open(path, "wb") as f:
            while n < 4096:
                f.write(bytes(1 << 20))
                f.flush()
                n += 1
    except OSError as e:
        return [errno.errorcode[e.errno], n]
    return ["done", n]


def empty(arg):
    os.unlink(arg or DATA + "/big")
    return "done"


def fake_logs(_):
    """Whatever the platform reads here as root, put in the way of a log and of PID 1's words."""
    home = os.environ["HOME"]
    logs = os.path.join(home, "app-root", "logs")
    mine = sorted(os.listdir(logs))[-1]
    out = []
    for where in (logs, os.path.join(logs, mine), "/run/pinion/ctl"):
        try:
            os.symlink("/etc/shadow", f"{where}/a.log")
            os.symlink("../../../../../../../../etc/shadow", f"{where}/b.log")
            os.mkfifo(f"{where}/c.log")
            os.symlink("/etc", f"{where}/evil")
            os.makedirs(f"{where}/d.log")
            with open(f"{where}/e.log", "wb") as f:
                f.truncate(1 << 40)
            out.append(where)
        except OSError as e:
            out.append(f"{where} {errno.errorcode[e.errno]}")
    return out


def fake_status(what):
    """Another status file for the daemon to read."""
    path = "/run/pinion/ctl/status"
    try:
        os.unlink(path)
        if what == "link":
            os.symlink("/etc/shadow", path)
        elif what == "pipe":
            os.mkfifo(path)
        elif what == "huge":
            with open(path, "w") as f:
                f.truncate(1 << 36)
        else:
            with open(path, "w") as f:
                f.write(what)
        return "done"
    except OSError as e:
        return errno.errorcode[e.errno]


# --- gluttony ---

def spawn(code):
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    return "done"


def bomb(_):
    return spawn("import os\nwhile True:\n try: os.fork()\n except OSError: pass")


def eat(arg):
    """A child that takes so many MB; how it ended."""
    p = subprocess.run([sys.executable, "-c", f"b = bytearray({arg} << 20)\nfor i in range(0, len(b), 4096): b[i] = 1"],
                       stderr=subprocess.DEVNULL)
    return p.returncode


def eat_self(arg):
    held.append(bytearray(b"x" * (int(arg) << 20)))
    return "done"


def spin(arg):
    for _ in range(int(arg)):
        spawn("while True: pass")
    return "done"


def hoard(kind):
    """As many kernel objects of a kind as can be had, by a child that then waits."""
    makers = dict(
        inotify="libc.inotify_init1(0)", pty="os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)", pipe="os.pipe()[0]",
        epoll="libc.epoll_create1(0)", event="libc.eventfd(0, 0)", socket="libc.socket(1, 1, 0)", file="os.open('/etc/passwd', 0)",
        timer="libc.timer_create(1, None, ctypes.byref(ctypes.c_void_p()))", memfd="libc.memfd_create(b'x', 0)",
        signal="libc.sigqueue(os.getpid(), 40, 0)", aio="libc.syscall(206, 4096, ctypes.byref(ctypes.c_ulong()))",
        queue="libc.mq_open(b'/q%d' % n, 0o102, 0o600, None)", shm="libc.shmget(0, 1 << 20, 0o1600)")
    code = f"""
import ctypes, ctypes.util, os, resource, signal, sys, time
libc = ctypes.CDLL(None)
rt = ctypes.CDLL("librt.so.1")
s, h = resource.getrlimit(resource.RLIMIT_NOFILE); resource.setrlimit(resource.RLIMIT_NOFILE, (h, h))
signal.pthread_sigmask(signal.SIG_BLOCK, {{40}})
n = 0
try:
    while n < 200000 and ({makers[kind]}) >= 0: n += 1
except OSError: pass
print(n, flush=True); time.sleep(600)
"""
    total, procs = 0, 1 if kind in ("signal", "aio", "queue", "shm") else 8
    for _ in range(procs):
        p = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
        total += int(p.stdout.readline() or 0)
        held.append(p)
    return total


def let_go(_):
    while held:
        x = held.pop()
        if isinstance(x, subprocess.Popen):
            x.kill()
            x.wait()
        elif hasattr(x, "close"):
            x.close()
    return "done"


def can(kind):
    """One of a kind, for the neighbour who needs it."""
    try:
        if kind == "inotify":
            return "done" if libc.inotify_init1(0) >= 0 else "refused"
        if kind == "pty":
            for fd in os.openpty():
                os.close(fd)
            return "done"
        if kind == "timer":
            t = ctypes.c_void_p()
            return "done" if libc.timer_create(1, None, ctypes.byref(t)) >= 0 and libc.timer_delete(t) == 0 else "refused"
        if kind == "aio":
            c = ctypes.c_ulong()
            return "done" if libc.syscall(206, 128, ctypes.byref(c)) >= 0 and libc.syscall(207, c) == 0 else "refused"
        if kind == "queue":
            return "done" if libc.mq_open(b"/mine", 0o102, 0o600, None) >= 0 else "refused"
        if kind == "file":
            os.close(os.open("/etc/passwd", 0))
            return "done"
        if kind == "process":
            return "done" if subprocess.run(["true"]).returncode == 0 else "refused"
    except OSError as e:
        return errno.errorcode.get(e.errno, "?")


def babble(arg):
    for i in range(int(arg)):
        os.write(1, b"x" * 100000 + b"\xff\x00\n")
    return "done"


def flood(arg):
    """Log lines as fast as they go, for so many seconds; MB written."""
    line, end, n = b"all work and no play makes a log " * 30 + b"\n", time.monotonic() + float(arg), 0
    while time.monotonic() < end:
        n += os.write(1, line * 64)
    return n >> 20


class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        u = urllib.parse.urlsplit(self.path)
        f = globals().get(u.path[1:])
        body = json.dumps(f(urllib.parse.unquote(u.query)) if callable(f) else "hello").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *a):
        pass


class S(http.server.ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True


if __name__ == "__main__":
    S(("", int(os.environ["PORT"])), H).serve_forever()
