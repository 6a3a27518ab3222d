"""Section 3.1: CONNECT."""

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import case, proves
from conformance.v5.asserts import MALFORMED, PROTOCOL, is_ended, is_not_let_in
from raw_mqtt import PING, V5, ack, connect, disconnect, let_pass, number, packet, publish, session, string
from raw_mqtt import subscribe, unsubscribe
from roost import OWNER

FIRST = {
    "PUBLISH": publish(V5, "a", "x"), "SUBSCRIBE": subscribe(V5, [("a", 0)]), "PINGREQ": PING,
    "UNSUBSCRIBE": unsubscribe(V5, ["a"]), "DISCONNECT": disconnect(V5), "PUBACK": ack(Kind.PUBACK, 1),
    "AUTH": packet(Kind.AUTH, 0, b"\x18\x00"), "CONNACK": b"\x20\x03\0\0\0", "type 0": b"\0\0",
}


@proves("MQTT-3.1.0-1", "MQTT-3.14.0-1")
@pytest.mark.parametrize("first", FIRST)
def test_another_packet_before_connect_is_closed_without_a_word(raw, first):
    client = raw.unconnected()
    client.send(FIRST[first])
    with pytest.raises((EOFError, ConnectionResetError)):
        client.next()


@proves("MQTT-3.1.0-2")
def test_a_second_connect_is_a_protocol_error(raw, name):
    is_ended(raw, connect(V5, name), PROTOCOL)
    is_ended(raw, connect(V5), PROTOCOL, client_id=name)


@proves("MQTT-3.1.2-1")
@pytest.mark.parametrize("wrong", [b"MQTX", b"mqtt", b"MQIs"])
def test_another_protocol_name_is_closed_without_a_word(raw, wrong):
    client = raw.unconnected()
    client.send(connect(V5).replace(b"\0\4MQTT", b"\0\4" + wrong))
    with pytest.raises((EOFError, ConnectionResetError)):
        client.next()


@proves("MQTT-3.1.2-2")
@pytest.mark.parametrize("level, answer", [
    (0, b"\x20\x02\0\1"), (3, b"\x20\x02\0\1"), (6, b"\x20\x03\0\x84\0"), (255, b"\x20\x03\0\x84\0"),
])
def test_another_level_is_refused(raw, level, answer):
    client = raw.unconnected()
    client.send(connect(V5).replace(b"MQTT\x05", b"MQTT" + bytes([level])))
    assert client._read(len(answer)) == answer
    assert client.last_words() is None


def said_by_hand(flags, *fields, properties=b"\0"):
    """CONNECT with these flags and this payload."""
    return packet(Kind.CONNECT, 0, string("MQTT") + bytes([5, flags]) + number(60) + properties + b"".join(fields))


ID, USER, PASSWORD = string("hand"), string("interop"), string(OWNER)
WILL = b"\0" + string("a") + string("gone")
BY_HAND = [
    case(said_by_hand(0xC3, ID, USER, PASSWORD), proves=["MQTT-3.1.2-3"], id="reserved flag"),
    case(said_by_hand(0xC6, ID, USER, PASSWORD), proves=["MQTT-3.1.2-9"], id="no will fields"),
    case(said_by_hand(0xC6, ID, b"\0", string("a"), USER, PASSWORD), proves=["MQTT-3.1.2-9"], id="no will payload"),
    case(said_by_hand(0x06, ID, b"\0" + string("a")), proves=["MQTT-3.1.2-9", "MQTT-3.1.4-1"], id="ends in the will"),
    case(said_by_hand(0xCA, ID, USER, PASSWORD), proves=["MQTT-3.1.2-11"], id="will QoS 1 without will"),
    case(said_by_hand(0xD2, ID, USER, PASSWORD), proves=["MQTT-3.1.2-11"], id="will QoS 2 without will"),
    case(said_by_hand(0xC2, ID, WILL, USER, PASSWORD), proves=["MQTT-3.1.2-11", "MQTT-3.1.4-1"], id="will without flag"),
    case(said_by_hand(0xDE, ID, WILL, USER, PASSWORD), proves=["MQTT-3.1.2-12"], id="will QoS 3"),
    case(said_by_hand(0xE2, ID, USER, PASSWORD), proves=["MQTT-3.1.2-13"], id="will retain without will"),
    case(said_by_hand(0x42, ID, USER, PASSWORD), proves=["MQTT-3.1.2-16"], id="user name without flag"),
    case(said_by_hand(0xC2, ID, PASSWORD), proves=["MQTT-3.1.2-17", "MQTT-3.1.2-19"], id="one of two"),
    case(said_by_hand(0x82, ID, USER, PASSWORD), proves=["MQTT-3.1.2-18"], id="password without flag"),
    case(said_by_hand(0xC2, ID, USER), proves=["MQTT-3.1.2-19"], id="no password"),
    case(said_by_hand(0xC2), proves=["MQTT-3.1.3-3"], id="no client id"),
    case(said_by_hand(0xC2, ID, USER, PASSWORD, b"x"), proves=["MQTT-3.1.4-1"], id="a byte too many"),
    case(said_by_hand(0xC2, ID, USER, PASSWORD[:-1]), proves=["MQTT-3.1.4-1"], id="a byte too few"),
    case(said_by_hand(0xC2, ID, USER, PASSWORD, properties=b"\x05\x11\0"), proves=["MQTT-3.1.4-1"], id="property cut"),
    case(said_by_hand(0xC2, ID, USER, PASSWORD, properties=b"\x02\x7f\0"), proves=["MQTT-3.1.4-1"], id="no property"),
    case(said_by_hand(0xC2, ID, USER, PASSWORD, properties=b"\x03\x23\0\1"), proves=["MQTT-3.1.4-1"], id="another's"),
]


@pytest.mark.parametrize("said", BY_HAND)
def test_a_connect_that_does_not_agree_with_itself_is_malformed(raw, said):
    is_not_let_in(raw, said, MALFORMED)


@pytest.mark.parametrize("properties", [
    case({"ReceiveMaximum": 0}, proves=["MQTT-3.1.4-1"], id="receive maximum 0"),
    case({"MaximumPacketSize": 0}, proves=["MQTT-3.1.4-1"], id="maximum packet size 0"),
    case({"RequestProblemInformation": 2}, proves=["MQTT-3.1.4-1"], id="problem information 2"),
    case({"RequestResponseInformation": 2}, proves=["MQTT-3.1.4-1"], id="response information 2"),
    case({"SessionExpiryInterval": [1, 1]}, proves=["MQTT-3.1.4-1"], id="a property twice"),
    case({"AuthenticationData": b"x"}, proves=["MQTT-3.1.4-1"], id="data without method"),
])
def test_a_connect_with_a_wrong_property_is_a_protocol_error(raw, properties):
    is_not_let_in(raw, connect(V5, properties=properties), PROTOCOL)


@proves("MQTT-3.1.3-1")
def test_the_fields_are_read_in_their_order(raw, name):
    watcher, client = raw(), raw.unconnected()
    watcher.subscribe(name)
    will = b"\0" + string(name) + string("gone")
    client.send(said_by_hand(0xC6, string(name), will, USER, PASSWORD))
    assert client.take(Kind.CONNACK).reason == 0
    client.drop()
    assert watcher.message().text == "gone"


@proves("MQTT-3.1.2-18", "MQTT-3.1.2-19")
def test_user_name_and_password_may_come_alone(server, raw, name):
    token = server.device(name)
    raw(client_id=name, user=token, password=None).leave()
    client = raw(client_id=name, user=None, password=OWNER)
    client.ping()


@proves("MQTT-3.1.3-2")
def test_sessions_differ_by_client_id_to_the_letter(raw, name):
    for client_id in (f"{name}x", f"{name}X", f"{name}é", f"{name}e\u0301"):
        client = raw(client_id=client_id, **session(60))
        assert not client.connack.session_present
        client.subscribe(f"{name}/{client_id}")
        client.leave()
    sender = raw()
    sender.publish(f"{name}/{name}X", "upper")
    sender.publish(f"{name}/{name}é", "composed")
    assert raw(client_id=f"{name}X", **session(60)).message().text == "upper"
    assert raw(client_id=f"{name}é", **session(60)).message().text == "composed"


@proves("MQTT-3.1.3-5")
@pytest.mark.parametrize("client_id", ["0", "abcdefghijklmnopqrstuvw", "ABCDEFGHIJKLMNOPQRSTUVW", "xyzXYZ0123456789", "a" * 256])
def test_client_ids_of_letters_and_digits_are_taken(raw, client_id):
    assert "AssignedClientIdentifier" not in raw(client_id=client_id).connack.properties


@proves("MQTT-3.1.3-8")
@pytest.mark.parametrize("length", [257, 5_000])
def test_a_client_id_that_is_too_long_is_refused(raw, length):
    is_not_let_in(raw, connect(V5, "a" * length), 0x85)


@proves("MQTT-3.1.3-6", "MQTT-3.1.3-7", "MQTT-3.2.2-16")
@pytest.mark.parametrize("clean", [True, False])
def test_an_empty_client_id_is_made_up_and_can_be_resumed(raw, name, clean):
    kept = {**session(60), "clean": clean}
    clients = [raw(**kept) for _ in range(3)]
    ids = [client.connack.properties["AssignedClientIdentifier"] for client in clients]
    assert len(set(ids)) == 3 and all(0 < len(one) <= 256 for one in ids)
    clients[0].subscribe(name)
    clients[0].leave()
    raw().publish(name, "waiting")
    again = raw(client_id=ids[0], **session(60))
    assert again.connack.session_present and again.message().text == "waiting"
    assert "AssignedClientIdentifier" not in again.connack.properties


@proves("MQTT-3.1.4-2", "MQTT-3.2.2-7", "MQTT-4.13.2-1")
@pytest.mark.parametrize("who, reason", [
    ({"password": "wrong"}, 0x86), ({"user": "nobody", "password": None}, 0x86), ({"user": None, "password": "wrong"}, 0x86),
    ({"user": None, "password": None}, 0x87), ({"user": "interop", "password": b"\xff"}, 0x86),
])
def test_who_proves_nothing_is_not_let_in(raw, name, who, reason):
    is_not_let_in(raw, connect(V5, name, **who), reason)


@proves("MQTT-3.1.4-3", "MQTT-3.14.4-1", "MQTT-3.14.4-2")
@pytest.mark.parametrize("clean", [True, False])
def test_the_older_of_two_connections_is_told_and_closed(raw, name, clean):
    watcher = raw()
    watcher.subscribe(name)
    older = raw(client_id=name, will={"topic": name, "payload": "older is gone"}, **session(60))
    newer = raw(client_id=name, **{**session(60), "clean": clean})
    assert newer.connack.session_present == (not clean)
    assert older.next().wire in (b"\xe0\x01\x8e", b"\xe0\x02\x8e\x00")
    assert older.last_words() is None
    assert watcher.message().text == "older is gone"
    newer.ping()


@proves("MQTT-3.1.4-4", "MQTT-3.1.2-4", "MQTT-3.2.2-2")
def test_a_clean_start_forgets_everything(raw, name):
    old = raw(client_id=name, **session(60))
    old.acknowledges = False
    old.subscribe((f"{name}/+", 2))
    sender = raw()
    for qos in (1, 2):
        sender.publish(f"{name}/x", "in flight", qos)
        old.message()
    old.send(publish(V5, f"{name}/up", "x", qos=2, packet_id=9))
    old.take(Kind.PUBREC)
    old.drop()
    sender.publish(f"{name}/x", "waiting")
    new = raw(client_id=name, clean=True, properties={"SessionExpiryInterval": 60})
    assert new.connack.wire[2:4] == b"\0\0"
    # Neither what was in flight, nor the subscription, nor the half-way packet id is there.
    new.send(ack(Kind.PUBREL, 9))
    assert new.next().wire == b"\x70\x03\0\x09\x92"
    sender.publish(f"{name}/x", "unheard")
    new.subscribe(f"{name}/end")
    sender.publish(f"{name}/end", "end")
    assert new.texts_until("end") == []


@proves("MQTT-3.1.2-5", "MQTT-3.1.2-6", "MQTT-3.1.2-23", "MQTT-3.2.2-3", "MQTT-4.5.0-1")
@pytest.mark.parametrize("how", ["left", "lost"])
def test_a_session_is_made_and_gone_on_with(raw, name, how):
    first = raw(client_id=name, **session(60))
    assert first.connack.wire[2:4] == b"\0\0"
    first.subscribe((f"{name}/+", 2))
    first.leave() if how == "left" else first.drop()
    sender = raw()
    for qos in (1, 2):
        sender.publish(f"{name}/x", f"waiting {qos}", qos)
    second = raw(client_id=name, **session(60))
    assert second.connack.wire[2:4] == b"\1\0"
    assert [(one.text, one.qos) for one in (second.message(), second.message())] == [("waiting 1", 1), ("waiting 2", 2)]
    sender.publish(f"{name}/x", "live")
    assert second.message().text == "live"


@proves("MQTT-3.1.4-5", "MQTT-3.2.0-1", "MQTT-3.2.0-2", "MQTT-3.2.2-1")
def test_connack_comes_first_and_once(raw, name):
    raw(client_id=name, **session(60)).subscribe(name)
    for count in range(20):
        raw().publish(name, str(count))
    client = raw.unconnected()
    client.send(connect(V5, name, **session(60)), subscribe(V5, [(name, 1)], 5), PING)
    found = [client.next() for _ in range(23)]
    assert found[0].kind == Kind.CONNACK and found[0].wire[2:4] == b"\x01\x00"
    kinds = [one.kind for one in found[1:]]
    assert sorted(kinds) == sorted([Kind.PUBLISH] * 20 + [Kind.SUBACK, Kind.PINGRESP])


@proves("MQTT-3.1.4-6", "MQTT-3.1.2-30", "MQTT-3.2.2-6")
@pytest.mark.parametrize("refused", [
    {"password": "wrong"}, {"client_id": "a" * 300}, {"properties": {"AuthenticationMethod": "SCRAM-SHA-1"}},
])
def test_nothing_behind_a_refused_connect_is_done(raw, name, refused):
    watcher = raw()
    watcher.subscribe(name)
    client = raw.unconnected()
    said = {"client_id": name, **refused}
    client.send(connect(V5, said.pop("client_id"), **said), publish(V5, name, "never", qos=1), PING)
    found = client.next()
    assert found.kind == Kind.CONNACK and found.reason >= 0x80 and found.wire[2] == 0
    assert client.last_words() is None
    raw().publish(name, "end")
    assert watcher.texts_until("end") == []


@proves("MQTT-3.1.2-28")
@pytest.mark.parametrize("asked", [{}, {"RequestResponseInformation": 0}])
def test_response_information_is_not_said_to_who_does_not_ask(raw, asked):
    assert "ResponseInformation" not in raw(properties=asked).connack.properties


@proves("MQTT-3.1.2-29")
@pytest.mark.parametrize("qos", [1, 2])
def test_reason_strings_are_for_who_wants_them(raw, name, qos):
    told, spared = raw(), raw(properties={"RequestProblemInformation": 0})
    answer = told.publish(f"${name}", "x", qos)
    assert (answer.reason, list(answer.properties)) == (0x87, ["ReasonString"])
    answer = spared.publish(f"${name}", "x", qos)
    assert answer.wire == bytes([0x40 if qos == 1 else 0x50, 3, 0, 1, 0x87])
    assert spared.subscribe((f"${name}", 1)) == (0x87,)
    assert spared.unsubscribe(f"${name}") == (0x11,)


@proves("MQTT-3.1.2-24", "MQTT-3.1.2-25")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_that_the_client_does_not_take_counts_as_delivered(raw, name, qos):
    size = 120
    reader, other, sender = raw(properties={"MaximumPacketSize": size, "ReceiveMaximum": 1}), raw(), raw()
    reader.subscribe((name, qos))
    other.subscribe((name, qos))
    head = 2 + 2 + len(name) + (2 if qos else 0) + 1
    for length in (size - head + 1, size - head, size, size - head):
        sender.publish(name, "x" * length, qos)
    sender.publish(name, "end", qos)
    assert [len(reader.message().wire) for _ in range(2)] == [size, size]
    assert reader.message().text == "end"
    assert [len(other.message().payload) for _ in range(4)] == [size - head + 1, size - head, size, size - head]


@proves("MQTT-3.1.2-24", "MQTT-3.1.2-25")
def test_a_message_that_fits_only_without_an_alias_comes_without_one(raw, name):
    size = 60
    reader, sender = raw(properties={"MaximumPacketSize": size, "TopicAliasMaximum": 5}), raw()
    reader.subscribe((name, 1))
    sender.publish(name, "x" * (size - 2 - 2 - len(name) - 2 - 1))
    found = reader.message()
    assert len(found.wire) == size and "TopicAlias" not in found.properties
    sender.publish(name, "end")
    assert reader.message().text == "end"


@proves("MQTT-3.1.2-24")
@pytest.mark.parametrize("size", [1, 4, 10])
def test_who_takes_no_connack_is_closed_without_one(raw, name, size):
    client = raw.unconnected()
    client.send(connect(V5, name, properties={"MaximumPacketSize": size}))
    with pytest.raises(EOFError):
        client.next()


@proves("MQTT-3.1.2-24", "MQTT-3.14.2-3", "MQTT-3.14.2-4")
def test_an_answer_that_the_client_does_not_take_ends_it(raw, name):
    client = raw(client_id=name, properties={"MaximumPacketSize": 40})
    client.send(subscribe(V5, [(f"{name}/{level}", 0) for level in range(60)]))
    assert client.next().wire in (b"\xe0\x01\x95", b"\xe0\x02\x95\x00")
    assert client.last_words() is None


@proves("MQTT-3.1.2-26", "MQTT-3.3.2-11", "MQTT-3.3.2-10", "MQTT-3.3.2-8")
def test_aliases_to_the_client_stay_within_what_it_allows(raw, name):
    reader, sender = raw(properties={"TopicAliasMaximum": 3}), raw()
    reader.subscribe((f"{name}/+", 0))
    topics = [f"{name}/{number % 7}" for number in range(70)]
    for topic in topics:
        sender.publish(topic, topic)
    known, used = {}, set()
    for topic in topics:
        found = reader.message()
        alias = found.properties.get("TopicAlias")
        assert alias in (None, 1, 2, 3)
        if alias and found.topic:
            known[alias] = found.topic
        assert (found.topic or known[alias]) == topic == found.text
        used.add(alias)
    assert used == {None, 1, 2, 3}


@proves("MQTT-3.1.2-27")
@pytest.mark.parametrize("asked", [{}, {"TopicAliasMaximum": 0}])
def test_no_alias_comes_to_who_allows_none(raw, name, asked):
    reader, sender = raw(properties=asked), raw()
    reader.subscribe((name, 0))
    for _ in range(5):
        sender.publish(name, "x", TopicAlias=1)
        found = reader.message()
        assert found.topic == name and found.properties == {}
