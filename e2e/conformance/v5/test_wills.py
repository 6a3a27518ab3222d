"""Wills, keep alive and the end of sessions (sections 3.1.2 and 3.1.3, 4.1)."""

import select
import time

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import proves
from raw_mqtt import PING, V5, Raw, disconnect, let_pass, publish, session


def will(topic, text="gone", delay=None, **more):
    properties = dict(more.pop("properties", {}))
    if delay is not None:
        properties["WillDelayInterval"] = delay
    return {"topic": topic, "payload": text, "properties": properties, **more}


@proves("MQTT-3.1.2-7", "MQTT-3.1.2-8", "MQTT-3.1.2-12", "MQTT-3.2.2-12", "MQTT-3.1.2-14")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_will_is_sent_when_the_connection_breaks(raw, name, qos):
    watcher = raw()
    watcher.subscribe((name, 2 | 8))
    raw(will=will(name, b"\x00\xff", qos=qos)).drop()
    found = watcher.message()
    assert (found.topic, found.payload, found.qos, found.retain) == (name, b"\x00\xff", qos, 0)
    later = raw()
    later.subscribe(name, f"{name}/end")
    watcher.publish(f"{name}/end", "end")
    assert later.texts_until("end") == []


@proves("MQTT-3.1.2-15", "MQTT-3.2.2-13")
def test_a_retained_will_is_kept(raw, name):
    watcher = raw()
    watcher.subscribe((name, 2 | 8))
    raw(will=will(name, retain=1)).drop()
    assert watcher.message().retain == 1
    later = raw()
    later.subscribe(name)
    found = later.message()
    assert (found.text, found.retain) == ("gone", 1)
    later.publish(name, "", retain=1)


@proves("MQTT-3.14.4-3", "MQTT-3.1.2-8", "MQTT-3.1.2-10")
@pytest.mark.parametrize("said", [disconnect(V5), b"\xe0\x00", b"\xe0\x01\x00"])
def test_a_will_is_forgotten_when_the_client_leaves_with_0(raw, name, said):
    watcher = raw()
    watcher.subscribe(name)
    client = raw(client_id=name, will=will(name), **session(60))
    client.send(said)
    assert client.last_words() is None
    # Nor is it there for a connection without a will of its own.
    raw(client_id=name, **session(60)).drop()
    raw(client_id=name, **session(60)).leave()
    raw().publish(name, "end")
    assert watcher.texts_until("end") == []


@proves("MQTT-3.1.2-8")
@pytest.mark.parametrize("reason", [0x04, 0x80, 0x81, 0x93])
def test_a_will_is_sent_when_the_client_leaves_with_another_reason(raw, name, reason):
    watcher = raw()
    watcher.subscribe(name)
    raw(will=will(name)).leave(reason)
    assert watcher.message().text == "gone"


@proves("MQTT-3.1.2-10")
def test_a_will_is_sent_once(raw, name):
    watcher = raw()
    watcher.subscribe(name)
    raw(client_id=name, will=will(name, "first"), **session(60)).drop()
    assert watcher.message().text == "first"
    raw(client_id=name, **session(60)).drop()
    raw(client_id=name, **session(60)).leave()
    raw().publish(name, "end")
    assert watcher.texts_until("end") == []


@proves("MQTT-3.1.3-9", "MQTT-3.1.2-8")
def test_a_delayed_will_waits_and_who_is_back_in_time_is_not_mourned(raw, name):
    watcher = raw()
    watcher.subscribe(f"{name}/+")
    raw(client_id=f"{name}a", will=will(f"{name}/a", "back", 1), **session(60)).drop()
    raw(client_id=f"{name}b", will=will(f"{name}/b", "away", 2), **session(60)).drop()
    began = time.monotonic()
    assert raw(client_id=f"{name}a", **session(60)).connack.session_present
    assert watcher.texts_until("away") == []
    assert time.monotonic() - began > 1.5


@proves("MQTT-3.1.2-8")
@pytest.mark.parametrize("expiry, clean", [(0, False), (1, False), (60, True)])
def test_a_delayed_will_is_sent_when_the_session_ends(raw, name, expiry, clean):
    watcher = raw()
    watcher.subscribe(name)
    raw(client_id=name, will=will(name, delay=600), **session(expiry)).drop()
    if clean:
        raw(client_id=name, clean=True)
    assert watcher.message().text == "gone"


@proves("MQTT-3.1.2-7", "MQTT-3.1.2-8")
def test_the_will_of_who_was_connected_is_sent_after_kill_9(make_roost, name):
    server = make_roost()
    for client_id, more in ((f"{name}w", {}), (f"{name}o", {"will": will(name)})):
        client = Raw(server.door("mqtt"), V5)
        client.login(client_id, **more, **session(600))
        if not more:
            client.subscribe(name)
    server.kill()
    server.start()
    watcher = Raw(server.door("mqtt"), V5)
    watcher.login(f"{name}w", **session(600))
    assert watcher.connack.session_present and watcher.message().text == "gone"


@proves("MQTT-3.1.3-10")
def test_a_will_has_its_properties_in_their_order(raw, name):
    watcher = raw()
    watcher.subscribe(name)
    said = {"PayloadFormatIndicator": 1, "ContentType": "text/plain", "ResponseTopic": "a", "CorrelationData": b"c",
            "UserProperty": [("z", "1"), ("a", "2"), ("z", "1"), ("", "")]}
    raw(will=will(name, properties={**said, "MessageExpiryInterval": 50})).drop()
    found = dict(watcher.message().properties)
    assert found.pop("MessageExpiryInterval") in (49, 50)
    assert found == said


@proves("MQTT-3.1.2-22", "MQTT-3.2.2-22", "MQTT-3.1.2-20", "MQTT-3.12.4-1")
def test_one_and_a_half_keep_alives_of_silence_end_it(raw, name):
    watcher = raw()
    watcher.subscribe(name)
    silent = raw(keep_alive=2, will=will(name))
    lively = raw(keep_alive=1)
    assert "ServerKeepAlive" not in silent.connack.properties
    began = time.monotonic()
    while not select.select([silent.socket], [], [], 0.4)[0]:
        lively.send(PING)
        assert lively.next().wire == b"\xd0\x00"
    took = time.monotonic() - began
    assert silent.next().wire in (b"\xe0\x01\x8d", b"\xe0\x02\x8d\x00") and silent.last_words() is None
    # Not before its time, and not as late as a second allowance more.
    assert took >= 2.9
    assert watcher.message().text == "gone"
    lively.ping()


@proves("MQTT-3.1.2-21", "MQTT-3.2.2-21")
def test_a_keep_alive_that_is_too_long_is_replaced_and_said(raw):
    for asked in (0, 1_201, 65_535):
        assert raw(keep_alive=asked).connack.properties["ServerKeepAlive"] == 1_200
    for asked in (1, 60, 1_200):
        assert "ServerKeepAlive" not in raw(keep_alive=asked).connack.properties


@proves("MQTT-4.1.0-2", "MQTT-3.1.2-23", "MQTT-3.2.2-5")
def test_a_session_lasts_as_long_as_its_expiry(raw, name):
    for expiry in (0, 1, 600):
        client = raw(client_id=f"{name}-{expiry}", **session(expiry))
        client.subscribe(f"{name}/+")
        client.drop()
    raw(client_id=f"{name}-none", clean=False).drop()
    raw().publish(f"{name}/x", "waiting")
    let_pass(raw, name, 3)
    for expiry, is_there in (("none", False), (0, False), (1, False), (600, True)):
        client = raw(client_id=f"{name}-{expiry}", **session(600))
        assert client.connack.session_present == is_there, expiry
        client.subscribe(f"{name}-end")
        client.publish(f"{name}-end", "end")
        assert client.texts_until("end") == ["waiting"] * is_there


@proves("MQTT-4.1.0-1")
def test_a_session_is_there_while_its_connection_is_whatever_the_expiry(raw, name):
    client = raw(client_id=name, clean=True, properties={"SessionExpiryInterval": 1})
    client.acknowledges = False
    client.subscribe((name, 2))
    client.send(publish(V5, name, "x", qos=2, packet_id=5))
    found = client.message()
    let_pass(raw, name, 3)
    # Subscription, message in flight and half-way packet id, all there.
    client.send(publish(V5, name, "x", qos=2, packet_id=5, dup=1))
    assert client.take(Kind.PUBREC).packet_id == 5
    raw().publish(name, "later", 2)
    assert client.message().packet_id != found.packet_id


@proves("MQTT-4.1.0-2")
@pytest.mark.parametrize("at_connect, at_disconnect, is_there", [(60, 0, False), (60, 600, True), (60, None, True), (0, 0, False)])
def test_disconnect_may_change_the_expiry(raw, name, at_connect, at_disconnect, is_there):
    said = {} if at_disconnect is None else {"SessionExpiryInterval": at_disconnect}
    raw(client_id=name, **session(at_connect)).leave(**said)
    assert raw(client_id=name, **session(60)).connack.session_present == is_there
