"""What a client must not say, byte for byte, and how the server ends it."""

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from raw_mqtt import V3, V5, VERSIONS, ack, connect, disconnect, name, number, packet, publish, raw, server, session
from raw_mqtt import string, subscribe, unsubscribe

__all__ = ["name", "raw", "server"]
MALFORMED, PROTOCOL, FILTER, TOPIC, ALIAS = 0x81, 0x82, 0x8F, 0x90, 0x94
# A packet that breaks the syntax may be called either (MQTT 5.0 section 4.13.1).
EITHER = (MALFORMED, PROTOCOL)


def topic_alias(alias, topic="a"):
    return lambda version: publish(version, topic, "x", qos=1, TopicAlias=alias)


FAULTS = {
    # name: packets of a version, and the reasons that may be given.
    "second CONNECT": (connect, [PROTOCOL]),
    "packet type 0": (lambda v: packet(0, 0, b""), EITHER),
    "AUTH without a method": (lambda v: packet(Kind.AUTH, 0, b"\x18\x00"), EITHER),
    "CONNACK": (lambda v: packet(Kind.CONNACK, 0, b"\0\0" if v == V3 else b"\0\0\0"), EITHER),
    "SUBACK": (lambda v: packet(Kind.SUBACK, 0, b"\0\1\0" if v == V3 else b"\0\1\0\0"), EITHER),
    "PINGRESP": (lambda v: packet(Kind.PINGRESP, 0, b""), EITHER),
    "PUBACK flags": (lambda v: packet(Kind.PUBACK, 1, number(1)), EITHER),
    "PUBREL flags": (lambda v: packet(Kind.PUBREL, 0, number(1)), EITHER),
    "SUBSCRIBE flags": (lambda v: b"\x80" + subscribe(v, [("a", 0)])[1:], EITHER),
    "UNSUBSCRIBE flags": (lambda v: b"\xa0" + unsubscribe(v, ["a"])[1:], EITHER),
    "PINGREQ flags": (lambda v: packet(Kind.PINGREQ, 1, b""), EITHER),
    "PINGREQ with a body": (lambda v: packet(Kind.PINGREQ, 0, b"x"), EITHER),
    "DISCONNECT flags": (lambda v: packet(Kind.DISCONNECT, 1, b""), EITHER),
    "PUBLISH at QoS 3": (lambda v: publish(v, "a", "x", qos=3), EITHER),
    "QoS 0 marked as duplicate": (lambda v: publish(v, "a", "x", dup=1), EITHER),
    "PUBLISH with packet id 0": (lambda v: publish(v, "a", "x", qos=1, packet_id=0), EITHER),
    "SUBSCRIBE with packet id 0": (lambda v: subscribe(v, [("a", 0)], 0), EITHER),
    "SUBSCRIBE without filters": (lambda v: subscribe(v, []), EITHER),
    "UNSUBSCRIBE without filters": (lambda v: unsubscribe(v, []), EITHER),
    "SUBSCRIBE at QoS 3": (lambda v: subscribe(v, [("a", 3)]), EITHER),
    "SUBSCRIBE reserved bits": (lambda v: subscribe(v, [("a", 0x40)]), EITHER),
    "SUBSCRIBE to an empty filter": (lambda v: subscribe(v, [("", 0)]), [*EITHER, FILTER]),
    "PUBLISH to +": (lambda v: publish(v, "a/+", "x", qos=1), [*EITHER, TOPIC]),
    "PUBLISH to #": (lambda v: publish(v, "a/#", "x"), [*EITHER, TOPIC]),
    "PUBLISH to no topic": (lambda v: publish(v, "", "x", qos=1), EITHER),
    "U+0000 in a topic": (lambda v: publish(v, "a\0b", "x"), [*EITHER, TOPIC]),
    "a surrogate in a topic": (lambda v: publish(v, b"a\xed\xa0\x80", "x"), [*EITHER, TOPIC]),
    "an overlong form in a filter": (lambda v: subscribe(v, [(b"a\xc0\x80", 0)]), [*EITHER, FILTER]),
    "a topic longer than the packet": (lambda v: packet(Kind.PUBLISH, 0, b"\x00\x09a"), EITHER),
    "a length of five bytes": (lambda v: b"\x30\xff\xff\xff\xff\x7f", EITHER),
    "a packet larger than allowed": (lambda v: b"\x30\xff\xff\xff\x7f", [0x95]),
}
FAULTS_V5 = {
    "AUTH flags": (lambda v: packet(Kind.AUTH, 1, b"\x18\x00"), EITHER),
    "retain handling 3": (lambda v: subscribe(v, [("a", 0x30)]), EITHER),
    "subscription identifier 0": (lambda v: subscribe(v, [("a", 0)], SubscriptionIdentifier=0), EITHER),
    "subscription identifier in PUBLISH": (lambda v: publish(v, "a", "x", SubscriptionIdentifier=1), EITHER),
    "no local on a shared subscription": (lambda v: subscribe(v, [("$share/g/a", 5)]), [PROTOCOL]),
    "a property twice": (lambda v: publish(v, "a", "x", ContentType=["a", "b"]), [PROTOCOL]),
    "a property of another packet": (lambda v: publish(v, "a", "x", ServerKeepAlive=1), EITHER),
    "an unknown property": (lambda v: packet(Kind.PUBLISH, 0, string("a") + b"\x02\x7f\x00"), EITHER),
    "properties longer than the packet": (lambda v: packet(Kind.PUBLISH, 0, string("a") + b"\x09\x01"), EITHER),
    "payload format 2": (lambda v: publish(v, "a", "x", PayloadFormatIndicator=2), EITHER),
    "response topic with a wildcard": (lambda v: publish(v, "a", "x", ResponseTopic="a/+"), [*EITHER, TOPIC]),
    "topic alias 0": (topic_alias(0), [ALIAS]),
    "topic alias above the maximum": (topic_alias(65_535), [ALIAS]),
    # Section 3.3.2.3.4: no mapping and a topic of no length are a protocol error, not 0x94.
    "topic alias never given": (topic_alias(1, ""), [PROTOCOL]),
    "an undefined reason": (lambda v: packet(Kind.PUBACK, 0, number(1) + b"\x55"), EITHER),
    "expiry raised from 0": (lambda v: disconnect(v, SessionExpiryInterval=60), [PROTOCOL]),
}
CASES = [(version, fault) for version in (V3, V5) for fault in FAULTS] + [(V5, fault) for fault in FAULTS_V5]


@pytest.mark.parametrize("version, fault", CASES, ids=[f"v{version}-{fault}" for version, fault in CASES])
def test_a_fault_ends_the_connection_and_sends_the_will(raw, name, version, fault):
    watcher = raw(version)
    watcher.subscribe(name)
    said, reasons = {**FAULTS, **FAULTS_V5}[fault]
    client = raw(version, will={"topic": name})
    client.send(said(version))
    assert client.last_words() in (reasons if version == V5 else [None])
    assert watcher.message().text == "gone"


@VERSIONS
@pytest.mark.parametrize("wrong", ["a/#/b", "a#", "+a", "a/b+", "#/"])
def test_a_filter_with_a_misplaced_wildcard_is_refused_or_ends_it(raw, version, wrong):
    client = raw(version)
    client.send(subscribe(version, [(wrong, 0)]))
    try:
        found = client.next()
    except EOFError:
        assert version == V3
        return
    if found.kind == Kind.SUBACK:
        assert found.codes == (FILTER if version == V5 else 0x80,)
    else:
        assert (version, found.kind) == (V5, Kind.DISCONNECT) and found.reason in (*EITHER, FILTER)


@pytest.mark.parametrize("wrong", ["$share/g", "$share//t", "$share/g/", "$share/+/t", "$share/#/t"])
def test_a_shared_filter_without_a_group_or_filter_is_refused_or_ends_it(raw, wrong):
    client = raw()
    client.send(subscribe(V5, [(wrong, 0)]))
    found = client.next()
    assert (found.codes == (FILTER,)) if found.kind == Kind.SUBACK else found.reason in (*EITHER, FILTER)


# CONNECT as it should not be, and what CONNACK says in 5.0; 3.1.1 closes where it has no code.
def damaged(flags_on=0, flags_off=0):
    def make(version):
        said = bytearray(connect(version))
        said[9] = said[9] & ~flags_off | flags_on
        return bytes(said)
    return make


CONNECTS = {
    "reserved flag": damaged(flags_on=0x01),
    "will QoS without will": damaged(flags_on=0x08),
    "will retain without will": damaged(flags_on=0x20),
    "will QoS 3": lambda v: connect(v, will={"topic": "a", "qos": 3}),
    "a payload that ends early": lambda v: connect(v, user=None, password=None)[:1] + b"\x0c" + string("MQTT")
    + bytes([v, 0x82]) + number(60) + number(0),
    "bytes behind the payload": lambda v: (lambda said: said[:1] + bytes([said[1] + 1]) + said[2:] + b"x")(connect(v)),
    "another protocol's name": lambda v: connect(v).replace(b"MQTT", b"MQXX"),
    "U+0000 in the client id": lambda v: connect(v, "a\0b"),
}


@VERSIONS
@pytest.mark.parametrize("fault", CONNECTS)
def test_a_wrong_connect_is_not_let_in(raw, version, fault):
    client = raw.unconnected(version)
    client.send(CONNECTS[fault](version))
    try:
        found = client.next()
        assert found.kind == Kind.CONNACK and found.reason >= (0x80 if version == V5 else 1)
    except (EOFError, ConnectionResetError):
        return
    assert client.last_words() is None


@pytest.mark.parametrize("properties, reasons", [
    ({"ReceiveMaximum": 0}, EITHER), ({"MaximumPacketSize": 0}, EITHER), ({"RequestProblemInformation": 2}, EITHER),
    ({"SessionExpiryInterval": [1, 2]}, EITHER), ({"AuthenticationData": b"x"}, EITHER),
    ({"AuthenticationMethod": "SCRAM-SHA-1", "AuthenticationData": b"x"}, [0x8C]), ({"TopicAlias": 1}, EITHER),
])
def test_a_connect_with_wrong_properties_is_answered_with_why(raw, properties, reasons):
    client = raw.unconnected()
    client.send(connect(V5, properties=properties))
    assert client.take(Kind.CONNACK).reason in reasons
    assert client.last_words() is None


@pytest.mark.parametrize("level, answer", [(3, b"\x20\x02\x00\x01"), (6, b"\x20\x03\x00\x84\x00")])
def test_an_unknown_level_is_told_so(raw, level, answer):
    client = raw.unconnected(V5)
    client.send(connect(V5).replace(b"MQTT\x05", b"MQTT" + bytes([level])))
    assert client.socket.recv(64) == answer
    assert client.last_words() is None


@VERSIONS
@pytest.mark.parametrize("who", [{"password": "wrong"}, {"user": None, "password": None}])
def test_who_is_not_known_is_not_let_in(raw, version, who):
    client = raw.unconnected(version)
    client.login(**who)
    assert client.connack.reason in ((0x86, 0x87) if version == V5 else (4, 5))
    assert client.last_words() is None


@VERSIONS
def test_the_first_packet_is_connect(raw, version):
    client = raw.unconnected(version)
    client.send(publish(version, "a", "x"))
    assert client.last_words() is None


@VERSIONS
@pytest.mark.parametrize("kind, answer", [(Kind.PUBACK, None), (Kind.PUBREC, Kind.PUBREL), (Kind.PUBREL, Kind.PUBCOMP)])
def test_an_unknown_packet_id_is_answered_and_forgiven(raw, version, kind, answer):
    client = raw(version)
    client.acknowledges = False
    client.send(ack(kind, 77))
    if answer and not (version == V3 and kind == Kind.PUBREC):
        found = client.take(answer)
        assert (found.packet_id, found.reason) == (77, 0x92 if version == V5 else 0)
    client.ping()


@VERSIONS
def test_a_packet_larger_than_the_server_takes_ends_it_before_it_is_sent(raw, version):
    client = raw(version)
    if version == V5:
        assert client.connack.properties["MaximumPacketSize"] == 1 << 20
    client.send(b"\x32\x81\x80\x40")
    assert client.last_words() == (0x95 if version == V5 else None)


def test_an_alias_ends_with_its_connection(raw, name):
    client = raw(client_id=name, **session(60))
    client.publish(name, "x", TopicAlias=1)
    client.drop()
    again = raw(client_id=name, **session(60))
    again.send(publish(V5, "", "x", TopicAlias=1))
    assert again.last_words() == PROTOCOL


def test_a_payload_that_is_not_the_text_it_says_is_refused(raw, name):
    client = raw()
    client.send(publish(V5, name, b"\xff", qos=1, PayloadFormatIndicator=1))
    found = client.next()
    assert found.kind in (Kind.PUBACK, Kind.DISCONNECT) and found.reason == 0x99


def test_twice_the_receive_maximum_unreleased_ends_it(raw, name):
    client = raw()
    most = client.connack.properties["ReceiveMaximum"]
    try:
        for packet_id in range(1, 2 * most + 2):
            client.send(publish(V5, name, "x", qos=2, packet_id=packet_id))
    except (ConnectionResetError, BrokenPipeError):
        pass
    assert client.last_words() == 0x93
