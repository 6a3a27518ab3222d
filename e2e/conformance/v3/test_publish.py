"""PUBLISH (section 3.3): flags, topics, who gets it, and what is retained."""

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import case, proves
from raw_mqtt import PING, V3, connect, number, packet, publish, string

PONG = b"\xd0\x00"


def after(reader, sender, topic):
    """What the reader got of a topic, told by a last message to it."""
    sender.publish(topic, "end", 1)
    found = []
    while (message := reader.message()).text != "end":
        found.append(message)
    return found


@pytest.mark.parametrize("said", [
    case(publish(V3, "a", "x", dup=1), proves=["MQTT-3.3.1-2"]),
    case(publish(V3, "a", "x", qos=3), proves=["MQTT-3.3.1-4"]),
    case(publish(V3, "a", "x", qos=3, dup=1), proves=["MQTT-3.3.1-4"], id="dup"),
    case(publish(V3, "a", "x", qos=1, packet_id=0), proves=["MQTT-2.3.1-1"], id="qos-1"),
    case(publish(V3, "a", "x", qos=2, packet_id=0), proves=["MQTT-2.3.1-1"], id="qos-2"),
    case(packet(Kind.PUBLISH, 0, b""), proves=["MQTT-3.3.2-1"], id="empty"),
    case(packet(Kind.PUBLISH, 0, b"\x00"), proves=["MQTT-3.3.2-1"], id="half-a-length"),
    case(packet(Kind.PUBLISH, 0, b"\x00\x09a"), proves=["MQTT-3.3.2-1"], id="longer-than-the-packet"),
    case(packet(Kind.PUBLISH, 2, string("a") + b"\x01"), proves=["MQTT-3.3.2-1"], id="half-a-packet-id"),
    case(publish(V3, b"a\xff", "x"), proves=["MQTT-3.3.2-1", "MQTT-1.5.3-1"]),
    case(publish(V3, "a/+/b", "x"), proves=["MQTT-3.3.2-2", "MQTT-4.7.1-1"], id="plus"),
    case(publish(V3, "a/#", "x", qos=1), proves=["MQTT-3.3.2-2", "MQTT-4.7.1-1"], id="hash"),
    case(publish(V3, "a+b", "x", qos=2), proves=["MQTT-3.3.2-2", "MQTT-4.7.1-1"], id="inside-a-level"),
])
def test_a_publish_that_breaks_the_form_closes_the_connection(connected, said):
    client = connected()
    client.send(said, PING)
    assert client.rest() == b""


@proves("MQTT-3.3.4-1", "MQTT-2.3.1-6", "MQTT-2.3.1-5")
def test_each_qos_has_its_answer(connected, name):
    client = connected()
    client.send(publish(V3, name, b"\x00\x07", qos=0), PING)
    assert client.exactly(2) == PONG
    client.send(publish(V3, name, "x", qos=1, packet_id=0x1234))
    assert client.exactly(4) == b"\x40\x02\x12\x34"
    client.send(publish(V3, name, "x", qos=2, packet_id=0xFFFF))
    assert client.exactly(4) == b"\x50\x02\xff\xff"
    client.send(b"\x62\x02\xff\xff", PING)
    answers = b"\x70\x02\xff\xff", PONG
    assert client.exactly(6) in (b"".join(answers), b"".join(answers[::-1]))


@proves("MQTT-2.3.1-5", "MQTT-4.3.1-1", "MQTT-3.3.1-2", "MQTT-2.2.2-1")
def test_a_message_at_qos_0_is_its_topic_and_payload_and_comes_once(connected, name):
    reader, sender = connected(name, clean=False), connected()
    reader.subscribe((name, 0))
    sender.publish(name, "once", 2)
    expected = packet(Kind.PUBLISH, 0, string(name) + b"once")
    assert reader.exactly(len(expected)) == expected
    reader.leave()
    again = connected(name, clean=False)
    assert after(again, sender, name) == []


@proves("MQTT-3.3.1-3")
@pytest.mark.parametrize("qos", [1, 2])
def test_the_duplicate_mark_of_a_publisher_is_not_passed_on(connected, name, qos):
    reader, sender = connected(), connected()
    reader.subscribe((name, qos))
    sender.publish(name, "again", qos, dup=1)
    found = reader.message()
    assert (found.text, found.qos, found.dup) == ("again", qos, 0)


@proves("MQTT-3.3.1-5", "MQTT-3.3.1-6", "MQTT-3.3.1-7", "MQTT-3.3.1-8", "MQTT-3.3.1-9")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_last_retained_message_is_for_those_who_come_later(connected, name, qos):
    present, sender = connected(), connected()
    present.subscribe((f"{name}/#", 2))
    sender.publish(f"{name}/a", "before", 2, retain=1)
    # Order is kept within a QoS only, so this one is waited for.
    first = present.message()
    sender.publish(f"{name}/a", "last", qos, retain=1)
    sender.publish(f"{name}/b", "other", qos, retain=1)
    assert [(m.text, m.retain) for m in (first, present.message(), present.message())] == [
        ("before", 0), ("last", 0), ("other", 0)]
    later = connected()
    later.subscribe((f"{name}/+", 2))
    found = sorted((m.topic, m.text, m.qos, m.retain) for m in (later.message() for _ in range(2)))
    assert found == [(f"{name}/a", "last", qos, 1), (f"{name}/b", "other", qos, 1)]
    assert after(later, sender, f"{name}/a") == []


@proves("MQTT-3.3.1-10", "MQTT-3.3.1-11")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_empty_retained_message_deletes_and_is_itself_delivered(connected, name, qos):
    present, sender = connected(), connected()
    sender.publish(name, "kept", retain=1)
    present.subscribe((name, 2))
    assert present.message().retain == 1
    sender.publish(name, "", qos, retain=1)
    found = present.message()
    assert (found.payload, found.qos, found.retain) == (b"", qos, 0)
    later = connected()
    later.subscribe((name, 2))
    assert after(later, sender, name) == []


@proves("MQTT-3.3.1-12")
@pytest.mark.parametrize("payload", ["", "passing"])
def test_a_message_without_retain_changes_nothing_that_is_kept(connected, name, payload):
    sender = connected()
    sender.publish(f"{name}/kept", "kept", retain=1)
    for level in ("kept", "none"):
        sender.publish(f"{name}/{level}", payload)
    later = connected()
    later.subscribe(f"{name}/+")
    assert [(m.topic, m.text) for m in [later.message(), *after(later, sender, f"{name}/none")]] == [
        (f"{name}/kept", "kept")]


@proves("MQTT-3.3.2-3", "MQTT-3.8.3-2")
@pytest.mark.parametrize("subscribed, topic", [
    ("{}/a/b", "{}/a/b"), ("{}/+/b", "{}/a/b"), ("{}/#", "{}/a/b"), ("{}/#", "{}"), ("{}/+", "{}/"), ("+/{}", "/{}"),
])
def test_a_message_comes_under_the_name_it_was_published_to(connected, name, subscribed, topic):
    reader, sender = connected(), connected()
    reader.subscribe(subscribed.format(name))
    sender.publish(topic.format(name), "x")
    assert reader.message().topic == topic.format(name)


@proves("MQTT-3.3.5-1")
@pytest.mark.parametrize("filters", [[("{}/#", 2), ("{}/+", 1)], [("{}/a", 0), ("{}/+", 2)], [("{}/+", 1), ("{}/a", 0)]])
def test_overlapping_subscriptions_deliver_at_the_highest_qos(connected, name, filters):
    reader, sender = connected(), connected()
    reader.subscribe(*((text.format(name), qos) for text, qos in filters))
    sender.publish(f"{name}/a", "x", 2)
    assert reader.message().qos == max(qos for _, qos in filters)
    assert after(reader, sender, f"{name}/a") == []


@proves("MQTT-3.3.5-2")
def test_what_may_not_be_published_is_acknowledged_and_goes_nowhere(connected, unconnected, server, name):
    token = server.device(name, profile="strict")
    reader = connected()
    reader.subscribe((name, 2))
    device = unconnected()
    device.send(connect(V3, name, user=name, password=token))
    assert device.exactly(4) == b"\x20\x02\x00\x00"
    device.send(publish(V3, name, "x", qos=1, packet_id=5))
    assert device.exactly(4) == b"\x40\x02\x00\x05"
    device.send(publish(V3, name, "x", qos=2, packet_id=6))
    assert device.exactly(4) == b"\x50\x02\x00\x06"
    device.send(b"\x62\x02" + number(6))
    assert device.exactly(4) == b"\x70\x02\x00\x06"
    device.send(publish(V3, name, "x"), PING)
    assert device.exactly(2) == PONG
    assert after(reader, connected(), name) == []
