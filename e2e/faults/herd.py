"""A herd: everybody's connection ends at one moment, and everybody comes back at once, twice, to what waited for them."""

import asyncio
import resource
import time

from roost import Roost

from .checker import Inbox, Stream, judge
from .client import V3, V5, Publisher, Subscriber
from .load import FLAGS
from .scenario import memory

SOURCES = 16
# Files of this process beside the connections.
SPARE_FILES = 200
TOPICS = "herd"
COME_SECONDS = 90


class Rounds(Publisher):
    """Sends each member of the herd its next number, round by round."""

    def __init__(self, count):
        super().__init__(Stream("rounds", 1), V3, window=200)
        self.members = [Stream(f"{TOPICS}/{number}", 1) for number in range(count)]

    def publish(self, packet_id, count, again=0):
        turn, member = divmod(count - 1, len(self.members))
        self.topic, self.payload = self.members[member].name, lambda _count: b"%d ." % (turn + 1)
        return super().publish(packet_id, count, again)

    def flow(self):
        # Exactly so many as the rounds so far have.
        self.flows = self.flows and self.stream.sent < self.end
        room = self.end - self.stream.sent
        window, self.window = self.window, min(self.window, len(self.waiting) + room)
        super().flow()
        self.window = window

    end = 0

    async def round(self):
        """One message for everybody, acknowledged."""
        self.end += len(self.members)
        self.start()
        while self.stream.sent < self.end or self.waiting:
            self.answered.clear()
            await asyncio.wait_for(self.answered.wait(), 60)
        for number, member in enumerate(self.members):
            member.sent = self.end // len(self.members)
            member.acknowledged = {turn + 1 for turn in range(member.sent)
                                   if turn * len(self.members) + number + 1 in self.stream.acknowledged}


def sources():
    return [f"127.0.0.{number + 2}" for number in range(SOURCES)]


async def come(herd, door):
    """Everybody at once. How long it took until the last was in, and how many tries."""
    began, addresses, tries = time.monotonic(), sources(), 0

    async def try_again(one, source):
        # Whoever could not be served within the time to log in is closed, and comes again, as any client does.
        nonlocal tries
        while not one.link and time.monotonic() < began + COME_SECONDS:
            tries += 1
            try:
                await one.connect(door, source)
            except ConnectionResetError:
                await asyncio.sleep(0.5)

    await asyncio.gather(*(try_again(one, addresses[number % SOURCES]) for number, one in enumerate(herd)))
    assert all(one.link for one in herd), f"{sum(not one.link for one in herd)} did not come in {COME_SECONDS} s"
    return f"{time.monotonic() - began:.1f} s and {tries:,} tries"


async def served(herd, members):
    """How long it takes until everybody has what waited."""
    began = time.monotonic()
    await asyncio.gather(*(one.reaches([member]) for one, member in zip(herd, members)))
    return time.monotonic() - began


def herd_size(run):
    """As many as were asked for, or as the system lets us open; the server is another process with a limit of its own."""
    wanted = run.choose(500, 5_000)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    size = min(wanted, most - SPARE_FILES) if most != resource.RLIM_INFINITY else wanted
    if size < wanted:
        print(f"  herd: only {size} of {wanted}, because of ulimit -n", flush=True)
    return size


async def run(run):
    size = herd_size(run)
    server = Roost(run.binary, run.folder, *FLAGS).start()
    rounds = Rounds(size)
    herd = [Subscriber(Inbox(f"herd-{number}"), V5 if number % 2 else V3) for number in range(size)]
    try:
        empty = memory(server.process)
        await rounds.connect(server.door("mqtt"))
        await come(herd, server.door("mqtt"))
        await asyncio.gather(*(one.subscribe(member.name) for one, member in zip(herd, rounds.members)))
        full = memory(server.process)

        for one in herd:
            one.link.transport.abort()
        await asyncio.gather(*(one.closed() for one in herd))
        await rounds.round()
        redial = await come(herd, server.door("mqtt"))
        first = await served(herd, rounds.members)

        server.kill()
        await asyncio.gather(*(one.closed() for one in [*herd, rounds]))
        await asyncio.to_thread(server.start)
        restart = await come(herd, server.door("mqtt"))
        await rounds.connect(server.door("mqtt"))
        await rounds.round()
        await served(herd, rounds.members)
        after = memory(server.process)
        verdict = judge([], [])
        for one, member in zip(herd, rounds.members):
            single = judge([member], [one.inbox])
            verdict.acknowledged += single.acknowledged
            verdict.lost += single.lost
            verdict.faults += single.faults + one.complaints
        run.take(verdict)
        run.faults += rounds.complaints
    finally:
        server.kill()
    return (f"{size:,} back in {redial}, served in {first:.1f} s more; after kill -9 back in {restart}; "
            f"{verdict.acknowledged:,} acknowledged, {verdict.lost} lost; server {empty:.0f} MiB empty, {full:.0f} with all, "
            f"{after:.0f} at the end")
