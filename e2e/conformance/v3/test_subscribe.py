"""SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11)."""

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import case, proves
from raw_mqtt import PING, V3, ack, number, packet, publish, string, subscribe, unsubscribe


def with_flags(said, flags):
    return bytes([said[0] & 0xF0 | flags]) + said[1:]


WRONG_FLAGS = [flags for flags in range(16) if flags != 2]
SUBSCRIBES = [
    *(case(with_flags(subscribe(V3, [("a", 0)]), flags), proves=["MQTT-3.8.1-1", "MQTT-2.2.2-2"], id=str(flags))
      for flags in WRONG_FLAGS),
    *(case(subscribe(V3, [("a", 1 << bit)]), proves=["MQTT-3-8.3-4"], id=f"bit-{bit}") for bit in range(2, 8)),
    case(subscribe(V3, [("a", 3)]), proves=["MQTT-3-8.3-4"], id="qos-3"),
    case(subscribe(V3, [("a", 0), ("b", 3)]), proves=["MQTT-3-8.3-4"], id="qos-3-of-the-second"),
    case(subscribe(V3, []), proves=["MQTT-3.8.3-3"]),
    case(packet(Kind.SUBSCRIBE, 2, number(1) + string("a")), proves=["MQTT-3.8.3-3"], id="no-qos"),
    case(subscribe(V3, [("a", 0)], 0), proves=["MQTT-2.3.1-1"]),
    *(case(subscribe(V3, [(bad, 0)]), proves=["MQTT-3.8.3-1", "MQTT-1.5.3-1"], id=name) for name, bad in
      {"overlong": b"\xc0\x80", "surrogate": b"\xed\xbf\xbf", "beyond": b"\xf4\x90\x80\x80", "cut": b"\xf0\x9f"}.items()),
]
UNSUBSCRIBES = [
    *(case(with_flags(unsubscribe(V3, ["a"]), flags), proves=["MQTT-3.10.1-1", "MQTT-2.2.2-2"], id=str(flags))
      for flags in WRONG_FLAGS),
    case(unsubscribe(V3, []), proves=["MQTT-3.10.3-2"]),
    case(unsubscribe(V3, ["a"], 0), proves=["MQTT-2.3.1-1"]),
    case(unsubscribe(V3, [b"a\xff"]), proves=["MQTT-3.10.3-1", "MQTT-1.5.3-1"]),
    case(packet(Kind.UNSUBSCRIBE, 2, number(1) + string("a") + b"\x00"), proves=["MQTT-3.10.3-1"], id="not-contiguous"),
]


@pytest.mark.parametrize("said", SUBSCRIBES + UNSUBSCRIBES)
def test_what_breaks_the_form_closes_the_connection(connected, said):
    client = connected()
    client.send(said, PING)
    assert client.rest() == b""


@proves("MQTT-3.8.4-1", "MQTT-3.8.4-2", "MQTT-2.3.1-7", "MQTT-2.2.2-1")
@pytest.mark.parametrize("packet_id", [1, 0x0100, 0xFFFF])
def test_suback_has_the_packet_id(connected, name, packet_id):
    client = connected()
    client.send(subscribe(V3, [(name, 0)], packet_id))
    assert client.exactly(5) == b"\x90\x03" + number(packet_id) + b"\x00"


@proves("MQTT-3.8.4-4", "MQTT-3.8.4-5", "MQTT-3.9.3-1", "MQTT-3.9.3-2")
def test_each_filter_has_its_code_in_order_in_one_suback(connected, name):
    client, sender = connected(), connected()
    # Only a device has topics under `me`.
    filters = [(f"{name}/a", 2), ("me/commands", 2), (f"{name}/b", 0), (f"{name}/c", 1), ("me/#", 0), (f"{name}/a", 1)]
    client.send(subscribe(V3, filters, 7), PING)
    assert client.exactly(12) == b"\x90\x08\x00\x07\x02\x80\x00\x01\x80\x01" + b"\xd0\x00"
    # As if they had come one after the other: the last for `a` holds.
    for level, qos in [("a", 1), ("b", 0), ("c", 1)]:
        sender.publish(f"{name}/{level}", "x", 2)
        found = client.message()
        assert (found.topic, found.qos) == (f"{name}/{level}", qos)


@proves("MQTT-3.8.4-3")
@pytest.mark.parametrize("before, after", [(2, 0), (0, 2), (1, 1)])
def test_subscribing_again_replaces_the_subscription(connected, name, before, after):
    reader, sender = connected(), connected()
    sender.publish(name, "kept", 2, retain=1)
    for qos in (before, after):
        assert reader.subscribe((name, qos)) == (qos,)
        found = reader.message()
        assert (found.text, found.qos, found.retain) == ("kept", qos, 1)
    sender.publish(name, "once", 2)
    found = reader.message()
    assert (found.text, found.qos) == ("once", after)
    sender.publish(name, "end", 2)
    assert reader.texts_until("end") == []


@proves("MQTT-3.8.4-3")
def test_subscribing_again_does_not_interrupt_the_flow(connected, name):
    reader, sender = connected(), connected()
    reader.subscribe((name, 1))
    sender.send(*(publish(V3, name, str(count), qos=1, packet_id=count) for count in range(1, 301)))
    for qos in (2, 0, 1):
        assert reader.subscribe((name, qos)) == (qos,)
    sender.publish(name, "end", 1)
    assert reader.texts_until("end") == [str(count) for count in range(1, 301)]


@proves("MQTT-3.8.4-6")
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_a_message_comes_at_the_lower_of_both_qos(connected, name, granted):
    reader, sender = connected(), connected()
    assert reader.subscribe((name, granted)) == (granted,)
    for said in (0, 1, 2):
        sender.publish(name, str(said), said)
        found = reader.message()
        assert (found.text, found.qos) == (str(said), min(said, granted))


@proves("MQTT-3.10.4-4", "MQTT-2.3.1-7", "MQTT-3.10.4-5")
@pytest.mark.parametrize("packet_id", [1, 0x0100, 0xFFFF])
def test_unsuback_has_the_packet_id_whether_or_not_there_was_a_subscription(connected, name, packet_id):
    client = connected()
    client.subscribe(name)
    for filters in ([name], [name], ["never/#", "me/commands"]):
        client.send(unsubscribe(V3, filters, packet_id))
        assert client.exactly(4) == b"\xb0\x02" + number(packet_id)


@proves("MQTT-3.10.4-1", "MQTT-3.10.4-2", "MQTT-3.10.4-6")
def test_the_very_same_filters_end_and_no_others(connected, name):
    reader, sender = connected(), connected()
    reader.subscribe(f"{name}/a", f"{name}/b/+", f"{name}/c/#", f"{name}/d", f"{name}/end")
    reader.send(unsubscribe(V3, [f"{name}/+", f"{name}/A", f"{name}/a/", f"{name}/b/x", f"{name}/#"], 1), PING)
    assert reader.exactly(6) == b"\xb0\x02\x00\x01\xd0\x00"
    topics = [f"{name}/{level}" for level in ("a", "b/x", "c", "d")]
    for topic in topics:
        sender.publish(topic, topic)
        assert reader.message().text == topic
    reader.send(unsubscribe(V3, [f"{name}/a", f"{name}/b/+", f"{name}/c/#"], 2), PING)
    assert reader.exactly(6) == b"\xb0\x02\x00\x02\xd0\x00"
    for topic in topics:
        sender.publish(topic, topic)
    sender.publish(f"{name}/end", "end")
    assert reader.texts_until("end") == [f"{name}/d"]


@proves("MQTT-3.10.4-3")
def test_what_is_on_its_way_when_a_subscription_ends_is_seen_through(connected, name):
    reader, sender = connected(name, clean=False), connected()
    reader.acknowledges = False
    reader.subscribe((f"{name}/1", 1), (f"{name}/2", 2))
    sender.publish(f"{name}/1", "one", 1)
    sender.publish(f"{name}/2", "two", 2)
    one, two = reader.message(), reader.message()
    reader.unsubscribe(f"{name}/1", f"{name}/2")
    sender.publish(f"{name}/1", "not any more", 1)
    reader.send(ack(Kind.PUBREC, two.packet_id))
    assert reader.take(Kind.PUBREL).packet_id == two.packet_id
    reader.send(ack(Kind.PUBCOMP, two.packet_id))
    reader.ping().leave()
    again = connected(name, clean=False)
    found = again.message()
    assert (found.text, found.packet_id, found.dup) == ("one", one.packet_id, 1)
    again.subscribe(f"{name}/end")
    sender.publish(f"{name}/end", "end")
    assert again.texts_until("end") == []
