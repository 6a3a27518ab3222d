"""What was recorded comes first, then what is live: over MQTT 5, the live feed, WebSocket JSON and `roost tail`."""

import json
import os
import subprocess
import threading
import urllib.request

import paho.mqtt.client as mqtt

from client import WAIT, Client


def measure(roost, token, numbers):
    lines = "\n".join(json.dumps({"n": number}) for number in numbers)
    request = urllib.request.Request(
        f"{roost.url}/api/v1/me/telemetry", lines.encode(), method="POST",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["accepted"] == len(numbers)


def subscribe_since(client, topic_filter, since, qos=1):
    properties = mqtt.Properties(mqtt.PacketTypes.SUBSCRIBE)
    properties.UserProperty = ("roost-since", since)
    client.mqtt.subscribe(topic_filter, options=mqtt.SubscribeOptions(qos=qos), properties=properties)


def numbers_of(client, count):
    found = [client.messages.get(timeout=WAIT) for _ in range(count)]
    assert not any(message.retain for message in found)
    return [json.loads(message.payload)["n"] for message in found]


class Feed:
    """Events of `GET /live` as (id, kind, data)."""

    def __init__(self, roost, query):
        request = urllib.request.Request(
            f"{roost.url}/api/v1/live?{query}", headers={"Authorization": f"Bearer {roost.owner}"},
        )
        self.answer = urllib.request.urlopen(request, timeout=WAIT)

    def next(self):
        event = {}
        for line in self.answer:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if not name and event:
                return event
            if name in ("id", "event", "data"):
                event[name] = value
        raise AssertionError("the feed ended")

    def numbers(self, count):
        found = [self.next() for _ in range(count)]
        self.last = found[-1]["id"]
        return [json.loads(event["data"])["values"]["n"] for event in found]


def test_mqtt_5_replays_in_order_and_goes_on_without_gap_or_double(roost):
    token = roost.device("greenhouse")
    measure(roost, token, range(2_000))
    client = Client(roost.door("mqtt"), "app", roost.owner, version=mqtt.MQTTv5)
    publisher = threading.Thread(target=measure, args=(roost, token, range(2_000, 6_000)))
    publisher.start()
    subscribe_since(client, "devices/+/telemetry", "1h")
    found = numbers_of(client, 6_000)
    publisher.join()
    assert found == list(range(6_000))
    measure(roost, token, [6_000])
    assert numbers_of(client, 1) == [6_000]


def test_what_was_acknowledged_is_replayed_after_kill_9(roost):
    token = roost.device("greenhouse")
    measure(roost, token, range(500))
    roost.kill()
    roost.start()
    client = Client(roost.door("mqtt"), "app", roost.owner, version=mqtt.MQTTv5)
    subscribe_since(client, "devices/greenhouse/telemetry", "600")
    assert numbers_of(client, 500) == list(range(500))
    feed = Feed(roost, "devices=greenhouse&kinds=telemetry&since=10m")
    assert feed.numbers(500) == list(range(500))


def test_the_live_feed_begins_in_the_past_and_goes_on_where_it_was(roost):
    token = roost.device("greenhouse")
    measure(roost, token, range(1_000))
    feed = Feed(roost, "kinds=telemetry&since=1h")
    publisher = threading.Thread(target=measure, args=(roost, token, range(1_000, 3_000)))
    publisher.start()
    assert feed.numbers(1_500) == list(range(1_500))
    again = Feed(roost, f"kinds=telemetry&after={feed.last}")
    assert again.numbers(1_500) == list(range(1_500, 3_000))
    publisher.join()


def test_a_value_that_is_no_time_is_refused_with_the_reason(roost):
    client = Client(roost.door("mqtt"), "app", roost.owner, version=mqtt.MQTTv5)
    subscribe_since(client, "a", "yesterday")
    (reason,) = client._subacks.get(timeout=WAIT)
    assert reason.value == 0x83


def test_roost_tail_since_shows_the_past_first(roost):
    token = roost.device("greenhouse")
    roost.device("cellar")
    measure(roost, token, range(20))
    command = [roost.binary, "tail", "devices/+/telemetry", "--since", "1h", "--url", roost.url, "--output", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "ROOST_TOKEN": roost.owner})
    try:
        found = [json.loads(process.stdout.readline()) for _ in range(20)]
        assert {line["kind"] for line in found} == {"telemetry"}
        assert [line["data"]["values"]["n"] for line in found] == list(range(20))
        measure(roost, token, [20])
        assert json.loads(process.stdout.readline())["data"]["values"]["n"] == 20
    finally:
        process.kill()
        process.wait()


def test_sessions_and_retained_messages_from_the_command_line(roost):
    def run(*words):
        done = subprocess.run(
            [roost.binary, *words, "--url", roost.url, "--output", "json"], capture_output=True, text=True, timeout=30,
            env={**os.environ, "ROOST_TOKEN": roost.owner}, check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    roost.device("greenhouse")
    sleeper = Client(roost.door("mqtt"), "app", roost.owner, version=mqtt.MQTTv5, client_id="sleeper", session=True)
    sleeper.subscribe("home/#")
    sleeper.leave()
    writer = Client(roost.door("mqtt"), "app", roost.owner, version=mqtt.MQTTv5, client_id="writer")
    for room in ("hall", "attic"):
        writer.publish(f"home/{room}", "on", retain=True)
    assert [session["client_id"] for session in run("session", "list", "SLEEP")] == ["sleeper"]
    assert run("session", "show", "sleeper")["queued"] == 2
    queued = run("session", "queue", "sleeper")
    assert [(one["topic"], one["state"], one["qos"], one["size"]) for one in queued] == [
        ("home/hall", "waiting", 1, 2), ("home/attic", "waiting", 1, 2)]
    run("session", "kick", "sleeper")
    assert run("session", "list", "sleeper") == []
    assert [one["topic"] for one in run("retained", "list", "home/#")] == ["home/attic", "home/hall"]
    assert run("retained", "delete", "home/+") == {"deleted": 2}
    assert run("retained", "list", "home/#") == []
