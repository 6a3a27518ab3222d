"""MQTT over WebSocket, frame by frame (MQTT 5.0 section 6); paho goes over it in the 3.1.1 file."""

import base64
import os

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import proves
from raw_mqtt import PING, V5, VERSIONS, Raw, connect, name, server, subscribe

__all__ = ["name", "server"]
TEXT, BINARY, CLOSE, WS_PING, WS_PONG = 1, 2, 8, 9, 10


class WebSocket(Raw):
    """Its packets come out of frames; what is sent goes into frames by `frame`."""

    def __init__(self, door, version, protocol="mqtt"):
        super().__init__(door, version)
        self.frames, self.opcodes = [], set()
        key = base64.b64encode(os.urandom(16)).decode()
        asked = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
        self.socket.sendall((
            f"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{asked}"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode())
        self.answer = b""
        while not self.answer.endswith(b"\r\n\r\n"):
            self.answer += self._exactly(1)

    def frame(self, data, opcode=BINARY, last=True):
        """One masked frame."""
        size = len(data)
        length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        self.socket.sendall(bytes([(0x80 if last else 0) | opcode]) + length + mask + masked)

    def send(self, *packets):
        self.frame(b"".join(packets))

    def _exactly(self, count):
        found = b""
        while len(found) < count:
            more = self.socket.recv(count - len(found))
            if not more:
                raise EOFError("the server closed")
            found += more
        return found

    def _read(self, count):
        while len(self._unread) < count:
            first, size = self._exactly(2)
            assert size < 128, "a server does not mask"
            if size >= 126:
                size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
            data, opcode = self._exactly(size), first & 15
            self.opcodes.add(opcode)
            if opcode in (0, BINARY):
                self._unread += data
            else:
                self.frames.append((opcode, data))
                if opcode == CLOSE:
                    raise EOFError("the server closed")
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken


@pytest.fixture
def websocket(server):
    made = []

    def make(version=V5, **more):
        made.append(WebSocket(server.door("http"), version, **more))
        return made[-1]

    yield make
    for client in made:
        client.drop()


@proves(v3=[], v5=["MQTT-6.0.0-3", "MQTT-6.0.0-4"])
def test_the_subprotocol_is_mqtt(websocket, version):
    client = websocket(version, protocol="other, mqtt")
    assert client.answer.startswith(b"HTTP/1.1 101")
    assert b"sec-websocket-protocol: mqtt\r\n" in client.answer.lower()
    client.login()
    client.ping()


@proves(v3=[], v5=["MQTT-6.0.0-1", "MQTT-6.0.0-2"])
def test_packets_and_frames_need_not_meet(websocket, name, version):
    client = websocket(version)
    said = connect(version) + subscribe(version, [(name, 1)], 1) + PING + PING
    for index in range(0, len(said), 7):
        client.frame(said[index:index + 7])
    assert client.take(Kind.CONNACK).reason == 0
    assert client.take(Kind.SUBACK).codes == (1,)
    client.take(Kind.PINGRESP)
    client.take(Kind.PINGRESP)
    client.frame(PING[:1], last=False)
    client.frame(b"between", WS_PING)
    client.frame(PING[1:], opcode=0)
    client.take(Kind.PINGRESP)
    assert (WS_PONG, b"between") in client.frames


@proves(v3=[], v5=["MQTT-6.0.0-2"])
def test_several_packets_in_one_frame_are_all_done(websocket, name, version):
    client = websocket(version)
    client.frame(connect(version) + subscribe(version, [(name, 1)], 1) + PING)
    assert client.take(Kind.CONNACK).reason == 0
    assert client.take(Kind.SUBACK).codes == (1,)
    client.take(Kind.PINGRESP)


@proves(v3=[], v5=["MQTT-6.0.0-1"])
def test_a_text_frame_closes(websocket, version):
    client = websocket(version)
    client.login()
    client.frame(PING, TEXT)
    client.last_words()


@VERSIONS
def test_a_broken_websocket_sends_the_will(websocket, name, version):
    watcher, client = websocket(version), websocket(version)
    watcher.login()
    watcher.subscribe(name)
    client.login(will={"topic": name})
    client.drop()
    assert watcher.message().text == "gone"
