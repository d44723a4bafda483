#!/usr/bin/python3
"""Gears that want more than is theirs: the network, the host, each other, memory, processes, disk, kernel
objects. Each attack names its victim; the neighbour answers all the while."""
import os, signal, socket, sys, time
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hostile_world import *


def host_addresses(mine):
    """Every address of this machine that a gear might try; not loopback."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.connect((mine, 9))
    out = {probe.getsockname()[0], "169.254.1.1"}
    for line in os.popen("ip -o addr").read().splitlines():
        address = line.split()[3].split("/")[0]
        if address not in ("127.0.0.1", "::1"):
            out.add(address)
    return out


def the_network_ends_at_the_application(w):
    a, b = pair(w)
    mine, theirs = w.broker.instances[a]["address"], w.broker.instances[b]["address"]
    host = mine.rsplit(".", 2)[0]
    listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    port = listener.getsockname()[1]
    own = {"127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"}  # loopback is its own; by the link it leads nowhere
    host_side = host_addresses(mine) | own | {"0.0.0.0", "::", "::ffff:" + mine.rsplit(".", 1)[0] + ".1", "fe80::1"}
    with Neighbour(w, b) as n:
        assert do(w, a, "reach", " ".join(f"{x}:{port}" for x in host_side)) == []
        assert do(w, a, "reach", " ".join((
            theirs + ":8080", "::ffff:" + theirs + ":8080", f"{host}.1.77:8080", "10.0.0.1:80", "192.168.0.1:80", "172.16.0.1:80",
            "169.254.169.254:80", "169.254.170.2:80", "100.100.100.200:80", "fd00:ec2::254:80"))) == []
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
    listener.close()
    return str(n)


def no_packet_reaches_the_machine(w):
    """UDP, broadcast, multicast, sockets beside TCP/IP."""
    a, b = pair(w)
    mine = w.broker.instances[a]["address"]
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", 0))
    s.settimeout(0.5)
    port = s.getsockname()[1]
    everybody = {"255.255.255.255", mine.rsplit(".", 1)[0] + ".255", "224.0.0.1", "224.0.0.251", "239.255.255.250",
                 "127.0.0.1", "ff02::1", "ff02::1%eth0"}
    assert do(w, a, "tell", " ".join(f"{x}|{port}|boo" for x in host_addresses(mine) | everybody)) == {}
    try:
        got = s.recvfrom(100)
        raise AssertionError(f"the host heard {got}")
    except TimeoutError:
        pass
    s.close()
    got = ask(w, a, "/raw")
    assert got["raw"] != "made" and got["raw6"] != "made" and got["packet"] != "made" and got["netlink_nf"] != "done", got
    assert sorted(do(w, a, "families")) == ["INET", "INET6", "NETLINK", "UNIX"], do(w, a, "families")
    got = do(w, a, "vsock")
    assert "connected" not in got.values() and set(got.values()) <= {"EAFNOSUPPORT", "EPERM", "ENOSYS"}, got


def the_kernel_gives_nothing(w):
    a, b = pair(w)
    got = ask(w, a, "/system")
    assert ask(w, a, "/kill_init") in ("done", "EPERM")  # PID 1 of a namespace does not hear it
    bad = {k: v for k, v in got.items() if v == "done"}
    assert not bad, bad
    denied = ("EPERM", "EACCES", "ENOSYS", "EINVAL")
    for k in ("settimeofday", "clock_settime", "vm_read_init", "ptrace_init", "reboot", "io_uring_setup", "userfaultfd", "keyctl_read",
              "bpf_map", "bpf_prog", "syslog", "syslog_size", "perf_event_open", "add_key", "request_key", "unshare_user", "mount"):
        assert got[k] in ("EPERM", "ENOSYS"), (k, got[k])
    got = ask(w, a, "/suid")
    own = [v for k, v in got.items() if k.startswith("/") and v not in ("1000", "1000 ")]
    assert got["own"] == "1000" and not own, got
    plain = ("full", "null", "ptmx", "random", "tty", "urandom", "zero", "pts/ptmx")
    assert [x for x in do(w, a, "devices") if x[5:] not in plain and not x.startswith("/dev/pts/")] == [], do(w, a, "devices")
    got = ask(w, a, "/files")
    assert [k for k, v in got.items() if v == "opened"] == [], got
    got = ask(w, a, "/see")
    assert got["pids"] < 20 and got["uid"] == 1000 and got["nnp"] == "1" and got["seccomp"] == "2", got
    assert int(got["caps"], 16) == 0 and int(got["bound"], 16) == 0, got
    assert len([x for x in got["homes"] if not x.startswith(".")]) <= 1, got["homes"]
    assert all(x in ("lo", "eth0") for x in got["links"]), got["links"]
    assert ask(w, a, "/hello") == "hello" and ask(w, b, "/hello") == "hello"


def a_neighbours_secrets_are_not_there(w):
    """A file, a variable, an argument, memory and sockets of the victim."""
    secret = "s3cret-" + os.urandom(8).hex()
    w.start()
    layer = w.layer(FILES)
    ids = []
    for name, env in (("shop", []), ("bank", [dict(name="BANK_SECRET", value=secret)])):
        g = w.gear(app_name=name, app_dns=f"{name}-demo.apps.test", gear_dns=f"{name}-demo.apps.test", env=env,
                   secret_token=secret if name == "bank" else "t" * 128)
        ids.append(w.instance(g, layer))
    a, b = ids
    for i in ids:
        assert w.wait_state(i, "ready", "failed")["state"] == "ready"
    assert do(w, b, "put", "vault|" + secret) == "done" and do(w, b, "listen_abstract", "vault") == "done"
    assert do(w, b, "sysv") == [True, 1]
    own = do(w, b, "hunt", secret)
    assert len(own["found"]) >= 3, own  # the hunter can hunt
    got = do(w, a, "hunt", secret)
    assert got["found"] == [] and got["looked"] > 20, got
    assert do(w, a, "abstract", "vault") == "refused" and do(w, b, "abstract", "vault") == "connected"
    assert do(w, a, "sysv") == [True, 1]
    victim = w.broker.instances[b]["gear"]
    for path in (f"/var/lib/openshift/{victim}/app-root/data/vault", f"{w.data}/gears/{victim}/data/vault",
                 f"/proc/1/root{w.data}/gears/{victim}/data/vault", f"/proc/1/cwd/../{victim}/app-root/data/vault",
                 w.root + "/broker-token", w.run + "/node.sock", "/run/pinion"):
        assert do(w, a, "get", path) in ("ENOENT", "EACCES", "EISDIR"), (path, do(w, a, "get", path))
    assert do(w, b, "get", "vault") == secret


def memory_and_processes_are_its_own(w):
    a, b = pair(w)
    with Neighbour(w, b) as n:
        assert ask(w, a, "/bomb") == "done"
        time.sleep(2)
        w.remove(a)
        wait_for(lambda: not any(a in x for x in w.left()), "end of the bomb")
    return str(n)


def a_glutton_is_the_one_who_dies(w):
    a, b = pair(w)
    with Neighbour(w, b) as n:
        assert do(w, a, "eat", "1024") == -signal.SIGKILL  # the child, not the neighbour
        assert do(w, a, "fill", "/dev/shm/x")[0] in ("ENOSPC", "ENOMEM") and do(w, a, "empty", "/dev/shm/x") == "done"
        do(w, a, "spin", "20")
        try:
            do(w, a, "eat_self", "1024")
        except OSError:
            pass
        st = wait_for(lambda: w.broker.instances[a] if w.broker.instances[a]["state"] == "crashed" else None, "crash")
        assert "ran out of memory" in st["reason"] and "256 MB" in st["reason"], st["reason"]
        w.wait_state(a, "ready")
    return str(n)


def kernel_objects_are_counted(w):
    """What the kernel counts for the whole machine or for who made the name spaces."""
    a, b = pair(w, limits=dict(memory_mb=256, cpu_percent=200, cpu_shares=128, pids=100, disk_mb=64, files=1000, nofile=8192))
    got = {}
    with Neighbour(w, b) as n:
        for kind in ("inotify", "pty", "signal", "timer", "aio", "queue", "pipe", "epoll", "event", "socket", "file", "memfd", "shm"):
            try:
                got[kind] = do(w, a, "hoard", kind, timeout=120)
            except OSError:  # it ate its own memory, and only that
                got[kind] = "killed"
                w.wait_state(a, "ready")
            for need in ("inotify", "pty", "timer", "aio", "queue", "file", "process"):
                assert do(w, b, "can", need) == "done", (kind, got, need)
            if got[kind] != "killed":
                do(w, a, "let_go")
    return f"{got}; {n}"


def the_disk_is_its_own(w):
    a, b = pair(w)
    free = os.statvfs(w.root).f_bavail * os.statvfs(w.root).f_frsize
    with Neighbour(w, b) as n:
        why, mb = ask(w, a, "/fill")
        assert why in ("ENOSPC", "EDQUOT") and mb <= 64, (why, mb)
        assert free - os.statvfs(w.root).f_bavail * os.statvfs(w.root).f_frsize < 200 << 20
        assert ask(w, a, "/hello") == "hello" and ask(w, b, "/hello") == "hello"
        # a full disk: the logs lose lines, nothing blocks
        assert ask(w, a, "/babble?50") == "done"
        assert ask(w, a, "/empty") == "done"
        why, count = do(w, a, "many_files", "100000")
        assert why in ("ENOSPC", "EDQUOT") and count < 100000, (why, count)
        assert ask(w, a, "/hello") == "hello"
        assert ask(w, a, "/no_files") == "done" and do(w, a, "put", "after|x") == "done"
        w.remove(a)
    return f"{count} files; {n}"


def babble_is_bounded(w):
    a, b = pair(w)
    gear = w.broker.instances[a]["gear"]
    with Neighbour(w, b) as n:
        assert ask(w, a, "/babble?300") == "done"
        mb = do(w, a, "flood", "6")
        assert mb > 100, mb  # 1 GB a minute and more
    logs = f"{w.data}/gears/{gear}/logs/{a}"
    sizes = [os.stat(f"{logs}/{x}").st_size for x in os.listdir(logs)]
    assert sum(sizes) < 16 << 20, sizes
    status, body = w.call("GET", f"/v1/gears/{gear}/logs?lines=100")
    lines = [json.loads(x) for x in body.splitlines()]
    assert status == 200 and 0 < len(lines) <= 100 and len(body) < 4 << 20, (status, len(lines), len(body))
    return f"{mb} MB in 6 s; {n}"


def root_reads_no_link_of_a_gear(w):
    """What the daemon reads or writes where the gear's user may write."""
    a, b = pair(w)
    shadow = open("/etc/shadow").read().splitlines()[0]
    gear = w.broker.instances[a]["gear"]
    with Neighbour(w, b) as n:
        assert do(w, a, "fake_logs")[0].endswith("/logs")
        for q in ("lines=100", "lines=1000&instance=evil", "lines=1000&instance=..", f"lines=100&instance={a}"):
            status, body = w.call("GET", f"/v1/gears/{gear}/logs?{q}")
            assert status in (200, 400, 404) and shadow.encode() not in body, (q, status)
        for what in ("link", "pipe", "huge", '{"phase": "exited", "exit_code": 0}', "{" * 8000, "\x1b[31m" * 100):
            assert do(w, a, "fake_status", what) == "done"
            assert w.call("GET", f"/v1/gears/{gear}/logs?lines=10")[0] == 200
        w.restart()
        st = w.wait_state(a, "ready", "crashed", "failed")
        assert shadow not in json.dumps(st)
        w.remove(a)
        wait_for(lambda: not any(a in x for x in w.left()), f"end (left: {w.left()})")
    assert open("/etc/shadow").read().splitlines()[0] == shadow
    return str(n)


def connections_are_its_own(w):
    """Two gears of one application hold all they can between them; the machine's table has room."""
    many = dict(memory_mb=256, cpu_percent=200, cpu_shares=128, pids=100, disk_mb=64, files=1000, nofile=20000)
    a, b = pair(w, limits=many)
    g = w.gear(app_name="shop", app_id=w.broker.instances[a]["gear"], gear_name="other", limits=many)
    c = w.instance(g, w.layer(FILES))
    assert w.wait_state(c, "ready", "failed")["state"] == "ready"
    with Neighbour(w, b) as n:
        assert do(w, c, "sink", "7000") == "done"
        got = do(w, a, "connections", f"{w.broker.instances[c]['address']}|7000|6000", timeout=120)
        assert 1000 < got <= 4200, got
        assert ask(w, c, "/hello") == "hello"
        do(w, a, "let_go")
    return f"{got} connections; {n}"


run_tests([the_network_ends_at_the_application, no_packet_reaches_the_machine, the_kernel_gives_nothing,
           a_neighbours_secrets_are_not_there, memory_and_processes_are_its_own, a_glutton_is_the_one_who_dies,
           kernel_objects_are_counted, the_disk_is_its_own, babble_is_bounded, root_reads_no_link_of_a_gear,
           connections_are_its_own])
