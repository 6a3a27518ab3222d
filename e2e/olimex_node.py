"""A node of OLIMEX IoT as its firmware speaks: byte by byte, with its odd ways of reading.

It looks for the headers of the 101 with case and only in the first segment, takes a frame only whole, copies a
command's `ref` without escaping, and waits for no answer.
"""

import base64
import hashlib
import json
import os
import queue
import socket
import struct
import threading

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
WAIT = 20


class Refused(Exception):
    """The answer is none that a node accepts; it would try again in ten seconds, for ever."""


class Node:
    """Connects when made. `frames` are what the server sends; `closed` has its close code and reason."""

    def __init__(self, door, user="", password="", name="ESP_OLIMEX", token="5CCF7F01A2B3", path="/events", first=None):
        self.frames, self.closed, self.relay = queue.Queue(), queue.Queue(), 0
        self.socket = socket.create_connection(door, timeout=WAIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._upgrade(path, user, password)
        if user or password:
            self.say('{"User" : "%s", "Password" : "%s"}' % (user, password))
        if name or token:
            self.say('{"Name" : "%s", "Token" : "%s"}' % (name, token))
        self.say(first or '{"EventURL" : null, "EventData" : {"Device" : "ESP8266", "Status" : "WebSocket Reconnect", '
                          '"FreeHeap" : 20480}}')
        threading.Thread(target=self._read, daemon=True).start()

    def _upgrade(self, path, user, password):
        key = base64.b64encode(os.urandom(16)).decode()
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        authorization = f"Authorization: Basic {basic}\r\n" if user or password else ""
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: farm.example\r\n{authorization}Connection: Upgrade\r\n"
            f"Upgrade: websocket\r\nOrigin: null\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        segment = self.socket.recv(65_536)
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest())
        if self._header(segment, b"\nSec-WebSocket-Accept:") != accept:
            raise Refused(segment)
        if b"upgrade" not in (self._header(segment, b"\nConnection:") or b"").lower():
            raise Refused(segment)
        if self._header(segment, b"\nUpgrade:") != b"websocket":
            raise Refused(segment)
        if not segment.endswith(b"\r\n\r\n"):
            raise Refused(b"a frame stands behind the head, where nobody looks: " + segment)

    @staticmethod
    def _header(segment, name):
        start = segment.find(name)
        if start < 0:
            return None
        return segment[start + len(name):segment.index(b"\r\n", start)].strip()

    def frame(self, opcode, payload):
        mask = os.urandom(4)
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        return bytes([0x80 | opcode]) + length + mask + masked

    def say(self, text):
        self.socket.sendall(self.frame(1, text.encode()))

    def event(self, url, data, **more):
        self.say(json.dumps({"EventURL": url, "EventData": {"Device": "ESP8266", "Status": "OK", "Data": data, **more}}))

    def ping(self):
        self.socket.sendall(self.frame(9, b"Keep-Alive"))

    def leave(self, code=1001, reason="Rebooting"):
        self.socket.sendall(self.frame(8, struct.pack(">H", code) + reason.encode()))

    def drop(self):
        """Like a Wi-Fi that is gone: nothing is said."""
        self.socket.close()

    def _read(self):
        try:
            while segment := self.socket.recv(65_536):
                self._take(segment)
        except OSError:
            pass
        self.closed.put(None)

    def _take(self, segment):
        """Frames in one segment; what is cut off at its end is lost, as in the firmware."""
        while segment:
            opcode, length, start = segment[0] & 0x0F, segment[1] & 0x7F, 2
            assert not segment[1] & 0x80, "a masked frame: the node closes with 1002"
            if length == 126:
                length, start = struct.unpack(">H", segment[2:4])[0], 4
            assert length <= 1_200 and len(segment) >= start + length, "a frame in two segments"
            payload, segment = segment[start:start + length], segment[start + length:]
            if opcode == 8:
                self.closed.put((struct.unpack(">H", payload[:2])[0], payload[2:].decode()))
                self.socket.close()
                return
            if opcode == 9:
                self.socket.sendall(self.frame(10, payload.split(b"\0")[0]))
            elif opcode == 1:
                self._obey(json.loads(payload))
            else:
                self.frames.put((opcode, payload))

    def _obey(self, command):
        url, method = command["URL"], command["Method"]
        ref = f', "ref" : "{command["ref"]}"' if "ref" in command else ""
        head = '{"EventURL" : "%s", "EventData" : {"Device" : "ESP8266", ' % url
        if url == "/relay":
            if method == "POST":
                self.relay = command["Data"]["Relay"]
            self.say(head + '"Status" : "OK", "Data" : {"Relay" : %d}%s}}' % (self.relay, ref))
        elif url == "/config/about":
            self.say(head + '"Status" : "OK", "Data" : {"About" : {"SDKVersion" : "1.5.2", "StationMAC" : "5C:CF:7F:01:A2:B3"}}%s}}'
                     % ref)
        elif url == "/config/iot":
            self.say(head + '"Status" : "OK", "Data" : {"IoT" : {"User" : "barn", "Password" : "SecretOfTheNode", "Path" : "/events"}}%s}}'
                     % ref)
        elif url == "/devices":
            self.say(head + '"Status" : "Power On", "Data" : {"ResetInfo" : "0:0:0"}%s}}' % ref)
            self.say(head + '"Status" : "OK", "Data" : {"Devices" : [{"Type" : "NATIVE", "Name" : "ESP8266", '
                            '"URL" : "/relay", "Found" : 1}]}}}')
        else:
            self.say(head + '"Error" : "URL Not Found"}}')
        self.frames.put(command)

    def next(self, url):
        """The next command for a URL."""
        while True:
            command = self.frames.get(timeout=WAIT)
            if isinstance(command, dict) and command["URL"] == url:
                return command


def post(door, path, user, password, body):
    """One event as a node with `WebSocket` = 0 posts it; gives the whole answer."""
    host, port = door
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    authorization = f"Authorization: Basic {basic}\r\n" if user else ""
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: farm.example\r\n{authorization}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65_536)
        head, rest = answer.split(b"\r\n\r\n", 1)
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        assert len(lengths) == 1 and b"transfer-encoding" not in head.lower(), head
        while len(rest) < int(lengths[0].split(b":")[1]):
            rest += connection.recv(65_536)
        return int(head.split()[1]), json.loads(rest)
