"""Topic names and filters (section 4.7) and the strings they are (1.5.3)."""

import pytest

from conformance.statement import case, proves
from raw_mqtt import PING, V3, connect, publish, subscribe, unsubscribe


@pytest.mark.parametrize("said", [
    *(case(subscribe(V3, [(wrong, 0)]), proves=["MQTT-4.7.1-2"], id=wrong) for wrong in
      ["a/#/b", "a#", "#/", "#a", "##", "a/#b", "a/b#", "/#/"]),
    *(case(subscribe(V3, [(wrong, 0)]), proves=["MQTT-4.7.1-3"], id=wrong) for wrong in
      ["+a", "a+", "a/+b", "a/b+/c", "++", "a/++"]),
    case(subscribe(V3, [("", 0)]), proves=["MQTT-4.7.3-1"], id="subscribe"),
    case(unsubscribe(V3, [""]), proves=["MQTT-4.7.3-1"], id="unsubscribe"),
    case(publish(V3, "", "x", qos=1), proves=["MQTT-4.7.3-1"], id="publish"),
    case(publish(V3, "a\0b", "x"), proves=["MQTT-4.7.3-2", "MQTT-1.5.3-2"], id="publish"),
    case(subscribe(V3, [("a/\0", 0)]), proves=["MQTT-4.7.3-2", "MQTT-1.5.3-2"], id="subscribe"),
    case(unsubscribe(V3, ["\0"]), proves=["MQTT-4.7.3-2", "MQTT-1.5.3-2"], id="unsubscribe"),
])
def test_what_is_no_topic_closes_the_connection(connected, said):
    client = connected()
    client.send(said, PING)
    assert client.rest() == b""


@proves("MQTT-1.5.3-2")
@pytest.mark.parametrize("said", [
    {"client_id": "a\0"}, {"user": "in\0terop"}, {"will": {"topic": "a\0"}},
], ids=["client id", "user name", "will topic"])
def test_u0000_in_connect_closes_the_connection(unconnected, said):
    client = unconnected()
    client.send(connect(V3, **said), PING)
    assert client.rest() == b""


@proves("MQTT-1.5.3-3", "MQTT-4.7.3-4")
@pytest.mark.parametrize("odd, plain", [
    ("\ufeffa", "a"), ("a\ufeff", "a"), ("\u00e9", "e\u0301"), ("\u212b", "\u00c5"), ("A", "a"), ("a ", "a"),
    ("\u0001", "\u0002"), ("\uffff", "\ufffe"), ("\u202ea", "a"), ("\U0001f321", "\U0001f321\ufe0f"), ("//", "/"),
    ("a/", "a"), ("/a", "a"), ("%61", "a"), ("./a", "a"),
], ids=ascii)
def test_a_topic_is_its_bytes_and_nothing_else(connected, name, odd, plain):
    sender = connected()
    readers = {text: connected() for text in (odd, plain)}
    for text, reader in readers.items():
        reader.subscribe(f"{name}/{text}")
    for text in (odd, plain):
        sender.publish(f"{name}/{text}", ascii(text))
    for text, reader in readers.items():
        found = reader.message()
        assert (found.topic, found.text) == (f"{name}/{text}", ascii(text))
        sender.publish(f"{name}/{text}", "end")
        assert reader.texts_until("end") == []


@proves("MQTT-4.7.1-3", "MQTT-4.7.1-2", "MQTT-3.8.3-2", "MQTT-4.7.1-1")
@pytest.mark.parametrize("subscribed, matching, other", [
    ("n/#", ["n", "n/a", "n/a/b", "n/"], ["nn", "N/a", "m/a"]),
    ("n/+", ["n/a", "n/"], ["n", "n/a/b", "n/a/"]),
    ("n/+/c", ["n/b/c", "n//c"], ["n/c", "n/b/b/c"]),
    ("n/+/+", ["n/a/b", "n//"], ["n/a", "n/a/b/c"]),
    ("n/+/#", ["n/a", "n/a/b", "n/"], ["n"]),
    ("+/n/", ["x/n/", "/n/"], ["x/n", "x/n/y"]),
    ("+/n", ["/n", "x/n"], ["n", "x/y/n"]),
    ("/n", ["/n"], ["n", "//n"]),
])
def test_wildcards_match_whole_levels(connected, name, subscribed, matching, other):
    # `n` stands for a level of the test's own.
    own = lambda text: "/".join(name if level == "n" else level for level in text.split("/"))
    reader, sender = connected(), connected()
    reader.subscribe(own(subscribed), f"{name}-end")
    for topic in matching + other:
        sender.publish(own(topic), topic)
    sender.publish(f"{name}-end", "end")
    assert reader.texts_until("end") == matching


@proves("MQTT-4.7.2-1")
@pytest.mark.parametrize("subscribed", ["#", "+/{}", "+/{}/#", "+/+"])
def test_a_wildcard_at_the_beginning_matches_no_dollar(connected, name, subscribed):
    reader, sender = connected(), connected()
    reader.subscribe(subscribed.format(name), f"{name}-end")
    sender.publish(f"$SYS/{name}", "hidden")
    sender.publish(f"${name}/{name}", "hidden", retain=1)
    sender.publish(f"x/{name}", "seen")
    sender.publish(f"{name}-end", "end")
    topics = []
    while (found := reader.message()).topic != f"{name}-end":
        topics.append(found.topic)
    assert f"x/{name}" in topics and not [topic for topic in topics if topic.startswith("$")]


@proves("MQTT-4.7.3-3")
def test_a_topic_is_taken_up_to_its_bound_and_none_above_goes_on(connected, name):
    longest, beyond = (name + "x" * (length - len(name)) for length in (1_024, 65_535))
    reader, sender = connected(), connected()
    reader.subscribe(longest, f"{name}-end")
    assert reader.subscribe((longest + "x", 1), (beyond, 1)) == (0x80, 0x80)
    sender.publish(longest, "taken")
    for topic in (longest + "x", beyond):
        client = connected()
        client.send(publish(V3, topic, "too long", qos=1), PING)
        assert client.rest() == b""
    sender.publish(f"{name}-end", "end")
    found = reader.message()
    assert (found.topic, found.text) == (longest, "taken")
    assert reader.texts_until("end") == []
