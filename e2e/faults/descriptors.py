"""No file descriptors left: whoever is there goes on, new ones wait or are hung up on, and room mends it."""

import asyncio
import shutil
from pathlib import Path

from roost import Roost

from .checker import Stream
from .client import V5, Client, Publisher
from .load import FLAGS, Load
from .scenario import Skipped, wait_for

LIMIT, CROWD = 256, 20
# Enough to fill the segments of the log that were made ahead, so that a new file is needed meanwhile.
BIG, BIGS, BIGS_SHORT = 100_000, 600, 400


def processor_seconds(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def open_files(process):
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


async def guests(door, writers, over):
    """Connects and says nothing, again and again, also when it is hung up on, until it is over."""
    while not over.is_set():
        for writer in [one for one in writers if one.is_closing()]:
            writers.remove(writer)
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(*door), 5)
        except (OSError, TimeoutError):
            await asyncio.sleep(0.05)
            continue
        writers.append(writer)
        try:
            # Whoever is hung up on at once makes room for the next.
            await asyncio.wait_for(reader.read(1), 0.01)
            writer.close()
        except TimeoutError:
            pass
        except OSError:
            writer.close()


async def run(run):
    if not shutil.which("prlimit"):
        raise Skipped("there is no prlimit here (Debian: util-linux)")
    server = Roost(run.binary, run.folder, *FLAGS, prefix=("prlimit", f"--nofile={LIMIT}:{LIMIT}")).start()
    load = Load(server, run.random)
    big = Publisher(Stream("meter", 1), V5, topic="big/one", window=5, payload=lambda count: b"%d " % count + b"." * BIG)
    big.name = "big"
    keeper, writers, over = Client("keeper", V5), [], asyncio.Event()
    try:
        await load.begin()
        await load.be_steady()
        await keeper.connect(load.door)
        await keeper.subscribe("big/#")
        await keeper.leave()
        await big.connect(load.door)
        crowd = [asyncio.create_task(guests(load.door, writers, over)) for _ in range(CROWD)]
        is_out = await wait_for(lambda: open_files(server.process) > LIMIT * 0.7, 20)
        run.expect(is_out, f"guests made the server open {open_files(server.process)} files, of {LIMIT}")
        stays = await exhausted(run, load, big)
        over.set()
        await asyncio.gather(*crowd)
        # The load pauses, so that what is used is used by the guests.
        await big.settle()
        await load.settle()
        idle = await idle_processor(server.process)
        run.expect(idle < 0.5, f"{idle:.0%} of a processor goes to guests who say nothing")
        for writer in writers:
            writer.close()
        back = Client("back", V5)
        is_back = await comes_back(back, load.door)
        run.expect(is_back, "nobody can connect although descriptors are free again")
        line = run.take(load.verdict())
        run.expect(server.process.poll() is None, "the server ended")
        run.faults += big.complaints
        for one in [back, big]:
            await one.leave()
        await load.leave()
    finally:
        server.kill()
    return f"guests without end and ulimit -n {LIMIT}: {stays}, {idle:.0%} of a processor, {line}"


async def exhausted(run, load, big):
    """What must go on meanwhile."""
    server, said = load.server, len(load.server.log)
    clients = [*load.senders, load.online, load.shaky, *load.wills]
    losses = sum(one.losses for one in clients)
    before = {one.name: len(one.stream.acknowledged) for one in load.senders}
    bigs = run.choose(BIGS_SHORT, BIGS)
    big.start()
    is_done = await wait_for(lambda: len(big.stream.acknowledged) >= bigs, 60)
    big.flows = False
    run.expect(is_done, f"only {len(big.stream.acknowledged)} of {bigs} large messages were acknowledged meanwhile")
    stuck = [one.name for one in load.senders if len(one.stream.acknowledged) == before[one.name]]
    run.expect(not stuck, f"{stuck} got no acknowledgement while there were no descriptors")
    lost = sum(one.losses for one in clients) - losses
    run.expect(lost == 0, f"{lost} connections ended while there were no descriptors")
    lines = len(server.log) - said
    run.expect(lines < 200, f"{lines} lines say that no connection can be taken")
    files = open_files(server.process)
    return f"{files} files open, {len(big.stream.acknowledged)} large messages meanwhile, {lines} lines in the log"


async def idle_processor(process):
    """What part of a processor it uses."""
    used = processor_seconds(process)
    await asyncio.sleep(2)
    return (processor_seconds(process) - used) / 2


async def comes_back(client, door):
    for _ in range(20):
        try:
            await client.connect(door)
            return True
        except OSError:
            await asyncio.sleep(0.5)
    return False
