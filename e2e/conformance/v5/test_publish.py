"""Section 3.3: PUBLISH."""

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import proves
from conformance.v5.asserts import MALFORMED, PROTOCOL, TOPIC, is_ended, settle
from raw_mqtt import PING, V5, Raw, ack, let_pass, packet, publish, session

NO_LOCAL, AS_PUBLISHED, IF_NEW, NEVER = 0x04, 0x08, 0x10, 0x20
QOS = pytest.mark.parametrize("qos", [0, 1, 2])


@proves("MQTT-3.3.1-2")
def test_qos_0_marked_as_duplicate_is_malformed(raw):
    is_ended(raw, publish(V5, "a", "x", dup=1), MALFORMED)


@proves("MQTT-3.3.1-4")
@pytest.mark.parametrize("dup", [0, 1])
def test_qos_3_is_malformed(raw, dup):
    is_ended(raw, publish(V5, "a", "x", qos=3, dup=dup), MALFORMED)


@proves("MQTT-3.3.1-3", "MQTT-4.3.2-2", "MQTT-4.3.3-2", "MQTT-3.3.1-2", "MQTT-4.3.1-1")
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("qos", [1, 2])
def test_the_mark_of_a_publisher_is_not_passed_on(raw, name, qos, granted):
    reader, sender = raw(), raw()
    reader.subscribe((name, granted))
    for dup in (1, 0, 1):
        sender.publish(name, "x", qos, dup=dup)
        found = reader.message()
        assert (found.qos, found.flags) == (min(qos, granted), min(qos, granted) << 1)


@proves("MQTT-3.3.1-1", "MQTT-4.4.0-1", "MQTT-3.3.1-3")
@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_not_acknowledged_comes_again_marked(raw, name, qos):
    reader = raw(client_id=name, **session(60))
    reader.acknowledges = False
    reader.subscribe((name, qos))
    sender = raw()
    for text in "abc":
        sender.publish(name, text, qos)
    first = [reader.message() for _ in range(3)]
    reader.drop()
    sender.publish(name, "new", qos)
    again = raw(client_id=name, **session(60))
    again.acknowledges = False
    second = [again.message() for _ in range(4)]
    # The same bytes but for the mark.
    assert [one.wire for one in second[:3]] == [bytes([one.wire[0] | 8]) + one.wire[1:] for one in first]
    assert (second[3].text, second[3].dup) == ("new", 0)
    again.ping()
    # At no other time: nothing came again before the ping's answer.
    assert not again._passed_over


@proves("MQTT-3.3.1-5")
def test_the_last_retained_message_of_a_topic_is_kept_with_its_qos(raw, name):
    sender = raw()
    for text, qos in (("first", 2), ("second", 1), ("third", 0), ("fourth", 2)):
        sender.publish(name, text, qos, retain=1, UserProperty=[("n", text)])
        reader = raw()
        reader.subscribe((name, 2), f"{name}/end")
        found = reader.message()
        assert (found.text, found.qos, found.retain) == (text, qos, 1)
        assert found.properties == {"UserProperty": [("n", text)]}
        sender.publish(f"{name}/end", "end")
        assert reader.texts_until("end") == []
    sender.publish(name, "", retain=1)


@proves("MQTT-3.3.1-6", "MQTT-3.3.1-7")
@QOS
def test_an_empty_retained_message_is_delivered_and_ends_what_is_kept(raw, name, qos):
    sender, reader = raw(), raw()
    sender.publish(name, "kept", retain=1)
    reader.subscribe((name, 2 | AS_PUBLISHED))
    assert reader.message().text == "kept"
    sender.publish(name, "", qos, retain=1)
    found = reader.message()
    assert (found.payload, found.retain, found.qos) == (b"", 1, qos)
    later = raw()
    later.subscribe(name, f"{name}/end")
    sender.publish(f"{name}/end", "end")
    assert later.texts_until("end") == []


@proves("MQTT-3.3.1-8")
@QOS
@pytest.mark.parametrize("text", ["live", ""])
def test_a_message_without_the_mark_leaves_what_is_kept_alone(raw, name, qos, text):
    sender = raw()
    sender.publish(f"{name}/a", "kept", retain=1)
    for level in "ab":
        sender.publish(f"{name}/{level}", text, qos)
    later = raw()
    later.subscribe(f"{name}/+")
    sender.publish(f"{name}/end", "end")
    assert later.texts_until("end") == ["kept"]
    sender.publish(f"{name}/a", "", retain=1)


@proves("MQTT-3.3.1-9", "MQTT-3.3.1-10", "MQTT-3.3.1-11", "MQTT-3.8.4-4")
@pytest.mark.parametrize("handling, first, second", [(0, 1, 1), (IF_NEW, 1, 0), (NEVER, 0, 0)])
def test_retain_handling_says_when_the_kept_are_sent(raw, name, handling, first, second):
    reader, sender = raw(), raw()
    kept = [f"{name}/k/{number}" for number in range(5)]
    for topic in kept:
        sender.publish(topic, topic, retain=1)
    reader.subscribe((f"{name}/end", 1))
    for count in (first, second):
        reader.subscribe((f"{name}/k/#", 1 | handling))
        sender.publish(f"{name}/end", "end")
        assert sorted(reader.texts_until("end")) == kept * count
    # After UNSUBSCRIBE the subscription is new again.
    reader.unsubscribe(f"{name}/k/#")
    reader.subscribe((f"{name}/k/#", 1 | handling))
    sender.publish(f"{name}/end", "end")
    assert sorted(reader.texts_until("end")) == kept * first
    for topic in kept:
        sender.publish(topic, "", retain=1)


@proves("MQTT-3.3.1-12", "MQTT-3.3.1-13")
@QOS
def test_retain_as_published_keeps_the_mark(raw, name, qos):
    plain, marked, sender = raw(), raw(), raw()
    plain.subscribe((name, 2))
    marked.subscribe((name, 2 | AS_PUBLISHED))
    for retain in (1, 0, 1):
        sender.publish(name, "x", qos, retain=retain)
        assert (plain.message().retain, marked.message().retain) == (0, retain)
    sender.publish(name, "", retain=1)


@proves("MQTT-3.3.2-1")
@pytest.mark.parametrize("body", [b"", b"\0", b"\0\5a", b"\0\2a"])
def test_a_publish_without_a_whole_topic_is_malformed(raw, body):
    is_ended(raw, packet(Kind.PUBLISH, 0, body), MALFORMED)


@proves("MQTT-3.3.2-2", "MQTT-4.7.0-1")
@pytest.mark.parametrize("topic", ["#", "+", "a/#", "a/+/b", "a#", "a+b", "+/a"])
@QOS
def test_a_topic_with_a_wildcard_ends_it(raw, topic, qos):
    is_ended(raw, publish(V5, topic, "x", qos=qos), TOPIC)


@proves("MQTT-3.3.2-3", "MQTT-4.7.3-4")
def test_a_message_comes_under_its_own_topic_to_those_whose_filter_matches(raw, name):
    filters = {"exact": f"{name}/a/b", "plus": f"{name}/+/b", "hash": f"{name}/#", "other": f"{name}/a", "more": f"{name}/a/b/+"}
    readers = {key: raw() for key in filters}
    for key, reader in readers.items():
        reader.subscribe(filters[key], f"{name}-end")
    sender = raw()
    for topic in (f"{name}", f"{name}/a", f"{name}/a/b", f"{name}/a/b/", f"{name}//b"):
        sender.publish(topic, topic)
    sender.publish(f"{name}-end", "end")
    found = {}
    for key, reader in readers.items():
        found[key] = []
        while (one := reader.message()).text != "end":
            assert one.topic == one.text
            found[key].append(one.topic[len(name):])
    assert found == {"exact": ["/a/b"], "plus": ["/a/b", "//b"], "hash": ["", "/a", "/a/b", "/a/b/", "//b"],
                     "other": ["/a"], "more": ["/a/b/"]}


SAID = {"PayloadFormatIndicator": 1, "ContentType": "text/plain; ü", "ResponseTopic": "answer/here",
        "CorrelationData": b"\x00\x01\xff",
        "UserProperty": [("b", "1"), ("a", "2"), ("b", "1"), ("", ""), ("b", "3"), ("ü", "😀")]}


@proves("MQTT-3.3.2-4", "MQTT-3.3.2-15", "MQTT-3.3.2-16", "MQTT-3.3.2-17", "MQTT-3.3.2-18", "MQTT-3.3.2-20")
@pytest.mark.parametrize("way", ["live", "kept", "waiting", "shared"])
@QOS
def test_properties_come_as_they_were_said(raw, name, way, qos):
    reader, sender = raw(client_id=name, **session(60)), raw()
    where = f"$share/g/{name}" if way == "shared" else name
    if way != "kept":
        reader.subscribe((where, 2))
    if way == "waiting":
        reader.leave()
    sender.publish(name, "text", qos, retain=int(way == "kept"), **SAID)
    if way == "waiting" and qos == 0:
        sender.publish(name, "text", 1, **SAID)
    if way == "kept":
        reader.subscribe((where, 2))
    if way == "waiting":
        reader = raw(client_id=name, **session(60))
    found = dict(reader.message().properties)
    assert found == SAID
    sender.publish(name, "", retain=1)


@proves("MQTT-3.3.2-4", "MQTT-3.3.2-15", "MQTT-3.3.2-16", "MQTT-3.3.2-17", "MQTT-3.3.2-18", "MQTT-3.3.2-20")
@pytest.mark.parametrize("qos", [1, 2])
def test_properties_come_as_they_were_said_after_kill_9(make_roost, name, qos):
    server = make_roost()

    def client(client_id, **more):
        made = Raw(server.door("mqtt"), V5)
        made.login(client_id, **more)
        return made

    client(name, **session(60)).subscribe((name, 2))
    client(name, **session(60)).leave()
    client("sender").publish(name, "text", qos, **SAID)
    server.kill()
    server.start()
    assert client(name, **session(60)).message().properties == SAID


@proves("MQTT-3.3.2-4")
@QOS
def test_a_payload_that_is_not_the_text_it_says_is_refused(raw, name, qos):
    reader, sender = raw(), raw()
    reader.subscribe((name, 2))
    if qos:
        answer = sender.publish(name, b"a\xff", qos, PayloadFormatIndicator=1)
        assert answer.reason == 0x99
    else:
        sender.publish(name, b"a\xff", 0, PayloadFormatIndicator=1)
    sender.publish(name, b"a\xff", qos, PayloadFormatIndicator=0)
    found = reader.message()
    assert found.payload == b"a\xff" and found.properties.get("PayloadFormatIndicator", 0) == 0
    sender.publish(name, "ü", qos, PayloadFormatIndicator=1)
    assert reader.message().properties == {"PayloadFormatIndicator": 1}


@proves("MQTT-3.3.2-5", "MQTT-3.3.2-6")
def test_a_message_has_what_is_left_of_its_expiry_or_is_gone(raw, name):
    raw(client_id=name, **session(60)).subscribe(f"{name}/+")
    raw(client_id=name, **session(60)).leave()
    sender = raw()
    sender.publish(f"{name}/a", "short", MessageExpiryInterval=1)
    sender.publish(f"{name}/a", "long", MessageExpiryInterval=100)
    sender.publish(f"{name}/a", "none")
    sender.publish(f"{name}/r", "short", retain=1, MessageExpiryInterval=1)
    sender.publish(f"{name}/s", "long", retain=1, MessageExpiryInterval=100)
    let_pass(raw, name, 2)
    back = raw(client_id=name, **session(60))
    found = [back.message() for _ in range(3)]
    assert [one.text for one in found] == ["long", "none", "long"]
    assert 90 <= found[0].properties["MessageExpiryInterval"] <= 98
    assert "MessageExpiryInterval" not in found[1].properties
    later = raw()
    later.subscribe(f"{name}/r", f"{name}/s")
    kept = later.message()
    assert kept.topic == f"{name}/s" and 90 <= kept.properties["MessageExpiryInterval"] <= 98
    sender.publish(f"{name}/r", "end")
    assert later.texts_until("end") == []
    sender.publish(f"{name}/s", "", retain=1)


@proves("MQTT-3.3.2-6")
@pytest.mark.parametrize("expiry", [1, 60, 0xFFFF_FFFF])
def test_the_expiry_of_a_message_that_did_not_wait_is_as_it_was(raw, name, expiry):
    reader = raw()
    reader.subscribe(name)
    reader.publish(name, "x", MessageExpiryInterval=expiry)
    assert expiry - 1 <= reader.message().properties["MessageExpiryInterval"] <= expiry


@proves("MQTT-3.3.2-7")
def test_aliases_end_with_their_connection_in_both_directions(raw, name):
    client = raw(client_id=name, **session(60))
    client.publish(name, "x", TopicAlias=1)
    client.drop()
    again = raw(client_id=name, **session(60))
    again.send(publish(V5, "", "x", TopicAlias=1))
    assert again.next().wire in (b"\xe0\x01\x82", b"\xe0\x02\x82\x00")
    kept = {**session(60), "properties": {"SessionExpiryInterval": 60, "TopicAliasMaximum": 2}}
    for _ in range(2):
        reader = raw(client_id=f"{name}r", **kept)
        reader.subscribe((name, 0))
        for topic in (name, ""):
            reader.publish(name, "x", 0)
            found = reader.message()
            assert (found.topic, found.properties) == (topic, {"TopicAlias": 1})
        reader.drop()


@proves("MQTT-3.3.2-8")
@QOS
def test_alias_0_ends_it(raw, qos):
    is_ended(raw, publish(V5, "a", "x", qos=qos, TopicAlias=0), 0x94)


@proves("MQTT-3.3.2-12", "MQTT-3.2.2-18")
def test_each_alias_up_to_the_maximum_is_taken(raw, name):
    reader, sender = raw(), raw()
    reader.subscribe((f"{name}/+", 2))
    most = sender.connack.properties["TopicAliasMaximum"]
    for alias in range(1, most + 1):
        sender.publish(f"{name}/{alias}", "named", 1, TopicAlias=alias)
    for qos in (0, 1, 2):
        for alias in range(1, most + 1):
            sender.publish("", "aliased", qos, TopicAlias=alias)
    # An alias that is given again stands for the new topic.
    sender.publish(f"{name}/new", "named", 1, TopicAlias=1)
    sender.publish("", "aliased", 1, TopicAlias=1)
    topics = [f"{name}/{alias}" for alias in range(1, most + 1)] * 4 + [f"{name}/new"] * 2
    for topic in topics:
        found = reader.message()
        assert found.topic == topic and "TopicAlias" not in found.properties


@proves("MQTT-3.3.2-14")
@pytest.mark.parametrize("topic", ["#", "a/+", "a/#", "+"])
def test_a_response_topic_with_a_wildcard_is_a_protocol_error(raw, topic):
    is_ended(raw, publish(V5, "a", "x", qos=1, ResponseTopic=topic), PROTOCOL)


@proves("MQTT-3.3.2-15", "MQTT-3.3.2-16")
def test_a_request_is_answered_where_it_asks_for_it(raw, name):
    asker, other = raw(client_id=name, properties={"RequestResponseInformation": 1}), raw()
    answers = asker.connack.properties["ResponseInformation"] + "/x"
    assert asker.subscribe((answers, 1)) == (1,)
    other.subscribe(f"{name}/ask")
    asker.publish(f"{name}/ask", "?", ResponseTopic=answers, CorrelationData=b"7\0")
    asked = other.message().properties
    other.publish(asked["ResponseTopic"], "!", CorrelationData=bytes(asked["CorrelationData"]))
    found = asker.message()
    assert (found.topic, found.text, bytes(found.properties["CorrelationData"])) == (answers, "!", b"7\0")


@proves("MQTT-3.3.4-1", "MQTT-4.3.2-4", "MQTT-4.3.3-8")
def test_the_answer_is_that_of_the_qos(raw, name):
    client = raw()
    client.send(publish(V5, name, "x", qos=0), PING)
    assert client.next().kind == Kind.PINGRESP
    client.send(publish(V5, name, "x", qos=1, packet_id=7))
    assert client.next().wire == b"\x40\x03\0\7\x10"
    client.send(publish(V5, name, "x", qos=2, packet_id=8))
    assert client.next().wire == b"\x50\x03\0\x08\x10"
    client.subscribe(name)
    client.send(publish(V5, name, "x", qos=1, packet_id=9))
    assert client.take(Kind.PUBACK).wire == b"\x40\x02\0\x09"


@proves("MQTT-3.3.4-2", "MQTT-3.3.4-3", "MQTT-3.3.4-4", "MQTT-3.3.4-5")
@QOS
def test_overlapping_subscriptions_give_one_copy_at_the_highest_qos_with_all_identifiers(raw, name, qos):
    reader, sender = raw(), raw()
    reader.subscribe((f"{name}/+", 0), SubscriptionIdentifier=268_435_455)
    reader.subscribe((f"{name}/#", 2), SubscriptionIdentifier=1)
    reader.subscribe((f"{name}/a", 1))
    reader.subscribe((f"{name}/b", 2), SubscriptionIdentifier=128)
    sender.publish(f"{name}/a", "x", qos)
    sender.publish(f"{name}/end", "end", qos)
    found = reader.message()
    assert (found.text, found.qos) == ("x", qos)
    assert sorted(found.properties["SubscriptionIdentifier"]) == [1, 268_435_455]
    assert reader.message().text == "end"


@proves("MQTT-3.3.4-3")
@pytest.mark.parametrize("way", ["kept", "waiting"])
def test_identifiers_come_with_what_is_kept_and_what_waited(raw, name, way):
    reader, sender = raw(client_id=name, **session(60)), raw()
    if way == "kept":
        sender.publish(name, "x", retain=1)
    reader.subscribe((name, 1), SubscriptionIdentifier=16_384)
    if way == "waiting":
        reader.leave()
        sender.publish(name, "x")
        reader = raw(client_id=name, **session(60))
    assert reader.message().properties == {"SubscriptionIdentifier": [16_384]}
    sender.publish(name, "", retain=1)


@proves("MQTT-3.3.4-6")
@QOS
def test_a_subscription_identifier_from_a_client_is_a_protocol_error(raw, qos):
    is_ended(raw, publish(V5, "a", "x", qos=qos, SubscriptionIdentifier=[1]), PROTOCOL)


@proves("MQTT-3.3.4-7", "MQTT-3.3.4-8")
def test_above_the_receive_maximum_reading_stops_and_at_twice_it_ends(raw, name):
    client = raw(client_id=name)
    most = client.connack.properties["ReceiveMaximum"]
    every = b"".join(publish(V5, name, "x", qos=2, packet_id=one) for one in range(1, most + 1))
    client.send(every)
    for one in range(1, most + 1):
        assert client.take(Kind.PUBREC).packet_id == one
    # Used up, and other packets are answered all the same; a PUBREL makes room.
    client.ping()
    client.send(ack(Kind.PUBREL, 1))
    assert client.take(Kind.PUBCOMP).packet_id == 1
    client.send(publish(V5, name, "x", qos=2, packet_id=1))
    assert client.take(Kind.PUBREC).packet_id == 1
    try:
        for packet_id in range(most + 1, 2 * most + 2):
            client.send(publish(V5, name, "x", qos=2, packet_id=packet_id))
    except (ConnectionResetError, BrokenPipeError):
        pass
    assert client.last_words() == 0x93


@proves("MQTT-3.3.4-9", "MQTT-3.3.4-10", "MQTT-4.9.0-1", "MQTT-4.9.0-2", "MQTT-4.9.0-3", "MQTT-4.5.0-2")
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("most", [1, 3])
def test_no_more_than_the_client_s_receive_maximum_is_in_flight(raw, name, qos, most):
    reader, sender = raw(properties={"ReceiveMaximum": most}), raw()
    reader.acknowledges = False
    reader.subscribe((name, 2))
    texts = [str(count) for count in range(8)]
    for text in texts:
        sender.publish(name, text, qos)
    flying = [reader.next() for _ in range(most)]
    assert [one.text for one in flying] == texts[:most]
    for text in texts[most:]:
        # While the quota is 0, everything else is answered and no more comes.
        reader.send(PING, publish(V5, f"{name}/up", "x", qos=1, packet_id=3))
        assert sorted([reader.next().kind, reader.next().kind]) == sorted([Kind.PUBACK, Kind.PINGRESP])
        settle(reader, flying.pop(0))
        flying.append(reader.next())
        assert (flying[-1].kind, flying[-1].text) == (Kind.PUBLISH, text)


@proves("MQTT-3.3.4-9", "MQTT-4.9.0-2")
def test_a_refused_message_makes_room(raw, name):
    reader, sender = raw(properties={"ReceiveMaximum": 1}), raw()
    reader.acknowledges = False
    reader.subscribe((name, 2))
    sender.publish(name, "a", 2)
    first = reader.next()
    for text in "bc":
        sender.publish(name, text, 1)
    reader.send(ack(Kind.PUBREC, first.packet_id, 0x80))
    found = reader.next()
    assert found.text == "b"
    reader.send(ack(Kind.PUBACK, found.packet_id, 0x97))
    assert reader.next().text == "c"


@proves("MQTT-4.9.0-2", "MQTT-4.4.0-1")
def test_the_quota_counts_what_comes_again_after_a_reconnect(raw, name):
    kept = {"clean": False, "properties": {"SessionExpiryInterval": 60, "ReceiveMaximum": 2}}
    reader, sender = raw(client_id=name, **kept), raw()
    reader.acknowledges = False
    reader.subscribe((name, 2))
    for text in "abcd":
        sender.publish(name, text, 2)
    first = [reader.next() for _ in range(2)]
    reader.send(ack(Kind.PUBREC, first[0].packet_id))
    assert reader.next().kind == Kind.PUBREL
    reader.drop()
    again = raw(client_id=name, **kept)
    again.acknowledges = False
    found = [again.next(), again.next()]
    assert sorted((one.kind, one.packet_id) for one in found) == sorted([
        (Kind.PUBREL, first[0].packet_id), (Kind.PUBLISH, first[1].packet_id)])
    again.send(PING)
    assert again.next().kind == Kind.PINGRESP
    again.send(ack(Kind.PUBCOMP, first[0].packet_id))
    assert again.next().text == "c"
