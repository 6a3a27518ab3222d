"""Chapters 1 and 2: strings, numbers, flags, packet ids and property lengths."""

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind
from paho.mqtt.properties import VariableByteIntegers

from conformance.statement import proves
from conformance.v5.asserts import MALFORMED, is_ended, is_not_let_in, settle
from raw_mqtt import PING, V5, ack, connect, disconnect, number, packet, publish, string, subscribe, unsubscribe

ILL_FORMED = {
    "surrogate": b"a\xed\xa0\x80", "last surrogate": b"\xed\xbf\xbf", "overlong": b"\xc0\x80a",
    "above U+10FFFF": b"\xf4\x90\x80\x80", "cut short": b"a\xe2\x82", "lone continuation": b"\x80",
}
# Where a client says a string after CONNECT.
PLACES = {
    "topic": lambda text: publish(V5, text, "x"),
    "filter": lambda text: subscribe(V5, [(text, 0)]),
    "filter to remove": lambda text: unsubscribe(V5, [text]),
    "content type": lambda text: publish(V5, "a", "x", ContentType=text),
    "response topic": lambda text: publish(V5, "a", "x", ResponseTopic=text),
    "user property": lambda text: publish(V5, "a", "x", UserProperty=[("a", text)]),
    "reason string": lambda text: disconnect(V5, 0, ReasonString=text),
}
CONNECT_PLACES = {
    "client id": lambda text: connect(V5, text),
    "user name": lambda text: connect(V5, user=text),
    "will topic": lambda text: connect(V5, will={"topic": text}),
    "will content type": lambda text: connect(V5, will={"topic": "a", "properties": {"ContentType": text}}),
    "user property": lambda text: connect(V5, properties={"UserProperty": [(text, "a")]}),
}


@pytest.mark.parametrize("wrong", ILL_FORMED)
@proves("MQTT-1.5.4-1", "MQTT-3.3.2-1", "MQTT-3.8.3-1", "MQTT-3.10.3-1", "MQTT-3.3.2-19", "MQTT-3.3.2-13")
@pytest.mark.parametrize("place", PLACES)
def test_a_string_that_is_not_utf_8_is_malformed(raw, place, wrong):
    is_ended(raw, PLACES[place](ILL_FORMED[wrong]), MALFORMED)


@pytest.mark.parametrize("wrong", ILL_FORMED)
@proves("MQTT-1.5.4-1", "MQTT-3.1.3-4", "MQTT-3.1.3-11", "MQTT-3.1.3-12")
@pytest.mark.parametrize("place", CONNECT_PLACES)
def test_a_string_of_connect_that_is_not_utf_8_is_malformed(raw, place, wrong):
    is_not_let_in(raw, CONNECT_PLACES[place](ILL_FORMED[wrong]), MALFORMED)


@proves("MQTT-1.5.4-2", "MQTT-4.7.3-2")
@pytest.mark.parametrize("place", PLACES)
def test_u_0000_in_a_string_is_malformed(raw, place):
    is_ended(raw, PLACES[place](b"a\0b"), MALFORMED)


@proves("MQTT-1.5.4-2")
@pytest.mark.parametrize("place", CONNECT_PLACES)
def test_u_0000_in_a_string_of_connect_is_malformed(raw, place):
    is_not_let_in(raw, CONNECT_PLACES[place](b"a\0b"), MALFORMED)


@proves("MQTT-1.5.4-3")
def test_u_feff_is_a_letter_like_others(raw, name):
    marked, plain, sender = raw(), raw(), raw()
    marked.subscribe((f"\ufeff{name}", 0))
    plain.subscribe(name, f"{name}/end")
    said = publish(V5, f"\ufeff{name}", "\ufefftext", UserProperty=[("\ufeffk", "v\ufeff")])
    sender.send(said)
    sender.publish(f"{name}/end", "end")
    # Byte by byte, since paho refuses to read the letter.
    assert marked._read(len(said)) == said
    assert plain.texts_until("end") == []


LONG_FORMS = {
    "remaining length in two bytes": b"\xc0\x80\x00",
    "remaining length in four bytes": b"\xc0\x80\x80\x80\x00",
    "remaining length in five bytes": b"\x30\x80\x80\x80\x80\x01",
    "property length": packet(Kind.PUBLISH, 0, string("a") + b"\x80\x00"),
    "subscription identifier": packet(Kind.SUBSCRIBE, 2, number(1) + b"\x03\x0b\x81\x00" + string("a") + b"\0"),
}


@proves("MQTT-1.5.5-1")
@pytest.mark.parametrize("form", LONG_FORMS)
def test_a_number_in_more_bytes_than_it_needs_is_malformed(raw, form):
    is_ended(raw, LONG_FORMS[form], MALFORMED)


@proves("MQTT-1.5.5-1")
@pytest.mark.parametrize("length", [127, 128, 16_383, 16_384])
def test_the_server_writes_lengths_in_the_fewest_bytes(raw, name, length):
    reader = raw()
    reader.subscribe((name, 0), SubscriptionIdentifier=1)
    head = 2 + len(name) + 1 + 2
    reader.publish(name, "x" * (length - head), 0)
    found = reader.message()
    assert found.wire == b"\x30" + VariableByteIntegers.encode(length) + found.wire[-length:]
    assert found.wire[-length:][2 + len(name):][:3] == b"\x02\x0b\x01"


@proves("MQTT-1.5.7-1")
@pytest.mark.parametrize("pair", [(b"\xff", "a"), ("a", b"\xff"), (b"a\0", "a"), ("a", b"\0")])
@pytest.mark.parametrize("said", [publish, subscribe])
def test_both_strings_of_a_pair_are_checked(raw, pair, said):
    where = "a" if said is publish else [("a", 0)]
    is_ended(raw, said(V5, where, UserProperty=[("b", "c"), pair]), MALFORMED)


# First bytes that are not in the table, each with a body that would do.
FLAGS = {
    "PUBACK": (Kind.PUBACK, 1, number(1)), "PUBREC": (Kind.PUBREC, 4, number(1)),
    "PUBCOMP": (Kind.PUBCOMP, 8, number(1)), "PINGREQ": (Kind.PINGREQ, 2, b""),
}


@proves("MQTT-2.1.3-1")
@pytest.mark.parametrize("kind", FLAGS)
def test_reserved_flags_are_malformed(raw, kind):
    is_ended(raw, packet(*FLAGS[kind]), MALFORMED)


@proves("MQTT-2.1.3-1")
@pytest.mark.parametrize("flags", [1, 2, 8])
def test_connect_with_reserved_flags_is_closed_without_a_word(raw, flags):
    client = raw.unconnected()
    client.send(bytes([0x10 | flags]) + connect(V5)[1:])
    assert client.last_words() is None


@proves("MQTT-2.1.3-1")
def test_the_server_s_own_flags_are_those_of_the_table(raw, name):
    client = raw()
    assert client.connack.flags == 0
    client.acknowledges = False
    client.send(subscribe(V5, [(name, 2)], 1), publish(V5, name, "x", qos=1, packet_id=2), PING)
    client.send(publish(V5, name, "y", qos=2, packet_id=3), ack(Kind.PUBREL, 3), unsubscribe(V5, [name], 4))
    for kind in (Kind.SUBACK, Kind.PUBACK, Kind.PINGRESP, Kind.PUBREC, Kind.PUBCOMP, Kind.UNSUBACK):
        assert client.take(kind).flags == 0
    client.message()
    client.send(ack(Kind.PUBREC, client.message().packet_id))
    assert client.take(Kind.PUBREL).flags == 2


@proves("MQTT-2.2.1-2")
def test_a_message_at_qos_0_has_no_packet_id_either_way(raw, name):
    reader = raw()
    reader.subscribe((name, 2))
    reader.send(publish(V5, name, b"\0\1text", qos=0))
    body = string(name) + b"\0" + b"\0\1text"
    assert reader.message().wire == b"\x30" + bytes([len(body)]) + body


ZERO = {
    "PUBLISH QoS 1": publish(V5, "a", "x", qos=1, packet_id=0), "PUBLISH QoS 2": publish(V5, "a", "x", qos=2, packet_id=0),
    "SUBSCRIBE": subscribe(V5, [("a", 0)], 0), "UNSUBSCRIBE": unsubscribe(V5, ["a"], 0),
    "PUBACK": ack(Kind.PUBACK, 0), "PUBREL": ack(Kind.PUBREL, 0),
}


@proves("MQTT-2.2.1-3")
@pytest.mark.parametrize("kind", ZERO)
def test_packet_id_0_is_malformed(raw, kind):
    is_ended(raw, ZERO[kind], MALFORMED)


@proves("MQTT-2.2.1-4", "MQTT-4.3.2-1", "MQTT-4.3.3-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_packet_ids_of_the_server_are_not_0_and_not_in_use(raw, name, qos):
    reader, sender = raw(), raw()
    reader.acknowledges = False
    reader.subscribe((name, qos))
    sender.send(*(publish(V5, name, "x", qos=qos, packet_id=one) for one in range(1, 301)))
    flying = [reader.message() for _ in range(300)]
    used = {one.packet_id for one in flying}
    assert len(used) == 300 and 0 not in used
    for one in flying[::3]:
        settle(reader, one)
        used.remove(one.packet_id)
    sender.send(*(publish(V5, name, "y", qos=qos, packet_id=one) for one in range(301, 401)))
    for _ in range(100):
        found = reader.message()
        assert found.packet_id and found.packet_id not in used
        used.add(found.packet_id)


@proves("MQTT-2.2.1-5", "MQTT-2.2.1-6", "MQTT-3.8.4-2", "MQTT-3.10.4-5")
@pytest.mark.parametrize("packet_id", [1, 256, 65_535])
def test_an_answer_has_the_packet_id_of_what_it_answers(raw, name, packet_id):
    client = raw()
    wire, id = [], number(packet_id)
    for said in (
        subscribe(V5, [(f"{name}/x", 0)], packet_id), unsubscribe(V5, [f"{name}/x", f"{name}/x"], packet_id),
        publish(V5, name, "x", qos=1, packet_id=packet_id), publish(V5, name, "x", qos=2, packet_id=packet_id),
        ack(Kind.PUBREL, packet_id),
    ):
        client.send(said)
        wire.append(client.next().wire)
    assert wire == [
        b"\x90\x04" + id + b"\0\0", b"\xb0\x05" + id + b"\0\x00\x11", b"\x40\x03" + id + b"\x10",
        b"\x50\x03" + id + b"\x10", b"\x70\x02" + id,
    ]


@proves("MQTT-2.2.2-1")
def test_no_properties_are_a_length_of_0(raw, name):
    client = raw()
    client.send(subscribe(V5, [(name, 1)], 7), publish(V5, name, "x", qos=0))
    assert client.next().wire == b"\x90\x04\0\x07\0\x01"
    assert client.next().wire == b"\x30" + bytes([len(name) + 4]) + string(name) + b"\0x"
    client.send(unsubscribe(V5, [name], 8))
    assert client.next().wire == b"\xb0\x04\0\x08\0\0"
