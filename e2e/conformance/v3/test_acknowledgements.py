"""The flows of QoS 1 and 2 in both directions (sections 3.4 to 3.7 and 4.3), and their order (4.6)."""

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import proves
from raw_mqtt import PING, V3, ack, packet, publish

PUBACK, PUBREC, PUBREL, PUBCOMP = b"\x40\x02", b"\x50\x02", b"\x62\x02", b"\x70\x02"


@pytest.fixture
def reader(connected, name):
    """A session that acknowledges nothing by itself; `reader(qos)` subscribes, `reader.again()` reconnects."""

    def again(session_present=True):
        client = connected(name, clean=False)
        client.acknowledges = False
        assert client.connack.session_present == session_present
        return client

    def make(qos):
        client = again(session_present=False)
        assert client.subscribe((name, qos)) == (qos,)
        return client

    make.again = again
    return make


@proves("MQTT-4.3.2-1", "MQTT-2.3.1-4", "MQTT-4.4.0-1", "MQTT-3.3.1-1", "MQTT-4.6.0-1")
def test_a_message_at_qos_1_comes_again_under_its_id_until_puback(connected, reader, name):
    client, sender = reader(1), connected()
    for text in "abc":
        sender.publish(name, text, 1)
    first = [client.message() for _ in range(3)]
    assert [(m.text, m.flags) for m in first] == [("a", 0b0010), ("b", 0b0010), ("c", 0b0010)]
    ids = [m.packet_id for m in first]
    assert len({*ids, 0}) == 4
    client.send(ack(Kind.PUBACK, ids[1]))
    client.ping().leave()
    client = reader.again()
    second = [client.message() for _ in range(2)]
    assert [(m.text, m.flags, m.packet_id) for m in second] == [("a", 0b1010, ids[0]), ("c", 0b1010, ids[2])]
    sender.publish(name, "new", 1)
    found = client.message()
    assert (found.text, found.dup) == ("new", 0) and found.packet_id not in (ids[0], ids[2], 0)
    client.send(*(ack(Kind.PUBACK, one) for one in (ids[0], ids[2], found.packet_id)))
    client.ping().leave()
    client = reader.again()
    sender.publish(name, "end", 1)
    assert client.message().text == "end"


@proves("MQTT-4.3.3-1", "MQTT-2.3.1-4", "MQTT-2.3.1-6", "MQTT-4.4.0-1", "MQTT-3.3.1-1", "MQTT-3.6.1-1", "MQTT-2.2.2-1")
def test_a_message_at_qos_2_comes_again_until_pubrec_and_its_pubrel_until_pubcomp(connected, reader, name):
    client, sender = reader(2), connected()
    sender.publish(name, "once", 2)
    sender.publish(name, "other", 2)
    first, other = client.message(), client.message()
    assert [(m.text, m.flags) for m in (first, other)] == [("once", 0b0100), ("other", 0b0100)]
    assert len({first.packet_id, other.packet_id, 0}) == 3
    client.leave()
    client = reader.again()
    assert [(m.text, m.flags, m.packet_id) for m in (client.message(), client.message())] == [
        ("once", 0b1100, first.packet_id), ("other", 0b1100, other.packet_id)]
    client.send(ack(Kind.PUBREC, first.packet_id))
    released = PUBREL + first.packet_id.to_bytes(2, "big")
    assert client.exactly(4) == released
    client.leave()
    # Now PUBREL in place of the first, and the other as it was.
    client = reader.again()
    found = [client.next(), client.next()]
    assert sorted((m.kind, m.flags, m.packet_id) for m in found) == [
        (Kind.PUBLISH, 0b1100, other.packet_id), (Kind.PUBREL, 0b0010, first.packet_id)]
    client.send(ack(Kind.PUBCOMP, first.packet_id), ack(Kind.PUBREC, other.packet_id))
    assert client.take(Kind.PUBREL).packet_id == other.packet_id
    client.send(ack(Kind.PUBCOMP, other.packet_id))
    client.ping().leave()
    client = reader.again()
    sender.publish(name, "end", 2)
    assert client.next().text == "end"


@proves("MQTT-4.3.2-2")
def test_an_id_at_qos_1_is_free_after_puback_whatever_dup_says(connected, name):
    reader, sender = connected(), connected()
    reader.subscribe((name, 1))
    for text, dup in [("a", 0), ("b", 0), ("c", 1), ("c", 1)]:
        sender.send(publish(V3, name, text, qos=1, packet_id=0x0102, dup=dup))
        assert sender.exactly(4) == PUBACK + b"\x01\x02"
    sender.publish(name, "end")
    assert reader.texts_until("end") == ["a", "b", "c", "c"]


@proves("MQTT-4.3.3-2", "MQTT-2.3.1-3")
def test_an_id_at_qos_2_is_one_message_until_pubcomp(connected, name):
    reader, sender = connected(), connected(name, clean=False)
    reader.subscribe((name, 2))
    for dup in (0, 1, 1, 0):
        sender.send(publish(V3, name, "once", qos=2, packet_id=0x0102, dup=dup))
        assert sender.exactly(4) == PUBREC + b"\x01\x02"
    sender.leave()
    sender = connected(name, clean=False)
    sender.send(publish(V3, name, "once", qos=2, packet_id=0x0102, dup=1))
    assert sender.exactly(4) == PUBREC + b"\x01\x02"
    for _ in range(2):
        sender.send(ack(Kind.PUBREL, 0x0102))
        assert sender.exactly(4) == PUBCOMP + b"\x01\x02"
    sender.send(publish(V3, name, "new", qos=2, packet_id=0x0102, dup=1))
    assert sender.exactly(4) == PUBREC + b"\x01\x02"
    sender.send(ack(Kind.PUBREL, 0x0102))
    assert sender.exactly(4) == PUBCOMP + b"\x01\x02"
    sender.publish(name, "end")
    assert reader.texts_until("end") == ["once", "new"]


@proves("MQTT-3.6.1-1", "MQTT-2.2.2-2")
@pytest.mark.parametrize("flags", [flags for flags in range(16) if flags != 2])
def test_a_pubrel_with_other_flags_closes(connected, name, flags):
    client = connected()
    client.send(publish(V3, name, "x", qos=2, packet_id=1))
    assert client.exactly(4) == PUBREC + b"\x00\x01"
    client.send(packet(Kind.PUBREL, flags, b"\x00\x01"), PING)
    assert client.rest() == b""


@proves("MQTT-4.6.0-2", "MQTT-4.6.0-3")
def test_messages_are_acknowledged_in_their_order(connected, name):
    client = connected()
    ids = [*range(1, 21)]
    client.send(*(publish(V3, name, "x", qos=1 + one % 2, packet_id=one) for one in ids))
    found = [client.next() for _ in ids]
    assert [(m.kind, m.packet_id) for m in found] == [(Kind.PUBREC if one % 2 else Kind.PUBACK, one) for one in ids]


@proves("MQTT-4.6.0-4")
def test_pubrel_comes_in_the_order_of_pubrec(connected, reader, name):
    client, sender = reader(2), connected()
    for text in "abc":
        sender.publish(name, text, 2)
    ids = [client.message().packet_id for _ in range(3)]
    client.send(*(ack(Kind.PUBREC, one) for one in ids[::-1]))
    assert [client.next().packet_id for _ in ids] == ids[::-1]


@proves("MQTT-4.6.0-5", "MQTT-4.6.0-6")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_of_one_publisher_come_in_the_order_in_which_they_were_sent(connected, name, qos):
    one, other, sender = connected(), connected(), connected()
    for reader in (one, other):
        reader.subscribe((f"{name}/#", qos))
    sender.send(*(publish(V3, f"{name}/a", str(count), qos=qos, packet_id=count) for count in range(1, 101)))
    for reader in (one, other):
        assert [int(reader.message().text) for _ in range(100)] == [*range(1, 101)]
