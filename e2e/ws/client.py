"""A WebSocket client that says exactly what a test wants said, right or wrong, over a plain socket.

What comes back is read strictly: a server that masks, sets a reserved bit, or writes a length longer than need be fails
the test by itself (RFC 6455 section 5).
"""

import base64
import hashlib
import os
import socket

from roost import OWNER

TOKEN = f"Authorization: Bearer {OWNER}"
WAIT = 30
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ENDED = ("ended",)


def frame(opcode, payload=b"", fin=True, rsv=0, mask=None):
    """One masked frame; `rsv` are the three reserved bits as a number up to 7."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = bytes([0xFE]) + size.to_bytes(2, "big")
    else:
        length = bytes([0xFF]) + size.to_bytes(8, "big")
    mask = mask or os.urandom(4)
    return bytes([(0x80 if fin else 0) | rsv << 4 | opcode]) + length + mask + masked(payload, mask)


def masked(payload, mask):
    repeated = mask * (len(payload) // 4 + 1)
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[:len(payload)], "big")
    return mixed.to_bytes(len(payload), "big")


def fragments(opcode, payloads):
    """A message in as many frames as there are payloads."""
    last = len(payloads) - 1
    return [frame(CONTINUATION if at else opcode, part, fin=at == last) for at, part in enumerate(payloads)]


def cut(payload, size):
    """The payload in pieces of a size; one empty piece when there is none."""
    return [payload[at:at + size] for at in range(0, len(payload), size)] or [b""]


def close(code=1000, reason=b""):
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def text(payload):
    return ("text", payload)


def binary(payload):
    return ("binary", payload)


def pong(payload=b""):
    return ("pong", payload)


def closed(code):
    return ("close", code)


def head(path, *headers, method="GET", version="1.1", key="dGhlIHNhbXBsZSBub25jZQ==", replace=None):
    """The head of an upgrade; `replace` gives other values to headers of it, or none at all by `None`."""
    usual = {"Host": "roost", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
             "Sec-WebSocket-Key": key, **(replace or {})}
    lines = [f"{name}: {value}" for name, value in usual.items() if value is not None]
    return "\r\n".join([f"{method} {path} HTTP/{version}", *lines, *headers, "", ""]).encode()


class Stream:
    """A connection to the HTTP door, and the answer to what was asked first."""

    def __init__(self, door, asked, chop=None):
        self.socket = socket.create_connection(door, timeout=WAIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread, self.begun = b"", []
        self.send(asked, chop=chop)
        self.answer()

    def send(self, *pieces, chop=None):
        """Each piece in a write of its own, or in writes of `chop` bytes."""
        for piece in pieces if chop is None else cut(b"".join(pieces), chop):
            self.socket.sendall(piece)

    def answer(self):
        """The head of an HTTP answer: status and headers by their names in lower case."""
        lines = self._until(b"\r\n\r\n").decode().split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        pairs = [line.split(": ", 1) for line in lines[1:] if line]
        self.headers = {name.lower(): value for name, value in pairs}
        assert len(self.headers) == len(pairs), lines
        return self

    def body(self):
        return self._exactly(int(self.headers["content-length"]))

    def _until(self, end):
        while end not in self.unread:
            self._receive()
        found, _, self.unread = self.unread.partition(end)
        return found + end

    def _exactly(self, count):
        while len(self.unread) < count:
            self._receive()
        found, self.unread = self.unread[:count], self.unread[count:]
        return found

    def _receive(self):
        more = self.socket.recv(1 << 20)
        if not more:
            raise EOFError("the server closed")
        self.unread += more

    def next(self):
        """What comes next: a message, `pong(…)`, `closed(…)`, or `ENDED` once the server has closed its side."""
        while True:
            try:
                first, second = self._exactly(2)
            except (EOFError, ConnectionError):
                assert not self.unread, "the server closed within a frame"
                return ENDED
            assert first & 0x70 == 0, "no extension was agreed"
            assert second & 0x80 == 0, "a server does not mask"
            payload = self._exactly(self._length(second))
            opcode, fin = first & 0x0F, bool(first & 0x80)
            if opcode >= CLOSE:
                assert fin and len(payload) <= 125, "control frames are short and whole"
                return self._control(opcode, payload)
            assert (opcode == CONTINUATION) == bool(self.begun), "a fragment out of place"
            self.begun.append((opcode, payload))
            if fin:
                kind = {TEXT: text, BINARY: binary}[self.begun[0][0]]
                message = kind(b"".join(part for _, part in self.begun))
                self.begun = []
                return message

    def _length(self, size):
        if size == 126:
            size = int.from_bytes(self._exactly(2), "big")
            assert size >= 126, "the length is not in its shortest form"
        elif size == 127:
            size = int.from_bytes(self._exactly(8), "big")
            assert size >= 65_536, "the length is not in its shortest form"
        return size

    @staticmethod
    def _control(opcode, payload):
        if opcode == CLOSE:
            payload[2:].decode()
            return closed(int.from_bytes(payload[:2], "big") if payload else None)
        return ("pong" if opcode == PONG else "ping", payload)

    def rest(self):
        """All that comes until the server has closed its side; a close frame is the last of it."""
        found = []
        while not found or found[-1] != ENDED:
            found.append(self.next())
        return found

    def drop(self):
        self.socket.close()


class Client(Stream):
    """A WebSocket whose upgrade was answered by 101; `behind` goes out in one write with the request."""

    def __init__(self, door, path, *headers, behind=b"", chop=None):
        key = base64.b64encode(os.urandom(16)).decode()
        super().__init__(door, head(path, *headers, key=key) + behind, chop)
        assert self.status == 101, self.headers
        assert self.headers["sec-websocket-accept"] == accept(key)

    def check(self, said, expected, chop=None):
        """After what was said, and our good-bye, exactly this has come."""
        self.send(*said, close(), chop=chop)
        assert self.rest() == [*expected, closed(1000), ENDED]

    def check_failed(self, said, expected, code, chop=None):
        """What was said makes the server end it, without another word from us."""
        self.send(*said, chop=chop)
        assert self.rest() == [*expected, closed(code), ENDED]


def accept(key):
    """What a server answers to a key, RFC 6455 section 4.2.2."""
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
