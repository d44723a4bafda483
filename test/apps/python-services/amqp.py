"""AMQP 0-9-1 as far as one queue needs it: connect, declare, publish, get. By a plain socket."""
import socket
import struct
from urllib.parse import unquote, urlparse


def short(s):
    return bytes([len(s)]) + s.encode()


def long(b):
    return struct.pack(">I", len(b)) + b


class Connection:
    def __init__(self, url):
        u = urlparse(url)
        self.s = socket.create_connection((u.hostname, u.port), timeout=20)
        self.f = self.s.makefile("rb")
        self.s.sendall(b"AMQP\0\0\x09\x01")
        self.expect(0, 10, 10)  # start
        plain = f"\0{unquote(u.username)}\0{unquote(u.password)}".encode()
        self.method(0, 10, 11, long(b"") + short("PLAIN") + long(plain) + short("en_US"))
        channels, frame, heartbeat = struct.unpack(">HIH", self.expect(0, 10, 30)[:8])  # tune
        self.method(0, 10, 31, struct.pack(">HIH", channels, frame, 0))
        self.method(0, 10, 40, short(unquote(u.path[1:])) + short("") + b"\0")
        self.expect(0, 10, 41)
        self.method(1, 20, 10, short(""))
        self.expect(1, 20, 11)

    def frame(self, kind, channel, payload):
        self.s.sendall(struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce")

    def method(self, channel, cls, number, args):
        self.frame(1, channel, struct.pack(">HH", cls, number) + args)

    def read(self):
        kind, channel, size = struct.unpack(">BHI", self.f.read(7))
        payload = self.f.read(size + 1)[:-1]
        return kind, channel, payload

    def expect(self, channel, cls, *numbers):
        kind, got, payload = self.read()
        assert kind == 1 and got == channel, (kind, got, payload)
        at = struct.unpack(">HH", payload[:4])
        assert at[0] == cls and at[1] in numbers, (at, payload)
        self.last = at[1]
        return payload[4:]

    def declare(self, queue):
        self.method(1, 50, 10, b"\0\0" + short(queue) + b"\x02" + long(b""))  # durable
        self.expect(1, 50, 11)

    def publish(self, queue, body):
        self.method(1, 85, 10, b"\0")  # confirm: the answer to a publish says that it is on disk
        self.expect(1, 85, 11)
        self.method(1, 60, 40, b"\0\0" + short("") + short(queue) + b"\0")
        self.frame(2, 1, struct.pack(">HHQHB", 60, 0, len(body), 0x1000, 2))  # delivery mode 2: kept
        self.frame(3, 1, body)
        self.expect(1, 60, 80)  # ack

    def get(self, queue):
        self.method(1, 60, 70, b"\0\0" + short(queue) + b"\x01")
        self.expect(1, 60, 71, 72)
        if self.last == 72:
            return None
        size = struct.unpack(">HHQ", self.read()[2][:12])[2]
        body = b""
        while len(body) < size:
            body += self.read()[2]
        return body
