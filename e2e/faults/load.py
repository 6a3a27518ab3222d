"""The load that every fault meets: publishers of QoS 1 and 2, readers that are there, come and go or stay away, wills,
telemetry by MQTT and by HTTP. Whatever breaks, `verdict` says what was promised and what became of it.
"""

import asyncio
import itertools

from roost import reading

from .checker import Inbox, Stream, judge, judge_readings
from .client import WAIT, Client, Publisher, Subscriber, V3, V5

READINGS_IN_POST = 10
# The year 2100.
FAR_AHEAD = 4_102_444_800_000
WILLS = 4
FLAGS = ("--limits.session_messages", "10000000", "--limits.session_bytes", "1GiB")


class Poster:
    """Posts readings over one HTTP connection, one request after the other, and writes down which were taken."""

    def __init__(self, device, token):
        self.device, self.token, self.acknowledged = device, token, []
        self.flows, self.statuses, self.complaints = True, set(), []
        self._numbers, self._task = itertools.count(1), None

    def start(self, door):
        self.flows = True
        self._task = asyncio.create_task(self._post_on(door))

    async def _post_on(self, door):
        writer = None
        try:
            reader, writer = await asyncio.open_connection(*door)
            while self.flows:
                numbers = list(itertools.islice(self._numbers, READINGS_IN_POST))
                status = await self._post(reader, writer, "[" + ",".join(map(reading, numbers)) + "]")
                self.statuses.add(status)
                if status == 204:
                    self.acknowledged += numbers
                elif status in (429, 503, 507):
                    await asyncio.sleep(0.05)
                else:
                    self.complaints.append(f"telemetry of {self.device} was answered {status}")
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            if writer:
                writer.close()

    async def _post(self, reader, writer, text):
        writer.write(
            f"POST /api/v1/me/telemetry HTTP/1.1\r\nHost: roost\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
        )
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT)).decode().lower()
        length = [line.split(":")[1] for line in head.split("\r\n") if line.startswith("content-length:")]
        await reader.readexactly(int(length[0]) if length else 0)
        return int(head.split()[1])

    async def settle(self):
        self.flows = False
        if self._task:
            await self._task


class Will(Client):
    """Connected with a will, of QoS 2, that bears the number of the round. Half of them keep their session."""

    def __init__(self, number):
        self.stream = Stream(f"wills/{number}", 2)
        self.is_kept = number % 2 == 0
        super().__init__(f"will-{number}", V5 if number % 4 < 2 else V3)

    async def come(self, door):
        self.stream.sent += 1
        self.options["will"] = {"topic": self.stream.name, "payload": f"{self.stream.sent} gone", "qos": 2}
        await self.connect(door)

    def died(self):
        """The server owes the will."""
        self.stream.acknowledged.add(self.stream.sent)


class Load:
    """Clients around one server. `random` decides what is not said."""

    def __init__(self, server, random):
        self.server, self.random = server, random
        self.publishers = [
            Publisher(Stream(f"load/{number}", qos), version)
            for number, (qos, version) in enumerate([(1, V3), (2, V3), (1, V5), (2, V5)])
        ]
        self.wills = [Will(number) for number in range(WILLS)]
        self.online, self.shaky, self.offline = (
            Subscriber(Inbox(name), version)
            for name, version in [("online", V3), ("shaky", V5), ("offline", V5)]
        )
        self.meter = self.posters = None
        self._shaking, self._is_steady = None, asyncio.Event()

    @property
    def door(self):
        return self.server.door("mqtt")

    @property
    def readers(self):
        return [self.online, self.shaky, self.offline]

    @property
    def senders(self):
        return [*self.publishers, self.meter]

    @property
    def streams(self):
        return [one.stream for one in [*self.publishers, *self.wills]]

    def acknowledged(self):
        """Messages so far."""
        return sum(len(one.stream.acknowledged) for one in self.senders)

    async def begin(self):
        """Everybody makes a session; the load flows."""
        token = self.server.device("meter")
        self.meter = Publisher(
            Stream("meter", 1), self.publishers[2].version, topic="me/telemetry", user="meter", password=token,
            window=20, payload=lambda count: reading(count).encode(),
        )
        self.posters = [Poster(name, self.server.device(name)) for name in ("poster-0", "poster-1")]
        for one in self.readers:
            await one.connect(self.door)
            await one.subscribe("load/#", "wills/#")
        await self.offline.leave()
        for one in self.senders:
            await one.connect(self.door)
        for one in self.wills:
            await one.come(self.door)
        self.flow()

    def flow(self):
        for one in self.senders:
            one.start()
        for one in self.posters:
            one.start(self.server.door("http"))
        self._is_steady.clear()
        self._shaking = asyncio.create_task(self._shake())

    async def _shake(self):
        """A reader that loses its connection again and again."""
        while not self._is_steady.is_set():
            await self.shaky.drop()
            await self.shaky.connect(self.door)
            await asyncio.sleep(self.random.uniform(0.1, 0.5))

    async def be_steady(self):
        """No reader drops its connection any more."""
        # Not cancelled: in Python 3.11 a cancellation may get lost in `wait_for`.
        self._is_steady.set()
        await asyncio.gather(self._shaking, return_exceptions=True)
        if not self.shaky.link and self.server.process.poll() is None:
            await self.shaky.connect(self.door)

    async def ended(self):
        """The server is gone: reads what it still said."""
        await self.be_steady()
        for one in [*self.senders, *self.readers, *self.wills]:
            await one.closed()
        for one in self.posters:
            await one.settle()

    async def resume(self):
        """The server is there again, and so is everybody. Wills are owed by whoever was connected."""
        for one in self.wills:
            one.died()
        if self.random.random() < 0.5:
            # Whoever is back at once must not get between the restart and a will.
            await asyncio.sleep(self.random.uniform(0, 1.5))
        await asyncio.gather(*(one.connect(self.door) for one in [*self.senders, self.online, self.shaky]))
        for one in self.wills:
            await one.come(self.door)
        self.flow()

    async def drain(self):
        """The reader that is away comes for what waits, and goes again."""
        await self.offline.connect(self.door)
        is_all = await self.offline.reaches(self.streams)
        await self.offline.leave()
        return is_all

    async def settle(self):
        """The load ends; every answer and every message arrives."""
        await self.be_steady()
        for one in [*self.senders, *self.posters]:
            await one.settle()
        for one in self.wills:
            await one.leave()
        await self.offline.connect(self.door)
        await asyncio.gather(*(one.reaches(self.streams) for one in self.readers))
        # What is still in a queue although it was acknowledged comes now, and is a duplicate.
        for one in self.readers:
            await one.ping()
            await one.drop()
            await one.connect(self.door)
            await one.ping()

    def verdict(self):
        verdict = judge(self.streams, [one.inbox for one in self.readers])
        taken = [("meter", self.meter.stream.acknowledged)] + [(one.device, one.acknowledged) for one in self.posters]
        for device, acknowledged in taken:
            # A reading whose time is far ahead of the server's clock is kept under the server's time.
            points = self.server.points(device, "n", times=(0, FAR_AHEAD))
            judge_readings(verdict, device, acknowledged, points.values())
        for one in [*self.senders, *self.readers, *self.wills, *self.posters]:
            for complaint in one.complaints:
                verdict.blame(complaint)
        for line in self.server.log:
            if "panic" in line:
                verdict.blame(f"a panic: {line.strip()}")
        return verdict

    async def leave(self):
        for one in [*self.senders, *self.readers, *self.wills]:
            await one.leave()


