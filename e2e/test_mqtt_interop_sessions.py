"""Sessions, wills, keep alive and taking over: what a server remembers of a client, in both versions and in 5.0."""

import select
import time

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from raw_mqtt import V3, V5, VERSIONS, ack, connect, let_pass, name, raw, server, session
from test_mqtt_interop_v3 import QOS, paho

__all__ = ["name", "raw", "server"]


@VERSIONS
def test_a_session_is_present_until_a_clean_start(raw, name, version):
    kept = session(60)
    for start, is_present in [(kept, False), (kept, True), ({"clean": True}, False), (kept, False), (kept, True)]:
        client = raw(version, name, **start)
        assert client.connack.session_present == is_present
        client.leave()


@VERSIONS
def test_a_clean_start_forgets_subscriptions_and_messages(raw, name, version):
    raw(version, name, **session(60)).subscribe(f"{name}/#")
    sender = raw(version)
    raw(version, name, **session(60)).leave()
    sender.publish(f"{name}/x", "lost")
    client = raw(version, name)
    assert not client.connack.session_present
    sender.publish(f"{name}/x", "lost too")
    client.subscribe(f"{name}/end")
    sender.publish(f"{name}/end", "end")
    assert client.texts_until("end") == []


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
def test_messages_wait_for_an_absent_session_in_order(server, name, version, qos):
    away = paho(server, version, client_id=name, session=True)
    away.subscribe(f"{name}/#", qos)
    away.leave()
    sender = paho(server, version)
    for count in range(200):
        sender.publish(f"{name}/x", str(count), qos)
    back = paho(server, version, client_id=name, session=True)
    assert back.flags.session_present
    assert [back.next() for _ in range(200)] == [(f"{name}/x", str(count)) for count in range(200)]
    sender.publish(f"{name}/x", "live", qos)
    assert back.next()[1] == "live"
    back.leave()
    sender.leave()


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_not_acknowledged_comes_again_as_duplicate_with_its_id(raw, name, version, qos):
    reader = raw(version, name, **session(60))
    reader.acknowledges = False
    reader.subscribe((name, qos))
    sender = raw(version)
    for text in ("a", "b", "c"):
        sender.publish(name, text, qos)
    first = [reader.message() for _ in range(3)]
    assert [m.dup for m in first] == [0, 0, 0]
    reader.drop()
    again = raw(version, name, **session(60))
    assert again.connack.session_present
    second = [again.message() for _ in range(3)]
    assert [(m.packet_id, m.text) for m in second] == [(m.packet_id, m.text) for m in first]
    assert [m.dup for m in second] == [1, 1, 1]


@VERSIONS
def test_pubrel_comes_again_after_a_reconnect_and_the_message_does_not(raw, name, version):
    reader = raw(version, name, **session(60))
    reader.acknowledges = False
    reader.subscribe((name, 2))
    raw(version).publish(name, "once", 2)
    found = reader.message()
    reader.send(ack(Kind.PUBREC, found.packet_id))
    assert reader.take(Kind.PUBREL).packet_id == found.packet_id
    reader.drop()
    again = raw(version, name, **session(60))
    again.acknowledges = False
    released = again.next()
    assert (released.kind, released.flags, released.packet_id) == (Kind.PUBREL, 2, found.packet_id)
    again.send(ack(Kind.PUBCOMP, found.packet_id))
    again.ping()
    raw(version).publish(name, "end", 1)
    assert again.texts_until("end") == []


@VERSIONS
def test_silence_for_one_and_a_half_keep_alives_closes_and_sends_the_will(raw, name, version):
    watcher = raw(version)
    watcher.subscribe(name)
    silent = raw(version, keep_alive=1, will={"topic": name})
    began = time.monotonic()
    lively = raw(version, keep_alive=1, will={"topic": name, "payload": "also gone"})
    while not select.select([silent.socket], [], [], 0.4)[0]:
        lively.ping()
    assert silent.last_words() in ((0x8D, None) if version == V5 else (None,))
    assert 1 <= time.monotonic() - began < 5
    assert watcher.message().text == "gone"
    lively.ping().leave()
    raw(version).publish(name, "end")
    assert watcher.texts_until("end") == []


@VERSIONS
@QOS
def test_a_will_is_sent_as_it_was_given_when_the_connection_breaks(raw, name, version, qos):
    watcher = raw(version)
    watcher.subscribe((name, 2))
    raw(version, will={"topic": name, "payload": b"\x00\xff", "qos": qos, "retain": 1}).drop()
    found = watcher.message()
    assert (found.payload, found.qos, found.retain) == (b"\x00\xff", qos, 0)
    later = raw(version)
    later.subscribe((name, 2))
    assert later.message().retain == 1
    later.publish(name, "", retain=1)


@VERSIONS
def test_a_will_is_not_sent_after_disconnect(raw, name, version):
    watcher = raw(version)
    watcher.subscribe(name)
    raw(version, will={"topic": name}).leave()
    raw(version).publish(name, "end")
    assert watcher.texts_until("end") == []


@VERSIONS
@pytest.mark.parametrize("topic", ["will/+", "will/#", "#", ""])
def test_a_will_to_no_topic_is_refused(raw, version, topic):
    client = raw.unconnected(version)
    client.send(connect(version, will={"topic": topic}))
    try:
        assert client.take(Kind.CONNACK).reason != 0
    except (EOFError, ConnectionResetError):
        assert version == V3
    client.last_words()


@VERSIONS
def test_the_newer_of_two_connections_with_one_id_stays(raw, name, version):
    watcher = raw(version)
    watcher.subscribe(name)
    older = raw(version, name, will={"topic": name})
    newer = raw(version, name)
    assert older.last_words() == (0x8E if version == V5 else None)
    assert watcher.message().text == "gone"
    newer.ping()


def test_an_empty_client_id_is_assigned_and_can_be_resumed(raw):
    first, second = raw(**session(60)), raw(**session(60))
    ids = [client.connack.properties["AssignedClientIdentifier"] for client in (first, second)]
    assert all(ids) and ids[0] != ids[1]
    first.leave()
    again = raw(client_id=ids[0], **session(60))
    assert again.connack.session_present
    assert "AssignedClientIdentifier" not in again.connack.properties


def test_a_session_without_expiry_ends_with_its_connection(raw, name):
    raw(client_id=name, clean=False).leave()
    assert not raw(client_id=name, **session(60)).connack.session_present


def test_a_session_ends_when_its_expiry_has_passed(raw, name):
    raw(client_id=name, **session(1)).drop()
    kept = raw(client_id=f"{name}-kept", **session(600))
    kept.leave()
    let_pass(raw, name, 3)
    assert not raw(client_id=name, **session(60)).connack.session_present
    assert raw(client_id=f"{name}-kept", **session(60)).connack.session_present


@pytest.mark.parametrize("at_connect, at_disconnect, present", [(60, 0, False), (60, 600, True), (60, None, True)])
def test_disconnect_may_change_the_expiry(raw, name, at_connect, at_disconnect, present):
    said = {} if at_disconnect is None else {"SessionExpiryInterval": at_disconnect}
    raw(client_id=name, **session(at_connect)).leave(**said)
    assert raw(client_id=name, **session(60)).connack.session_present == present


def test_a_delayed_will_is_not_sent_to_who_came_back(raw, name):
    watcher = raw()
    watcher.subscribe(f"{name}/+")
    will = lambda level, delay: {"topic": f"{name}/{level}", "payload": level,
                                 "properties": {"WillDelayInterval": delay}}
    raw(client_id=f"{name}-a", will=will("back", 1), **session(60)).drop()
    raw(client_id=f"{name}-b", will=will("end", 3), **session(60)).drop()
    assert raw(client_id=f"{name}-a", **session(60)).connack.session_present
    assert watcher.texts_until("end") == []


@pytest.mark.parametrize("expiry", [0, 1])
def test_a_delayed_will_is_sent_when_the_session_ends(raw, name, expiry):
    watcher = raw()
    watcher.subscribe(name)
    will = {"topic": name, "properties": {"WillDelayInterval": 600}}
    raw(client_id=name, will=will, **session(expiry)).drop()
    assert watcher.message().text == "gone"


@pytest.mark.parametrize("clean, delay, sent", [(0, 600, False), (1, 600, True), (0, 0, True), (1, 0, True)])
def test_the_will_of_who_is_taken_over(raw, name, clean, delay, sent):
    watcher = raw()
    watcher.subscribe(name)
    will = {"topic": name, "properties": {"WillDelayInterval": delay}}
    older = raw(client_id=name, will=will, **session(600))
    newer = raw(client_id=name, **{**session(600), "clean": bool(clean)})
    assert older.last_words() == 0x8E
    newer.publish(name, "end")
    assert watcher.texts_until("end") == ["gone"] * sent


def test_disconnect_with_will_sends_it_with_its_properties(raw, name):
    watcher = raw()
    watcher.subscribe(name)
    said = {"PayloadFormatIndicator": 1, "ContentType": "text/plain", "ResponseTopic": "a",
            "CorrelationData": b"c", "UserProperty": [("z", "1"), ("a", "2"), ("z", "1")]}
    will = {"topic": name, "properties": {**said, "MessageExpiryInterval": 50}}
    raw(will=will).leave(0x04)
    found = dict(watcher.message().properties)
    assert 49 <= found.pop("MessageExpiryInterval") <= 50
    assert found == said


def test_the_server_s_keep_alive_replaces_a_longer_one(raw):
    assert 0 < raw(keep_alive=65_535).connack.properties["ServerKeepAlive"] <= 1_200
    assert "ServerKeepAlive" not in raw(keep_alive=60).connack.properties
