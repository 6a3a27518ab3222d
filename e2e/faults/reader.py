"""A subscriber in a process of its own, so that it can be stopped: `python -m faults.reader HOST PORT NAME FILTER END`.

Prints `ready` when it has subscribed, and what it got, as JSON, when a message came to the topic END.
"""

import asyncio
import json
import sys

from .checker import Inbox
from .client import V5, Subscriber


async def read(host, port, name, topics, end):
    inbox = Inbox(name)
    reader = Subscriber(inbox, V5)
    await reader.connect((host, int(port)))
    await reader.subscribe(topics)
    print("ready", flush=True)
    while not inbox.last(end):
        if not reader.link:
            # As any client would: it comes again when it was sent away.
            await reader.connect((host, int(port)))
        reader.came.clear()
        try:
            await asyncio.wait_for(reader.came.wait(), 1)
        except TimeoutError:
            pass
    await reader.leave()
    print(json.dumps({"streams": inbox.streams, "complaints": reader.complaints, "losses": reader.losses}), flush=True)


asyncio.run(read(*sys.argv[1:]))
