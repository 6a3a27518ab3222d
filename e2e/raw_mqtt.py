"""An MQTT client that says exactly what a test wants said, right or wrong, over a plain socket.

Only the properties are borrowed from paho, so that what the server writes is read by somebody else's decoder.
"""

import re
import socket
import struct
from dataclasses import dataclass, field

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind
from paho.mqtt.properties import Properties, VariableByteIntegers

from roost import OWNER, Roost

WAIT = 20
V3, V5 = 4, 5
VERSIONS = pytest.mark.parametrize("version", [V3, V5], ids=["v3.1.1", "v5"])
ACKS = (Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP)
KNOWN = Properties(Kind.PUBLISH)


@pytest.fixture(scope="module")
def server(binary, tmp_path_factory):
    """One server for the tests of a file; each keeps to topics and client ids of its own, see `name`."""
    roost = Roost(binary, tmp_path_factory.mktemp("interop")).start()
    yield roost
    roost.stop()


@pytest.fixture
def name(request):
    """A topic level and client id that no other test has."""
    return re.sub(r"\W+", "-", request.node.name).strip("-")


@pytest.fixture
def raw(server):
    """Makes connections to the server that are closed when the test ends: `raw(V5, "id", ...)`."""
    yield from connections(server)


def connections(server, version=V5, source=None):
    """What the fixture `raw` does; the version is the one meant where none is said."""
    made = []
    said = version

    def make(version=said, client_id="", **more):
        client = make.unconnected(version)
        client.login(client_id, **more)
        assert client.connack.reason == 0, client.connack
        return client

    make.unconnected = lambda version=said: made.append(Raw(server.door("mqtt"), version, source)) or made[-1]
    yield make
    for client in made:
        client.drop()


@dataclass
class Packet:
    """What the server sent, and its bytes. `codes` are those of SUBACK and UNSUBACK."""

    kind: int
    flags: int
    packet_id: int = 0
    reason: int = 0
    topic: str = ""
    payload: bytes = b""
    codes: tuple = ()
    session_present: bool = False
    properties: dict = field(default_factory=dict)
    wire: bytes = field(default=b"", repr=False, compare=False)

    @property
    def qos(self):
        return self.flags >> 1 & 3

    @property
    def retain(self):
        return self.flags & 1

    @property
    def dup(self):
        return self.flags >> 3

    @property
    def text(self):
        return self.payload.decode()


def string(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("!H", len(data)) + data


def number(value):
    return struct.pack("!H", value)


def properties_of(version, values):
    """As on the wire: nothing in 3.1.1. A list says a property several times. No value is looked at."""
    if version == V3:
        return b""
    out = b""
    for key, value in values.items():
        identifier = KNOWN.getIdentFromName(key)
        for one in value if isinstance(value, list) else [value]:
            out += KNOWN.writeProperty(identifier, KNOWN.properties[identifier][0], one)
    return VariableByteIntegers.encode(len(out)) + out


def unpacked(data):
    """The properties that data begins with, and the rest of it."""
    values, (total, length) = {}, VariableByteIntegers.decode(data)
    rest, behind = data[length:length + total], data[length + total:]
    while rest:
        identifier, size = VariableByteIntegers.decode(rest)
        rest = rest[size:]
        value, size = KNOWN.readProperty(rest, KNOWN.properties[identifier][0], len(rest))
        rest = rest[size:]
        key = KNOWN.getNameFromIdent(identifier).replace(" ", "")
        if KNOWN.allowsMultiple(key):
            values.setdefault(key, []).append(value)
        else:
            assert key not in values, f"{key} twice"
            values[key] = value
    return values, behind


def packet(kind, flags, body):
    return bytes([kind << 4 | flags]) + VariableByteIntegers.encode(len(body)) + bytes(body)


def connect(version, client_id="", *, clean=True, keep_alive=60, will=None, user="interop", password=OWNER,
            properties=None):
    """CONNECT. `will` is a dictionary of topic, payload, qos, retain and properties."""
    flags, payload = 0x02 if clean else 0, string(client_id)
    if will:
        flags |= 0x04 | will.get("qos", 1) << 3 | will.get("retain", 0) << 5
        payload += properties_of(version, will.get("properties", {})) + string(will["topic"])
        payload += string(will.get("payload", "gone"))
    if user is not None:
        flags, payload = flags | 0x80, payload + string(user)
    if password is not None:
        flags, payload = flags | 0x40, payload + string(password)
    head = string("MQTT") + bytes([version, flags]) + number(keep_alive)
    return packet(Kind.CONNECT, 0, head + properties_of(version, properties or {}) + payload)


def publish(version, topic, payload=b"", *, qos=0, packet_id=1, retain=0, dup=0, **properties):
    data = payload if isinstance(payload, bytes) else payload.encode()
    body = string(topic) + (number(packet_id) if qos else b"") + properties_of(version, properties) + data
    return packet(Kind.PUBLISH, dup << 3 | qos << 1 | retain, body)


def subscribe(version, filters, packet_id=1, **properties):
    """`filters` are pairs of filter and options byte, which in 3.1.1 is the QoS alone."""
    body = number(packet_id) + properties_of(version, properties)
    return packet(Kind.SUBSCRIBE, 2, body + b"".join(string(name) + bytes([options]) for name, options in filters))


def unsubscribe(version, filters, packet_id=1):
    body = number(packet_id) + properties_of(version, {})
    return packet(Kind.UNSUBSCRIBE, 2, body + b"".join(string(name) for name in filters))


def ack(kind, packet_id, reason=0):
    body = number(packet_id) + (bytes([reason, 0]) if reason else b"")
    return packet(kind, 2 if kind == Kind.PUBREL else 0, body)


def disconnect(version, reason=0, **properties):
    return packet(Kind.DISCONNECT, 0, bytes([reason]) + properties_of(version, properties) if version == V5 else b"")


PING = packet(Kind.PINGREQ, 0, b"")


class Raw:
    """A connection. Unless `acknowledges` is cleared, messages are acknowledged as they are read."""

    def __init__(self, door, version, source=None):
        self.version, self.acknowledges, self.connack = version, True, None
        self._unread, self._passed_over, self._last_id = b"", [], 0
        self.socket = socket.create_connection(door, timeout=WAIT, source_address=source and (source, 0))
        # Small packets one after another are what tests send; they must not wait for each other.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def login(self, client_id="", **more):
        self.send(connect(self.version, client_id, **more))
        self.connack = self.take(Kind.CONNACK)

    def send(self, *packets):
        self.socket.sendall(b"".join(packets))

    def _read(self, count):
        while len(self._unread) < count:
            more = self.socket.recv(1 << 16)
            if not more:
                raise EOFError("the server closed")
            self._unread += more
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def next(self):
        """The next packet. EOFError at the end of the connection."""
        if self._passed_over:
            return self._passed_over.pop(0)
        head, length, shift = self._read(1), 0, 0
        while True:
            head += self._read(1)
            length, shift = length | (head[-1] & 127) << shift, shift + 7
            if head[-1] < 128:
                break
        body = self._read(length)
        found = self._parse(head[0] >> 4, head[0] & 15, body)
        found.wire = head + body
        if self.acknowledges:
            if found.kind == Kind.PUBLISH and found.qos:
                self.send(ack(Kind.PUBACK if found.qos == 1 else Kind.PUBREC, found.packet_id))
            elif found.kind == Kind.PUBREL:
                self.send(ack(Kind.PUBCOMP, found.packet_id))
        return found

    def _properties(self, body):
        if self.version == V3:
            return {}, body
        return unpacked(body)

    def _parse(self, kind, flags, body):
        found = Packet(kind, flags)
        if kind == Kind.CONNACK:
            found.session_present, found.reason = bool(body[0] & 1), body[1]
            found.properties, rest = self._properties(body[2:])
            assert not rest
        elif kind == Kind.PUBLISH:
            length = int.from_bytes(body[:2], "big")
            found.topic, body = body[2:2 + length].decode(), body[2 + length:]
            if found.qos:
                found.packet_id, body = int.from_bytes(body[:2], "big"), body[2:]
            found.properties, found.payload = self._properties(body)
        elif kind in (Kind.SUBACK, Kind.UNSUBACK):
            found.packet_id = int.from_bytes(body[:2], "big")
            found.properties, codes = self._properties(body[2:])
            found.codes = tuple(codes)
        elif kind in ACKS:
            found.packet_id, body = int.from_bytes(body[:2], "big"), body[2:]
        if kind in (*ACKS, Kind.DISCONNECT, Kind.AUTH) and body:
            found.reason = body[0]
            found.properties = self._properties(body[1:])[0] if len(body) > 1 else {}
        return found

    def take(self, kind):
        """The next packet of a kind; others wait for their turn. PUBREL and what is acknowledged do not matter."""
        for index, waiting in enumerate(self._passed_over):
            if waiting.kind == kind:
                return self._passed_over.pop(index)
        passed_over, self._passed_over = self._passed_over, []
        try:
            while (found := self.next()).kind != kind:
                if not (self.acknowledges and found.kind == Kind.PUBREL):
                    passed_over.append(found)
        finally:
            self._passed_over = passed_over
        return found

    def message(self):
        return self.take(Kind.PUBLISH)

    def texts_until(self, last):
        """The texts of the messages before the one that says `last`."""
        texts = []
        while (text := self.message().text) != last:
            texts.append(text)
        return texts

    def ping(self):
        """Everything that came before the answer is waiting then."""
        self.send(PING)
        self.take(Kind.PINGRESP)
        return self

    def subscribe(self, *filters, **properties):
        """Subscribes to filters, or pairs of filter and options; gives the codes."""
        pairs = [one if isinstance(one, tuple) else (one, 1) for one in filters]
        self._last_id += 1
        self.send(subscribe(self.version, pairs, self._last_id, **properties))
        answer = self.take(Kind.SUBACK)
        assert answer.packet_id == self._last_id and len(answer.codes) == len(pairs), answer
        return answer.codes

    def unsubscribe(self, *filters):
        self._last_id += 1
        self.send(unsubscribe(self.version, filters, self._last_id))
        answer = self.take(Kind.UNSUBACK)
        assert answer.packet_id == self._last_id, answer
        return answer.codes

    def publish(self, topic, payload=b"", qos=1, **more):
        """Publishes and sees it through; gives the first acknowledgement."""
        self._last_id += 1
        self.send(publish(self.version, topic, payload, qos=qos, packet_id=self._last_id, **more))
        if qos == 0:
            return self.ping()
        answer = self.take(Kind.PUBACK if qos == 1 else Kind.PUBREC)
        assert answer.packet_id == self._last_id, answer
        if qos == 2 and answer.reason < 0x80:
            self.send(ack(Kind.PUBREL, self._last_id))
            assert self.take(Kind.PUBCOMP).packet_id == self._last_id
        return answer

    def last_words(self):
        """Reads on to the end of the connection, which must come, and gives DISCONNECT's reason or None."""
        reason = None
        try:
            while True:
                found = self.next()
                assert reason is None, f"{found} after DISCONNECT"
                reason = found.reason if found.kind == Kind.DISCONNECT else None
        except (EOFError, ConnectionResetError, BrokenPipeError):
            return reason

    def exactly(self, count):
        """The next bytes as they came."""
        return self._read(count)

    def rest(self):
        """The bytes up to the end of the connection, which must come."""
        found = b""
        try:
            while True:
                found += self._read(1)
        except (EOFError, ConnectionResetError, BrokenPipeError):
            return found

    def leave(self, reason=0, **properties):
        """DISCONNECT, and waits for the server to close."""
        self.send(disconnect(self.version, reason, **properties))
        self.last_words()

    def drop(self):
        """Closes without a word."""
        self.socket.close()


def session(seconds):
    """CONNECT's arguments for a session that is kept, in both versions."""
    return {"clean": False, "properties": {"SessionExpiryInterval": seconds}}


def let_pass(raw, server_name, seconds):
    """Waits until the server itself says that so much time went by: by a delayed will."""
    watcher = raw(V5)
    topic = f"clock/{server_name}"
    watcher.subscribe(topic)
    will = {"topic": topic, "payload": "now", "properties": {"WillDelayInterval": seconds}}
    raw(V5, f"clock-{server_name}", will=will, **session(600)).drop()
    assert watcher.message().text == "now"
    # Nothing of the clock's is left behind.
    raw(V5, f"clock-{server_name}", clean=True).leave()
    watcher.leave()
