"""A family that only its profile describes: topics, values and commands by configuration."""

import json

import pytest

from client import Client
from roost import Problem
from test_thingsboard import answer, latest, until

PLANT = {
    "name": "generic",
    "readings": [
        {"topic": "plant/{device}/{key}/value"},
        {"topic": "plant/{device}/state", "time": "/at", "values": {
            "power": "/emeter/0/power", "relay": {"regex": '"relay":"(on|off)"'}}},
    ],
    "presence": [{"topic": "plant/{device}/lwt", "online": "1", "offline": "0"}],
    "commands": [
        {"name": "switch", "topic": "plant/{device}/set", "payload": '{"on":{params.on},"id":"{id}"}'},
        {"name": "note", "topic": "plant/{device}/note", "payload": "{params.text}"},
    ],
    "answers": [{"topic": "plant/{device}/ack/{id}", "error": "/error", "result": "/done"}],
}


def profile(roost, dialect=PLANT, name="plant"):
    return roost.call("POST", "/profiles", {"id": name, "dialect": dialect})


def test_values_become_telemetry_and_commands_are_worded_as_the_profile_says(roost):
    profile(roost)
    token = roost.device("p1", profile="plant")
    # The shared door of two plants: p2 stands behind p1's connection.
    client = Client(roost.door("mqtt"), token, None).subscribe("plant/+/set").subscribe("plant/+/note")
    client.publish("plant/p1/temp/value", "21.5")
    client.publish("plant/p1/state", '{"emeter":[{"power":7}],"relay":"on","at":1795200000}', qos=2)
    assert [latest(roost, "p1", key) for key in ["temp", "power", "relay"]] == [21.5, 7, "on"]
    sent = roost.call("POST", "/devices/p1/commands", {"name": "switch", "params": {"on": True}})
    assert client.next() == ("plant/p1/set", json.dumps({"on": True, "id": sent["id"]}, separators=(",", ":")))
    client.publish(f"plant/p1/ack/{sent['id']}", '{"done":{"on":true}}')
    assert answer(roost, "p1", sent["id"], "succeeded")["result"] == {"on": True}
    unsayable = roost.call("POST", "/devices/p1/commands?wait=10s", {"name": "switch"})
    assert (unsayable["state"], unsayable["error"]) == ("failed", "the command needs params.on")
    unknown = roost.call("POST", "/devices/p1/commands?wait=10s", {"name": "fly"})
    assert unknown["error"] == "the profile has words for switch, note only"


def test_others_may_still_subscribe_and_devices_behind_wait_in_the_inbox(roost):
    profile(roost)
    gateway = Client(roost.door("mqtt"), roost.device("gate", profile="plant"), None)
    onlooker = Client(roost.door("mqtt"), "app", roost.owner).subscribe("plant/#").subscribe("devices/+/telemetry")
    gateway.publish("plant/fern/temp/value", "20")
    assert onlooker.next() == ("plant/fern/temp/value", "20")
    [waiting] = roost.call("GET", "/inbox")["items"]
    assert (waiting["name"], waiting["sample"]) == ("fern", {"temp": 20})
    roost.call("POST", f"/inbox/{waiting['id']}/accept", {"id": "fern-1"})
    gateway.publish("plant/fern/lwt", "1")
    gateway.publish("plant/fern/temp/value", "22")
    said = {onlooker.next()[0] for _ in range(3)}
    assert said == {"plant/fern/lwt", "plant/fern/temp/value", "devices/fern-1/telemetry"}
    assert latest(roost, "fern-1", "temp") == 22 and roost.call("GET", "/devices/fern-1")["online"]
    gateway.publish("plant/fern/lwt", "0")
    assert until(lambda: not roost.call("GET", "/devices/fern-1")["online"])


def test_a_command_that_nobody_answers_has_succeeded_once_it_was_acknowledged(roost):
    profile(roost, {key: PLANT[key] for key in ["name", "commands"]})
    client = Client(roost.door("mqtt"), roost.device("p1", profile="plant"), None).subscribe("plant/p1/note")
    sent = roost.call("POST", "/devices/p1/commands", {"name": "note", "params": {"text": "hello"}})
    assert client.next() == ("plant/p1/note", "hello")
    assert answer(roost, "p1", sent["id"], "succeeded")["delivered_at"]


@pytest.mark.parametrize("dialect, why", [
    ({"name": "generic", "readings": [{"topic": "a/{x}"}]}, "readings[0]"),
    ({"name": "generic", "readings": [{"topic": "a", "values": {"t": {"regex": "("}}}]}, "readings[0]"),
    ({"name": "generic", "reading": []}, "reading"),
    ("klingon", "one of native"),
])
def test_a_configuration_that_cannot_be_is_refused_with_what_is_wrong(roost, dialect, why):
    with pytest.raises(Problem) as refused:
        profile(roost, dialect)
    assert refused.value.status == 422 and why in refused.value.body
