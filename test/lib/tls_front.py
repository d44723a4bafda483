#!/usr/bin/python3
"""tls_front.py PORT CERT KEY CLIENT-CA TARGET: what stands before a broker that is called over a network: takes
TLS, from clients that show a certificate of CLIENT-CA unless that is "-", and passes the bytes on to TARGET, a
Unix socket or HOST:PORT. Prints its port, which 0 leaves open."""
import select
import socket
import ssl
import sys
import threading

port, cert, key, ca, target = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
if ca != "-":
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
WAIT = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Peer:
    """A TLS socket for two threads: it is held for each call, not while bytes are awaited."""

    def __init__(self, raw):
        self.socket, self.lock = context.wrap_socket(raw, server_side=True), threading.Lock()
        self.socket.setblocking(False)

    def recv(self):
        while True:
            with self.lock:
                try:
                    return self.socket.recv(65536)
                except WAIT:
                    pass
            select.select([self.socket], [], [], 1)

    def sendall(self, data):
        while data:
            try:
                with self.lock:
                    data = data[self.socket.send(data):]
            except WAIT:
                select.select([], [self.socket], [], 1)


def dial():
    if "/" not in target:
        host, at = target.rsplit(":", 1)
        return socket.create_connection((host, int(at)))
    s = socket.socket(socket.AF_UNIX)
    s.connect(target)
    return s


def pump(read, write, both):
    try:
        while data := read():
            write(data)
    except OSError:
        pass
    for s in both:
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(raw):
    try:
        client = Peer(raw)
        broker = dial()
    except OSError:
        raw.close()
        return
    both = (client.socket, broker)
    down = threading.Thread(target=pump, args=(lambda: broker.recv(65536), client.sendall, both))
    down.start()
    pump(client.recv, broker.sendall, both)
    down.join()
    for s in both:
        s.close()


listener = socket.create_server(("127.0.0.1", int(port)), backlog=64)
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
