#!/usr/bin/python3
"""Builds that want to stay, never end, say everything, take everything, or leave traps for who seals and
serves what they made. The neighbour on the same node answers all the while."""
import os, sys, time
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hostile_world import *
from build_world import *


def hook(script):
    return {"index.html": "x", ".openshift/action_hooks/build": ("exec", "#!/bin/bash\n" + script)}


def world(w, **more):
    """A hostile application and the neighbour."""
    w.start()
    g = w.gear(app_name="bank", app_dns="bank-demo.apps.test", gear_dns="bank-demo.apps.test")
    victim = w.instance(g, w.layer(FILES))
    assert w.wait_state(victim, "ready", "failed")["state"] == "ready"
    limits = dict(memory_mb=256, cpu_percent=100, cpu_shares=128, pids=100, disk_mb=64, files=2000)
    return App(w, "static", limits={**limits, **more}), victim


def processes_of_builds(w):
    return [x for x in w.left() if "build-" in x]


def builds_end(w):
    a, victim = world(w)
    with Neighbour(w, victim) as n:
        # what it leaves running, holding its output open, deaf to SIGTERM, out of its session
        b = a.build(hook("for i in 1 2 3; do (trap '' TERM HUP INT; setsid sleep 1000) & done\n"
                         "(setsid bash -c 'trap \"\" TERM; while :; do sleep 1; done' </dev/null >&2 2>&1 &)\necho begun\n"), timeout_s=20)
        assert b.ok and b.seconds < 20, b
        wait_for(lambda: not processes_of_builds(w), f"end of the daemons ({processes_of_builds(w)})")
        # one that never ends, whatever it is told
        b = a.build(hook("trap '' TERM HUP INT\nwhile :; do sleep 1; done\n"), timeout_s=2)
        assert not b.ok and b.seconds < 30, b
        b.says("took longer than 2 s")
        b = a.build(hook("kill -STOP $$\n"), timeout_s=2)
        assert not b.ok and b.seconds < 30, b
        # a fork bomb and a glutton
        b = a.build(hook("bomb() { bomb | bomb & }; bomb; sleep 1000\n"), timeout_s=4)
        assert not b.ok and b.seconds < 40, b
        b = a.build(hook("python3 -c 'b = bytearray(4 << 30)\nfor i in range(0, len(b), 4096): b[i] = 1'\n"), timeout_s=60)
        assert not b.ok, b
        wait_for(lambda: not processes_of_builds(w), f"end of all ({processes_of_builds(w)})")
        assert a.build({"index.html": "fine"}).ok
    return str(n)


def what_they_say_is_bounded(w):
    a, victim = world(w)
    with Neighbour(w, victim) as n:
        b = a.build(hook("head -c 10G /dev/zero | tr '\\0' 'x' | fold -w 1000\n"), timeout_s=6, output_max=1 << 20)
        assert len(b.text) < 2 << 20, len(b.text)
        assert b.ok or b.says("took longer than 6 s")
        b = a.build(hook("head -c 100M /dev/zero | tr '\\0' 'x'\n"), timeout_s=30, output_max=1 << 20)  # one line
        assert len(b.text) < 2 << 20, len(b.text)
        b = a.build(hook("printf '\\033]0;owned\\007\\033[2Jgone \\x9b31m \\xff\\xfe %s\\n' \"$(printf '\\u202e')\"\n"), timeout_s=30)
        assert b.ok, b
        b.says("gone")
        # nor does it move the cursor, change colours or turn text around on the terminal of who pushed
        assert not any(c in b.text for c in "\x1b\x07\x9b\u202e\r"), repr(b.text)
        assert "31m" not in b.text.replace("\ufffd31m", ""), repr(b.text)
    return str(n)


def what_they_leave_is_no_trap(w):
    """Links out of the tree, pipes, huge and many files: sealed as they are or refused, never followed."""
    a, victim = world(w, disk_mb=32)
    shadow = open("/etc/shadow").read().splitlines()[0]
    with Neighbour(w, victim) as n:
        b = a.build(hook("cd $OPENSHIFT_REPO_DIR\nln -sf /etc/shadow index.html\nln -s ../../../../../../../../etc etc\nmkfifo pipe\n"
                         "ln -s / root\nln /usr/bin/id hard 2>/dev/null\nmkdir -p a/b; ln -s .. a/b/up\ntouch $'new\\nline' $'\\033[31m'\n"
                         "cp /usr/bin/id suid; chmod 6755 suid\nchmod 000 a\nexit 0\n"), timeout_s=30)
        if b.ok:
            top = a.repo()
            for path, _, names in os.walk(top):
                for x in names:
                    st = os.lstat(os.path.join(path, x))
                    assert st.st_mode & 0o170000 in (0o100000, 0o120000, 0o010000) and not st.st_mode & 0o6000, (x, oct(st.st_mode))
            a.run()
            for path in ("/", "/index.html", "/etc/shadow", "/root/etc/shadow", "/etc/passwd"):
                status, body = a.get(path)
                assert shadow not in body and (path != "/etc/passwd" or "/var/lib/openshift" in body or status in (403, 404)), (path, status)
        b = a.build(hook("dd if=/dev/zero of=$OPENSHIFT_REPO_DIR/big bs=1M count=500 2>/dev/null; sleep 1000\n"), timeout_s=60)
        assert not b.ok, b
        b = a.build(hook("cd $OPENSHIFT_REPO_DIR; for ((i = 0; i < 20000; i++)); do : >f$i; done\n"), timeout_s=60)
        assert not b.ok or len(os.listdir(a.repo())) > 20000, b
        # swapping the tree under the feet of who seals it
        b = a.build(hook("cd $OPENSHIFT_REPO_DIR/..; mv repo other; ln -s /etc repo; exit 0\n"), timeout_s=30)
        if b.ok:
            assert not os.path.exists(a.repo() + "/shadow")
        assert a.build({"index.html": "fine"}).ok
        wait_for(lambda: not os.listdir(w.data + "/scratch"), "empty scratch")
    assert open("/etc/shadow").read().splitlines()[0] == shadow
    return str(n)


run_tests([builds_end, what_they_say_is_bounded, what_they_leave_is_no_trap])
