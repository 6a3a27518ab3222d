"""Sections 3.8 to 3.12: SUBSCRIBE, UNSUBSCRIBE and PINGREQ."""

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import case, proves
from conformance.v5.asserts import MALFORMED, PROTOCOL, is_ended, settle
from raw_mqtt import PING, V5, number, packet, publish, session, string, subscribe, unsubscribe

NO_LOCAL, AS_PUBLISHED, IF_NEW, NEVER = 0x04, 0x08, 0x10, 0x20
FLAGS = pytest.mark.parametrize("flags", [0, 1, 3, 4, 6, 10, 15])


@proves("MQTT-3.8.1-1")
@FLAGS
def test_subscribe_with_other_flags_is_malformed(raw, flags):
    is_ended(raw, bytes([0x80 | flags]) + subscribe(V5, [("a", 0)])[1:], MALFORMED)


@proves("MQTT-3.10.1-1")
@FLAGS
def test_unsubscribe_with_other_flags_is_malformed(raw, flags):
    is_ended(raw, bytes([0xA0 | flags]) + unsubscribe(V5, ["a"])[1:], MALFORMED)


@pytest.mark.parametrize("said", [
    case(subscribe(V5, []), proves=["MQTT-3.8.3-2"]), case(unsubscribe(V5, []), proves=["MQTT-3.10.3-2"]),
])
def test_no_filter_is_a_protocol_error(raw, said):
    is_ended(raw, said, PROTOCOL)


@pytest.mark.parametrize("said", [
    case(packet(Kind.SUBSCRIBE, 2, number(1) + b"\0" + string("a")), proves=["MQTT-3.8.3-2"], id="filter without options"),
    case(packet(Kind.SUBSCRIBE, 2, number(1) + b"\0\0\5a"), proves=["MQTT-3.8.3-1"], id="filter cut short"),
    case(packet(Kind.UNSUBSCRIBE, 2, number(1) + b"\0\0\5a"), proves=["MQTT-3.10.3-1"], id="filter to remove cut short"),
    case(packet(Kind.SUBSCRIBE, 2, b"\0"), proves=["MQTT-3.8.3-2"], id="no packet id"),
    case(packet(Kind.UNSUBSCRIBE, 2, b"\0"), proves=["MQTT-3.10.3-2"], id="no packet id to remove"),
])
def test_a_list_of_filters_that_is_cut_is_malformed(raw, said):
    is_ended(raw, said, MALFORMED)


@proves("MQTT-3.8.3-5")
@pytest.mark.parametrize("options", [0x40, 0x80, 0xC0, 0xC1])
def test_reserved_options_are_malformed(raw, options):
    is_ended(raw, subscribe(V5, [("a", 1), ("b", options)]), MALFORMED)


@proves("MQTT-4.13.1-1")
@pytest.mark.parametrize("options", [0x03, 0x30])
def test_qos_3_and_retain_handling_3_are_protocol_errors(raw, options):
    is_ended(raw, subscribe(V5, [("a", options)]), PROTOCOL)


@proves("MQTT-3.8.3-4")
@pytest.mark.parametrize("options", [NO_LOCAL, NO_LOCAL | 1, NO_LOCAL | AS_PUBLISHED | 2])
def test_no_local_on_a_shared_subscription_is_a_protocol_error(raw, options):
    is_ended(raw, subscribe(V5, [("a", 0), ("$share/g/a", options)]), PROTOCOL)


@proves("MQTT-3.8.3-3")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_local_keeps_a_client_s_own_messages_from_it(raw, name, qos):
    client, other = raw(client_id=name, **session(60)), raw()
    client.subscribe((f"{name}/+", 2 | NO_LOCAL))
    other.subscribe((f"{name}/+", 2))
    client.publish(f"{name}/a", "own", qos)
    other.publish(f"{name}/a", "other", qos)
    assert client.message().text == "other"
    assert [other.message().text for _ in range(2)] == ["own", "other"]
    # It is the client id that counts, so it holds after a reconnect.
    client.leave()
    client = raw(client_id=name, **session(60))
    client.publish(f"{name}/a", "own again", qos)
    other.publish(f"{name}/a", "end", qos)
    assert client.texts_until("end") == []


@proves("MQTT-3.8.4-1", "MQTT-3.8.4-5", "MQTT-3.8.4-6", "MQTT-3.8.4-7", "MQTT-3.9.3-1", "MQTT-3.9.3-2")
def test_each_filter_of_a_subscribe_has_its_code_in_order(raw, name):
    client = raw()
    asked = [(f"{name}/0", 0), (f"{name}/2", 2), ("$other/x", 1), (f"{name}/1", 1), (f"$share/g/{name}/2", 2), (f"{name}/0", 1)]
    client.send(subscribe(V5, asked, 10))
    assert client.next().wire == b"\x90\x09\0\x0a\0" + b"\x00\x02\x87\x01\x02\x01"
    for level, qos in (("0", 1), ("1", 1), ("2", 2)):
        client.publish(f"{name}/{level}", "x", 2)
        assert client.message().qos == qos


@proves("MQTT-3.8.4-5")
def test_several_filters_act_as_one_after_another(raw, name):
    sender, reader = raw(), raw()
    sender.publish(f"{name}/a", "kept", retain=1)
    # The second replaces the first, and each sends what is kept.
    assert reader.subscribe((f"{name}/a", 0), (f"{name}/a", 1), f"{name}/end") == (0, 1, 1)
    sender.publish(f"{name}/end", "end")
    assert reader.texts_until("end") == ["kept", "kept"]
    sender.publish(f"{name}/a", "", retain=1)


@proves("MQTT-3.9.3-2", "MQTT-3.8.4-7")
@pytest.mark.parametrize("filter, code", [
    ("$SYS/#", 0x87), ("$SYS/a", 0x87), ("$share/g/$SYS/#", 0x87), ("$other/#", 0x87), ("/" * 200, 0x8F), ("a" * 2_000, 0x8F),
])
def test_a_device_is_told_why_it_may_not_subscribe(server, raw, name, filter, code):
    device = raw(user=name, password=server.device(name))
    assert device.subscribe(("me/#", 1), (filter, 1)) == (1, code)
    device.ping()


@proves("MQTT-3.9.3-2")
def test_the_server_s_own_topics_are_for_the_operator(server, raw, name):
    assert raw().subscribe("$SYS/#", "$share/g/$SYS/#") == (1, 1)
    device = raw(user=name, password=server.device(name))
    assert device.subscribe("$SYS/#", "$share/g/$SYS/#", "#", "+/#") == (0x87, 0x87, 1, 1)


@proves("MQTT-3.8.4-3")
def test_a_subscription_with_the_same_filter_replaces_the_old_one(raw, name):
    reader, sender = raw(), raw()
    for qos, options, identifier in ((2, 0, [1]), (0, AS_PUBLISHED, [128]), (1, 0, None), (2, NO_LOCAL | AS_PUBLISHED, None)):
        more = {"SubscriptionIdentifier": identifier} if identifier else {}
        reader.subscribe((name, qos | options | NEVER), **more)
        reader.publish(name, "own")
        if not options & NO_LOCAL:
            assert reader.message().text == "own"
        sender.publish(name, "other", 2, retain=1)
        found = reader.message()
        assert (found.text, found.qos, found.retain) == ("other", qos, int(bool(options & AS_PUBLISHED)))
        assert found.properties.get("SubscriptionIdentifier") == identifier
    sender.publish(name, "", retain=1)


@proves("MQTT-3.8.4-3")
def test_a_replaced_subscription_gives_one_copy(raw, name):
    reader, sender = raw(), raw()
    for qos in (0, 1, 2, 0):
        reader.subscribe((name, qos | NEVER))
    sender.publish(name, "x", 2)
    sender.publish(name, "end", 2)
    assert reader.texts_until("end") == ["x"]


@proves("MQTT-3.8.4-4")
def test_nothing_is_lost_while_a_subscription_is_replaced(raw, name):
    reader, sender = raw(), raw()
    reader.subscribe((name, 1))
    said = b"".join(publish(V5, name, str(count), qos=1, packet_id=count + 1) for count in range(200))
    sender.send(said)
    for count in range(50):
        reader.send(subscribe(V5, [(name, 1 | NEVER)], 100 + count))
    assert [reader.message().text for _ in range(200)] == [str(count) for count in range(200)]
    for _ in range(50):
        reader.take(Kind.SUBACK)


@proves("MQTT-3.8.4-8", "MQTT-3.3.4-2")
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_a_message_comes_at_the_lower_of_both_qos(raw, name, granted):
    reader, sender = raw(), raw()
    assert reader.subscribe((name, granted)) == (granted,)
    for said in (0, 1, 2):
        sender.publish(name, "x", said)
        assert reader.message().qos == min(said, granted)


SPARED = pytest.mark.parametrize("asked", [{}, {"MaximumPacketSize": 30}, {"RequestProblemInformation": 1}])


@proves("MQTT-3.9.2-1", "MQTT-3.9.2-2")
@SPARED
def test_suback_has_no_properties(raw, name, asked):
    client = raw(client_id=name, properties=asked)
    client.send(subscribe(V5, [("a", 0), ("$other/x", 0)], 3))
    assert client.next().wire == b"\x90\x05\0\3\0\0\x87"


@proves("MQTT-3.11.2-1", "MQTT-3.11.2-2", "MQTT-3.11.3-2")
@SPARED
def test_unsuback_has_no_properties(raw, name, asked):
    client = raw(client_id=name, properties=asked)
    client.send(unsubscribe(V5, ["a", "b"], 3))
    assert client.next().wire == b"\xb0\x05\0\3\0\x11\x11"


@proves("MQTT-3.10.4-1", "MQTT-3.10.4-2", "MQTT-3.11.3-1", "MQTT-3.11.3-2", "MQTT-3.10.4-6")
def test_unsubscribe_ends_what_it_names_to_the_letter(raw, name):
    reader, sender = raw(), raw()
    reader.subscribe(f"{name}/+", f"{name}/#", f"{name}/a", f"{name}/end")
    asked = [f"{name}/+", f"{name}/A", f"{name}/+/", f"{name}/#", f"{name}/+", f"$share/g/{name}/a", f"{name}/a"]
    assert reader.unsubscribe(*asked) == (0, 0x11, 0x11, 0, 0x11, 0x11, 0)
    sender.publish(f"{name}/a", "unheard")
    sender.publish(f"{name}/end", "end")
    assert reader.texts_until("end") == []


@proves("MQTT-3.10.4-1")
def test_a_filter_that_only_matches_is_not_the_one_to_end(raw, name):
    reader, sender = raw(), raw()
    reader.subscribe(f"{name}/+")
    assert reader.unsubscribe(f"{name}/#", f"{name}/a", "#") == (0x11, 0x11, 0x11)
    sender.publish(f"{name}/a", "heard")
    assert reader.message().text == "heard"


@proves("MQTT-3.10.4-4", "MQTT-3.10.4-5")
def test_unsuback_comes_where_there_was_no_subscription(raw, name):
    client = raw()
    client.send(unsubscribe(V5, [name], 513))
    assert client.next().wire == b"\xb0\x04\x02\x01\0\x11"


@proves("MQTT-3.10.4-3")
@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_in_flight_is_seen_through_after_unsubscribe(raw, name, qos):
    reader, sender = raw(client_id=name, **session(60)), raw()
    reader.acknowledges = False
    reader.subscribe((name, qos))
    sender.publish(name, "in flight", qos)
    found = reader.message()
    assert reader.unsubscribe(name) == (0,)
    reader.drop()
    again = raw(client_id=name, **session(60))
    again.acknowledges = False
    second = again.message()
    assert (second.packet_id, second.text, second.dup) == (found.packet_id, "in flight", 1)
    settle(again, second)
    again.ping()


@proves("MQTT-3.10.4-2")
def test_a_session_that_was_away_has_nothing_added_after_unsubscribe(raw, name):
    reader, sender = raw(client_id=name, **session(60)), raw()
    reader.subscribe(f"{name}/+", f"{name}/end")
    reader.unsubscribe(f"{name}/+")
    reader.leave()
    sender.publish(f"{name}/a", "unheard")
    sender.publish(f"{name}/end", "end")
    assert raw(client_id=name, **session(60)).texts_until("end") == []


@proves("MQTT-3.12.4-1")
def test_each_ping_is_answered(raw):
    client = raw()
    client.send(*[PING] * 50)
    for _ in range(50):
        assert client.next().wire == b"\xd0\0"


@proves("MQTT-2.1.3-1")
@pytest.mark.parametrize("said", [b"\xc1\0", b"\xcf\0", b"\xc0\1x"])
def test_a_ping_with_flags_or_a_body_is_malformed(raw, said):
    is_ended(raw, said, MALFORMED)
