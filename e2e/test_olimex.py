"""Nodes of OLIMEX IoT: they connect, are charted, obey, restart, and take each other's place."""

import time

from olimex_node import WAIT, Node, post


def until(look):
    """What `look` sees, once it sees something."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if seen := look():
            return seen
        time.sleep(0.05)
    raise AssertionError("it does not come about")


def latest(roost, device, key):
    found = roost.call("GET", f"/devices/{device}/telemetry/latest").get(key)
    return found and {"value": found["value"]}


def test_a_node_is_charted_and_obeys(roost):
    token = roost.device("barn")
    node = Node(roost.door("http"), "barn", token)
    assert until(lambda: latest(roost, "barn", "FreeHeap")) == {"value": 20_480}
    node.event("/adc", {"ADC": {"Value": 512, "Poll": {"Refresh": 1, "Each": 3, "Threshold": 5}}})
    assert until(lambda: latest(roost, "barn", "ADC.Value")) == {"value": 512}
    assert roost.call("GET", "/devices/barn")["online"]
    assert node.next("/relay")["ref"] == "get-state"

    sent = roost.call("POST", "/devices/barn/commands?wait=10s", {"name": "/relay", "params": {"Relay": 1}})
    assert (sent["state"], sent["result"]) == ("succeeded", {"Relay": 1})
    assert until(lambda: (latest(roost, "barn", "Relay") or {}).get("value")) == 1
    unknown = roost.call("POST", "/devices/barn/commands?wait=10s", {"name": "/no-such"})
    assert (unknown["state"], unknown["error"]) == ("failed", "URL Not Found")

    roost.call("POST", "/devices/barn/commands?wait=10s", {"name": "/config/iot"})
    twin = roost.call("GET", "/devices/barn/twin")["reported"]
    assert twin["IoT"]["Path"] == "/events" and twin["Keys"]["Relay"]["writable"]
    for path in ["/devices/barn/twin", "/devices/barn/log", "/devices/barn/commands"]:
        assert "SecretOfTheNode" not in str(roost.call("GET", path)), path


def test_a_node_that_was_away_gets_what_waited_also_after_a_restart_of_the_server(roost):
    token = roost.device("barn")
    sent = roost.call("POST", "/devices/barn/commands", {"name": "/relay", "params": {"Relay": 2}})
    roost.kill()
    roost.start()
    node = Node(roost.door("http"), "barn", token, path="/")
    assert node.next("/relay") == {"URL": "/relay", "Method": "POST", "Data": {"Relay": 2}, "ref": sent["id"]}
    path = f"/devices/barn/commands/{sent['id']}"
    assert roost.call("GET", f"{path}?wait=10s")["state"] == "succeeded"
    node.leave()
    until(lambda: not roost.call("GET", "/devices/barn")["online"])


def test_the_newest_connection_of_a_node_wins(roost):
    token = roost.device("barn")
    old = Node(roost.door("http"), "barn", token)
    old.next("/devices")
    new = Node(roost.door("http"), "barn", token)
    assert old.closed.get(timeout=WAIT) == (1008, "Duplicated token")
    new.event("/relay", {"Relay": 1})
    assert until(lambda: latest(roost, "barn", "Relay")) == {"value": 1}


def test_a_node_with_a_wrong_password_is_told_so(roost):
    roost.device("barn")
    for password in ["wrong", 'with"quote']:
        node = Node(roost.door("http"), "barn", password)
        assert node.closed.get(timeout=WAIT) == (1008, "Unauthorized user")


def test_a_node_that_posts_is_kept_and_its_repetition_counts_once(roost):
    token = roost.device("barn")
    event = '{"EventURL" : "/adc", "EventData" : {"Device" : "ESP8266", "Status" : "OK", "Data" : {"ADC" : {"Value" : 512 }}}}'
    for path in ["/events", "/", "/events"]:
        begun = time.monotonic()
        assert post(roost.door("http"), path, "barn", token, event) == (200, {"Status": "OK"})
        print(f"answered after {(time.monotonic() - begun) * 1000:.1f} ms")
    roost.kill()
    roost.start()
    points = roost.call("GET", "/devices/barn/telemetry?key=ADC.Value")["points"]
    assert [value for _, value in points] == [512]
    assert post(roost.door("http"), "/events", "", "", event)[0] == 401
