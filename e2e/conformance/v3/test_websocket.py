"""MQTT over WebSocket (section 6), beside what `test_mqtt_interop_websocket.py` has for both versions."""

import base64
import os
import socket

import pytest

from conformance.statement import proves
from raw_mqtt import PING, V3, WAIT, connect, publish, string, subscribe
from test_mqtt_interop_websocket import BINARY, TEXT, WebSocket

REFUSED = 400


@pytest.fixture
def websocket(server):
    made = []

    def make(**more):
        made.append(WebSocket(server.door("http"), V3, **more))
        return made[-1]

    yield make
    for client in made:
        client.drop()


@proves("MQTT-6.0.0-4", "MQTT-7.1.1-1")
@pytest.mark.parametrize("offered", ["mqtt", "mqttv3.1, mqtt", "mqtt, other"])
def test_the_sub_protocol_is_mqtt(websocket, offered):
    client = websocket(protocol=offered)
    head = client.answer.lower()
    assert head.startswith(b"http/1.1 101") and head.count(b"sec-websocket-protocol: mqtt\r\n") == 1
    client.send(connect(V3))
    assert client.exactly(4) == b"\x20\x02\x00\x00"


@proves("MQTT-6.0.0-3")
@pytest.mark.parametrize("offered", ["", "Sec-WebSocket-Protocol: mqttv3.1\r\n"])
def test_without_the_sub_protocol_nothing_is_upgraded(server, offered):
    key = base64.b64encode(os.urandom(16)).decode()
    with socket.create_connection(server.door("http"), timeout=WAIT) as asking:
        asking.sendall((
            f"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{offered}"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode())
        assert asking.recv(1 << 16).startswith(f"HTTP/1.1 {REFUSED} ".encode())


@proves("MQTT-6.0.0-1")
def test_a_text_frame_closes_and_what_is_sent_is_binary(websocket, name):
    watcher, client = websocket(), websocket()
    watcher.login()
    watcher.subscribe(name)
    client.login(will={"topic": name})
    client.frame(publish(V3, name, "text"), TEXT)
    assert client.rest() == b""
    assert watcher.message().text == "gone"
    assert watcher.opcodes == {BINARY}


@proves("MQTT-6.0.0-2")
@pytest.mark.parametrize("size", [1, 2, 5, 1_000])
def test_packets_are_cut_into_frames_anywhere(websocket, name, size):
    client = websocket()
    said = connect(V3) + subscribe(V3, [(name, 0)], 1) + publish(V3, name, "x" * 200) + PING
    for index in range(0, len(said), size):
        client.frame(said[index:index + size])
    expected = b"\x20\x02\x00\x00" + b"\x90\x03\x00\x01\x00"
    assert client.exactly(len(expected)) == expected
    rest = publish(V3, name, "x" * 200), PING.replace(b"\xc0", b"\xd0")
    found = client.exactly(sum(map(len, rest)))
    assert found in (b"".join(rest), b"".join(rest[::-1])) and string(name) in found
