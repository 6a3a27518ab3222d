"""Section 3.2: CONNACK."""

import pytest

from conformance.statement import proves
from conformance.v5.asserts import is_ended
from raw_mqtt import V5, connect, publish, session

# Table 3-1 of the specification.
CODES = {0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A,
         0x9B, 0x9C, 0x9D, 0x9F}
REFUSED = {
    "malformed": (connect(V5, b"\xff"), 0x81), "protocol error": (connect(V5, properties={"ReceiveMaximum": 0}), 0x82),
    "level": (connect(V5).replace(b"MQTT\x05", b"MQTT\x06"), 0x84), "client id": (connect(V5, "a" * 300), 0x85),
    "password": (connect(V5, password="wrong"), 0x86), "nobody": (connect(V5, user=None, password=None), 0x87),
    "method": (connect(V5, properties={"AuthenticationMethod": "x"}), 0x8C),
    "will to a wildcard": (connect(V5, will={"topic": "a/#"}), 0x90),
    "will to nothing": (connect(V5, will={"topic": ""}), 0x90),
    "will to the server's": (connect(V5, will={"topic": "$SYS/a"}), 0x87),
    "too large": (b"\x10\xff\xff\xff\x7f" + connect(V5)[2:], 0x95),
    "will payload": (connect(V5, will={"topic": "a", "payload": b"\xff", "properties": {"PayloadFormatIndicator": 1}}), 0x99),
}


@proves("MQTT-3.2.2-8", "MQTT-3.2.2-7", "MQTT-3.2.2-6", "MQTT-3.2.2-19", "MQTT-3.2.2-20", "MQTT-4.13.2-1", "MQTT-3.14.0-1")
@pytest.mark.parametrize("why", REFUSED)
def test_a_refusal_has_a_code_of_the_table_and_nothing_more(raw, why):
    said, reason = REFUSED[why]
    assert reason in CODES
    client = raw.unconnected()
    client.send(said)
    assert client.next().wire == b"\x20\x03\x00" + bytes([reason, 0])
    assert client.last_words() is None


@proves("MQTT-3.2.2-19", "MQTT-3.2.2-20", "MQTT-3.2.2-18", "MQTT-3.2.2-14", "MQTT-3.2.2-11", "MQTT-3.2.2-9")
def test_an_acceptance_says_the_limits_and_nothing_else(raw, name):
    said = raw(client_id=name).connack.properties
    assert said == {"ReceiveMaximum": 1_000, "MaximumPacketSize": 1 << 20, "TopicAliasMaximum": 16}


@proves("MQTT-3.2.2-9", "MQTT-3.2.2-10")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_qos_is_granted_and_taken(raw, name, qos):
    client = raw()
    assert client.subscribe((name, qos)) == (qos,)
    for said in (0, 1, 2):
        client.publish(name, str(said), said)
        assert client.message().qos == min(said, qos)


@proves("MQTT-3.2.2-4")
def test_a_session_outlives_a_client_that_closes_because_of_the_answer(raw, name):
    first = raw(client_id=name, **session(60))
    first.subscribe(name)
    first.drop()
    raw(client_id=name, **session(60)).drop()
    raw().publish(name, "waiting")
    assert raw(client_id=name, **session(60)).message().text == "waiting"


@proves("MQTT-3.2.2-15")
@pytest.mark.parametrize("head", [b"\x30", b"\x32", b"\x34", b"\x82", b"\xf0"])
def test_a_packet_above_the_maximum_is_refused_before_its_body(raw, head):
    client = raw()
    most = client.connack.properties["MaximumPacketSize"]
    # The length without the first byte and itself makes one byte more than allowed.
    length = most + 1 - 4
    client.send(head + bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14]))
    assert client.next().wire in (b"\xe0\x01\x95", b"\xe0\x02\x95\x00")
    assert client.last_words() is None


@proves("MQTT-3.2.2-15")
def test_a_packet_of_the_maximum_is_taken(raw, name):
    client = raw()
    client.subscribe((name, 0))
    most = client.connack.properties["MaximumPacketSize"]
    payload = b"x" * (most - 1 - 3 - 2 - len(name) - 1)
    client.send(publish(V5, name, payload))
    found = client.message()
    assert len(found.wire) == most and found.payload == payload


@proves("MQTT-3.2.2-17", "MQTT-3.3.2-9")
@pytest.mark.parametrize("above", [17, 65_535])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_alias_above_the_maximum_ends_it(raw, name, above, qos):
    is_ended(raw, publish(V5, name, "x", qos=qos, TopicAlias=above), 0x94)
