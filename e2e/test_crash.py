"""kill -9 in the middle of writing: whatever was acknowledged is there after the restart."""

import itertools
import threading

from client import Client
from roost import Problem, lost, reading

ENOUGH = 1_000


def test_every_acknowledged_publish_is_there_after_kill_9(roost):
    token = roost.device("meter")
    published, acknowledged, total = itertools.count(1), [], 0
    for _ in range(3):
        client = Client(roost.door("mqtt"), "meter", token)
        numbers = {}
        while len(numbers) < 3 * ENOUGH:
            number = next(published)
            numbers[client.send("me/telemetry", reading(number))] = number
        client.wait_for_acknowledgements(ENOUGH)
        roost.kill()
        client.drop()
        acknowledged += [numbers[packet_id] for packet_id in client.acknowledged()]
        roost.start()
        total += ENOUGH
        assert lost(acknowledged, roost.points("meter", "n")) == []
    print(f"{len(acknowledged)} acknowledged in 3 rounds, 0 lost")
    assert len(acknowledged) >= total


def test_every_acknowledged_post_is_there_after_kill_9(roost):
    token = roost.device("poster")
    numbers, acknowledged, enough = itertools.count(1), [], threading.Semaphore(0)

    def post():
        while True:
            number = next(numbers)
            try:
                roost.call("POST", "/me/telemetry", reading(number).encode(), token=token)
            except (OSError, Problem):
                return
            acknowledged.append(number)
            enough.release()

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        assert enough.acquire(timeout=60)
    roost.kill()
    for thread in threads:
        thread.join(timeout=40)
    roost.start()
    assert lost(acknowledged, roost.points("poster", "n")) == []
    print(f"{len(acknowledged)} acknowledged, 0 lost")


def test_an_ordered_stop_keeps_everything_and_ends_with_0(roost):
    token = roost.device("meter")
    client = Client(roost.door("mqtt"), "meter", token)
    for number in range(50):
        client.publish("me/telemetry", reading(number))
    roost.stop()
    client.drop()
    roost.start()
    assert lost(range(50), roost.points("meter", "n")) == []


def test_a_command_and_a_device_stay_over_kill_9(roost):
    token = roost.device("valve")
    sent = roost.call("POST", "/devices/valve/commands", {"name": "shut", "expires_in": "1h"})
    roost.kill()
    roost.start()
    assert [item["id"] for item in roost.call("GET", "/me/commands", token=token)["items"]] == [sent["id"]]
