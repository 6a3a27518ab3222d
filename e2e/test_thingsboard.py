"""Devices that speak ThingsBoard's MQTT API: as its documentation shows it, token as user name."""

import json
import time

from client import WAIT, Client


def until(look):
    """What `look` sees, once it sees something."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if seen := look():
            return seen
        time.sleep(0.05)
    raise AssertionError("it does not come about")


def latest(roost, device, key, token=None):
    found = roost.call("GET", f"/devices/{device}/telemetry/latest", token=token).get(key)
    return found and found["value"]


def connect(roost, name="tb", **more):
    return Client(roost.door("mqtt"), roost.device(name, profile="thingsboard"), None, **more)


def answer(roost, device, number, state, token=None):
    """The command in this state, once it is in it."""
    def look():
        found = roost.call("GET", f"/devices/{device}/commands/{number}", token=token)
        return found if found["state"] == state else None
    return until(look)


def test_telemetry_and_attributes_are_what_the_acknowledgement_says_after_a_crash(roost):
    device = connect(roost)
    device.publish("v1/devices/me/telemetry", json.dumps({"ts": 1795200000000, "values": {"temperature": 21.5}}))
    device.publish("v1/devices/me/attributes", '{"firmware":"1.2"}')
    roost.kill()
    device.drop()
    roost.start()
    assert latest(roost, "tb", "temperature") == 21.5
    path = "/devices/tb/telemetry?key=temperature&from=1795199999000&to=1795200001000"
    assert roost.call("GET", path)["points"] == [[1795200000000, 21.5]]
    assert roost.call("GET", "/devices/tb/twin")["reported"] == {"firmware": "1.2"}


def test_a_command_is_a_call_whose_answer_finishes_it_also_after_a_crash_in_between(roost):
    token = roost.device("tb", profile="thingsboard")
    device = Client(roost.door("mqtt"), token, None).subscribe("v1/devices/me/rpc/request/+")
    sent = roost.call("POST", "/devices/tb/commands", {"name": "setGpio", "params": {"pin": 4}})
    topic, payload = device.next()
    assert json.loads(payload) == {"method": "setGpio", "params": {"pin": 4}}
    number = topic.removeprefix("v1/devices/me/rpc/request/")
    assert number.isdigit()
    answer(roost, "tb", sent["id"], "delivered")
    roost.kill()
    device.drop()
    roost.start()
    device = Client(roost.door("mqtt"), token, None).subscribe("v1/devices/me/rpc/request/+")
    device.publish(f"v1/devices/me/rpc/response/{number}", '{"pin":true}')
    assert answer(roost, "tb", sent["id"], "succeeded")["result"] == {"pin": True}
    failed = roost.call("POST", "/devices/tb/commands", {"name": "blow"})
    topic, payload = device.next()
    if "setGpio" in payload:
        # Its acknowledgement was not on disk yet when the server was killed: it comes again.
        topic, payload = device.next()
    assert json.loads(payload)["method"] == "blow"
    device.publish(f"v1/devices/me/rpc/response/{topic.rsplit('/', 1)[1]}", '{"error":"no fuse"}')
    assert answer(roost, "tb", failed["id"], "failed")["error"] == "no fuse"


def test_a_command_waits_until_the_device_listens(roost):
    sent = []
    token = roost.device("tb", profile="thingsboard")
    sent.append(roost.call("POST", "/devices/tb/commands", {"name": "a"}))
    device = Client(roost.door("mqtt"), token, None)
    sent.append(roost.call("POST", "/devices/tb/commands", {"name": "b"}))
    assert {roost.call("GET", f"/devices/tb/commands/{one['id']}")["state"] for one in sent} == {"queued"}
    device.subscribe("v1/devices/me/rpc/request/+", qos=0)
    assert [json.loads(device.next()[1])["method"] for _ in sent] == ["a", "b"]
    # Over QoS 0 nobody can say that it was delivered.
    answer(roost, "tb", sent[0]["id"], "sent")


def test_attributes_are_asked_for_and_told(roost):
    device = connect(roost).subscribe("v1/devices/me/attributes/response/+").subscribe("v1/devices/me/attributes")
    device.publish("v1/devices/me/attributes", '{"a":1}')
    roost.call("PATCH", "/devices/tb/twin", {"desired": {"rate": 5}})
    assert device.next() == ("v1/devices/me/attributes", '{"rate":5}')
    device.publish("v1/devices/me/attributes/request/1", '{"clientKeys":"a","sharedKeys":"rate,other"}')
    topic, payload = device.next()
    assert topic == "v1/devices/me/attributes/response/1"
    assert json.loads(payload) == {"client": {"a": 1}, "shared": {"rate": 5}}
    device.subscribe("v1/devices/me/rpc/response/+")
    device.publish("v1/devices/me/rpc/request/9", '{"method":"getTime","params":{}}')
    topic, payload = device.next()
    assert topic == "v1/devices/me/rpc/response/9" and "error" in json.loads(payload)
    device.publish("v1/devices/me/claim", "{}")
    assert until(lambda: any("claim" in entry["detail"] for entry in roost.call("GET", "/devices/tb/log")["items"]))


def test_two_devices_and_two_tenants_with_the_same_topics_hear_nothing_of_each_other(roost):
    other = roost.call("POST", "/tenants", {"id": "other"})["owner_token"]
    theirs = roost.call("POST", "/devices", {"id": "tb", "profile": "thingsboard"}, token=other)
    theirs = Client(roost.door("mqtt"), theirs["credential"]["token"], None)
    mine, second = connect(roost), connect(roost, "second")
    for device in [theirs, mine, second]:
        device.subscribe("v1/devices/me/#")
    second.publish("v1/devices/me/rpc/request/1", '{"method":"open","params":{}}')
    assert second.next()[0] == "v1/devices/me/rpc/response/1"
    second.publish("v1/devices/me/telemetry", '{"t":1}')
    roost.call("POST", "/devices/tb/commands", {"name": "mine"})
    roost.call("POST", "/devices/tb/commands", {"name": "theirs"}, token=other)
    assert json.loads(mine.next()[1])["method"] == "mine"
    assert json.loads(theirs.next()[1])["method"] == "theirs"
    assert mine.messages.empty() and theirs.messages.empty() and second.messages.empty()
    assert latest(roost, "second", "t") == 1 and latest(roost, "tb", "t") is None


def test_a_gateway_speaks_for_devices_that_somebody_let_in(roost):
    gateway = connect(roost, "gate").subscribe("v1/gateway/rpc").subscribe("v1/gateway/attributes/response")
    gateway.publish("v1/gateway/connect", '{"device":"Cellar","type":"thermometer"}')
    gateway.publish("v1/gateway/telemetry", '{"Cellar":[{"ts":1795200000000,"values":{"t":7}}]}')
    [waiting] = roost.call("GET", "/inbox")["items"]
    assert waiting["sample"]["t"] == 7 and waiting["proposed"]["labels"] == {"type": "thermometer"}
    assert [device["id"] for device in roost.call("GET", "/devices")["items"]] == ["gate"]
    child = roost.call("POST", f"/inbox/{waiting['id']}/accept", {"id": "cellar"})
    assert child["parent"] == "gate" if "parent" in child else True
    gateway.publish("v1/gateway/connect", '{"device":"Cellar"}')
    gateway.publish("v1/gateway/telemetry", '{"Cellar":[{"ts":1795200000000,"values":{"t":8}}]}')
    assert latest(roost, "cellar", "t") == 8
    assert roost.call("GET", "/devices/cellar")["online"]
    sent = roost.call("POST", "/devices/cellar/commands", {"name": "blink", "params": {"times": 2}})
    call = json.loads(gateway.next()[1])
    assert (call["device"], call["data"]["method"], call["data"]["params"]) == ("Cellar", "blink", {"times": 2})
    gateway.publish("v1/gateway/rpc", json.dumps({"device": "Cellar", "id": call["data"]["id"], "data": {"ok": 1}}))
    assert answer(roost, "cellar", sent["id"], "succeeded")["result"] == {"ok": 1}
    roost.call("PATCH", "/devices/cellar/twin", {"desired": {"rate": 5}})
    gateway.publish("v1/gateway/attributes/request", '{"id":3,"device":"Cellar","client":false,"key":"rate"}')
    assert json.loads(gateway.next()[1]) == {"id": 3, "device": "Cellar", "value": 5}
    gateway.leave()
    assert until(lambda: not roost.call("GET", "/devices/cellar")["online"])


def test_who_is_let_in_is_there_at_once_with_what_it_reported_before(roost):
    gateway = connect(roost, "gate")
    gateway.publish("v1/gateway/connect", '{"device":"Cellar"}')
    gateway.publish("v1/gateway/attributes", '{"Cellar":{"fw":"1.2"}}')
    [waiting] = roost.call("GET", "/inbox")["items"]
    roost.call("POST", f"/inbox/{waiting['id']}/accept", {"id": "cellar"})
    assert until(lambda: roost.call("GET", "/devices/cellar")["online"])
    assert roost.call("GET", "/devices/cellar/twin")["reported"] == {"fw": "1.2"}
    # A gateway that does not say who is connected: whoever sends is there.
    gateway.publish("v1/gateway/telemetry", '{"Attic":[{"t":1}]}')
    [waiting] = roost.call("GET", "/inbox")["items"]
    roost.call("POST", f"/inbox/{waiting['id']}/accept", {"id": "attic"})
    assert not roost.call("GET", "/devices/attic")["online"]
    gateway.publish("v1/gateway/telemetry", '{"Attic":[{"t":2}]}')
    assert roost.call("GET", "/devices/attic")["online"]
    gateway.publish("v1/gateway/disconnect", '{"device":"Attic"}')
    assert until(lambda: not roost.call("GET", "/devices/attic")["online"])
    gateway.leave()
    assert until(lambda: not roost.call("GET", "/devices/cellar")["online"])


def test_a_child_that_a_rule_accepts_loses_nothing_of_its_first_message(roost):
    gateway = connect(roost, "gw")
    rule = {"dialect": "thingsboard", "name": "cellar-*", "parent": "gw", "labels": {"floor": "-1"}}
    roost.call("PUT", "/inbox/rules", [rule])
    said = {"cellar-1": [{"values": {"temperature": 9.5}}], "attic-1": [{"values": {"temperature": 30}}]}
    gateway.publish("v1/gateway/telemetry", json.dumps(said))
    [waiting] = roost.call("GET", "/inbox")["items"]
    assert waiting["name"] == "attic-1"
    [child] = roost.call("GET", "/devices?label=floor")["items"]
    assert (child["parent"], child["profile"]) == ("gw", "thingsboard")
    assert latest(roost, child["id"], "temperature") == 9.5
    assert roost.call("GET", "/inbox/rules")[0]["accepted"] == 1
