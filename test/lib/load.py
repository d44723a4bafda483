"""Closed-loop HTTP load on one application until a file vanishes.

usage: load.py ROUTER_URL HOST FLAG_FILE [WORKERS]

Each worker makes 10 requests at least, from an address of its own. Half of the workers keep their connections, half make a new one for each request. Prints JSON:
requests, failures by kind, and how often each body (its first 200 bytes) came.
"""
import collections
import http.client
import json
import os
import sys
import threading
import urllib.parse


class Worker(threading.Thread):
    def __init__(self, address, host, flag, keeps, source):
        super().__init__()
        self.address, self.host, self.flag, self.keeps, self.source = address, host, flag, keeps, source
        self.failures = collections.Counter()
        self.bodies = collections.Counter()
        self.requests = 0

    def run(self):
        connection = None
        while self.requests < 10 or os.path.exists(self.flag):
            self.requests += 1
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(*self.address, timeout=30, source_address=self.source)
                headers = {"Host": self.host}
                if not self.keeps:
                    headers["Connection"] = "close"
                connection.request("GET", "/", headers=headers)
                response = connection.getresponse()
                body = response.read()
                if response.status == 200:
                    self.bodies[body[:200].decode("utf-8", "replace")] += 1
                else:
                    self.failures[f"status {response.status}"] += 1
                if not self.keeps or response.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failures[f"{type(error).__name__}: {error}"] += 1
                connection.close()
                connection = None
        if connection is not None:
            connection.close()


def main():
    url, host, flag = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 8
    parts = urllib.parse.urlsplit(url)
    is_local = parts.hostname.startswith("127.")
    workers = [Worker((parts.hostname, parts.port), host, flag, i % 2 == 0, (f"127.0.0.{2 + i}", 0) if is_local else None) for i in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    total = {
        "requests": sum(w.requests for w in workers),
        "failures": sum((w.failures for w in workers), collections.Counter()),
        "bodies": sum((w.bodies for w in workers), collections.Counter()),
    }
    print(json.dumps(total))


main()
