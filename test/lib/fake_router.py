#!/usr/bin/python3
"""A router that serves nothing: follows the routes, reports each revision, and writes its table to
--table after each change. Instances named in the file --draining (one a line) are reported so."""
import argparse, http.client, json, os, threading, time

from unix_http import UnixConnection

ap = argparse.ArgumentParser()
for name in ("broker", "token-file", "table"):
    ap.add_argument("--" + name, required=True)
ap.add_argument("--draining", default="")
ap.add_argument("--id", default="router1")
a = ap.parse_args()
token = open(a.token_file).read().strip()
routes = {}


conn = [None]


def draining():
    try:
        return [x for x in open(a.draining).read().split() if x]
    except OSError:
        return []


def report(rev):
    for _ in range(2):
        try:
            if conn[0] is None:
                conn[0] = UnixConnection(a.broker, timeout=20)
            conn[0].request("POST", "/internal/router/report",
                            json.dumps({"router": a.id, "revision": rev, "draining": draining()}),
                            {"Authorization": "Bearer " + token})
            conn[0].getresponse().read()
            return
        except (OSError, http.client.HTTPException):
            conn[0] = None


rev, last = 0, None
while True:
    try:
        c = UnixConnection(a.broker, timeout=15)
        c.request("GET", "/internal/router/feed?router=%s%s" % (a.id, "&from=%d" % (rev + 1) if rev else ""),
                  headers={"Authorization": "Bearer " + token})
        r = c.getresponse()
        if r.status != 200:
            raise OSError(r.status)
        for line in r:
            m = json.loads(line)
            if m["type"] == "reset":
                routes.clear()
            elif m.get("kind", "route") != "route":
                continue
            elif m["type"] == "put":
                routes[m["key"]] = m["value"]
            elif m["type"] == "delete":
                routes.pop(m["key"], None)
            else:
                rev = m["revision"]
                with open(a.table + ".new", "w") as f:
                    json.dump(routes, f)
                os.rename(a.table + ".new", a.table)
                report(rev)
    except (OSError, http.client.HTTPException, ValueError):
        time.sleep(0.05)
