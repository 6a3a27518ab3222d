"""Sections 4.2 to 4.6: transports, the three qualities of service, sending again, and order."""

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import proves
from conformance.v5.asserts import settle
from raw_mqtt import PING, V5, Raw, ack, connections, let_pass, number, publish, session


@proves("MQTT-4.3.1-1")
@pytest.mark.parametrize("said, granted", [(0, 0), (0, 2), (1, 0), (2, 0)])
def test_qos_0_goes_out_without_packet_id_and_mark(raw, name, said, granted):
    reader, sender = raw(), raw()
    reader.subscribe((name, granted))
    sender.publish(name, "x", said)
    assert reader.message().wire == b"\x30" + bytes([2 + len(name) + 2]) + b"\0" + bytes([len(name)]) + name.encode() + b"\0x"


@proves("MQTT-4.3.2-3", "MQTT-4.3.3-3", "MQTT-4.4.0-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_is_held_until_its_acknowledgement(raw, name, qos):
    reader, sender = raw(client_id=name, **session(60)), raw()
    reader.acknowledges = False
    reader.subscribe((name, qos))
    for text in "ab":
        sender.publish(name, text, qos)
    found = [reader.message(), reader.message()]
    # Another's acknowledgement, and none at all, change nothing.
    settle(reader, found[1])
    reader.ping().drop()
    for _ in range(2):
        reader = raw(client_id=name, **session(60))
        reader.acknowledges = False
        again = reader.next()
        assert (again.text, again.dup, again.packet_id) == ("a", 1, found[0].packet_id)
        reader.ping()
        assert not reader._passed_over
        reader.drop()
    reader = raw(client_id=name, **session(60))
    reader.acknowledges = False
    settle(reader, reader.next())
    reader.ping().leave()
    reader = raw(client_id=name, **session(60))
    reader.ping()
    assert not reader._passed_over


@proves("MQTT-4.3.2-5")
def test_a_packet_id_after_puback_is_a_new_message_whatever_its_mark(raw, name):
    reader, sender = raw(), raw()
    reader.subscribe(name)
    for dup in (0, 1, 0, 1):
        sender.send(publish(V5, name, "x", qos=1, packet_id=3, dup=dup))
        assert sender.next().wire == b"\x40\x02\0\3"
    sender.publish(name, "end")
    assert reader.texts_until("end") == ["x"] * 4


@proves("MQTT-4.3.3-10", "MQTT-4.3.3-11", "MQTT-4.3.3-12")
def test_a_repeated_qos_2_message_is_delivered_once(raw, name):
    reader, sender = raw(), raw(client_id=name, **session(60))
    reader.subscribe((name, 2))
    said = lambda text, dup: publish(V5, name, text, qos=2, packet_id=9, dup=dup)
    for dup in (0, 1, 1):
        sender.send(said("first", dup))
        assert sender.next().wire in (b"\x50\x02\0\x09", b"\x50\x03\0\x09\0")
    sender.drop()
    sender = raw(client_id=name, **session(60))
    sender.send(said("first", 1))
    assert sender.next().wire[:4] == b"\x50\x02\0\x09"
    for _ in range(2):
        sender.send(ack(Kind.PUBREL, 9))
    assert sender.next().wire == b"\x70\x02\0\x09"
    assert sender.next().wire == b"\x70\x03\0\x09\x92"
    sender.send(said("second", 1))
    assert sender.next().kind == Kind.PUBREC
    sender.send(ack(Kind.PUBREL, 9))
    assert sender.next().wire == b"\x70\x02\0\x09"
    sender.publish(name, "end", 2)
    assert reader.texts_until("end") == ["first", "second"]


@proves("MQTT-4.3.3-9")
def test_a_packet_id_whose_message_was_refused_is_free(raw, name):
    reader, sender = raw(), raw()
    reader.subscribe((name, 2))
    for _ in range(2):
        sender.send(publish(V5, f"${name}", "x", qos=2, packet_id=4))
        assert sender.next().reason == 0x87
    sender.send(publish(V5, name, "taken", qos=2, packet_id=4))
    assert sender.next().wire == b"\x50\x02\0\4"
    sender.send(ack(Kind.PUBREL, 4))
    assert sender.next().wire == b"\x70\x02\0\4"
    assert reader.message().text == "taken"


@proves("MQTT-4.3.3-4", "MQTT-4.3.3-5", "MQTT-4.3.3-6", "MQTT-4.4.0-1")
def test_pubrel_answers_pubrec_and_comes_again_until_pubcomp(raw, name):
    reader, sender = raw(client_id=name, **session(60)), raw()
    reader.acknowledges = False
    reader.subscribe((name, 2))
    sender.publish(name, "once", 2)
    found = reader.message()
    id = number(found.packet_id)
    reader.send(ack(Kind.PUBREC, found.packet_id, 0x10))
    assert reader.next().wire == b"\x62\x02" + id
    for _ in range(2):
        reader.drop()
        reader = raw(client_id=name, **session(60))
        reader.acknowledges = False
        assert reader.next().wire == b"\x62\x02" + id
        reader.ping()
        assert not reader._passed_over
    reader.send(ack(Kind.PUBCOMP, found.packet_id))
    reader.ping().drop()
    reader = raw(client_id=name, **session(60))
    reader.ping()
    assert not reader._passed_over


@proves("MQTT-4.4.0-2", "MQTT-4.3.3-4")
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("reason", [0x80, 0x83, 0x87, 0x90, 0x97, 0x99])
def test_a_message_that_the_client_refused_does_not_come_again(raw, name, qos, reason):
    reader, sender = raw(client_id=name, **session(60)), raw()
    reader.acknowledges = False
    reader.subscribe((name, qos))
    sender.publish(name, "refused", qos)
    kind = Kind.PUBACK if qos == 1 else Kind.PUBREC
    reader.send(ack(kind, reader.message().packet_id, reason), PING)
    # No PUBREL for a refusal.
    assert reader.next().kind == Kind.PINGRESP
    reader.drop()
    again = raw(client_id=name, **session(60))
    again.subscribe(f"{name}/end")
    sender.publish(f"{name}/end", "end")
    assert again.texts_until("end") == []


@proves("MQTT-4.3.3-7", "MQTT-4.3.3-13")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_expires_after_it_was_sent_is_seen_through(raw, name, qos):
    reader, sender = raw(client_id=name, **session(60)), raw()
    reader.acknowledges = False
    reader.subscribe((name, qos))
    sender.send(publish(V5, name, "x", qos=qos, packet_id=6, MessageExpiryInterval=1))
    assert sender.next().wire[:4] == bytes([0x40 if qos == 1 else 0x50, 2, 0, 6])
    found = reader.message()
    let_pass(raw, name, 2)
    reader.drop()
    reader = raw(client_id=name, **session(60))
    reader.acknowledges = False
    again = reader.message()
    assert (again.text, again.packet_id, again.dup) == ("x", found.packet_id, 1)
    settle(reader, again)
    reader.ping()
    if qos == 2:
        # The receiver's half goes on as well.
        sender.send(publish(V5, name, "x", qos=2, packet_id=6, dup=1, MessageExpiryInterval=1))
        assert sender.next().wire[:4] == b"\x50\x02\0\6"
        sender.send(ack(Kind.PUBREL, 6))
        assert sender.next().wire == b"\x70\x02\0\6"


@proves("MQTT-4.5.0-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_is_added_to_every_session_that_subscribed(raw, name, qos):
    ids = [f"{name}-{number}" for number in range(6)]
    for client_id in ids:
        raw(client_id=client_id, **session(60)).subscribe((name, 2))
    for client_id in ids[:3]:
        raw(client_id=client_id, **session(60)).leave()
    raw().publish(name, "for all", qos)
    for client_id in ids:
        assert raw(client_id=client_id, **session(60)).message().text == "for all"


@proves("MQTT-4.6.0-5", "MQTT-4.6.0-6")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("way", ["live", "waiting"])
def test_messages_come_in_the_order_they_were_sent(raw, name, qos, way):
    reader, sender = raw(client_id=name, **session(60)), raw()
    reader.subscribe((f"{name}/#", 2))
    if way == "waiting":
        reader.leave()
        qos = qos or 1
    sent = [(f"{name}/{count % 3}", str(count)) for count in range(300)]
    sender.send(*(publish(V5, topic, text, qos=qos, packet_id=int(text) + 1) for topic, text in sent))
    if qos:
        kind = Kind.PUBACK if qos == 1 else Kind.PUBREC
        assert [sender.take(kind).packet_id for _ in sent] == list(range(1, 301))
    if way == "waiting":
        reader = raw(client_id=name, **session(60))
    found = [reader.message() for _ in sent]
    assert [(one.topic, one.text) for one in found] == sent


@proves("MQTT-4.6.0-5", "MQTT-4.6.0-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_what_comes_again_comes_in_the_old_order_and_before_the_new(raw, name, qos):
    reader, sender = raw(client_id=name, **session(60)), raw()
    reader.acknowledges = False
    reader.subscribe((name, qos))
    for count in range(20):
        sender.publish(name, str(count), qos)
    found = [reader.message() for _ in range(20)]
    for one in found[::2]:
        settle(reader, one)
    reader.ping().drop()
    for count in range(20, 30):
        sender.publish(name, str(count), qos)
    again = raw(client_id=name, **session(60))
    expected = [str(count) for count in range(1, 20, 2)] + [str(count) for count in range(20, 30)]
    second = [again.message() for _ in expected]
    assert [one.text for one in second] == expected
    assert [one.dup for one in second] == [1] * 10 + [0] * 10


@proves("MQTT-4.6.0-2", "MQTT-4.6.0-3", "MQTT-4.6.0-4")
def test_the_server_answers_in_the_order_of_what_it_answers(raw, name):
    client = raw()
    ids = [7, 3, 9, 1, 65_535, 2]
    client.send(*(publish(V5, name, "x", qos=1, packet_id=one) for one in ids))
    assert [client.take(Kind.PUBACK).packet_id for _ in ids] == ids
    client.send(*(publish(V5, name, "x", qos=2, packet_id=one) for one in ids))
    assert [client.take(Kind.PUBREC).packet_id for _ in ids] == ids
    client.send(*(ack(Kind.PUBREL, one) for one in reversed(ids)))
    assert [client.take(Kind.PUBCOMP).packet_id for _ in ids] == ids[::-1]
    client.acknowledges = False
    client.subscribe((name, 2))
    client.send(*(publish(V5, name, "x", qos=2, packet_id=one) for one in ids))
    found = [client.message().packet_id for _ in ids]
    client.send(*(ack(Kind.PUBREC, one) for one in reversed(found)))
    assert [client.take(Kind.PUBREL).packet_id for _ in ids] == found[::-1]


@pytest.fixture
def mortal(make_roost):
    """A server of the test's own, to be killed, and clients of it: `mortal.raw(...)`."""
    server = make_roost()
    server.raw = lambda client_id="", **more: logged_in(server, client_id, **more)
    return server


def logged_in(server, client_id, **more):
    client = Raw(server.door("mqtt"), V5)
    client.login(client_id, **more)
    assert client.connack.reason == 0, client.connack
    return client


def reborn(server):
    server.kill()
    server.start()


@proves("MQTT-4.3.3-10", "MQTT-4.3.3-12", "MQTT-4.3.3-8")
def test_qos_2_from_a_client_is_exactly_once_over_kill_9(mortal, name):
    mortal.raw(name, **session(600)).subscribe((name, 2))
    sender = mortal.raw("sender", **session(600))
    for round in range(3):
        said = [publish(V5, name, f"{round}.{count}", qos=2, packet_id=count) for count in range(1, 31)]
        sender.send(*said)
        for count in range(1, 31):
            assert sender.take(Kind.PUBREC).packet_id == count
        sender.send(*(ack(Kind.PUBREL, count) for count in range(1, 11)))
        for count in range(1, 11):
            assert sender.take(Kind.PUBCOMP).packet_id == count
        reborn(mortal)
        sender = mortal.raw("sender", **session(600))
        assert sender.connack.session_present
        # Those whose PUBREC was heard are between PUBREC and PUBREL, so repeating them delivers nothing.
        sender.send(*(bytes([one[0] | 8]) + one[1:] for one in said[10:]))
        for count in range(11, 31):
            found = sender.take(Kind.PUBREC)
            assert (found.packet_id, found.reason) == (count, 0)
        sender.send(*(ack(Kind.PUBREL, count) for count in range(11, 31)))
        for count in range(11, 31):
            assert sender.take(Kind.PUBCOMP).wire == b"\x70\x02\0" + bytes([count])
    reader = mortal.raw(name, **session(600))
    sender.publish(name, "end", 2)
    texts = reader.texts_until("end")
    assert texts == [f"{round}.{count}" for round in range(3) for count in range(1, 31)]


@proves("MQTT-4.4.0-1", "MQTT-4.3.3-5", "MQTT-4.3.3-6", "MQTT-4.3.2-3")
def test_qos_1_and_2_to_a_client_go_on_where_they_were_after_kill_9(mortal, name):
    reader = mortal.raw(name, **session(600))
    reader.acknowledges = False
    reader.subscribe((f"{name}/+", 2))
    sender = mortal.raw("sender")
    for qos in (1, 2):
        for count in range(4):
            sender.publish(f"{name}/{qos}", f"{qos}.{count}", qos)
    found = [reader.message() for _ in range(8)]
    settle(reader, found[0])
    settle(reader, found[4])
    reader.send(ack(Kind.PUBREC, found[5].packet_id))
    assert reader.take(Kind.PUBREL).packet_id == found[5].packet_id
    reader.ping()
    reborn(mortal)
    again = mortal.raw(name, **session(600))
    assert again.connack.session_present
    mortal.raw("sender").publish(f"{name}/1", "end", 1)
    second = []
    while not second or second[-1].payload != b"end":
        second.append(again.next())
    # PUBACK need not have been durable: what it ended may come again, marked and under its id.
    released = [one.packet_id for one in second if one.kind == Kind.PUBREL]
    assert found[5].packet_id in released
    texts = [one.text for one in second if one.kind == Kind.PUBLISH]
    assert sorted({*texts} - {"1.0"}) == ["1.1", "1.2", "1.3", "2.2", "2.3", "end"] and len({*texts}) == len(texts)
    for one in second[:-1]:
        if one.kind == Kind.PUBLISH:
            assert one.dup and one.packet_id == next(old.packet_id for old in found if old.text == one.text)


@proves("MQTT-3.3.1-5", "MQTT-3.1.2-23", "MQTT-4.5.0-1")
def test_subscriptions_waiting_and_kept_messages_are_there_after_kill_9(mortal, name):
    mortal.raw(name, **session(600)).subscribe((f"{name}/+", 2), (f"{name}/gone", 1))
    away = mortal.raw(name, **session(600))
    assert away.unsubscribe(f"{name}/gone") == (0,)
    away.drop()
    sender = mortal.raw("sender")
    sender.publish(f"{name}/a", "waiting", 2)
    sender.publish(f"kept/{name}", "kept", retain=1)
    sender.publish(f"kept/{name}x", "kept", retain=1)
    sender.publish(f"kept/{name}x", "", retain=1)
    reborn(mortal)
    back = mortal.raw(name, **session(600))
    assert back.connack.session_present and back.message().text == "waiting"
    mortal.raw("sender").publish(f"{name}/a", "live", 2)
    assert back.message().text == "live"
    assert back.unsubscribe(f"{name}/gone") == (0x11,)
    back.subscribe("kept/#", f"{name}-end")
    back.publish(f"{name}-end", "end")
    assert back.texts_until("end") == ["kept"]


@proves("MQTT-4.2.0-1")
def test_it_speaks_over_tcp_and_websocket(raw, server, name):
    from test_mqtt_interop_websocket import WebSocket
    reader, sender = WebSocket(server.door("http"), V5), raw()
    reader.login(name)
    reader.subscribe(name)
    sender.publish(name, "over both")
    assert reader.message().text == "over both"
    reader.drop()
