"""The end of the server, ordered or not. What is lost under load is counted by the fault tests: `make faults`."""

from client import Client
from roost import lost, reading


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
