"""Sparkplug B nodes, and devices made for AWS IoT Core and Azure IoT Hub: as their documentation shows them."""

import json
import time

from client import WAIT, Client
from roost import OWNER
from sparkplug_node import BOOLEAN, FLOAT, INT32, INT64, STRING, metric, payload, written


def until(look):
    """What `look` sees, once it sees something."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if seen := look():
            return seen
        time.sleep(0.05)
    raise AssertionError("it does not come about")


def latest(roost, device, key):
    return roost.call("GET", f"/devices/{device}/telemetry/latest").get(key)


def value(roost, device, key):
    found = latest(roost, device, key)
    return found and found["value"]


def command(roost, device, state, sent):
    def look():
        found = roost.call("GET", f"/devices/{device}/commands/{sent['id']}")
        return found if found["state"] == state else None
    return until(look)


def lose(client):
    """The connection ends without a word."""
    client.mqtt.loop_stop()
    client.mqtt.socket().close()


BIRTH = payload(
    0,
    metric("bdSeq", INT64, 4),
    metric("Node Control/Rebirth", BOOLEAN, False),
    metric("Properties/Model", STRING, "X1"),
    metric("Inputs/T", FLOAT, 21.5, alias=7, unit="°C"),
)
PUMP = payload(1, metric("Speed", INT32, 40, alias=9), metric("On", BOOLEAN, True, alias=10))


def node(roost):
    token = roost.device("edge", profile="sparkplug")
    will = ("spBv1.0/plant/NDEATH/edge1", payload(None, metric("bdSeq", INT64, 4)), 1)
    client = Client(roost.door("mqtt"), "edge", token, will=will).subscribe("spBv1.0/plant/NCMD/edge1/#")
    client.subscribe("spBv1.0/plant/DCMD/edge1/#")
    client.publish("spBv1.0/plant/NBIRTH/edge1", BIRTH)
    client.publish("spBv1.0/plant/DBIRTH/edge1/pump", PUMP)
    return client


def test_a_sparkplug_node_is_born_sends_by_alias_and_is_commanded(roost):
    edge = node(roost)
    assert value(roost, "edge", "Inputs/T") == 21.5
    assert roost.call("GET", "/devices/edge/twin")["reported"]["Keys"]["Inputs/T"]["unit"] == "°C"
    assert roost.call("GET", "/devices/edge")["labels"] == {"Model": "X1"}
    edge.publish("spBv1.0/plant/NDATA/edge1", payload(2, metric(None, FLOAT, 22.25, alias=7)))
    assert value(roost, "edge", "Inputs/T") == 22.25

    [waiting] = roost.call("GET", "/inbox")["items"]
    assert (waiting["dialect"], waiting["proposed"]["name"]) == ("sparkplug", "pump")
    roost.call("POST", f"/inbox/{waiting['id']}/accept", {"id": "pump"})
    edge.publish("spBv1.0/plant/DDATA/edge1/pump", payload(3, metric(None, INT32, -3, alias=9)))
    assert value(roost, "pump", "Speed") == -3

    sent = roost.call("POST", "/devices/pump/commands", {"name": "Speed", "params": 55})
    message = edge.messages.get(timeout=WAIT)
    assert (message.topic, written(message.payload)) == ("spBv1.0/plant/DCMD/edge1/pump", [("Speed", 55)])
    command(roost, "pump", "succeeded", sent)
    wrong = roost.call("POST", "/devices/pump/commands", {"name": "Speed", "params": "fast"})
    assert "whole number" in command(roost, "pump", "failed", wrong)["error"]
    roost.call("POST", "/devices/edge/commands", {"name": "rebirth"})
    message = edge.messages.get(timeout=WAIT)
    assert (message.topic, written(message.payload)) == ("spBv1.0/plant/NCMD/edge1", [("Node Control/Rebirth", 1)])


def test_a_sparkplug_node_that_lost_something_is_asked_for_its_birth_also_after_a_crash(roost):
    edge = node(roost)
    edge.publish("spBv1.0/plant/NDATA/edge1", payload(9, metric(None, FLOAT, 1.5, alias=7)))
    message = edge.messages.get(timeout=WAIT)
    assert written(message.payload) == [("Node Control/Rebirth", 1)]
    assert value(roost, "edge", "Inputs/T") == 1.5
    roost.kill()
    edge.drop()
    roost.start()
    token = roost.call("POST", "/devices/edge/credentials", {"kind": "token"})["token"]
    edge = Client(roost.door("mqtt"), "edge", token).subscribe("spBv1.0/plant/NCMD/edge1/#")
    edge.publish("spBv1.0/plant/NDATA/edge1", payload(3, metric(None, FLOAT, 2.5, alias=7)))
    assert written(edge.messages.get(timeout=WAIT).payload) == [("Node Control/Rebirth", 1)]
    assert value(roost, "edge", "Inputs/T") == 1.5
    edge.publish("spBv1.0/plant/NBIRTH/edge1", BIRTH)
    edge.publish("spBv1.0/plant/NDATA/edge1", payload(1, metric(None, FLOAT, 2.5, alias=7)))
    assert value(roost, "edge", "Inputs/T") == 2.5


def test_a_sparkplug_nodes_will_takes_its_devices_with_it_and_makes_their_values_stale(roost):
    edge = node(roost)
    [waiting] = roost.call("GET", "/inbox")["items"]
    roost.call("POST", f"/inbox/{waiting['id']}/accept", {"id": "pump"})
    edge.publish("spBv1.0/plant/DBIRTH/edge1/pump", payload(2, metric("Speed", INT32, 40, alias=9)))
    assert roost.call("GET", "/devices/pump")["online"]
    lose(edge)
    assert until(lambda: not roost.call("GET", "/devices/pump")["online"])
    assert until(lambda: latest(roost, "pump", "Speed").get("quality") == "stale")
    assert until(lambda: latest(roost, "edge", "Inputs/T").get("quality") == "stale")


def test_who_waits_for_a_primary_host_finds_one(roost):
    edge = node(roost)
    host = Client(roost.door("mqtt"), "app", OWNER).subscribe("spBv1.0/STATE/roost")
    topic, state = host.next()
    assert topic == "spBv1.0/STATE/roost" and json.loads(state)["online"] is True
    edge.publish("spBv1.0/plant/NDATA/edge1", b"\x12\x7f")
    log = roost.call("GET", "/devices/edge/log")["items"]
    assert any("ends inside a field" in entry["detail"] for entry in log)


def test_a_thing_made_for_aws_has_its_shadow_here(roost):
    token = roost.device("pump", profile="aws")
    thing = Client(roost.door("mqtt"), "pump?SDK=IoTDeviceSDK/Python&Platform=Unix", token)
    for answer in ["update/accepted", "update/rejected", "update/delta", "get/+"]:
        thing.subscribe(f"$aws/things/pump/shadow/{answer}")

    def say(verb, document):
        thing.publish(f"$aws/things/pump/shadow/{verb}", json.dumps(document) if document else b"")
        topic, text = thing.next()
        return topic.removeprefix("$aws/things/pump/shadow/"), json.loads(text)

    assert say("get", None)[1]["code"] == 404
    topic, accepted = say("update", {"state": {"reported": {"temp": 21.5, "on": False}}, "clientToken": "t-1"})
    assert (topic, accepted["clientToken"]) == ("update/accepted", "t-1")
    assert value(roost, "pump", "temp") == 21.5
    assert roost.call("GET", "/devices/pump/twin")["reported"] == {"temp": 21.5, "on": False}

    roost.call("PATCH", "/devices/pump/twin", {"desired": {"on": True}})
    topic, text = thing.next()
    delta = json.loads(text)
    assert topic.endswith("/update/delta") and delta["state"] == {"on": True}
    assert delta["version"] > accepted["version"]
    topic, refused = say("update", {"state": {"reported": {"on": True}}, "version": accepted["version"]})
    assert (topic, refused["code"]) == ("update/rejected", 409)
    topic, _ = say("update", {"state": {"reported": {"on": True}}, "version": delta["version"]})
    assert topic == "update/accepted"
    topic, shadow = say("get", {"clientToken": "t-2"})
    assert (topic, shadow["clientToken"]) == ("get/accepted", "t-2")
    assert shadow["state"] == {"reported": {"temp": 21.5, "on": True}, "desired": {"on": True}}

    # A thing that changes both sides, as the examples of the service's own libraries do.
    topic, _ = say("update", {"state": {"reported": {"on": False}, "desired": {"on": False}}})
    assert topic == "update/accepted"
    assert until(lambda: roost.call("GET", "/devices/pump/twin")["desired"] == {"on": False})
    assert thing.messages.empty()


def test_a_thing_made_for_aws_has_named_shadows_and_takes_commands(roost):
    token = roost.device("pump", profile="aws")
    thing = Client(roost.door("mqtt"), "pump", token)
    thing.subscribe("$aws/things/pump/shadow/name/net/#").subscribe("$aws/commands/things/pump/executions/+/request/json")
    thing.publish("$aws/things/pump/shadow/name/net/update", '{"state":{"reported":{"rssi":-70}}}')
    assert thing.next()[0].endswith("/name/net/update/accepted")
    assert thing.next()[0].endswith("/name/net/update/documents")
    assert roost.call("GET", "/devices/pump/twin")["reported"] == {"shadows": {"net": {"rssi": -70}}}

    sent = roost.call("POST", "/devices/pump/commands", {"name": "dim", "params": {"level": 3}})
    topic, text = thing.next()
    assert topic == f"$aws/commands/things/pump/executions/{sent['id']}/request/json"
    assert json.loads(text) == {"name": "dim", "params": {"level": 3}}
    thing.publish(topic.replace("/request/", "/response/"), '{"status":"SUCCEEDED","result":{"level":{"s":"3"}}}')
    assert command(roost, "pump", "succeeded", sent)["result"] == {"level": {"s": "3"}}
    sent = roost.call("POST", "/devices/pump/commands", {"name": "dim"})
    topic, _ = thing.next()
    thing.publish(
        topic.replace("/request/", "/response/"),
        '{"status":"FAILED","statusReason":{"reasonCode":"65","reasonDescription":"jammed"}}',
    )
    assert command(roost, "pump", "failed", sent)["error"] == "jammed"
    other = Client(roost.door("mqtt"), "other", roost.device("other", profile="aws"))
    other.subscribe("$aws/things/pump/shadow/#")
    thing.publish("$aws/things/pump/shadow/update", '{"state":{"reported":{"a":1}}}')
    assert other.messages.empty()


def test_a_device_made_for_azure_has_telemetry_twin_and_methods_here(roost):
    token = roost.device("pump", profile="azure")
    device = Client(roost.door("mqtt"), "hub.example/pump/?api-version=2021-04-12", token)
    for own in ["$iothub/twin/res/#", "$iothub/methods/POST/#", "devices/pump/messages/devicebound/#"]:
        device.subscribe(own)
    device.subscribe("$iothub/twin/PATCH/properties/desired/#")
    device.publish("devices/pump/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8", '{"temp":21.5}')
    device.publish("devices/pump/messages/events/", '{"hum":40}')
    assert (value(roost, "pump", "temp"), value(roost, "pump", "hum")) == (21.5, 40)

    device.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", '{"fw":"1.2"}')
    assert device.next()[0].startswith("$iothub/twin/res/204/?$rid=1&$version=")
    assert roost.call("GET", "/devices/pump/twin")["reported"] == {"fw": "1.2"}
    device.publish("$iothub/twin/GET/?$rid=2", b"")
    topic, text = device.next()
    twin = json.loads(text)
    assert topic == "$iothub/twin/res/200/?$rid=2" and twin["reported"]["fw"] == "1.2" and "$version" in twin["desired"]
    version = roost.call("PATCH", "/devices/pump/twin", {"desired": {"rate": 5}})["version"]
    topic, text = device.next()
    assert topic == f"$iothub/twin/PATCH/properties/desired/?$version={version}"
    assert json.loads(text) == {"rate": 5, "$version": version}

    sent = roost.call("POST", "/devices/pump/commands", {"name": "reboot", "params": {"in": 3}})
    topic, text = device.next()
    assert topic == f"$iothub/methods/POST/reboot/?$rid={sent['id']}" and json.loads(text) == {"in": 3}
    device.publish(f"$iothub/methods/res/200/?$rid={sent['id']}", '{"done":true}')
    assert command(roost, "pump", "succeeded", sent)["result"] == {"done": True}
    sent = roost.call("POST", "/devices/pump/commands", {"name": "devicebound", "params": "wake up"})
    topic, text = device.next()
    assert topic.startswith("devices/pump/messages/devicebound/%24.to=") and text == "wake up"
    command(roost, "pump", "succeeded", sent)
