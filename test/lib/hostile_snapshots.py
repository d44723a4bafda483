"""Archives that no gear made: hostile_snapshots.py DIRECTORY writes NAME.tar.gz, one for each trick."""
import gzip, io, os, sys, tarfile

U = "./6b042bfe733d042229000004"


def entry(name, type=tarfile.REGTYPE, data=b"", link="", mode=0o644):
    t = tarfile.TarInfo(name)
    t.type, t.linkname, t.mode = type, link, mode
    t.size = len(data) if type == tarfile.REGTYPE else 0
    return t, data


def archive(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as t:
        for info, data in entries:
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def bomb():
    """A gigabyte of zeros in a few hundred kilobytes."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9) as z:
        info = tarfile.TarInfo(U + "/app-root/data/zeros")
        info.size = 8 << 30
        z.write(info.tobuf())
        block = bytes(1 << 20)
        for _ in range(1030):
            z.write(block)
    return out.getvalue()


GOOD = entry(U + "/app-root/data/good", data=b"from the archive\n")
HOSTILE = {
    "dotdot": archive(GOOD, entry(U + "/app-root/data/../../../../etc/evil", data=b"x")),
    "below_a_link": archive(entry(U + "/app-root/data/out", tarfile.SYMTYPE, link="/etc"), entry(U + "/app-root/data/out/evil", data=b"x")),
    "hard_link_outside": archive(GOOD, entry(U + "/app-root/data/passwd", tarfile.LNKTYPE, link="/etc/passwd")),
    "hard_link_through_a_link": archive(entry(U + "/app-root/data/out", tarfile.SYMTYPE, link="/"), entry(U + "/app-root/data/p", tarfile.LNKTYPE, link=U + "/app-root/data/out/etc/passwd")),
    "file_over_directory": archive(entry(U + "/app-root/data/d/f", data=b"x"), entry(U + "/app-root/data/d", data=b"x")),
    "deep": archive(entry(U + "/app-root/data/" + "/".join("d" * 300), data=b"x")),
    "long_name": archive(entry(U + "/app-root/data/" + "n" * 300, data=b"x")),
    "link_in_git": archive(GOOD, entry(U + "/git/x.git/HEAD", tarfile.SYMTYPE, link="/etc/passwd")),
    "broken_git": archive(GOOD, entry(U + "/git/x.git/HEAD", data=b"ref: refs/heads/master\n"), entry(U + "/git/x.git/refs/heads/master", data=b"1" * 40 + b"\n")),
    "no_snapshot": archive(entry("some/other/file", data=b"x")),
    "cut_short": archive(GOOD, entry(U + "/app-root/data/big", data=os.urandom(300000)))[:200000],
    "no_archive": b"hello\n" * 1000,
    "empty": b"",
    "bomb": bomb(),
    "many_files": archive(*[entry(f"{U}/app-root/data/f{i}") for i in range(90000)]),
}
ODD_BUT_FINE = archive(
    GOOD,
    entry(U + "/app-root/data/pipe", tarfile.FIFOTYPE), entry(U + "/app-root/data/null", tarfile.CHRTYPE),
    entry(U + "/app-root/data/setuid", data=b"x", mode=0o6755),
    entry(U + "/app-root/data/self", tarfile.SYMTYPE, link="good"), entry(U + "/app-root/data/away", tarfile.SYMTYPE, link="/etc/shadow"),
    entry(U + "/app-root/data/twice", data=b"1"), entry(U + "/app-root/data/twice", data=b"2"),
    entry(U + "/app-root/data/same", tarfile.LNKTYPE, link=U + "/app-root/data/good"),
    entry(U + "/app-root/runtime/data/no", data=b"x"), entry(U + "/php/data/no", data=b"x"), entry(U + "/.env/EVIL", data=b"x"), entry(U + "/.ssh/authorized_keys", data=b"x"),
    entry(U + "/git/x.git/hooks/post-receive", data=b"#!/bin/sh\n", mode=0o755), entry(U + "/git/x.git/config", data=b"[core]\n\tfsmonitor = touch /tmp/pinion-evil\n"),
)

if __name__ == "__main__":
    for name, data in {**HOSTILE, "odd": ODD_BUT_FINE}.items():
        with open(os.path.join(sys.argv[1], name + ".tar.gz"), "wb") as f:
            f.write(data)
    print("\n".join(HOSTILE))
