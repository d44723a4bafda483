"""Takes log drains for the tests: syslog over TLS on one port, HTTPS on another.

usage: drain_sink.py DIR CERT KEY [PORT]
Writes DIR/ports.json, each syslog message to DIR/syslog, each of a batch to DIR/batches; while
DIR/stall exists nothing is read, while DIR/refuse exists batches are answered 503."""
import http.server
import json
import os
import socket
import ssl
import sys
import threading
import time

work, cert, key = sys.argv[1:4]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)


def there(name):
    return os.path.exists(os.path.join(work, name))


def keep(name, messages):
    with open(os.path.join(work, name), "ab") as f:
        for m in messages:
            f.write(m + b"\n")


def frames(buf):
    """RFC 6587 octet counting: whole messages, and what is left."""
    out = []
    while b" " in buf:
        length, rest = buf.split(b" ", 1)
        assert length.isdigit(), buf[:40]
        if len(rest) < int(length):
            break
        out.append(rest[: int(length)])
        buf = rest[int(length):]
    return out, buf


def serve(conn):
    try:
        conn = context.wrap_socket(conn, server_side=True)
        buf = b""
        while True:
            while there("stall"):
                time.sleep(0.05)
            data = conn.recv(65536)
            if not data:
                return
            whole, buf = frames(buf + data)
            keep("syslog", whole)
    except OSError as e:
        keep("errors", [str(e).encode()])


def listen(sock):
    while True:
        conn, _ = sock.accept()
        threading.Thread(target=serve, args=(conn,), daemon=True).start()


class Batches(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        refused = there("refuse")
        if not refused:
            whole, left = frames(body)
            assert not left and len(whole) == int(self.headers["Logplex-Msg-Count"])
            keep("batches", whole)
        self.send_response(503 if refused else 204)
        self.end_headers()

    def log_message(self, *args):
        pass


syslog = socket.create_server(("127.0.0.1", int(sys.argv[4]) if len(sys.argv) > 4 else 0))
web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Batches)
web.socket = context.wrap_socket(web.socket, server_side=True)
with open(os.path.join(work, "ports.json.new"), "w", encoding="ascii") as f:
    json.dump({"syslog": syslog.getsockname()[1], "https": web.server_address[1]}, f)
os.rename(os.path.join(work, "ports.json.new"), os.path.join(work, "ports.json"))
threading.Thread(target=listen, args=(syslog,), daemon=True).start()
web.serve_forever()
