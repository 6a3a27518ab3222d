"""An Intellifi Spot as its documents describe it: one chunked POST a second, chunks of at most 500 bytes, an event in
a chunk of its own, commands read from the answer.
"""

import json
import socket
import time

CHUNK_MAX = 500


class Spot:
    """One connection, kept for request after request. `config` is what it was told to be."""

    def __init__(self, door, serial, config=None):
        self.door, self.serial = door, serial
        self.config = {"rfid_power_dbm": 24, "send_hits": False, "hostname": "gate", **(config or {})}
        self.socket = socket.create_connection(door, timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def begin(self, kind="text/x-intellifi-events"):
        self.socket.sendall(
            f"POST /api/spots/{self.serial}/events/ HTTP/1.1\r\nHost: {self.door[0]}\r\n"
            f"User-Agent: spot/61-4-gab12cd3\r\nTransfer-Encoding: chunked\r\nAccept: text/x-intellifi-events\r\n"
            f"Content-Type: {kind}\r\nCache-Control: no-cache\r\n\r\n".encode())

    def say(self, resource, action, body, cut=CHUNK_MAX):
        """A message, cut into chunks; its last has the two line feeds."""
        text = json.dumps([resource, action, body], separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"
        for start in range(0, len(text), cut):
            self.chunk(text[start:start + cut])

    def chunk(self, piece):
        self.socket.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))

    def hello(self):
        """What comes first after a start."""
        self.say("spot", "create", {"spot_id": self.serial, "version": "61-4-gab12cd3", "pcb_version": 4, "online": True,
                                    "rfid_swr": [1.1, 1.2, 1.1, 1.3, 1.0, 1.1, 1.2], "boot_count": 3, "time_started": now()})
        self.say("config", "create", self.config)

    def end(self):
        """Ends the request; gives status, the messages in the answer, and the seconds until it came."""
        begun = time.monotonic()
        self.socket.sendall(b"0\r\n\r\n")
        status, body = self.answer()
        return status, [json.loads(piece) for piece in body.decode().split("\n\n") if piece], time.monotonic() - begun

    def answer(self):
        while b"\r\n\r\n" not in self.buffer:
            self._receive()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        while len(self.buffer) < length:
            self._receive()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return int(head.split()[1]), body

    def _receive(self):
        piece = self.socket.recv(65_536)
        assert piece, "the server hung up"
        self.buffer += piece

    def obey(self, messages):
        """Does what it is told, and tells so in the next request."""
        for resource, action, body in messages:
            assert (resource, action) == ("config", "update"), (resource, action)
            self.config.update(body)
            self.say("config", "update", body)


def now():
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03}Z"


def hit(number):
    return {"time": now(), "item_code": f"E28011606000020{number:09}", "item_codetype": "EPC Gen2",
            "antenna": number % 7 + 1, "signal_strength": -400 - number % 300}


def presence(code, proximity="near"):
    return {"item_code": code, "item_codetype": "EPC Gen2", "time_started": now(), "time_last": now(),
            "proximity": proximity, "hold_delay_s": 5}
