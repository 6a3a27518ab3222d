"""Families of devices at home, each over one log-in: readings in, the inbox, a command out, its answer in."""

import json
import time

import pytest

from client import WAIT, Client

FIXTURES = "../crates/wire/tests/dialects"


def until(look):
    """What `look` sees, once it sees something."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if seen := look():
            return seen
        time.sleep(0.05)
    raise AssertionError("it does not come about")


def fixture(request, name):
    return (request.path.parent / FIXTURES / name).read_text()


class Home:
    """A log-in for a whole family; `topic` is where its commands are listened to."""

    def __init__(self, roost, family, topic):
        self.roost, self.family = roost, family
        self.client = Client(roost.door("mqtt"), "hub", roost.device("hub", profile=family)).subscribe(topic)

    def says(self, topic, payload, retain=False):
        text = payload if isinstance(payload, str) else json.dumps(payload)
        assert not self.client.publish(topic, text, retain=retain).is_failure

    def accept(self, name, device):
        """Lets in who waits under that name."""
        [waiting] = [item for item in self.roost.call("GET", "/inbox")["items"] if item["name"] == name]
        assert waiting["dialect"] == self.family and waiting["proposed"]["parent"] == "hub"
        self.roost.call("POST", f"/inbox/{waiting['id']}/accept", {"id": device})
        return waiting

    def value(self, device, key):
        found = self.roost.call("GET", f"/devices/{device}/telemetry/latest").get(key)
        return found and found["value"]

    def unit(self, device, key):
        return self.roost.call("GET", f"/devices/{device}/twin")["reported"]["Keys"][key].get("unit")

    def is_online(self, device):
        return self.roost.call("GET", f"/devices/{device}")["online"]

    def command(self, device, name, params=None):
        """Sends a command; gives it, and the message that it became."""
        body = {"name": name} if params is None else {"name": name, "params": params}
        sent = self.roost.call("POST", f"/devices/{device}/commands", body)
        return sent["id"], self.client.next()

    def state(self, device, command, wanted):
        """The command, once it is so."""
        path = f"/devices/{device}/commands/{command}"
        return until(lambda: (found := self.roost.call("GET", path))["state"] == wanted and found)


@pytest.fixture
def home(roost):
    made = []

    def make(family, topic):
        made.append(Home(roost, family, topic))
        return made[-1]

    yield make
    for one in made:
        one.client.leave()


def test_tasmota(home, request):
    plugs = home("tasmota", "cmnd/#")
    plugs.says("tasmota/discovery/D8BFC0A19ABC/config", fixture(request, "tasmota/discovery_config.json"), retain=True)
    plugs.says("tele/tasmota_A19ABC/LWT", "Online")
    waiting = plugs.accept("tasmota_A19ABC", "desk")
    assert waiting["proposed"]["labels"]["model"] == "Sonoff Basic"
    plugs.says("tele/tasmota_A19ABC/LWT", "Online")
    plugs.says("tele/tasmota_A19ABC/SENSOR", fixture(request, "tasmota/sensor.json"))
    assert plugs.value("desk", "ENERGY.Power") == 41 and plugs.unit("desk", "ENERGY.Power") == "W"
    assert plugs.is_online("desk")
    command, sent = plugs.command("desk", "Power", "ON")
    assert sent == ("cmnd/tasmota_A19ABC/Power", "ON")
    plugs.says("stat/tasmota_A19ABC/RESULT", {"POWER": "ON"})
    plugs.says("stat/tasmota_A19ABC/POWER", "ON")
    assert plugs.state("desk", command, "succeeded")["result"] == {"POWER": "ON"}
    assert plugs.value("desk", "POWER") == "ON"
    command, _ = plugs.command("desk", "Pwer", "ON")
    plugs.says("stat/tasmota_A19ABC/RESULT", {"Command": "Unknown"})
    assert "unknown" in plugs.state("desk", command, "failed")["error"]
    plugs.says("tele/tasmota_A19ABC/LWT", "Offline")
    assert not plugs.is_online("desk")


def test_a_tasmota_plug_with_a_log_in_of_its_own(roost):
    plug = Client(roost.door("mqtt"), "plug", roost.device("plug", profile="tasmota")).subscribe("cmnd/plug/#")
    sent = roost.call("POST", "/devices/plug/commands", {"name": "Dimmer", "params": 40})
    assert plug.next() == ("cmnd/plug/Dimmer", "40"), "before it has said anything"
    plug.publish("stat/plug/RESULT", '{"POWER":"ON","Dimmer":40}')
    found = roost.call("GET", f"/devices/plug/commands/{sent['id']}")
    assert (found["state"], found["result"]) == ("succeeded", {"POWER": "ON", "Dimmer": 40})
    roost.call("PATCH", "/devices/plug/twin", {"desired": {"Dimmer": 55, "POWER": "ON"}})
    assert plug.next() == ("cmnd/plug/Dimmer", "55")
    plug.leave()


def test_shelly(home, request):
    name = "shellyplus1pm-a8032abe54dc"
    units = home("shelly", f"{name}/rpc")
    units.says(f"{name}/online", "true")
    units.accept(name, "boiler")
    units.says(f"{name}/online", "true")
    units.says(f"{name}/events/rpc", fixture(request, "shelly/notify_status.json"))
    assert (units.value("boiler", "switch:0.apower"), units.value("boiler", "switch:0.output")) == (8.9, True)
    assert units.is_online("boiler")
    command, (topic, text) = units.command("boiler", "Switch.Set", {"id": 0, "on": False})
    call = json.loads(text)
    assert (topic, call["method"], call["params"]) == (f"{name}/rpc", "Switch.Set", {"id": 0, "on": False})
    answer = {"id": call["id"], "src": name, "dst": call["src"]}
    units.says(f"{call['src']}/rpc", answer | {"result": {"was_on": True}})
    assert units.state("boiler", command, "succeeded")["result"] == {"was_on": True}
    command, (_, text) = units.command("boiler", "Switch.Set", {"id": 9, "on": False})
    answer["id"] = json.loads(text)["id"]
    units.says(f"{call['src']}/rpc", answer | {"error": {"code": -105, "message": "no such switch"}})
    assert units.state("boiler", command, "failed")["error"] == "no such switch (-105)"


def test_zigbee2mqtt(home, request):
    network = home("zigbee2mqtt", "zigbee2mqtt/+/set")
    network.client.subscribe("zigbee2mqtt/bridge/request/#")
    network.says("zigbee2mqtt/bridge/devices", fixture(request, "zigbee2mqtt/devices.json"), retain=True)
    assert network.accept("lamp", "lamp")["proposed"]["labels"]["manufacturer"] == "IKEA"
    network.accept("garden/shed climate", "shed")
    network.says("zigbee2mqtt/bridge/devices", fixture(request, "zigbee2mqtt/devices.json"), retain=True)
    network.says("zigbee2mqtt/garden/shed climate/availability", {"state": "online"})
    network.says("zigbee2mqtt/garden/shed climate", {"temperature": 21.5, "battery": 91})
    assert network.value("shed", "temperature") == 21.5 and network.unit("shed", "temperature") == "°C"
    assert network.is_online("shed")
    command, sent = network.command("lamp", "state", "ON")
    assert sent == ("zigbee2mqtt/lamp/set", '{"state":"ON"}')
    network.state("lamp", command, "succeeded")
    network.says("zigbee2mqtt/lamp", {"state": "ON", "linkquality": 90})
    assert network.roost.call("GET", "/devices/lamp/twin")["reported"]["state"] == "ON"
    command, (topic, text) = network.command("hub", "permit_join", {"time": 60})
    assert topic == "zigbee2mqtt/bridge/request/permit_join"
    answer = {"data": {"time": 60}, "status": "ok", "transaction": json.loads(text)["transaction"]}
    network.says("zigbee2mqtt/bridge/response/permit_join", answer)
    assert network.state("hub", command, "succeeded")["result"] == {"time": 60}


def test_home_assistant(home, request):
    name = "desk-plug"
    devices = home("homeassistant", "plugs/desk/set")
    config = fixture(request, "homeassistant/short_switch.json")
    devices.says("homeassistant/switch/desk_relay/config", config, retain=True)
    assert devices.accept(name, "desk")["proposed"]["name"] == "Desk plug"
    devices.says("plugs/desk/lwt", "up")
    devices.says("plugs/desk/state", {"relay": 1})
    assert devices.value("desk", "desk_relay") is True and devices.is_online("desk")
    command, sent = devices.command("desk", "desk_relay", False)
    assert sent == ("plugs/desk/set", "0")
    devices.state("desk", command, "succeeded")
    devices.says("plugs/desk/state", {"relay": 0})
    assert devices.value("desk", "desk_relay") is False
    refused = devices.roost.call("POST", "/devices/desk/commands", {"name": "desk_relay", "params": "maybe"})
    assert "true or false" in devices.state("desk", refused["id"], "failed")["error"]


def test_esphome(home, request):
    node = home("esphome", "livingroom/+/+/command")
    node.says("livingroom/status", "online")
    node.accept("livingroom", "room")
    node.says("esphome/discover/livingroom", fixture(request, "esphome/discover.json"))
    node.says("homeassistant/sensor/livingroom/temperature/config", fixture(request, "esphome/config_sensor.json"))
    node.says("livingroom/sensor/temperature/state", "21.54")
    node.says("livingroom/switch/relay/state", "OFF")
    assert node.value("room", "temperature") == 21.54 and node.unit("room", "temperature") == "°C"
    command, sent = node.command("room", "relay", True)
    assert sent == ("livingroom/switch/relay/command", "ON")
    node.state("room", command, "succeeded")
    node.says("livingroom/switch/relay/state", "ON")
    assert node.value("room", "relay") == "ON"


def test_homie(home, request):
    cabinet = home("homie", "homie/5/cabinet/+/+/set")
    cabinet.says("homie/5/cabinet/$state", "init", retain=True)
    cabinet.says("homie/5/cabinet/$description", fixture(request, "homie/description.json"), retain=True)
    cabinet.accept("cabinet", "meter")
    cabinet.says("homie/5/cabinet/$state", "ready", retain=True)
    cabinet.says("homie/5/cabinet/$description", fixture(request, "homie/description.json"), retain=True)
    cabinet.says("homie/5/cabinet/grid/power", "512.5", retain=True)
    assert cabinet.value("meter", "grid.power") == 512.5 and cabinet.unit("meter", "grid.power") == "W"
    assert cabinet.is_online("meter")
    command, sent = cabinet.command("meter", "relay.on", True)
    assert sent == ("homie/5/cabinet/relay/on/set", "true")
    cabinet.state("meter", command, "succeeded")
    cabinet.says("homie/5/cabinet/relay/on", "true", retain=True)
    assert cabinet.roost.call("GET", "/devices/meter/twin")["reported"]["relay.on"] is True
    cabinet.says("homie/5/cabinet/$state", "lost", retain=True)
    assert not cabinet.is_online("meter")


def test_what_was_announced_is_known_after_a_restart(home, request, roost):
    devices = home("homeassistant", "plugs/desk/set")
    config = fixture(request, "homeassistant/short_switch.json")
    devices.says("homeassistant/switch/desk_relay/config", config, retain=True)
    devices.accept("desk-plug", "desk")
    roost.kill()
    devices.client.drop()
    roost.start()
    token = roost.call("POST", "/devices/hub/credentials", {"kind": "token"})["token"]
    devices.client = Client(roost.door("mqtt"), "hub", token).subscribe("plugs/desk/set")
    devices.says("plugs/desk/state", {"relay": 1})
    assert devices.value("desk", "desk_relay") is True
    assert devices.command("desk", "desk_relay", False)[1] == ("plugs/desk/set", "0")


def test_what_is_retained_of_a_device_is_its_own_once_it_is_let_in(roost):
    homie = Home(roost, "homie", "homie/5/+/+/+/set")
    described = {"homie": "5.0", "version": 1, "name": "Shed", "nodes": {
        "air": {"properties": {"temperature": {"datatype": "float", "unit": "°C"}}}}}
    for topic, payload in [("$state", "init"), ("$description", described), ("air/temperature", "21.5"),
                           ("$state", "ready")]:
        homie.says(f"homie/5/shed/{topic}", payload, retain=True)
    homie.accept("shed", "garden-shed")
    assert until(lambda: homie.value("garden-shed", "air.temperature") == 21.5)
    assert homie.unit("garden-shed", "air.temperature") == "°C"
    assert until(lambda: homie.is_online("garden-shed"))
