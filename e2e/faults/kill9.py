"""kill -9 at random moments, again and again on the same data, with everything counted at the end."""

import asyncio

from roost import Roost

from .load import FLAGS, Load


async def run(run):
    kills = run.choose(3, 20)
    server = Roost(run.binary, run.folder, *FLAGS).start()
    load = Load(server, run.random)
    try:
        await load.begin()
        for _ in range(kills):
            await asyncio.sleep(run.random.uniform(0.05, 1.5))
            if run.random.random() < 0.3:
                run.expect(await load.drain(), "the offline reader did not get what waited for it")
            server.kill()
            await load.ended()
            await asyncio.to_thread(server.start)
            await load.resume()
        await load.settle()
        line = run.take(load.verdict())
        await load.leave()
    finally:
        server.kill()
    wills = sum(len(one.stream.acknowledged) for one in load.wills)
    return f"{kills} kills, {line}, {wills} wills"
