#!/usr/bin/python3
"""Limits of a profile: seen from inside, in force, changed while the gear runs; programs that size
themselves by them, under the real seccomp profile."""
import json, os, sys, time, urllib.parse
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from node_world import *

# GET /run?COMMAND runs it by sh and answers with [status, output]; /bytes?N sends so many.
SERVER = r'''#!/usr/bin/python3
import http.server, json, os, resource, subprocess, urllib.parse
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        u = urllib.parse.urlsplit(self.path); q = urllib.parse.unquote(u.query)
        if u.path == "/bytes":
            body = bytes(int(q))
        elif u.path == "/nofile":
            body = json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)).encode()
        else:
            p = subprocess.run(["sh", "-c", q], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            body = json.dumps([p.returncode, p.stdout.decode(errors="replace")]).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        n = left = int(self.headers["Content-Length"])
        while left > 0:
            left -= len(self.rfile.read(min(left, 65536)))
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *a):
        pass
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), H).serve_forever()
'''
FILES = {".openshift/action_hooks/start": '#!/bin/bash\nexec python3 "$OPENSHIFT_REPO_DIR/server.py"\n', "server.py": SERVER}
SMALL = dict(memory_mb=256, cpu_percent=100, cpu_burst_percent=50, cpu_shares=128, pids=100, disk_mb=64, files=1000,
             net_kbit=0, nofile=4000)


def gear(w, **limits):
    w.start()
    g = w.gear(limits={**SMALL, **limits})
    i = w.instance(g, w.layer(FILES))
    assert w.wait_state(i, "ready", "failed", deadline=60)["state"] == "ready", w.broker.instances[i]
    return g, i


def request(w, i, path, body=None):
    st = w.broker.instances[i]
    c = http.client.HTTPConnection(st["address"], st["port"], timeout=120)
    c.request("GET" if body is None else "POST", path, body)
    r = c.getresponse()
    assert r.status == 200, r.status
    return r.read()


def sh(w, i, command, status=0):
    got = json.loads(request(w, i, "/run?" + urllib.parse.quote(command)))
    assert status is None or got[0] == status, (command, got)
    return got[1].strip()


def cgroup(w, i, controller, name):
    g = w.broker.instances[i]["gear"]
    for base in (f"/sys/fs/cgroup/{controller}", "/sys/fs/cgroup"):
        path = f"{base}/pinion/{w.tag}/{g}/{i}/{name}"
        if os.path.exists(path):
            return open(path).read().strip()
    return None


def is_v1():
    return os.path.isdir("/sys/fs/cgroup/memory")


def memory_limit():
    return "/sys/fs/cgroup/memory/memory.limit_in_bytes" if is_v1() else "/sys/fs/cgroup/memory.max"


def a_gear_sees_its_own_limits(w):
    g, i = gear(w)
    assert sh(w, i, "cat " + memory_limit()) == str(256 << 20)
    cpu = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_burst_us" if is_v1() else \
        "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.max.burst"
    assert sh(w, i, cpu).split() == (["100000", "50000"] if is_v1() else ["100000", "100000", "50000"])
    assert sh(w, i, "grep -c : /proc/self/cgroup") != "0"
    assert "pinion" not in sh(w, i, "cat /proc/self/cgroup /proc/self/mountinfo | grep -w -e memory -e cgroup2 -e 0::")
    # nothing of it can be written, nobody else is in it
    assert "Read-only" in sh(w, i, f"echo -1 > {memory_limit()}", None)
    assert sh(w, i, f"mkdir {os.path.dirname(memory_limit())}/x", None) != ""
    assert sh(w, i, "find /sys/fs/cgroup -mindepth 2 -type d") == ""
    assert "release_agent" not in sh(w, i, "find /sys/fs/cgroup")
    assert sh(w, i, "ls /sys") == "fs" and sh(w, i, "ls /sys/fs") == "cgroup"
    size, = [x.split()[1] for x in sh(w, i, "df -k /dev/shm").splitlines()[1:]]
    assert size == str(64 * 1024), size
    assert json.loads(request(w, i, "/nofile")) == [4000, 4000]


def disk_mb(w, i):
    """What the gear can use at most."""
    used, free = sh(w, i, 'df -m --output=used,avail "$OPENSHIFT_DATA_DIR" | tail -1').split()
    return int(used) + int(free)


def files(w, i):
    return int(sh(w, i, 'df --output=itotal "$OPENSHIFT_DATA_DIR" | tail -1'))


def may_grow():
    """The kernel lets CAP_SYS_RESOURCE alone grow a mounted file system."""
    caps = next(x for x in open("/proc/self/status") if x.startswith("CapEff"))
    return int(caps.split()[1], 16) >> 24 & 1


def limits_follow_the_profile_at_once(w):
    g, i = gear(w)
    pid = sh(w, i, "echo $PPID")
    w.change_gear(g, limits={**SMALL, "memory_mb": 512, "cpu_percent": 40, "cpu_burst_percent": 80, "pids": 50,
                             "net_kbit": 24000, "nofile": 2000, "cpu_shares": 512, "disk_mb": 200, "files": 4000})
    wait_for(lambda: sh(w, i, "cat " + memory_limit()) == str(512 << 20), "larger memory")
    wait_for(lambda: "tbf" in os.popen(f"tc qdisc show dev {link(w)}").read(), "rate")
    wait_for(lambda: json.loads(request(w, i, "/nofile")) == [2000, 2000], "fewer open files")
    assert sh(w, i, "df -k /dev/shm | tail -1").split()[1] == str(128 * 1024)
    if is_v1():
        assert cgroup(w, i, "cpu", "cpu.cfs_quota_us") == "40000"
        assert cgroup(w, i, "cpu", "cpu.cfs_burst_us") == "40000"  # never above the quota
        assert cgroup(w, i, "cpu", "cpu.shares") == "512"
    assert cgroup(w, i, "pids", "pids.max") == "50"
    wait_for(lambda: 150 < disk_mb(w, i) <= 200, "larger disk")
    assert 1000 <= files(w, i) < 1600 or may_grow() and files(w, i) >= 4000, files(w, i)
    assert sh(w, i, "echo $PPID") == pid  # not started anew
    # a bucket leaks no faster: 3 MB at 3 MB/s, the first 128 kB at once
    for body in (None, bytes(3 << 20)):
        began = time.monotonic()
        request(w, i, "/bytes?%d" % (3 << 20) if body is None else "/", body)
        assert time.monotonic() - began > 0.8, "the rate is not in force"
    # what changed while no daemon ran applies when it is back
    w.kill()
    w.change_gear(g, limits={**SMALL, "memory_mb": 300})
    w.start()
    w.wait_state(i, "ready")
    wait_for(lambda: sh(w, i, "cat " + memory_limit()) == str(300 << 20), "limits after the restart")
    wait_for(lambda: "tbf" not in os.popen(f"tc qdisc show dev {link(w)}").read(), "no rate")
    assert cgroup(w, i, "pids", "pids.max") == "100" and sh(w, i, "echo $PPID") == pid
    wait_for(lambda: disk_mb(w, i) <= 64, "smaller disk")


def link(w):
    return next(x for x in os.listdir("/sys/class/net") if x.startswith("pn" + w.tag))


def java_and_nodejs_size_themselves(w):
    g, i = gear(w, memory_mb=512)
    have = sh(w, i, "command -v java; command -v node", None)
    if "java" in have:
        code = "public class M { public static void main(String[] a) { Runtime r = Runtime.getRuntime(); " \
            "System.out.println(r.maxMemory() / 1048576 + \" \" + r.availableProcessors()); } }"
        sh(w, i, f"cd /tmp && echo {shell(code)} > M.java && test -e M.java")
        heap, cpus = map(int, sh(w, i, "cd /tmp && java -XX:MaxRAMPercentage=50 M.java 2>&1 | tail -1").split())
        assert 200 <= heap <= 256 and cpus == 1, (heap, cpus)
        shown = sh(w, i, "java -XshowSettings:system -version 2>&1")
        assert "512.00M" in shown and ("Provider: cgroupv1" in shown) == is_v1(), shown
    if "node" in have:
        small = int(sh(w, i, "node -p 'v8.getHeapStatistics().heap_size_limit >> 20'"))
        w.change_gear(g, limits={**SMALL, "memory_mb": 1024})
        wait_for(lambda: sh(w, i, "cat " + memory_limit()) == str(1 << 30), "larger memory")
        large = int(sh(w, i, "node -p 'v8.getHeapStatistics().heap_size_limit >> 20'"))
        assert 200 <= small <= 400 and 450 <= large <= 700, (small, large)
    return have.replace("\n", " ") or "neither is installed"


def shell(s):
    return "'" + s.replace("'", "'\\''") + "'"


def databases_run_in_their_limits(w):
    g, i = gear(w, memory_mb=512, disk_mb=512, files=20000)
    seen = []
    d = "$OPENSHIFT_DATA_DIR"
    pg = sh(w, i, "ls -d /usr/lib/postgresql/*/bin | tail -1", None)
    if pg.startswith("/usr"):
        sh(w, i, f"{pg}/initdb -D {d}/pg -A trust -U app --no-sync")
        sh(w, i, f"{pg}/pg_ctl -D {d}/pg -w -o '-c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp' -l {d}/pg.log start")
        assert sh(w, i, "psql -h 127.0.0.1 -U app postgres -Atc 'select 6 * 7'") == "42"
        # a parallel query uses shared memory
        assert sh(w, i, "psql -h /tmp -U app postgres -Atc 'set min_parallel_table_scan_size=0; set parallel_setup_cost=0; "
                  "create table t as select generate_series(1,200000) n; analyze t; select count(*) from t' | tail -1") == "200000"
        sh(w, i, f"{pg}/pg_ctl -D {d}/pg -m fast stop")
        seen.append("PostgreSQL")
    if sh(w, i, "command -v mariadbd && command -v mariadb-install-db", None).count("/") > 2:
        opts = f"--no-defaults --datadir={d}/my --socket=/tmp/my.sock --innodb-log-file-size=8M --innodb-buffer-pool-size=32M"
        sh(w, i, f"mariadb-install-db --no-defaults --datadir={d}/my --auth-root-authentication-method=normal --innodb-log-file-size=8M")
        sh(w, i, f"setsid mariadbd {opts} --bind-address=127.0.0.1 >{d}/my.log 2>&1 & "
           "for n in $(seq 300); do mariadb-admin --no-defaults -u root -S /tmp/my.sock ping && exit 0; sleep 0.1; done; exit 1")
        assert sh(w, i, "mariadb --no-defaults -u root -S /tmp/my.sock -BNe 'create database d; create table d.t (n int) engine=innodb; "
                  "insert into d.t values (6),(7); select sum(n) from d.t'") == "13"
        sh(w, i, "mariadb-admin --no-defaults -u root -S /tmp/my.sock shutdown")
        seen.append("MariaDB")
    return ", ".join(seen) or "none is installed"


run_tests([a_gear_sees_its_own_limits, limits_follow_the_profile_at_once, java_and_nodejs_size_themselves,
           databases_run_in_their_limits])
