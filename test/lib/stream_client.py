"""A client of byte streams (doc/protocol.md) for tests: one upgraded connection, frames both ways."""
import json
import socket
import struct

DATA, END, WINDOW, ORDER, READY, RESIZE, SIGNAL, EXIT, ERROR, PING, PONG = range(11)


class Stream:
    def __init__(self, address, path, token, order=None):
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
        else:
            self.sock = socket.socket()
        self.sock.settimeout(60)
        self.sock.connect(address)
        self.sock.sendall((f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                           f"Upgrade: pinion-stream\r\nAuthorization: {token}\r\n\r\n").encode())
        self.buf = b""
        while b"\r\n\r\n" not in self.buf:
            self._more()
        head, self.buf = self.buf.split(b"\r\n\r\n", 1)
        self.status = int(head.split()[1])
        self.out, self.err, self.exit, self.signal, self.error = b"", b"", None, None, None
        self.is_ready = False
        self.credit = 256 * 1024
        self.takes = True
        if self.status == 101 and order is not None:
            self.send(ORDER, 0, json.dumps(order).encode())

    def _more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.buf += data

    def send(self, kind, channel, data=b""):
        self.sock.sendall(struct.pack(">BBHI", kind, channel, 0, len(data)) + data)

    def step(self):
        """Reads one frame: its kind."""
        while len(self.buf) < 8:
            self._more()
        kind, channel, _, n = struct.unpack(">BBHI", self.buf[:8])
        while len(self.buf) < 8 + n:
            self._more()
        data, self.buf = self.buf[8:8 + n], self.buf[8 + n:]
        if kind == DATA:
            if channel == 2:
                self.err += data
            else:
                self.out += data
            if self.takes:
                self.send(WINDOW, channel, struct.pack(">I", n))
        elif kind == WINDOW:
            self.credit += struct.unpack(">I", data)[0]
        elif kind == READY:
            self.is_ready = True
        elif kind == EXIT:
            self.exit = struct.unpack(">I", data[:4])[0]
            self.signal = data[4:].decode()
        elif kind == ERROR:
            self.error = (data[0], data[1:].decode())
        elif kind == PING:
            self.send(PONG, 0)
        return kind

    def ready(self):
        while not self.is_ready and self.error is None:
            self.step()
        return self.error is None

    def run(self, data=None):
        """To the end; data: for stdin, then its end."""
        if not self.ready():
            return self
        if data is not None:
            for i in range(0, len(data), 32768):
                piece = data[i:i + 32768]
                while self.credit < len(piece):
                    self.step()
                self.credit -= len(piece)
                self.send(DATA, 0, piece)
            self.send(END, 0)
        try:
            while self.exit is None and self.error is None:
                self.step()
        finally:
            self.sock.close()
        return self
