"""A full disk: acknowledgements stop with the proper code, reading goes on, and room mends it without a restart."""

import asyncio
import os
import subprocess

from roost import Problem, Roost

from .load import FLAGS, Load
from .scenario import Skipped, wait_for

QUOTA_EXCEEDED = 0x97
INSUFFICIENT_STORAGE = 507
BLOB = 30_000
# What the log asks for, and then some.
ROOM_MIN = 48 * 1024 * 1024


def small_disk(place):
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=192m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        raise Skipped("a small file system needs root and mount")
    return place


def fill(server, token):
    """Large readings until one is refused. The status of the refusal."""
    for _ in range(1_000):
        blobs = ",".join(f'"blob{key}":"{os.urandom(BLOB).hex()}"' for key in range(8))
        try:
            server.call("POST", "/me/telemetry", f"{{{blobs}}}".encode(), token=token)
        except Problem as refused:
            return refused.status
    return None


async def come_back(publisher, door, over):
    """MQTT 3.1.1 cannot refuse: its connections are closed, and its clients come again."""
    while not over.is_set():
        if not publisher.link:
            await publisher.connect(door)
        await asyncio.sleep(0.1)


async def run(run):
    place = small_disk(run.folder)
    server = Roost(run.binary, place / "roost", *FLAGS).start()
    load = Load(server, run.random)
    try:
        return await fill_and_empty(run, load, place)
    finally:
        server.kill()
        subprocess.run(["umount", "--lazy", str(place)], check=False)


async def fill_and_empty(run, load, place):
    times = run.choose(1, 2)
    server, filler = load.server, place / "filler"
    await load.begin()
    await load.be_steady()
    over = asyncio.Event()
    returning = [asyncio.create_task(come_back(one, load.door, over)) for one in load.publishers if one.version == 4]
    modern = [one for one in load.senders if one.version == 5]
    for one in modern:
        one.may_refuse = True
    blobs = server.device("blobs")
    await asyncio.sleep(run.choose(0.5, 3))
    for _ in range(times):
        space = os.statvfs(place)
        await asyncio.to_thread(filler.write_bytes, b"\0" * max(space.f_bavail * space.f_frsize - 4 * 1024 * 1024, 0))
        status = await asyncio.to_thread(fill, server, blobs)
        run.expect(status == INSUFFICIENT_STORAGE, f"on a full disk a POST was answered {status}")
        for one in modern:
            is_told = await wait_for(lambda: one.refusals, 10)
            run.expect(is_told, f"{one.name} was not told that the disk is full")
            run.expect(one.refusals <= {QUOTA_EXCEEDED}, f"{one.name} was refused with {one.refusals}")
        run.expect(server.call("GET", "/devices/meter")["online"], "a device cannot be read while the disk is full")
        run.expect(server.points("meter", "n"), "telemetry cannot be read while the disk is full")
        run.expect(await load.drain(), "the offline reader did not get what waited while the disk was full")

        filler.unlink()
        before = {one.name: len(one.stream.acknowledged) for one in load.senders}
        space = os.statvfs(place)
        assert space.f_bavail * space.f_frsize > ROOM_MIN, "the scenario itself left no room"
        for one in load.senders:
            is_mended = await wait_for(lambda: len(one.stream.acknowledged) > before[one.name] + 10, 30)
            run.expect(is_mended, f"{one.name} is not acknowledged again although there is room")
            one.refusals.clear()
    statuses = set().union(*(one.statuses for one in load.posters))
    run.expect(statuses <= {204, INSUFFICIENT_STORAGE}, f"posts were answered {statuses}")
    over.set()
    await asyncio.gather(*returning)
    server.kill()
    await load.ended()
    await asyncio.to_thread(server.start)
    await load.resume()
    await load.settle()
    verdict = load.verdict()
    line = run.take(verdict)
    await load.leave()
    return f"refused with 0x97 and 507, mended {times} times, {verdict.refused:,} refused, {line}"
