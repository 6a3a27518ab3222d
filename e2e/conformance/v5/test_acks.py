"""Sections 3.4 to 3.7: PUBACK, PUBREC, PUBREL and PUBCOMP."""

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import case, proves
from conformance.v5.asserts import MALFORMED, PROTOCOL, is_ended
from raw_mqtt import V5, ack, number, packet, publish

# The codes that each may have (tables 3-4 to 3-7 of the specification).
PUBLISHED = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
RELEASED = {0x00, 0x92}
EVERY = [(Kind.PUBACK, PUBLISHED, ["MQTT-3.4.2-1"]), (Kind.PUBREC, PUBLISHED, ["MQTT-3.5.2-1"]),
         (Kind.PUBREL, RELEASED, ["MQTT-3.6.2-1"]), (Kind.PUBCOMP, RELEASED, ["MQTT-3.7.2-1"])]


@pytest.mark.parametrize("kind, codes", [case(kind, codes, proves=ids) for kind, codes, ids in EVERY])
def test_a_code_that_is_not_of_the_table_is_malformed(raw, kind, codes):
    flags = 2 if kind == Kind.PUBREL else 0
    for code in (0x01, 0x18, 0x55, 0x81, 0x92, 0x9A, 0xFF):
        if code not in codes:
            is_ended(raw, packet(kind, flags, number(1) + bytes([code])), MALFORMED)


@pytest.mark.parametrize("kind, codes", [case(kind, codes, proves=ids) for kind, codes, ids in EVERY])
def test_a_code_of_the_table_is_taken_in_short_and_in_long(raw, kind, codes):
    client = raw()
    flags = 2 if kind == Kind.PUBREL else 0
    for code in codes:
        for rest in (bytes([code]), bytes([code, 0]), bytes([code, 3, 0x1F, 0, 0])):
            client.send(packet(kind, flags, number(7) + rest))
    client.ping()


@proves("MQTT-3.4.2-1", "MQTT-3.5.2-1")
@pytest.mark.parametrize("head", [b"\x40", b"\x50"])
@pytest.mark.parametrize("topic, payload, more, reason", [
    ("a/unheard", "x", {}, 0x10), ("$SYS/a", "x", {}, 0x87), ("a" * 2_000, "x", {}, 0x90), ("/" * 200, "x", {}, 0x90),
    ("a/bytes", b"\xff", {"PayloadFormatIndicator": 1}, 0x99), ("me/telemetry", "1", {}, 0x87),
])
def test_a_message_is_refused_with_the_code_that_says_why(raw, head, topic, payload, more, reason):
    client = raw()
    found = client.publish(topic, payload, 1 if head == b"\x40" else 2, **more)
    assert found.wire[:1] == head and found.reason == reason
    assert set(found.properties) == ({"ReasonString"} if reason >= 0x80 else set())
    client.ping()


@pytest.mark.parametrize("qos", [
    case(1, proves=["MQTT-3.4.2-2", "MQTT-3.4.2-3"]), case(2, proves=["MQTT-3.5.2-2", "MQTT-3.5.2-3"]),
])
def test_a_reason_string_is_left_out_where_it_does_not_fit(raw, name, qos):
    roomy = raw(client_id=f"{name}r").publish(f"${name}", "x", qos)
    length = len(roomy.wire)
    assert roomy.properties.keys() == {"ReasonString"} and length > 40
    for size, there in ((length, True), (length - 1, False)):
        client = raw(client_id=name, properties={"MaximumPacketSize": size})
        found = client.publish(f"${name}", "x", qos)
        assert found.reason == 0x87 and len(found.wire) <= size
        assert found.properties == (roomy.properties if there else {})


@proves("MQTT-3.6.1-1")
@pytest.mark.parametrize("flags", [0, 1, 3, 4, 6, 10, 15])
def test_pubrel_with_other_flags_is_malformed(raw, flags):
    is_ended(raw, packet(Kind.PUBREL, flags, number(1)), MALFORMED)


@proves("MQTT-3.6.2-1", "MQTT-3.6.2-2", "MQTT-3.6.2-3")
def test_pubrel_says_no_more_than_its_code(raw, name):
    client = raw()
    client.acknowledges = False
    client.subscribe((name, 2))
    client.publish(name, "x", 2)
    found = client.message()
    for _ in range(2):
        client.send(ack(Kind.PUBREC, found.packet_id))
        assert client.next().wire == b"\x62\x02" + number(found.packet_id)
    client.send(ack(Kind.PUBREC, 777))
    assert client.next().wire == b"\x62\x03" + number(777) + b"\x92"


@proves("MQTT-3.7.2-1", "MQTT-3.7.2-2", "MQTT-3.7.2-3")
def test_pubcomp_says_no_more_than_its_code(raw, name):
    client = raw()
    client.send(publish(V5, name, "x", qos=2, packet_id=5))
    client.take(Kind.PUBREC)
    client.send(ack(Kind.PUBREL, 5), ack(Kind.PUBREL, 5))
    assert client.next().wire == b"\x70\x02\0\5"
    assert client.next().wire == b"\x70\x03\0\5\x92"


@pytest.mark.parametrize("qos, kind", [
    case(1, Kind.PUBREC, proves=["MQTT-4.13.1-1"], id="PUBREC for QoS 1"),
    case(2, Kind.PUBACK, proves=["MQTT-4.13.1-1"], id="PUBACK for QoS 2"),
    case(1, Kind.PUBCOMP, proves=["MQTT-4.13.1-1"], id="PUBCOMP for QoS 1"),
])
def test_an_acknowledgement_of_another_qos_is_a_protocol_error(raw, name, qos, kind):
    client = raw()
    client.acknowledges = False
    client.subscribe((name, qos))
    client.publish(name, "x", qos)
    client.send(ack(kind, client.message().packet_id))
    assert client.last_words() == PROTOCOL
