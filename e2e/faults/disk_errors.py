"""EIO and ENOSPC from a write or a sync of the running server: it goes on and keeps its promises, or says so and ends."""

import asyncio

from roost import Roost

from .load import FLAGS, Load
from .scenario import wait_for
from .shim import Shim

TARGETS = [
    ("sync", "EIO", "/log/"), ("write", "ENOSPC", "/log/"), ("write", "EIO", "/log/"), ("sync", "EIO", "/tables.redb"),
    ("write", "EIO", "/tables.redb"), ("write", "ENOSPC", "/tables.redb"), ("sync", "ENOSPC", "/log/"),
]
HIT_SECONDS, END_SECONDS = 6, 20


def said(server):
    return any("the store is broken: nothing is acknowledged any more" in line for line in server.log)


async def run(run):
    shim = Shim(run.folder)
    server = Roost(run.binary, run.folder, *FLAGS, environment=shim.environment).start()
    load, trials, counts = Load(server, run.random), run.choose(3, 12), {"ended": 0, "went on": 0, "did not occur": 0}
    try:
        await load.begin()
        for trial in range(trials):
            call, error, path = TARGETS[trial % len(TARGETS)]
            await asyncio.sleep(run.random.uniform(0.1, 0.5))
            number = run.random.randint(1, 60 if path == "/log/" else 12)
            shim.fail(call, number, error, path=path, is_torn=run.random.random() < 0.5)
            how = await meet(run, shim, (server, load), f"{error} at {call} {number} of {path}",
                             is_patient=trial == 0 and not run.is_short)
            counts[how] += 1
        await load.settle()
        line = run.take(load.verdict())
        await load.leave()
    finally:
        server.kill()
    told = ", ".join(f"{count} {how}" for how, count in counts.items() if count)
    return f"{trials} failed calls ({told}), {line}"


async def meet(run, shim, pair, what, *, is_patient):
    """Waits for the failure and looks at what the server makes of it; afterwards it runs again."""
    server, load = pair
    is_hit = await wait_for(lambda: shim.hits > 0, HIT_SECONDS)
    shim.disarm()
    if not is_hit:
        return "did not occur"
    before = load.acknowledged()
    if await wait_for(lambda: said(server), 1) and not is_patient:
        # It waits some seconds before it ends; a signal says that nobody needs them.
        server.process.terminate()
    is_over = await wait_for(lambda: server.process.poll() is not None or load.acknowledged() > before + 500, END_SECONDS)
    run.expect(is_over, f"after {what} the server neither acknowledged nor ended")
    if server.process.poll() is None and is_over:
        return "went on"
    if server.process.poll() is None:
        server.kill()
    else:
        run.expect(server.process.returncode == 1, f"after {what} it ended with {server.process.returncode}")
        run.expect(said(server), f"after {what} it did not say why: {''.join(server.log[-5:])}")
    await load.ended()
    await asyncio.to_thread(server.start)
    await load.resume()
    return "ended"
