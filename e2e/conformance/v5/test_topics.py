"""Section 4.7: topic names and filters."""

import pytest

from conformance.statement import proves
from conformance.v5.asserts import MALFORMED, PROTOCOL, is_ended
from raw_mqtt import V5, publish, subscribe, unsubscribe


@proves("MQTT-4.7.1-1")
@pytest.mark.parametrize("filter", ["a/#/b", "a#", "#/", "#a", "a/#b", "##", "a/b#/c", "$share/g/a#"])
@pytest.mark.parametrize("said", [lambda f: subscribe(V5, [("a", 0), (f, 0)]), lambda f: unsubscribe(V5, [f])], ids=["sub", "unsub"])
def test_a_misplaced_hash_ends_it(raw, filter, said):
    is_ended(raw, said(filter), MALFORMED)


@proves("MQTT-4.7.1-2")
@pytest.mark.parametrize("filter", ["+a", "a+", "a/+b/c", "a/b+", "++", "+#", "$share/g/+a"])
@pytest.mark.parametrize("said", [lambda f: subscribe(V5, [("a", 0), (f, 0)]), lambda f: unsubscribe(V5, [f])], ids=["sub", "unsub"])
def test_a_misplaced_plus_ends_it(raw, filter, said):
    is_ended(raw, said(filter), MALFORMED)


# Filter, topic, whether they match; `N` stands for the test's own level.
MATCHES = [
    ("N/#", "N", True), ("N/#", "N/a/b", True), ("N/+", "N/a", True), ("N/+", "N", False), ("N/+", "N/", True),
    ("N/+/+", "N//", True), ("N/+/b", "N/a/b", True), ("N/+/b", "N/a/a/b", False), ("+/N", "a/N", True), ("+/N", "/N", True),
    ("N/a", "N/A", False), ("N/a ", "N/a", False), ("N/", "N", False), ("/N", "N", False), ("+/N/#", "a/N", True),
]


@proves("MQTT-4.7.1-1", "MQTT-4.7.1-2", "MQTT-4.7.0-1", "MQTT-3.3.2-3")
@pytest.mark.parametrize("filter, topic, match", MATCHES)
def test_wildcards_match_whole_levels(raw, name, filter, topic, match):
    reader, sender = raw(), raw()
    filter, topic = filter.replace("N", name), topic.replace("N", name)
    assert reader.subscribe((filter, 1), (f"end/{name}", 1)) == (1, 1)
    sender.publish(topic, "x")
    sender.publish(f"end/{name}", "end")
    assert reader.texts_until("end") == ["x"] * match


@proves("MQTT-4.7.2-1")
def test_wildcards_in_front_do_not_match_the_server_s_topics(server, raw, name):
    """A device's status is the server's to say, and `$SYS` is; neither comes to `#` and `+/#`."""
    reader = raw()
    reader.subscribe("#", "+/#", "+/+/#")
    for topic in (f"$SYS/{name}", f"${name}", f"${name}/a", "$share/x/y"):
        assert raw().publish(topic, "unheard").reason == 0x87
    reader.publish(f"{name}/end", "end")
    while (found := reader.message()).topic != f"{name}/end":
        assert not found.topic.startswith("$"), found.topic


@proves("MQTT-4.7.3-1")
@pytest.mark.parametrize("said, reason", [
    (publish(V5, "", "x"), PROTOCOL), (publish(V5, "", "x", qos=2), PROTOCOL), (subscribe(V5, [("", 0)]), MALFORMED),
    (unsubscribe(V5, [""]), MALFORMED), (subscribe(V5, [("a", 0), ("", 0)]), MALFORMED),
], ids=["PUBLISH", "PUBLISH QoS 2", "SUBSCRIBE", "UNSUBSCRIBE", "second"])
def test_an_empty_topic_or_filter_ends_it(raw, said, reason):
    is_ended(raw, said, reason)


@proves("MQTT-4.7.3-1")
def test_topics_of_one_character_and_of_separators_are_taken(raw, name):
    reader = raw()
    for topic in ("/", "//", "a", " ", f"{name}//b", f"{name}/"):
        assert reader.subscribe((topic, 1)) == (1,)
        reader.publish(topic, name)
        assert (reader.message().topic, reader.unsubscribe(topic)) == (topic, (0,))


@proves("MQTT-4.7.3-3")
@pytest.mark.parametrize("length", [1_025, 65_535])
def test_a_topic_or_filter_that_is_too_long_is_refused(raw, length):
    client = raw()
    for qos in (1, 2):
        assert client.publish("a" * length, "x", qos).reason == 0x90
    assert client.subscribe(("a" * length, 0), ("a/ok", 0)) == (0x8F, 0)
    client.ping()


@proves("MQTT-4.7.3-3")
def test_a_topic_of_1024_bytes_is_taken(raw, name):
    client = raw()
    topic = f"{name}/".ljust(1_024, "x")
    assert client.subscribe((topic, 1)) == (1,)
    client.publish(topic, "long")
    assert client.message().topic == topic


@proves("MQTT-4.7.3-4")
def test_topics_are_compared_byte_by_byte(raw, name):
    twins = [f"{name}/é", f"{name}/e\u0301", f"{name}/É", f"{name}/\ufb01", f"{name}/fi", f"{name}/\u2126", f"{name}/\u03a9",
             f"{name}/a\u200d", f"{name}/a", f"{name}/\uffff", f"{name}/\u0001"]
    readers = [raw() for _ in twins]
    for reader, topic in zip(readers, twins):
        reader.subscribe(topic, f"{name}/end")
    sender = raw()
    for topic in twins:
        sender.publish(topic, topic)
    sender.publish(f"{name}/end", "end")
    for reader, topic in zip(readers, twins):
        assert reader.texts_until("end") == [topic]
