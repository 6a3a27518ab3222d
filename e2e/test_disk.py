"""The disk: full, and cut off. Both need root, and say so loudly where they cannot run."""

import os
import subprocess
import threading
import warnings

import paho.mqtt.client as mqtt
import pytest

import power_cut
from client import Client
from roost import Problem, lost, reading

QUOTA_EXCEEDED = 0x97
CUTS = 2


def not_run(reason):
    warnings.warn(f"NOT RUN: {reason}", stacklevel=2)
    pytest.skip(reason)


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        not_run("a small file system needs root and mount")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def until(what, seconds=30):
    """Asks again and again: for what announces itself by no event."""
    pause = threading.Event()
    for _ in range(seconds * 10):
        if what():
            return
        pause.wait(0.1)
    raise AssertionError("it did not come to pass")


def test_on_a_full_disk_acknowledgements_stop_reading_goes_on_and_room_mends_it(make_roost, small_disk):
    roost = make_roost(name=small_disk / "roost")
    token = roost.device("meter")
    client = Client(roost.door("mqtt"), "meter", token, version=mqtt.MQTTv5)
    acknowledged = []

    def publish(number):
        if reason_is_good := not client.publish("me/telemetry", reading(number)).is_failure:
            acknowledged.append(number)
        return reason_is_good

    assert all(publish(number) for number in range(100))
    space = os.statvfs(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * max(space.f_bavail * space.f_frsize - 4 * 1024 * 1024, 0))
    for number in range(1_000):
        blobs = ",".join(f'"blob{key}":"{os.urandom(30_000).hex()}"' for key in range(8))
        reason = client.publish("me/telemetry", f"{{{blobs}}}")
        if reason.is_failure:
            break
    assert reason.value == QUOTA_EXCEEDED, f"after {number} large messages: {reason}"
    with pytest.raises(Problem) as refused:
        for number in range(100_000, 200_000):
            roost.call("POST", "/me/telemetry", reading(number).encode(), token=token)
            acknowledged.append(number)
    assert refused.value.status == 507, refused.value
    assert lost(acknowledged, roost.points("meter", "n")) == []
    assert roost.call("GET", "/devices/meter")["online"]

    filler.unlink()
    until(lambda: publish(300_000))
    assert publish(300_001)
    roost.kill()
    client.drop()
    roost.start()
    assert lost(acknowledged, roost.points("meter", "n")) == []


def test_every_acknowledged_publish_is_there_after_a_power_cut(binary, capsys):
    if not power_cut.is_possible():
        not_run("a power cut needs root, mkfs.ext4 and loop mounts")
    with capsys.disabled():
        print()
        count, gone = power_cut.trials(binary, CUTS)
    assert (count > 0, gone) == (True, 0)
