"""A power cut, made by copying the disk of a stopped server: `power_cut.py ROOST_BINARY [TRIALS]`, as root.

The data lies on an ext4 of its own in a file. In the middle of QoS 1 publishes the server is stopped (SIGSTOP), the
file is copied as it is, and the copy is what a machine would find after the cut: all that was synced, and of the rest
whatever the kernel had happened to write. A file that nobody synced shows that the copy really lacks what it may lack.
"""

import itertools
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

from client import Client
from roost import Roost, lost, reading

IMAGE_SIZE = 160 * 1024 * 1024
ENOUGH = 2_000
CANARY = b"this was never synced\n" * 20_000


class Discarded(Exception):
    """The trial proves nothing."""


def run(*command):
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@contextmanager
def mounted(image, place, *options):
    place.mkdir()
    run("mount", "-o", ",".join(["loop", *options]), str(image), str(place))
    try:
        yield place
    finally:
        run("umount", str(place))


def is_possible():
    """Whether this machine lets us mount a file."""
    if not shutil.which("mkfs.ext4"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image"
        image.touch()
        image.open("r+b").truncate(8 * 1024 * 1024)
        try:
            run("mkfs.ext4", "-q", str(image))
            with mounted(image, Path(folder) / "place"):
                return True
        except subprocess.CalledProcessError:
            return False


def freeze(server):
    """Stops every thread of the server, and returns when all of them stand still."""
    tasks = Path(f"/proc/{server.process.pid}/task")
    server.process.send_signal(19)
    for _ in range(10_000):
        states = [(task / "stat").read_text().rsplit(")", 1)[1].split()[0] for task in tasks.iterdir()]
        if all(state == "T" for state in states):
            return
        threading.Event().wait(0.001)
    raise Discarded("the server did not stand still")


def cut(binary, folder):
    """One cut. Gives how many publishes were acknowledged before it, and which of them are gone."""
    image, copy = folder / "disk", folder / "copy"
    with image.open("wb") as file:
        file.truncate(IMAGE_SIZE)
    run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
    with mounted(image, folder / "before", "commit=300") as place:
        run("sync", "-f", str(place))
        server = Roost(binary, place / "roost").start()
        try:
            token = server.device("meter")
            client = Client(server.door("mqtt"), "meter", token)
            numbers = {}
            for number in itertools.islice(itertools.count(1), 5 * ENOUGH):
                numbers[client.send("me/telemetry", reading(number))] = number
            client.wait_for_acknowledgements(ENOUGH)
            (place / "canary").write_bytes(CANARY)
            freeze(server)
            run("cp", "--sparse=always", str(image), str(copy))
            acknowledged = [numbers[packet_id] for packet_id in client.acknowledged()]
            is_torn = subprocess.run(["cmp", "-s", str(image), str(copy)], check=False).returncode != 0
        finally:
            server.kill()
        client.drop()
    if is_torn:
        raise Discarded("the kernel wrote while the disk was copied")
    with mounted(copy, folder / "after") as place:
        canary = place / "canary"
        if canary.exists() and canary.read_bytes() == CANARY:
            raise Discarded("the kernel had written everything before the cut")
        server = Roost(binary, place / "roost").start()
        try:
            gone = lost(acknowledged, server.points("meter", "n"))
        finally:
            server.kill()
    return len(acknowledged), gone


def trials(binary, wanted):
    """Cuts until `wanted` cuts count. Gives the sums of acknowledged and lost publishes."""
    done = total = missing = 0
    for _ in range(4 * wanted):
        with tempfile.TemporaryDirectory(prefix="roost-cut-") as folder:
            try:
                acknowledged, gone = cut(binary, Path(folder))
            except Discarded as reason:
                print(f"a cut does not count: {reason}", flush=True)
                continue
        done, total, missing = done + 1, total + acknowledged, missing + len(gone)
        print(f"cut {done}: {acknowledged} acknowledged, {len(gone)} lost {gone[:5]}", flush=True)
        if done == wanted:
            return total, missing
    raise AssertionError(f"only {done} of {wanted} cuts count")


if __name__ == "__main__":
    if not is_possible():
        sys.exit("NOT RUN: a power cut needs root, mkfs.ext4 and loop mounts")
    COUNT, LOST = trials(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3)
    print(f"{COUNT} acknowledged before power cuts, {LOST} lost")
    sys.exit(1 if LOST else 0)
