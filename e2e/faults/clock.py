"""The wall clock jumps by a day and by ten years, back and forth, while the server runs."""

import asyncio

from roost import Roost

from .checker import Stream
from .load import FLAGS, Load
from .client import V5, Client
from .shim import Shim

DAY, TEN_YEARS = 86_400, 3_653 * 86_400
JUMPS = [DAY, -DAY, TEN_YEARS, -TEN_YEARS, 0]
KEEP_ALIVE, CLIENTS = 10, 20


async def ping(clients):
    while True:
        for one in clients:
            if one.is_connected:
                one.send_ping()
        await asyncio.sleep(KEEP_ALIVE / 4)


async def run(run):
    shim, jumps = Shim(run.folder), run.choose([DAY, -TEN_YEARS, 0], JUMPS)
    server = Roost(run.binary, run.folder, *FLAGS, environment=shim.environment).start()
    load = Load(server, run.random)
    quiet = [Client(f"quiet-{number}", V5, keep_alive=KEEP_ALIVE) for number in range(CLIENTS)]
    absent, pinging, lost = delayed_will(), None, 0
    try:
        await load.begin()
        await load.be_steady()
        for one in [*quiet, absent]:
            await one.connect(load.door)
        await absent.drop()
        pinging = asyncio.create_task(ping(quiet))
        for jump in jumps:
            lost += await through(run, load, quiet, (shim, jump))
        # A restart on a clock that is behind: nothing has run out.
        shim.shift_clock(-DAY)
        server.kill()
        await load.ended()
        await asyncio.to_thread(server.start)
        await load.resume()
        for one in [*quiet, absent]:
            await one.connect(load.door)
        early = [one.name for one in load.readers if absent.stream.name in one.inbox.streams]
        run.expect(not early, f"a will with an hour's delay was sent early, to {early}")
        for one in [*quiet, absent]:
            run.faults += one.complaints
            await one.leave()
        await load.settle()
        line = run.take(load.verdict())
        await load.leave()
    finally:
        if pinging:
            pinging.cancel()
        server.kill()
    return f"{len(jumps)} jumps, {lost} connections ended by them, {line}"


def delayed_will():
    """A client that goes without a word and leaves a will for an hour later."""
    stream = Stream("wills/absent", 2, sent=1)
    will = {"topic": stream.name, "payload": "1 gone", "qos": 2, "properties": {"WillDelayInterval": 3_600}}
    absent = Client("absent", V5, will=will)
    absent.stream = stream
    return absent


async def through(run, load, quiet, jump):
    """One jump, and what must not come of it."""
    shim, seconds = jump
    clients = [*load.senders, load.online, load.shaky, *load.wills, *quiet]
    losses = sum(one.losses for one in clients)
    shim.shift_clock(seconds)
    before = {one.name: len(one.stream.acknowledged) for one in load.senders}
    await asyncio.sleep(run.choose(1.1, 4))
    lost = sum(one.losses for one in clients) - losses
    run.expect(lost == 0, f"{lost} connections were lost when the clock jumped to {seconds:+} s")
    stuck = [one.name for one in load.senders if len(one.stream.acknowledged) == before[one.name]]
    run.expect(not stuck, f"{stuck} got no acknowledgement after the clock jumped to {seconds:+} s")
    run.expect(await load.drain(), f"the offline reader's queue is not whole after the clock jumped to {seconds:+} s")
    status = load.server.call("GET", "/devices/meter")
    run.expect(status["online"], f"a connected device counts as offline after the clock jumped to {seconds:+} s")
    return lost
