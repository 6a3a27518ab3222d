"""Our devices appear in Home Assistant: as its MQTT discovery asks for it."""

import json

from client import Client
from test_thingsboard import latest, until


def test_devices_that_home_assistant_may_read_appear_there_and_go(roost):
    grants = {"receive": ["devices/+/telemetry", "devices/+/status"]}
    roost.call("POST", "/profiles", {"id": "ha", "dialect": "homeassistant", "grants": grants})
    token = roost.call("POST", "/devices", {"id": "barn", "name": "The barn"})["credential"]["token"]
    barn = Client(roost.door("mqtt"), "barn", token)
    barn.publish("me/telemetry", '{"temp":21.5,"open":true,"mode":"eco"}')
    home = Client(roost.door("mqtt"), roost.device("home", profile="ha"), None).subscribe("homeassistant/#")
    seen = [home.next() for _ in range(3)]
    assert sorted(topic for topic, _ in seen) == [
        "homeassistant/binary_sensor/roost-barn/open/config",
        "homeassistant/sensor/roost-barn/mode/config",
        "homeassistant/sensor/roost-barn/temp/config",
    ]
    config = json.loads(dict(seen)["homeassistant/sensor/roost-barn/temp/config"])
    assert config["state_topic"] == "devices/barn/telemetry" and config["device"]["name"] == "The barn"
    home.subscribe(config["state_topic"]).subscribe(config["availability_topic"])
    assert home.next() == ("devices/barn/status", "online")
    barn.publish("me/telemetry", '{"hum":40}')
    later = {home.next()[0] for _ in range(2)}
    assert later == {"devices/barn/telemetry", "homeassistant/sensor/roost-barn/hum/config"}
    # Who comes later finds what is retained, and it is not said again.
    home.leave()
    again = Client(roost.door("mqtt"), "app", roost.owner).subscribe("homeassistant/#")
    assert len({again.next()[0] for _ in range(4)}) == 4


def test_home_assistant_is_told_of_no_device_that_it_may_not_read(roost):
    barn = Client(roost.door("mqtt"), "barn", roost.device("barn"))
    barn.publish("me/telemetry", '{"temp":21.5}')
    token = roost.device("home", profile="homeassistant")
    child = roost.call("POST", "/devices", {"id": "shed", "parent": "home"})["credential"]["token"]
    Client(roost.door("mqtt"), "shed", child).publish("me/telemetry", '{"temp":1}')
    home = Client(roost.door("mqtt"), token, None).subscribe("homeassistant/#")
    assert home.next()[0] == "homeassistant/sensor/roost-shed/temp/config"
    barn.publish("me/telemetry", '{"other":21.5}')
    assert until(lambda: latest(roost, "barn", "other")) == 21.5
    assert home.messages.empty()


def test_what_a_profile_can_be_commanded_appears_there_and_arrives_as_a_command(roost):
    commands = [{"name": "restart"}, {"name": "relay", "type": "boolean", "key": "relay", "param": "on"}]
    roost.call("POST", "/profiles", {"id": "pump", "commands": commands})
    token = roost.device("home", profile="homeassistant")
    created = roost.call("POST", "/devices", {"id": "shed", "parent": "home", "profile": "pump"})
    shed = Client(roost.door("mqtt"), "shed", created["credential"]["token"]).subscribe("me/commands")
    other = roost.call("POST", "/devices", {"id": "barn", "profile": "pump"})
    home = Client(roost.door("mqtt"), token, None).subscribe("homeassistant/#")
    seen = dict(home.next() for _ in range(2))
    topic = "homeassistant/switch/roost-shed/command-relay/config"
    assert set(seen) == {topic, "homeassistant/button/roost-shed/command-restart/config"}
    switch = json.loads(seen[topic])
    assert switch["state_topic"] == "devices/shed/telemetry"
    home.publish(switch["command_topic"], switch["payload_on"])
    command = json.loads(shed.next()[1])
    assert (command["name"], command["params"]) == ("relay", {"on": True})
    shed.publish(f"me/commands/{command['id']}/result", '{"ok":true}')
    path = f"/devices/shed/commands/{command['id']}"
    assert until(lambda: roost.call("GET", path)["state"] == "succeeded")
    # A device that it does not speak for is not announced, and is not commanded.
    home.publish("devices/barn/commands/relay/send", "ON")
    home.publish(switch["command_topic"], "maybe")
    home.publish(switch["command_topic"], switch["payload_off"])
    assert json.loads(shed.next()[1])["params"] == {"on": False}
    assert other and roost.call("GET", "/devices/barn/commands")["items"] == []
