"""What only MQTT 5.0 has."""

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from raw_mqtt import V3, V5, ack, let_pass, name, publish, raw, server, session
from test_mqtt_interop_v3 import paho

__all__ = ["name", "raw", "server"]
NO_LOCAL, AS_PUBLISHED, IF_NEW, NEVER = 0x04, 0x08, 0x10, 0x20


@pytest.mark.parametrize("handling, first, second", [(0, 1, 1), (IF_NEW, 1, 0), (NEVER, 0, 0)])
def test_retain_handling_says_when_the_retained_are_sent(raw, name, handling, first, second):
    reader, sender = raw(), raw()
    sender.publish(name, "kept", retain=1)
    for number, count in enumerate((first, second)):
        reader.subscribe((name, 1 | handling), f"{name}-end")
        sender.publish(f"{name}-end", f"end {number}")
        assert reader.texts_until(f"end {number}") == ["kept"] * count
    sender.publish(name, "", retain=1)


def test_retain_as_published_keeps_the_mark(raw, name):
    plain, marked, sender = raw(), raw(), raw()
    plain.subscribe(name)
    marked.subscribe((name, 1 | AS_PUBLISHED))
    for retain in (1, 0):
        sender.publish(name, "x", retain=retain)
        assert (plain.message().retain, marked.message().retain) == (0, retain)
    sender.publish(name, "", retain=1)


def test_no_local_keeps_a_client_s_own_messages_from_it(raw, name):
    client, other = raw(), raw()
    client.subscribe((name, 1 | NO_LOCAL))
    client.publish(name, "own")
    other.publish(name, "end")
    assert client.texts_until("end") == []


def test_a_message_carries_what_is_left_of_its_expiry_or_is_dropped(raw, name):
    raw(client_id=name, **session(60)).subscribe(f"{name}/+")
    raw(client_id=name, **session(60)).leave()
    sender = raw()
    sender.publish(f"{name}/a", "short", MessageExpiryInterval=1)
    sender.publish(f"{name}/a", "long", MessageExpiryInterval=100)
    sender.publish(f"{name}/r", "short", retain=1, MessageExpiryInterval=1)
    sender.publish(f"{name}/s", "long", retain=1, MessageExpiryInterval=100)
    let_pass(raw, name, 2)
    back = raw(client_id=name, **session(60))
    found = [back.message() for _ in range(2)]
    assert [m.text for m in found] == ["long", "long"]
    assert all(90 <= m.properties["MessageExpiryInterval"] <= 98 for m in found)
    later = raw()
    later.subscribe(f"{name}/r", f"{name}/s")
    kept = later.message()
    assert kept.topic == f"{name}/s" and 90 <= kept.properties["MessageExpiryInterval"] <= 98
    sender.publish(f"{name}/r", "end")
    assert later.texts_until("end") == []
    sender.publish(f"{name}/s", "", retain=1)


@pytest.mark.parametrize("retain", [0, 1])
def test_paho_gets_the_properties_of_a_message_as_they_were_sent(server, name, retain):
    reader, sender = (paho(server, V5) for _ in range(2))
    said = mqtt.Properties(Kind.PUBLISH)
    said.PayloadFormatIndicator, said.ContentType = 1, "text/plain; ü"
    said.ResponseTopic, said.CorrelationData = f"{name}/answer", b"\x00\x01\xff"
    said.UserProperty = [("b", "1"), ("a", "2"), ("b", "1"), ("", ""), ("b", "3")]
    if not retain:
        reader.subscribe(name)
    sender.mqtt.publish(name, "text", 1, bool(retain), said).wait_for_publish(20)
    if retain:
        reader.subscribe(name)
    found = reader.messages.get(timeout=20)
    assert found.retain == bool(retain)
    assert found.properties.json() == said.json()
    sender.publish(name, "", retain=True)
    reader.leave()
    sender.leave()


def test_a_request_is_answered_at_its_response_topic(raw):
    asker = raw(properties={"RequestResponseInformation": 1})
    answers = asker.connack.properties.get("ResponseInformation", "answers/mine") + "/x"
    assert asker.subscribe((answers, 1)) == (1,)
    server_side = raw()
    server_side.subscribe("ask/it")
    asker.publish("ask/it", "?", ResponseTopic=answers, CorrelationData=b"7")
    asked = server_side.message().properties
    server_side.publish(asked["ResponseTopic"], "!", CorrelationData=bytes(asked["CorrelationData"]))
    answered = asker.message()
    assert (answered.text, bytes(answered.properties["CorrelationData"])) == ("!", b"7")
    assert "ResponseInformation" not in server_side.connack.properties


def test_each_matching_subscription_s_identifier_comes_along(raw, name):
    reader, sender = raw(), raw()
    sender.publish(f"{name}/a", "kept", retain=1)
    reader.subscribe((f"{name}/+", 1), SubscriptionIdentifier=268_435_455)
    assert reader.message().properties["SubscriptionIdentifier"] == [268_435_455]
    reader.subscribe((f"{name}/#", 1 | NEVER), SubscriptionIdentifier=2)
    reader.subscribe((f"{name}/a", 0 | NEVER), f"{name}-end")
    sender.publish(f"{name}/a", "live")
    sender.publish(f"{name}-end", "end")
    copies = [reader.message()]
    while copies[-1].text != "end":
        copies.append(reader.message())
    # One copy with both, or a copy for each subscription.
    seen = sorted(m.properties.get("SubscriptionIdentifier", []) for m in copies[:-1])
    assert seen in ([[2, 268_435_455]], [[268_435_455, 2]], [[], [2], [268_435_455]])
    assert "SubscriptionIdentifier" not in copies[-1].properties
    sender.publish(f"{name}/a", "", retain=1)


def test_subscribing_again_replaces_the_identifier(raw, name):
    reader = raw()
    for identifier in (1, 128):
        reader.subscribe(name, SubscriptionIdentifier=identifier)
        reader.publish(name, "x")
        assert reader.message().properties["SubscriptionIdentifier"] == [identifier]
    reader.subscribe(name)
    reader.publish(name, "x")
    assert "SubscriptionIdentifier" not in reader.message().properties


def test_a_shared_subscription_gives_each_message_to_one_member(raw, name):
    members, other, plain, sender = [raw(), raw()], raw(), raw(), raw()
    for member in members:
        assert member.subscribe((f"$share/{name}/{name}/+", 2)) == (2,)
    other.subscribe(f"$share/other/{name}/+", f"{name}-end")
    plain.subscribe(f"{name}/+", f"{name}-end")
    for member in members:
        member.subscribe(f"{name}-end")
    sent = [str(number) for number in range(40)]
    for text in sent:
        sender.publish(f"{name}/x", text, 2)
    sender.publish(f"{name}-end", "end", 2)
    shares = [member.texts_until("end") for member in members]
    assert sorted(shares[0] + shares[1], key=int) == sent
    assert all(shares), "one member got everything"
    assert other.texts_until("end") == sent
    assert plain.texts_until("end") == sent
    assert members[0].unsubscribe(f"$share/{name}/{name}/+", f"$share/{name}/{name}/+") in ((0, 0x11),)
    for text in sent:
        sender.publish(f"{name}/x", text, 2)
    sender.publish(f"{name}-end", "end", 2)
    assert [member.texts_until("end") for member in members] == [[], sent]


def test_a_shared_subscription_gets_nothing_retained(raw, name):
    member, sender = raw(), raw()
    sender.publish(name, "kept", retain=1)
    member.subscribe(f"$share/g/{name}")
    sender.publish(name, "end")
    assert member.texts_until("end") == []
    sender.publish(name, "", retain=1)


def test_a_client_s_topic_alias_stands_for_the_topic_it_was_given_last(raw, name):
    reader, sender = raw(), raw()
    assert sender.connack.properties["TopicAliasMaximum"] > 1
    reader.subscribe((f"{name}/+", 2))
    for level, alias in [("a", 1), ("b", 2), ("", 1), ("", 2), ("c", 1), ("", 1), ("", 2)]:
        sender.publish(level and f"{name}/{level}", "x", 1, TopicAlias=alias)
    found = [reader.message() for _ in range(7)]
    assert "".join(m.topic[-1] for m in found) == "abab" + "ccb"
    assert not any("TopicAlias" in m.properties for m in found)


def test_the_server_uses_no_more_aliases_than_the_client_allows(raw, name):
    reader, sender = raw(properties={"TopicAliasMaximum": 2}), raw()
    reader.subscribe((f"{name}/+", 1))
    sent = [f"{name}/{level}" for level in "abcabcaabbcdda" * 5]
    for topic in sent:
        sender.publish(topic, topic)
    known = {}
    for topic in sent:
        found = reader.message()
        alias = found.properties.get("TopicAlias")
        assert alias in (None, 1, 2)
        if alias and found.topic:
            known[alias] = found.topic
        assert (found.topic or known[alias]) == topic == found.text


def test_a_client_gets_nothing_larger_than_it_takes(raw, name):
    reader, sender = raw(properties={"MaximumPacketSize": 200}), raw()
    reader.subscribe((f"{name[:20]}/+", 2))
    for qos in (0, 1, 2):
        assert sender.publish(f"{name[:20]}/x", "x" * 300, qos)
        sender.publish(f"{name[:20]}/x", f"small {qos}", qos)
    assert [reader.message().text for _ in range(3)] == [f"small {qos}" for qos in (0, 1, 2)]
    reader.ping()


@pytest.mark.parametrize("qos", [1, 2])
def test_no_more_than_the_client_s_receive_maximum_is_in_flight(raw, name, qos):
    reader, sender = raw(properties={"ReceiveMaximum": 2}), raw()
    reader.acknowledges = False
    reader.subscribe((name, qos))
    for text in "abcdef":
        sender.publish(name, text, qos)
    flying = [reader.message(), reader.message()]
    assert [m.text for m in flying] == ["a", "b"]
    for text in "cdef":
        # What came too early would have come before the answers to these.
        for _ in range(3):
            reader.send(b"\xc0\x00")
            assert reader.next().kind == Kind.PINGRESP
        oldest = flying.pop(0)
        if qos == 1:
            reader.send(ack(Kind.PUBACK, oldest.packet_id))
        else:
            reader.send(ack(Kind.PUBREC, oldest.packet_id))
            assert reader.next().kind == Kind.PUBREL
            reader.send(ack(Kind.PUBCOMP, oldest.packet_id))
        flying.append(reader.next())
        assert (flying[-1].kind, flying[-1].text) == (Kind.PUBLISH, text)


def test_a_refused_qos_2_message_frees_its_place(raw, name):
    reader, sender = raw(properties={"ReceiveMaximum": 1}), raw()
    reader.acknowledges = False
    reader.subscribe((name, 2))
    for text in "ab":
        sender.publish(name, text, 2)
    reader.send(ack(Kind.PUBREC, reader.message().packet_id, 0x80))
    found = reader.next()
    assert (found.kind, found.text) == (Kind.PUBLISH, "b")


def test_who_wants_no_problem_information_gets_none(raw, name):
    client = raw(properties={"RequestProblemInformation": 0})
    for qos in (1, 2):
        refused = client.publish(f"${name}", "x", qos)
        assert refused.reason >= 0x80
        assert not {"ReasonString", "UserProperty"} & set(refused.properties)


def test_3_1_1_clients_get_no_properties_of_others(raw, name):
    reader, sender = raw(V3), raw()
    reader.subscribe((name, 1))
    sender.send(publish(V5, name, "plain", qos=1, ContentType="a", MessageExpiryInterval=9, UserProperty=[("a", "b")]))
    assert reader.message().payload == b"plain"
