"""Handling errors (section 4.8) and flags (2.2.2): what ends a connection."""

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import case, proves
from raw_mqtt import PING, V3, Raw, ack, connect, number, packet, publish, string

WRONG_FLAGS = {Kind.CONNACK: 1, Kind.PUBACK: 1, Kind.PUBREC: 2, Kind.PUBREL: 0, Kind.PUBCOMP: 8, Kind.SUBACK: 1,
               Kind.UNSUBACK: 2, Kind.PINGREQ: 1, Kind.PINGRESP: 1, Kind.DISCONNECT: 1}
FAULTS = [
    *(case(packet(kind, flags, b"" if kind in (Kind.PINGREQ, Kind.DISCONNECT) else number(1)), proves=["MQTT-2.2.2-2"],
           id=f"type-{kind}") for kind, flags in WRONG_FLAGS.items()),
    *(case(said, proves=["MQTT-4.8.0-1"], id=name) for name, said in {
        "type 0": b"\x00\x00", "type 15": b"\xf0\x00", "CONNACK": b"\x20\x02\x00\x00", "SUBACK": b"\x90\x03\x00\x01\x00",
        "UNSUBACK": b"\xb0\x02\x00\x01", "PINGRESP": b"\xd0\x00", "PINGREQ with a body": b"\xc0\x01x",
        "DISCONNECT with a body": b"\xe0\x01\x00", "PUBACK of one byte": b"\x40\x01\x01",
        "PUBACK of three bytes": b"\x40\x03\x00\x01\x00", "PUBACK of id 0": b"\x40\x02\x00\x00",
        "a length of five bytes": b"\x30\xff\xff\xff\xff\x7f", "a length that is not minimal": b"\xc0\x80\x00",
        "more than a packet may have": b"\x30\xff\xff\xff\x7f",
        "a filter longer than the packet": packet(Kind.SUBSCRIBE, 2, number(1) + b"\x00\x09a\x00"),
    }.items()),
]


@pytest.mark.parametrize("said", FAULTS)
def test_a_fault_closes_the_connection_and_sends_the_will(connected, name, said):
    watcher = connected()
    watcher.subscribe(name)
    client = connected(will={"topic": name})
    client.send(said, publish(V3, name, "behind"), PING)
    assert client.rest() == b""
    assert watcher.message().text == "gone"


@proves("MQTT-4.8.0-1")
@pytest.mark.parametrize("qos, wrong", [(1, Kind.PUBREC), (1, Kind.PUBCOMP), (2, Kind.PUBACK)])
def test_an_acknowledgement_of_the_other_qos_closes_the_connection(connected, name, qos, wrong):
    client = connected()
    client.acknowledges = False
    client.subscribe((name, qos))
    connected().publish(name, "x", qos)
    client.send(ack(wrong, client.message().packet_id), PING)
    assert client.rest() == b""


@proves("MQTT-4.8.0-2")
def test_a_message_that_cannot_be_taken_now_closes_the_connection(make_roost):
    full = make_roost("--limits.retained", "1")
    client, other = (Raw(full.door("mqtt"), V3) for _ in range(2))
    for each in (client, other):
        each.send(connect(V3))
        assert each.exactly(4) == b"\x20\x02\x00\x00"
    client.send(publish(V3, "a", "x", qos=1, packet_id=1, retain=1))
    assert client.exactly(4) == b"\x40\x02\x00\x01"
    client.send(publish(V3, "b", "x", qos=1, packet_id=2, retain=1), PING)
    assert client.rest() == b""
    other.ping().subscribe("+")
    assert other.message().topic == "a"
    other.publish("end", "end")
    assert other.texts_until("end") == []


@proves("MQTT-7.0.0-2", "MQTT-7.1.1-1")
def test_nothing_beyond_the_specification_is_asked_of_a_client(unconnected, name):
    # Written out: the smallest client that there is.
    client, word = unconnected(), string(name)
    client.send(connect(V3))
    assert client.exactly(4) == b"\x20\x02\x00\x00"
    client.send(packet(8, 2, b"\x00\x01" + word + b"\x02"))
    assert client.exactly(5) == b"\x90\x03\x00\x01\x02"
    client.send(packet(3, 0, word + b"hello"))
    expected = packet(3, 0, word + b"hello")
    assert client.exactly(len(expected)) == expected
    client.send(b"\xe0\x00")
    assert client.rest() == b""
