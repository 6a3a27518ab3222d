"""MQTT clients of the fault tests: many on one event loop, as fast as Python lets them, saying only what they must."""

import asyncio
import itertools

from paho.mqtt.packettypes import PacketTypes as Kind

from raw_mqtt import V3, V5, ack, connect, disconnect, number, packet, properties_of, string, subscribe
from roost import OWNER

WAIT = 60
SESSION_SECONDS = 3_600
REFUSED_PAUSE = 0.05
# MQTT 5.0, 3.14.2.1: server shutting down.
SERVER_ENDS = b"\x8b"


def taken(buffer):
    """Takes the whole packets off the front of a bytearray."""
    found, start, end = [], 0, len(buffer)
    while end - start >= 2:
        length, shift, at = 0, 0, start + 1
        while at < end:
            byte = buffer[at]
            length, shift, at = length | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                break
        else:
            break
        if at + length > end:
            break
        found.append((buffer[start] >> 4, buffer[start] & 15, bytes(buffer[at:at + length])))
        start = at + length
    del buffer[:start]
    return found


class Link(asyncio.Protocol):
    """One connection of a client; what a connection of before still brings does not concern it."""

    def __init__(self, client):
        self.client, self.buffer, self.out, self.transport = client, bytearray(), [], None

    def connection_made(self, transport):
        # Here, not where it is waited for: it may be lost before anybody looks at it.
        self.transport, self.client.link = transport, self

    def data_received(self, data):
        self.buffer += data
        if self.client.link is self:
            for kind, flags, body in taken(self.buffer):
                self.client.packet(kind, flags, body)
            self.flush()

    def flush(self):
        if self.out and not self.transport.is_closing():
            self.transport.write(b"".join(self.out))
        self.out.clear()

    def connection_lost(self, _error):
        if self.client.link is self:
            self.client.link = None
            self.client.gone()


class Client:
    """A client that keeps its session unless `is_kept` is cleared. `complaints` collects what no server may do."""

    is_kept = True

    def __init__(self, name, version=V3, *, keep_alive=60, will=None, user="faults", password=OWNER):
        self.name, self.version, self.complaints = name, version, []
        self.options = {"keep_alive": keep_alive, "will": will, "user": user, "password": password}
        self.link, self.has_session, self.losses, self._answers = None, False, 0, {}
        # Whether the server has taken the connection: before, nothing but CONNECT may be sent on it.
        self.is_connected = False
        self._closed = asyncio.Event()

    async def connect(self, door, source=None):
        """Connects. Whether there was a session."""
        self._closed.clear()
        local = (source, 0) if source else None
        made = asyncio.get_running_loop().create_connection(lambda: Link(self), *door, local_addr=local)
        _, link = await asyncio.wait_for(made, WAIT)
        if self.link is not link:
            raise ConnectionResetError(f"{self.name}: closed")
        properties = {"SessionExpiryInterval": SESSION_SECONDS} if self.is_kept else {}
        link.transport.write(connect(
            self.version, self.name, clean=not self.is_kept, properties=properties, **self.options
        ))
        flags, reason = await self._answer(Kind.CONNACK)
        if reason:
            raise ConnectionRefusedError(f"{self.name}: reason {reason:#x}")
        is_there = bool(flags & 1)
        if self.has_session and not is_there:
            self.complaints.append(f"{self.name}: its session is gone")
        self.has_session, self.is_connected = self.is_kept, True
        self.resumed()
        return is_there

    async def _answer(self, kind):
        waiting = self._answers[kind] = asyncio.get_running_loop().create_future()
        return await asyncio.wait_for(waiting, WAIT)

    async def subscribe(self, *filters):
        """Subscribes with the highest QoS."""
        self.send(subscribe(self.version, [(one, 2) for one in filters], 1))
        codes = await self._answer(Kind.SUBACK)
        assert all(code == 2 for code in codes), codes
        return self

    async def ping(self):
        self.send_ping()
        await self._answer(Kind.PINGRESP)

    def send_ping(self):
        self.send(packet(Kind.PINGREQ, 0, b""))

    def send(self, *packets):
        self.link.out.extend(packets)
        self.link.flush()

    def packet(self, kind, flags, body):
        """Something came. Subclasses see what is theirs first."""
        waiting = self._answers.pop(kind, None)
        if waiting is not None and not waiting.done():
            if kind == Kind.CONNACK:
                waiting.set_result((body[0], body[1]))
            elif kind == Kind.SUBACK:
                waiting.set_result(body[2 if self.version == V3 else 3 + body[2]:])
            else:
                waiting.set_result(body)
        elif kind == Kind.DISCONNECT and body != SERVER_ENDS:
            self.complaints.append(f"{self.name}: sent away with {body[:1].hex()}")

    def resumed(self):
        """The connection stands."""

    def gone(self):
        """The connection ended, by whomever."""
        self.losses, self.is_connected = self.losses + 1, False
        self._closed.set()
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError(f"{self.name}: closed"))
        self._answers.clear()

    async def closed(self):
        """Waits for the end of the connection, reading what is still in it."""
        if self.link:
            await asyncio.wait_for(self._closed.wait(), WAIT)

    async def leave(self):
        """Goes with DISCONNECT."""
        if self.link:
            self.send(disconnect(self.version))
            self.link.transport.close()
            await self.closed()

    async def drop(self):
        """Goes without a word."""
        if self.link:
            self.link.transport.abort()
            await self.closed()


class Publisher(Client):
    """Sends the numbers of a stream as fast as they are acknowledged, or as often as `rate` says, while it `flows`."""

    def __init__(self, stream, version=V3, *, topic=None, payload=None, window=40, rate=None, **more):
        super().__init__(stream.name.replace("/", "-"), version, **more)
        self.stream, self.topic, self.window, self.rate = stream, topic or stream.name, window, rate
        self.payload = payload or (lambda count: b"%d " % count + b"." * 40)
        # What is on its way: packet id to number, in the order of sending; `released` holds those after PUBREC.
        self.waiting, self.released, self.flows, self._ids = {}, set(), False, itertools.cycle(range(1, 65_536))
        self.answered, self._pacer, self._credit = asyncio.Event(), None, 0
        self.began, self.delays = {}, []
        # Whether a refusal is no complaint, and the reason codes of those that came.
        self.may_refuse, self.refusals, self.is_settling = False, set(), False

    def publish(self, packet_id, count, again=0):
        body = string(self.topic) + number(packet_id) + properties_of(self.version, {}) + self.payload(count)
        return packet(Kind.PUBLISH, again << 3 | self.stream.qos << 1, body)

    def flow(self):
        """Sends what the window has room for."""
        if not self.link or not self.flows:
            return
        out = []
        while len(self.waiting) < self.window and (self.rate is None or self._credit >= 1):
            self._credit -= 1
            packet_id = next(one for one in self._ids if one not in self.waiting)
            self.stream.sent += 1
            self.waiting[packet_id] = self.stream.sent
            if self.rate:
                self.began[packet_id] = asyncio.get_running_loop().time()
            out.append(self.publish(packet_id, self.stream.sent))
        if out:
            self.send(*out)

    def start(self):
        self.flows, self.is_settling = True, False
        if self.rate and not self._pacer:
            self._pacer = asyncio.create_task(self._pace())
        self.flow()

    async def _pace(self):
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(0.005)
            now = loop.time()
            self._credit, last = min(self._credit + (now - last) * self.rate, self.rate), now
            self.flow()

    def resumed(self):
        """MQTT 4.4: what has no answer yet is sent again, in the order in which it was sent."""
        out = []
        for packet_id, count in self.waiting.items():
            if packet_id in self.released:
                out.append(ack(Kind.PUBREL, packet_id))
            else:
                self.stream.sent_again.add(count)
                out.append(self.publish(packet_id, count, again=1))
        if out:
            self.send(*out)
        self.flow()

    def packet(self, kind, flags, body):
        if kind not in (Kind.PUBACK, Kind.PUBREC, Kind.PUBCOMP):
            super().packet(kind, flags, body)
            return
        packet_id, reason = int.from_bytes(body[:2], "big"), body[2] if len(body) > 2 else 0
        count = self.waiting.get(packet_id)
        if count is None:
            self.complaints.append(f"{self.name}: an answer to {packet_id}, which is not on its way")
            return
        if reason >= 0x80 and kind != Kind.PUBCOMP:
            self.refused(packet_id, count, reason)
        elif kind == Kind.PUBREC:
            self.stream.acknowledged.add(count)
            self.released.add(packet_id)
            self.link.out.append(ack(Kind.PUBREL, packet_id))
        else:
            self.stream.acknowledged.add(count)
            self.released.discard(packet_id)
            del self.waiting[packet_id]
        if (began := self.began.pop(packet_id, None)) is not None:
            self.delays.append(asyncio.get_running_loop().time() - began)
        self.answered.set()
        self.flow()

    def refused(self, packet_id, count, reason):
        self.stream.refused.add(count)
        self.refusals.add(reason)
        del self.waiting[packet_id]
        if not self.may_refuse:
            self.complaints.append(f"{self.name}: number {count} was refused with {reason:#x}")
        elif self.flows:
            self.flows = False
            asyncio.get_running_loop().call_later(REFUSED_PAUSE, self.go_on)

    def go_on(self):
        """After a refusal, unless it is to settle."""
        if not self.is_settling:
            self.start()

    async def settle(self):
        """Sends no more and waits for every answer."""
        self.flows, self.is_settling = False, True
        while self.waiting:
            if not self.link:
                raise ConnectionError(f"{self.name}: closed while {len(self.waiting)} answers were waited for")
            self.answered.clear()
            await asyncio.wait_for(self.answered.wait(), WAIT)


class Subscriber(Client):
    """Writes what comes into an inbox, and acknowledges it."""

    def __init__(self, inbox, version=V3, **more):
        super().__init__(inbox.name, version, **more)
        self.inbox, self.unreleased, self.came = inbox, {}, asyncio.Event()

    def packet(self, kind, flags, body):
        if kind == Kind.PUBLISH:
            self.message(flags, body)
        elif kind == Kind.PUBREL:
            self.unreleased.pop(int.from_bytes(body[:2], "big"), None)
            self.link.out.append(ack(Kind.PUBCOMP, int.from_bytes(body[:2], "big")))
        else:
            super().packet(kind, flags, body)

    def message(self, flags, body):
        qos, length = flags >> 1 & 3, int.from_bytes(body[:2], "big")
        topic, at = body[2:2 + length].decode(), 2 + length
        packet_id = int.from_bytes(body[at:at + 2], "big") if qos else 0
        at += 2 if qos else 0
        if self.version == V5:
            at += 1 + body[at]
        count = int(body[at:].split(b" ", 1)[0])
        if qos < 2:
            self.inbox.got(topic, count, bool(flags >> 3))
            if qos:
                self.link.out.append(ack(Kind.PUBACK, packet_id))
        else:
            self.link.out.append(ack(Kind.PUBREC, packet_id))
            known = self.unreleased.get(packet_id)
            if known is None:
                self.unreleased[packet_id] = (topic, count)
                self.inbox.got(topic, count, bool(flags >> 3))
            elif known != (topic, count):
                self.complaints.append(f"{self.name}: packet id {packet_id} was {known}, is {topic, count}")
        self.came.set()

    async def reaches(self, streams):
        """Waits until what is acknowledged by now of every stream came; False when nothing comes any more."""
        ends = {one.name: max(one.acknowledged, default=0) for one in streams}
        while ends := {name: end for name, end in ends.items() if self.inbox.last(name) < end}:
            self.came.clear()
            try:
                await asyncio.wait_for(self.came.wait(), 10)
            except TimeoutError:
                return False
        return True
