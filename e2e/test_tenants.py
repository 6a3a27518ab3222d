"""Two tenants on one server: the same names, and neither sees the other."""

import pytest

from client import Client
from roost import Problem


def test_two_tenants_share_names_and_nothing_else(roost):
    other = roost.call("POST", "/tenants", {"id": "orchard"})["owner_token"]
    mine = roost.device("gate")
    theirs = roost.call("POST", "/devices", {"id": "barn"}, token=other)["credential"]["token"]

    door = roost.door("mqtt")
    here = Client(door, "any", roost.owner).subscribe("#")
    there = Client(door, "any", other).subscribe("#")
    Client(door, "any", roost.owner).publish("news", "from here")
    Client(door, "any", other).publish("news", "from there")
    assert here.next() == ("news", "from here")
    assert there.next() == ("news", "from there")
    assert here.messages.empty() and there.messages.empty()

    roost.call("POST", "/me/telemetry", {"temp": 1}, token=mine)
    roost.call("POST", "/me/telemetry", {"temp": 2}, token=theirs)
    assert [item["id"] for item in roost.call("GET", "/devices")["items"]] == ["gate"]
    assert [item["id"] for item in roost.call("GET", "/devices", token=other)["items"]] == ["barn"]
    for path in ["/devices/barn", "/devices/barn/telemetry/latest", "/devices/barn/twin", "/devices/barn/log"]:
        with pytest.raises(Problem) as refused:
            roost.call("GET", path)
        assert refused.value.status == 404, path
    with pytest.raises(Problem) as refused:
        roost.call("POST", "/tenants", {"id": "third"}, token=other)
    assert refused.value.status == 403


def test_a_device_hears_nothing_of_another(roost):
    token = roost.device("one")
    roost.device("two")
    client = Client(roost.door("mqtt"), "one", token)
    assert client.is_refused("devices/two/#")
    client.subscribe("me/twin/desired")
    roost.call("PATCH", "/devices/two/twin", {"desired": {"a": 1}})
    roost.call("PATCH", "/devices/one/twin", {"desired": {"b": 2}})
    while True:
        topic, text = client.next()
        assert topic == "me/twin/desired", topic
        if '"b":2' in text:
            break
    client.leave()
