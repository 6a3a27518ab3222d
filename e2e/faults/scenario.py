"""What every scenario is given, and how it says what came of it."""

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path


class Skipped(Exception):
    """This machine does not let us try it."""


@dataclass
class Run:
    """One run of a scenario: the program, a directory of its own, the randomness, and whether it is the short form."""

    binary: Path
    folder: Path
    seed: int
    is_short: bool

    def __post_init__(self):
        self.random = random.Random(self.seed)
        self.faults = []

    def take(self, verdict):
        """Keeps what a verdict blames, and gives its line."""
        self.faults += verdict.faults
        return verdict.line

    def expect(self, is_so, text):
        """Blames what is not as it must be."""
        if not is_so:
            self.faults.append(text)

    def choose(self, short, full):
        """A size of the short form or of the full one."""
        return short if self.is_short else full


async def wait_for(is_so, seconds):
    """Looks again and again at what announces itself by no event. Whether it came to pass."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True


def memory(process):
    """Resident memory of a process, in MiB."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
