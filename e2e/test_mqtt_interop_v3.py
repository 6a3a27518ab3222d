"""What MQTT 3.1.1 asks of a server, most of which 5.0 asks too: those tests run in both versions."""

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from client import Client
from raw_mqtt import OWNER, PING, V3, V5, VERSIONS, WAIT, ack, connect, name, publish, raw, server
from raw_mqtt import session, subscribe

QOS = pytest.mark.parametrize("qos", [0, 1, 2])
TRANSPORTS = pytest.mark.parametrize("transport", ["tcp", "websockets"])
__all__ = ["name", "raw", "server"]


def paho(server, version=V3, transport="tcp", **more):
    door = server.door("http" if transport == "websockets" else "mqtt")
    client = Client(door, "interop", OWNER, version=mqtt.MQTTProtocolVersion(version), transport=transport, **more)
    assert not client.reason.is_failure, client.reason
    return client


@VERSIONS
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_a_message_comes_at_the_lower_of_both_qos(server, raw, name, version, granted):
    reader = raw(version)
    assert reader.subscribe((f"{name}/+", granted)) == (granted,)
    sender = raw(version)
    for said in (0, 1, 2):
        assert sender.publish(f"{name}/{said}", f"q{said}", said)
        found = reader.message()
        assert (found.topic, found.text, found.qos) == (f"{name}/{said}", f"q{said}", min(said, granted))
        assert (found.dup, found.retain) == (0, 0)


@VERSIONS
@TRANSPORTS
@QOS
def test_paho_sends_a_thousand_messages_in_order(server, name, version, transport, qos):
    reader, sender = (paho(server, version, transport) for _ in range(2))
    reader.subscribe(f"{name}/#", qos)
    for count in range(1_000):
        sender.send(f"{name}/burst", str(count), qos)
    assert [int(reader.next()[1]) for _ in range(1_000)] == list(range(1_000))
    reader.leave()
    sender.leave()


@VERSIONS
@TRANSPORTS
@QOS
def test_paho_sends_900_kb(server, name, version, transport, qos):
    reader, sender = (paho(server, version, transport) for _ in range(2))
    reader.subscribe(f"{name}/#", qos)
    payload = bytes(range(256)) * 3_600
    sender.send(f"{name}/big", payload, qos)
    found = reader.messages.get(timeout=WAIT)
    assert found.payload == payload and found.qos == qos
    reader.leave()
    sender.leave()


@VERSIONS
def test_a_message_of_one_version_reaches_the_other(raw, name, version):
    reader, sender = raw(version), raw(V3 + V5 - version)
    reader.subscribe((name, 2))
    sender.publish(name, "across", 2, **({"ContentType": "text/plain"} if version == V3 else {}))
    assert reader.message().text == "across"


@VERSIONS
def test_what_is_retained_is_marked_only_for_those_who_come_later(raw, name, version):
    present, sender = raw(version), raw(version)
    present.subscribe((f"{name}/#", 2))
    for qos in (0, 1, 2):
        sender.publish(f"{name}/{qos}", "old", qos, retain=1)
        sender.publish(f"{name}/{qos}", f"q{qos}", qos, retain=1)
    assert [present.message().retain for _ in range(6)] == [0] * 6
    later = raw(version)
    later.subscribe((f"{name}/+", 2))
    found = sorted((m.topic, m.text, m.qos, m.retain) for m in (later.message() for _ in range(3)))
    assert found == [(f"{name}/{qos}", f"q{qos}", qos, 1) for qos in (0, 1, 2)]
    for qos in (0, 1, 2):
        sender.publish(f"{name}/{qos}", "", qos, retain=1)


@VERSIONS
@QOS
def test_an_empty_retained_message_deletes_and_is_itself_delivered(raw, name, version, qos):
    present, sender = raw(version), raw(version)
    sender.publish(name, "kept", retain=1)
    present.subscribe((name, 2))
    assert present.message().retain == 1
    sender.publish(name, "", qos, retain=1)
    found = present.message()
    assert (found.payload, found.retain) == (b"", 0)
    later = raw(version)
    later.subscribe((name, 2))
    sender.publish(name, "end")
    assert later.texts_until("end") == []


@VERSIONS
def test_subscribing_again_replaces_the_qos_and_sends_the_retained_again(raw, name, version):
    reader, sender = raw(version), raw(version)
    sender.publish(name, "kept", 2, retain=1)
    for qos in (2, 0):
        assert reader.subscribe((name, qos)) == (qos,)
        found = reader.message()
        assert (found.text, found.qos, found.retain) == ("kept", qos, 1)
    sender.publish(name, "once", 2)
    assert reader.message().qos == 0
    sender.publish(name, "end", 2, retain=1)
    assert reader.texts_until("end") == []
    sender.publish(name, "", retain=1)


@VERSIONS
def test_an_empty_client_id_with_a_clean_session_is_taken(raw, version):
    first, second = raw(version), raw(version)
    first.ping()
    second.ping()


def test_an_empty_client_id_without_a_clean_session_is_refused(raw):
    client = raw.unconnected(V3)
    client.login("", clean=False)
    assert (client.connack.reason, client.connack.session_present) == (0x02, False)
    assert client.last_words() is None


@VERSIONS
def test_qos_2_said_twice_is_delivered_once(raw, name, version):
    reader = raw(version)
    reader.subscribe((name, 2))
    sender = raw(version, name, **session(60))
    for dup in (0, 1):
        sender.send(publish(version, name, "once", qos=2, packet_id=7, dup=dup))
        assert sender.take(Kind.PUBREC).packet_id == 7
    sender.drop()
    sender = raw(version, name, **session(60))
    sender.send(publish(version, name, "once", qos=2, packet_id=7, dup=1))
    assert sender.take(Kind.PUBREC).packet_id == 7
    sender.send(ack(Kind.PUBREL, 7))
    assert (sender.take(Kind.PUBCOMP).packet_id) == 7
    sender.send(ack(Kind.PUBREL, 7))
    assert sender.take(Kind.PUBCOMP).packet_id == 7
    sender.send(publish(version, name, "end", qos=2, packet_id=7))
    assert sender.take(Kind.PUBREC).packet_id == 7
    sender.send(ack(Kind.PUBREL, 7))
    assert reader.texts_until("end") == ["once"]


@VERSIONS
def test_the_duplicate_mark_of_a_sender_is_not_passed_on(raw, name, version):
    reader, sender = raw(version), raw(version)
    reader.subscribe((name, 1))
    sender.publish(name, "again", 1, dup=1)
    assert reader.message().dup == 0


@VERSIONS
def test_overlapping_subscriptions_deliver_at_the_highest_qos(raw, name, version):
    reader = raw(version)
    assert reader.subscribe((f"{name}/#", 2), (f"{name}/+", 1)) == (2, 1)
    sender = raw(version)
    sender.publish(f"{name}/x", "both", 2)
    sender.publish(f"{name}/end", "end", 2)
    copies = [reader.message()]
    while (found := reader.message()).text != "end":
        copies.append(found)
    assert sorted(m.qos for m in copies) in ([2], [1, 2])


@VERSIONS
def test_dollar_topics_are_not_matched_by_wildcards(raw, name, version):
    reader, sender = raw(version), raw(version)
    reader.subscribe("#", f"+/{name}")
    sender.publish(f"${name}/{name}", "hidden", 1)
    sender.publish(f"$SYS/{name}", "hidden", 1)
    sender.publish(f"x/{name}", "end", 1)
    seen = [reader.message()]
    while seen[-1].text != "end":
        seen.append(reader.message())
    assert not [m for m in seen if m.topic.startswith("$")]


@VERSIONS
@pytest.mark.parametrize("filter, matching, other", [
    ("n/#", ["n", "n/a", "n/a/b", "n/"], ["nn", "N/a", "m/a"]),
    ("n/+", ["n/a", "n/"], ["n", "n/a/b", "n/a/"]),
    ("n/+/c", ["n/b/c", "n//c"], ["n/c", "n/b/b/c"]),
    ("n/+/#", ["n/a", "n/a/b", "n/"], ["n"]),
    ("+/n/", ["x/n/", "/n/"], ["x/n", "x/n/y"]),
])
def test_wildcards_match_whole_levels(raw, name, version, filter, matching, other):
    # `n` stands for a level of the test's own.
    own = lambda text: "/".join(name if level == "n" else level for level in text.split("/"))
    reader, sender = raw(version), raw(version)
    reader.subscribe(own(filter), f"{name}-end")
    for topic in matching + other:
        sender.publish(own(topic), topic)
    sender.publish(f"{name}-end", "end")
    assert reader.texts_until("end") == matching


@VERSIONS
def test_unsubscribing_ends_delivery(raw, name, version):
    reader, sender = raw(version), raw(version)
    reader.subscribe(f"{name}/a", f"{name}/b", f"{name}/end")
    codes = reader.unsubscribe(f"{name}/a", f"{name}/never", f"{name}/+")
    assert codes == ((0x00, 0x11, 0x11) if version == V5 else ())
    for level in ("a", "b", "end"):
        sender.publish(f"{name}/{level}", level)
    assert reader.texts_until("end") == ["b"]


@VERSIONS
def test_each_filter_has_its_code(raw, name, version):
    # Only a device has topics under `me`.
    codes = raw(version).subscribe((f"{name}/a", 2), ("me/commands", 1), (f"{name}/b", 0))
    assert codes == (2, 0x87 if version == V5 else 0x80, 0)


@VERSIONS
def test_everything_in_one_segment_is_done_in_order(raw, name, version):
    client = raw.unconnected(version)
    client.send(
        connect(version), subscribe(version, [(name, 1)], 1), publish(version, name, "a", qos=1, packet_id=2),
        publish(version, name, "b"), PING,
    )
    assert client.take(Kind.CONNACK).reason == 0
    assert client.take(Kind.SUBACK).codes == (1,)
    assert [client.message().text for _ in range(2)] == ["a", "b"]
    assert client.take(Kind.PUBACK).packet_id == 2
    client.take(Kind.PINGRESP)


@VERSIONS
def test_packets_may_be_cut_anywhere_also_right_behind_connect(raw, name, version):
    hello = connect(version)
    said = hello + publish(version, name, "a", qos=1, packet_id=2)
    for cut in range(1, len(said)):
        client = raw.unconnected(version)
        client.send(said[:cut])
        if cut >= len(hello):
            assert client.take(Kind.CONNACK).reason == 0
        client.send(said[cut:])
        assert client.take(Kind.PUBACK).packet_id == 2, f"cut at {cut} of {len(said)}, CONNECT has {len(hello)}"
        client.drop()
