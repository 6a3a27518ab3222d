"""Spots: they stream, are seen while they do, and are told in the answer."""

import time

from spot_unit import Spot, hit, presence
from test_olimex import until


def latest(roost, device="gate"):
    found = roost.call("GET", f"/devices/{device}/telemetry/latest")
    return {key: entry["value"] for key, entry in found.items()}


def test_a_spot_is_seen_while_it_streams_and_told_in_the_answer(roost):
    roost.device("gate", links=[{"listen": "spot", "serial": "1187"}])
    spot = Spot(roost.door("http"), 1187)
    spot.begin()
    spot.hello()
    spot.say("presence", "create", presence("E2801160600002054A1B2C3D"), cut=7)
    assert until(lambda: latest(roost).get("presence.item_code")) == "E2801160600002054A1B2C3D"
    assert roost.call("GET", "/devices/gate")["online"]
    assert roost.call("GET", "/devices/gate/twin")["reported"]["rfid_power_dbm"] == 24
    sent = roost.call("POST", "/devices/gate/commands", {"name": "config", "params": {"rfid_power_dbm": 27}})
    status, messages, seconds = spot.end()
    assert (status, messages) == (200, [["config", "update", {"rfid_power_dbm": 27}]])
    print(f"answered after {seconds * 1000:.1f} ms")

    spot.begin()
    spot.obey(messages)
    assert spot.end()[:2] == (200, [])
    assert roost.call("GET", f"/devices/gate/commands/{sent['id']}")["state"] == "succeeded"
    roost.call("PATCH", "/devices/gate/twin", {"desired": {"send_hits": True, "rfid_power_dbm": 27}})
    spot.begin()
    messages = spot.end()[1]
    assert messages == [["config", "update", {"send_hits": True}]]
    spot.begin()
    spot.obey(messages)
    assert spot.end()[1] == []


def test_a_command_is_confirmed_also_after_a_crash_of_the_server(roost):
    roost.device("gate", links=[{"listen": "spot", "serial": "1187"}])
    spot = Spot(roost.door("http"), 1187)
    spot.begin()
    spot.hello()
    sent = roost.call("POST", "/devices/gate/commands", {"name": "config", "params": {"rfid_power_dbm": 27}})
    messages = spot.end()[1]
    assert messages == [["config", "update", {"rfid_power_dbm": 27}]]
    roost.kill()
    roost.start()
    spot = Spot(roost.door("http"), 1187)
    spot.begin()
    assert spot.end()[:2] == (200, []), "it is not said again at once"
    spot.begin()
    spot.obey(messages)
    assert spot.end()[0] == 200
    assert roost.call("GET", f"/devices/gate/commands/{sent['id']}")["state"] == "succeeded"


def test_no_hit_is_lost_and_the_answer_comes_at_once(roost):
    roost.device("gate", links=[{"listen": "spot", "serial": "1187"}])
    spot, slowest = Spot(roost.door("http"), 1187), 0
    spot.begin()
    spot.hello()
    for request in range(5):
        for number in range(200):
            spot.say("hit", "create", hit(request * 200 + number))
        status, _, seconds = spot.end()
        assert status == 200
        slowest = max(slowest, seconds)
        spot.begin()
    spot.end()
    print(f"slowest answer {slowest * 1000:.1f} ms")
    points = roost.call("GET", "/devices/gate/telemetry?key=hit.signal_strength&limit=10000")["points"]
    assert len(points) == 1_000
    roost.kill()
    roost.start()
    assert roost.call("GET", "/devices/gate/telemetry?key=hit.signal_strength&limit=10000")["points"] == points


def test_a_spot_that_stops_in_the_middle_is_offline_soon(roost):
    roost.device("gate", links=[{"listen": "spot", "serial": "1187"}])
    spot = Spot(roost.door("http"), 1187)
    spot.begin()
    spot.say("presence", "create", presence("A"))
    until(lambda: latest(roost).get("presence.item_code") == "A")
    spot.chunk(b'["presence","create",{"item_code":"half')
    time.sleep(5)
    until(lambda: not roost.call("GET", "/devices/gate")["online"])
    assert latest(roost)["presence.item_code"] == "A"


def test_an_unknown_spot_waits_in_the_inbox_also_over_a_restart(roost):
    spot = Spot(roost.door("http"), 99)
    spot.begin()
    spot.hello()
    assert spot.end()[:2] == (200, [])
    roost.kill()
    roost.start()
    assert roost.call("GET", "/devices")["items"] == []
    waiting = roost.call("GET", "/inbox")["items"]
    assert [(item["dialect"], item["name"]) for item in waiting] == [("spot", "99")]
    assert waiting[0]["sample"]["spot"]["version"] == "61-4-gab12cd3"
    device = roost.call("POST", f"/inbox/{waiting[0]['id']}/accept", {"id": "gate"})
    assert (device["id"], device["profile"]) == ("gate", "spot")
    spot = Spot(roost.door("http"), 99)
    spot.begin()
    spot.say("presence", "create", presence("A"))
    assert spot.end()[0] == 200
    assert latest(roost)["presences"] == 1


def test_what_was_never_published_is_415(roost):
    spot = Spot(roost.door("http"), 1187)
    spot.begin("application/x-intellifi-events-pb")
    assert spot.answer() == (415, b"")
