"""Power cuts, made by copying the disk of a server that stands still.

The data lies on an ext4 of its own in a file. In the middle of the load the server is stopped (SIGSTOP), the file is
copied as it is, and the copy is what a machine would find after the cut: all that was synced, and of the rest whatever
the kernel had happened to write. The server goes on from the copy, to the next cut. A file that nobody synced shows
that the copy really lacks what it may lack.
"""

import asyncio
import shutil
import signal
import subprocess
import threading
from pathlib import Path

from roost import Roost

from .load import FLAGS, Load
from .scenario import Skipped

IMAGE_SIZE = 256 * 1024 * 1024
CANARY = b"this was never synced\n" * 20_000
COPIES_MAX = 10


def command(*words):
    subprocess.run(words, check=True, capture_output=True, timeout=60)


def make_disk(image):
    with image.open("wb") as file:
        file.truncate(IMAGE_SIZE)
    command("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))


def mount(image):
    """Mounts an image beside itself; the kernel writes as little as it can be made to."""
    place = image.with_suffix(".mounted")
    place.mkdir()
    command("mount", "-o", "loop,commit=300", str(image), str(place))
    return place


def disk(folder):
    """The first disk, mounted, or why there is none."""
    if not shutil.which("mkfs.ext4"):
        raise Skipped("there is no mkfs.ext4 here (Debian: e2fsprogs)")
    folder.mkdir(parents=True)
    image = folder / "disk-0"
    make_disk(image)
    try:
        place = mount(image)
    except subprocess.CalledProcessError as error:
        raise Skipped(f"a file cannot be mounted here, which needs root: {error.stderr.decode().strip()}") from None
    command("sync", "-f", str(place))
    return image, place


def freeze(server):
    """Stops every thread of the server, and returns when all of them stand still."""
    tasks = Path(f"/proc/{server.process.pid}/task")
    server.process.send_signal(signal.SIGSTOP)
    for _ in range(10_000):
        states = [(task / "stat").read_text().rsplit(")", 1)[1].split()[0] for task in tasks.iterdir()]
        if all(state == "T" for state in states):
            return
        threading.Event().wait(0.001)
    raise AssertionError("the server did not stand still")


def copied(image, copy):
    """Copies until the kernel wrote nothing meanwhile: half of two moments is no disk that ever was."""
    for _ in range(COPIES_MAX):
        command("cp", "--sparse=always", str(image), str(copy))
        if subprocess.run(["cmp", "-s", str(image), str(copy)], check=False).returncode == 0:
            return
    raise AssertionError("the kernel wrote all the time")


async def run(run):
    image, place = disk(run.folder)
    cuts, telling = run.choose(1, 10), 0
    server = Roost(run.binary, place / "roost", *FLAGS)
    load = Load(server, run.random)
    try:
        server.start()
        await load.begin()
        for cut in range(1, cuts + 1):
            await asyncio.sleep(run.random.uniform(0.1, 1.5))
            copy = run.folder / f"disk-{cut}"
            freeze(server)
            (place / "canary").write_bytes(CANARY)
            copied(image, copy)
            server.kill()
            await load.ended()
            command("umount", str(place))
            image.unlink()
            image, place = copy, mount(copy)
            canary = place / "canary"
            telling += not canary.exists() or canary.read_bytes() != CANARY
            server.folder = place / "roost"
            await asyncio.to_thread(server.start)
            await load.resume()
        run.expect(telling > 0, "the kernel had written everything before each cut: they prove no more than kill -9")
        await load.settle()
        line = run.take(load.verdict())
        await load.leave()
    finally:
        if server.process:
            server.kill()
        subprocess.run(["umount", str(place)], check=False)
    return f"{cuts} cuts ({telling} of them with unsynced writes gone), {line}"
