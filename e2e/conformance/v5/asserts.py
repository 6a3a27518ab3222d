"""What many tests say about an answer."""

from paho.mqtt.packettypes import PacketTypes as Kind

from raw_mqtt import ack

MALFORMED, PROTOCOL, FILTER, TOPIC = 0x81, 0x82, 0x8F, 0x90


def is_ended(raw, said, reason, **more):
    """Who says this is told why in a DISCONNECT of no properties, and is closed."""
    client = raw(**more)
    client.send(said)
    found = client.take(Kind.DISCONNECT)
    assert found.wire == bytes([0xE0, 1, reason]) or found.wire == bytes([0xE0, 2, reason, 0]), found.wire
    assert client.last_words() is None


def is_not_let_in(raw, said, reason):
    """Who begins with this gets a CONNACK with the reason, no session present, and is closed."""
    client = raw.unconnected()
    client.send(said)
    found = client.next()
    assert (found.kind, found.reason, found.session_present) == (Kind.CONNACK, reason, False), found
    assert client.last_words() is None


def settle(client, found):
    """Acknowledges a message to its end by hand."""
    if found.qos == 1:
        client.send(ack(Kind.PUBACK, found.packet_id))
    elif found.qos == 2:
        client.send(ack(Kind.PUBREC, found.packet_id))
        assert client.take(Kind.PUBREL).packet_id == found.packet_id
        client.send(ack(Kind.PUBCOMP, found.packet_id))

