"""SIGSTOP: a subscriber that reads no more while others go on, and a server that stands still for longer than keep alive."""

import asyncio
import json
import signal
import sys

from roost import Roost

from .checker import Inbox, Stream, judge
from .client import V3, V5, Client, Publisher, Subscriber
from .load import FLAGS
from .scenario import memory

RATE, PADDING = 250, b"." * 1_024
# While a reader stands still, the others' acknowledgements take at most so much longer, or this long.
SLOWER_MAX, DELAY_MAX = 10, 0.25
GROWTH_MAX = 96
KEEP_ALIVE, CLIENTS = 3, 50


def at(delays, part):
    return sorted(delays)[int(len(delays) * part)] if delays else 0.0


def paced(name, qos, version):
    payload = lambda count: b"%d " % count + PADDING
    return Publisher(Stream(name, qos), version, rate=RATE, window=1_000, payload=payload)


async def run(run):
    server = Roost(run.binary, run.folder, *FLAGS).start()
    try:
        one = await subscriber_stops(run, server)
        other = await server_stops(run, server)
    finally:
        server.kill()
    return f"{one}; {other}"


async def subscriber_stops(run, server):
    door, seconds = server.door("mqtt"), run.choose(2, 10)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "faults.reader", door[0], str(door[1]), "stopped", "flow/#", "flow/end",
        stdout=asyncio.subprocess.PIPE, limit=1 << 28,
    )
    publishers = [paced(f"flow/{number}", 1 + number % 2, version) for number, version in enumerate([V3, V5, V3, V5])]
    brisk, end = Subscriber(Inbox("brisk"), V5), Publisher(Stream("flow/end", 1), window=1)
    try:
        assert await child.stdout.readline() == b"ready\n"
        for one in [brisk, *publishers, end]:
            await one.connect(door)
        await brisk.subscribe("flow/#")
        for one in publishers:
            one.start()
        before = await measured(publishers, run.choose(1.5, 5))
        memory_before = memory(server.process)
        child.send_signal(signal.SIGSTOP)
        during = await measured(publishers, seconds)
        memory_after = memory(server.process)
        child.send_signal(signal.SIGCONT)
        for one in publishers:
            await one.settle()
        end.stream.sent, end.flows = 1, False
        end.waiting[1] = 1
        end.send(end.publish(1, 1))
        await end.settle()
        streams = [one.stream for one in [*publishers, end]]
        await brisk.reaches(streams)
        told = json.loads(await asyncio.wait_for(child.stdout.readline(), 60))
        verdict = judge(streams, [brisk.inbox, Inbox("stopped", told["streams"])])
        for one in [brisk, *publishers, end]:
            run.faults += one.complaints
            await one.leave()
        run.faults += told["complaints"]
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
    slow = max(DELAY_MAX, SLOWER_MAX * at(before, 0.99))
    run.expect(at(during, 0.99) <= slow, f"publishers waited {at(during, 0.99) * 1_000:.0f} ms (p99) for a stopped reader")
    run.expect(len(during) >= 0.5 * RATE * len(publishers) * seconds, f"only {len(during)} acknowledgements in {seconds} s")
    run.expect(memory_after - memory_before < GROWTH_MAX, f"memory grew from {memory_before} to {memory_after} MiB")
    return (f"a reader for {seconds} s: publishers' p99 {at(before, 0.99) * 1_000:.0f} ms before, "
            f"{at(during, 0.99) * 1_000:.0f} ms meanwhile, server {memory_before:.0f} to {memory_after:.0f} MiB, "
            f"{run.take(verdict)}")


async def measured(publishers, seconds):
    """The delays of the acknowledgements that came in this time."""
    for one in publishers:
        one.delays.clear()
    await asyncio.sleep(seconds)
    return [delay for one in publishers for delay in one.delays]


async def server_stops(run, server):
    seconds = run.choose(5, 22)
    clients = [Client(f"alive-{number}", V3 if number % 2 else V5, keep_alive=KEEP_ALIVE) for number in range(CLIENTS)]
    for one in clients:
        await one.connect(server.door("mqtt"))
    server.process.send_signal(signal.SIGSTOP)
    for _ in range(seconds * 2):
        # They say in time that they are there; that nobody reads it is not their fault.
        for one in clients:
            one.send_ping()
        await asyncio.sleep(0.5)
    server.process.send_signal(signal.SIGCONT)
    for _ in range(6):
        for one in clients:
            if one.link:
                one.send_ping()
        await asyncio.sleep(0.5)
    lost = sum(one.losses for one in clients)
    run.expect(lost == 0, f"{lost} of {CLIENTS} connections ended because the server stood still for {seconds} s")
    for one in clients:
        await one.leave()
    return f"the server for {seconds} s with a keep alive of {KEEP_ALIVE} s: {lost} of {CLIENTS} connections lost"
