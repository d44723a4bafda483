#!/usr/bin/python3
"""A web server for downloads of cartridges: files of DIR, and answers that must be refused.

catalog_server.py DIR PORTFILE [PATH…]   serves on 127.0.0.1 and 127.0.0.2 until it is killed, and by
TLS with each PATH.crt and PATH.key on 127.0.0.1; PORTFILE gets all ports on one line
"""
import http.server
import os
import ssl
import sys
import threading
import time

ROOT = sys.argv[1]


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, directory=ROOT, **kwargs)

    def log_message(self, *args):
        with open(os.path.join(ROOT, "..", "requests"), "a", encoding="utf-8") as f:
            f.write("%s %s\n" % (self.server.server_address[0], self.path))

    def redirect(self, to):
        self.send_response(302)
        self.send_header("Location", to)
        self.end_headers()

    def do_GET(self):
        parts = self.path.lstrip("/").split("/")
        port = self.server.server_address[1]
        if parts[0] == "inside":  # to an address that is not allowed
            self.redirect("http://127.0.0.2:%d/%s" % (port, "/".join(parts[1:])))
        elif parts[0].startswith("hop"):  # hop3 → hop2 → hop1 → the file
            n = int(parts[0][3:])
            rest = "/".join(parts[1:])
            self.redirect("/%s" % rest if n == 1 else "/hop%d/%s" % (n - 1, rest))
        elif parts[0] == "scheme":
            self.redirect("file:///etc/passwd")
        elif parts[0] == "endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x: y\n" * 4096)
            except OSError:
                pass
        elif parts[0] == "slow":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"#")
                    self.wfile.flush()
                    time.sleep(0.2)
            except OSError:
                pass
        else:
            super().do_GET()


first = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
second = http.server.ThreadingHTTPServer(("127.0.0.2", first.server_address[1]), Handler)
threading.Thread(target=second.serve_forever, daemon=True).start()
ports = [first.server_address[1]]
for path in sys.argv[3:]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path + ".crt", path + ".key")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ports.append(server.server_address[1])
with open(sys.argv[2] + ".new", "w", encoding="utf-8") as f:
    f.write(" ".join(map(str, ports)) + "\n")
os.rename(sys.argv[2] + ".new", sys.argv[2])
first.serve_forever()
