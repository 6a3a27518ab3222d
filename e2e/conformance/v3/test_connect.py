"""CONNECT (section 3.1): what is let in, and how the rest is turned away."""

import string as letters

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import case, proves
from raw_mqtt import OWNER, PING, V3, connect, disconnect, number, packet, publish, string, subscribe

ACCEPTED, RESUMED = b"\x20\x02\x00\x00", b"\x20\x02\x01\x00"
LEVEL_REFUSED, ID_REFUSED, LOGIN_REFUSED = b"\x20\x02\x00\x01", b"\x20\x02\x00\x02", b"\x20\x02\x00\x04"
CLEAN, WILL, RETAINED, PASSWORD, USER = 0x02, 0x04, 0x20, 0x40, 0x80
LOGIN = string("interop") + string(OWNER)
NOT_UTF8 = [b"a\xc0\x80", b"a\xed\xa0\x80", b"a\xf4\x90\x80\x80", b"a\xe2\x82"]


def said(payload, flags=CLEAN | USER | PASSWORD, level=V3, protocol="MQTT"):
    """CONNECT of any flags with any payload."""
    return packet(Kind.CONNECT, 0, string(protocol) + bytes([level, flags]) + number(60) + payload)


def assert_closed_silently(client, *packets):
    client.send(*packets)
    assert client.rest() == b""


FIRST = {
    "PUBLISH": publish(V3, "a", "x"), "SUBSCRIBE": subscribe(V3, [("a", 0)]), "PINGREQ": PING,
    "DISCONNECT": disconnect(V3), "CONNACK": ACCEPTED, "type 0": b"\x00\x00", "type 15": b"\xf0\x00",
}


@proves("MQTT-3.1.0-1")
@pytest.mark.parametrize("first", FIRST)
def test_a_connection_that_does_not_begin_with_connect_is_closed(unconnected, first):
    assert_closed_silently(unconnected(), FIRST[first], connect(V3))


@proves("MQTT-3.1.0-2")
def test_a_second_connect_closes_and_sends_the_will(connected, name):
    watcher = connected()
    watcher.subscribe(name)
    assert_closed_silently(connected(name, will={"topic": name}), connect(V3, name))
    assert watcher.message().text == "gone"


@proves("MQTT-3.1.2-1")
@pytest.mark.parametrize("protocol, level", [("MQIsdp", 3), ("mqtt", 4), ("MQTTX", 4), ("", 4)])
def test_another_protocol_is_closed_without_a_word(unconnected, protocol, level):
    assert_closed_silently(unconnected(), said(string("") + LOGIN, level=level, protocol=protocol))


@proves("MQTT-3.1.2-2")
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_level_that_is_not_supported_is_told_so(unconnected, level):
    client = unconnected()
    client.send(said(string("") + LOGIN, level=level), PING)
    assert client.rest() == LEVEL_REFUSED


WHOLE = string("") + string("t") + string("gone") + LOGIN
ALL = CLEAN | USER | PASSWORD
CONNECTS = [
    case(said(string("") + LOGIN, ALL | 0x01), proves=["MQTT-3.1.2-3"]),
    case(said(string("")[:1]), proves=["MQTT-3.1.3-3"], id="cut"),
    case(said(b"", CLEAN), proves=["MQTT-3.1.3-3"], id="no-payload"),
    case(said(string("") + string("t"), CLEAN | WILL), proves=["MQTT-3.1.2-9"], id="no-will-message"),
    case(said(string(""), CLEAN | WILL), proves=["MQTT-3.1.2-9"], id="no-will-topic"),
    case(said(WHOLE, ALL), proves=["MQTT-3.1.2-11"]),
    case(said(string("") + LOGIN, ALL | 1 << 3), proves=["MQTT-3.1.2-13", "MQTT-3.1.2-11"], id="1"),
    case(said(string("") + LOGIN, ALL | 2 << 3), proves=["MQTT-3.1.2-13", "MQTT-3.1.2-11"], id="2"),
    case(said(string("") + LOGIN, ALL | 3 << 3), proves=["MQTT-3.1.2-13", "MQTT-3.1.2-11"], id="3"),
    case(said(WHOLE, ALL | WILL | 3 << 3), proves=["MQTT-3.1.2-14"]),
    case(said(string("") + LOGIN, ALL | RETAINED), proves=["MQTT-3.1.2-15", "MQTT-3.1.2-11"]),
    case(said(string("") + LOGIN, CLEAN), proves=["MQTT-3.1.2-18", "MQTT-3.1.2-20"]),
    case(said(string("") + string(OWNER), CLEAN | USER | PASSWORD), proves=["MQTT-3.1.2-19", "MQTT-3.1.2-21"], id="one"),
    case(said(string(""), CLEAN | USER), proves=["MQTT-3.1.2-19"]),
    case(said(string("") + LOGIN, CLEAN | USER), proves=["MQTT-3.1.2-20"]),
    case(said(string("") + string("interop"), CLEAN | USER | PASSWORD), proves=["MQTT-3.1.2-21"]),
    case(said(string("") + string(OWNER), CLEAN | PASSWORD), proves=["MQTT-3.1.2-22"]),
    case(said(string("") + LOGIN + b"x"), proves=["MQTT-3.1.4-1"], id="a-byte-too-many"),
    case(said(string("") + LOGIN[:-1]), proves=["MQTT-3.1.4-1"], id="a-byte-too-few"),
    case(b"\x11" + said(string("") + LOGIN)[1:], proves=["MQTT-3.1.4-1", "MQTT-2.2.2-2"]),
]


@pytest.mark.parametrize("wrong", CONNECTS)
def test_a_connect_that_breaks_the_form_is_closed_without_connack(unconnected, wrong):
    assert_closed_silently(unconnected(), wrong, PING)


@pytest.mark.parametrize("where, payload", [
    case("client id", lambda bad: string(bad) + LOGIN, proves=["MQTT-3.1.3-4", "MQTT-1.5.3-1"]),
    case("will topic", lambda bad: string("") + string(bad) + string("x") + LOGIN,
         proves=["MQTT-3.1.3-10", "MQTT-1.5.3-1"]),
    case("user name", lambda bad: string("") + string(bad) + string(OWNER), proves=["MQTT-3.1.3-11", "MQTT-1.5.3-1"]),
])
@pytest.mark.parametrize("bad", NOT_UTF8, ids=["overlong", "surrogate", "beyond", "cut"])
def test_a_string_of_connect_that_is_not_utf8_closes(unconnected, where, payload, bad):
    flags = ALL | (WILL if where == "will topic" else 0)
    assert_closed_silently(unconnected(), said(payload(bad), flags), PING)
    good = unconnected()
    good.send(said(payload(b"interop"), flags))
    assert good.exactly(4) == ACCEPTED


@proves("MQTT-3.1.2-14")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_will_is_sent_at_its_qos(connected, name, qos):
    watcher = connected()
    watcher.subscribe((name, 2))
    connected(will={"topic": name, "qos": qos}).drop()
    assert watcher.message().qos == qos


@proves("MQTT-3.1.3-1")
def test_the_fields_of_connect_are_read_in_their_order(connected, unconnected, name):
    watcher = connected()
    watcher.subscribe(f"{name}/+")
    flags = ALL | WILL
    client = unconnected()
    client.send(said(string(name) + string(f"{name}/will") + string("message") + LOGIN, flags))
    assert client.exactly(4) == ACCEPTED
    client.drop()
    found = watcher.message()
    assert (found.topic, found.text) == (f"{name}/will", "message")
    swapped = unconnected()
    swapped.send(said(string(name) + string(f"{name}/will") + string("message") + string(OWNER) + string(name), flags))
    assert swapped.rest() == LOGIN_REFUSED


@proves("MQTT-3.1.3-5")
def test_client_ids_of_letters_and_digits_are_taken(connected):
    every = letters.digits + letters.ascii_lowercase + letters.ascii_uppercase
    for client_id in ["0", "Z", every[:23], every[23:46], every[39:]]:
        assert 1 <= len(client_id) <= 23
        connected(client_id).ping()


@proves("MQTT-3.1.3-9", "MQTT-3.2.2-5")
def test_a_client_id_that_is_too_long_is_rejected(connected, unconnected, name):
    connected((name * 256)[:256]).ping()
    client = unconnected()
    client.send(connect(V3, (name * 257)[:257]), PING)
    assert client.rest() == ID_REFUSED


@proves("MQTT-3.1.3-8", "MQTT-3.1.3-7", "MQTT-3.2.2-4")
def test_an_empty_client_id_without_a_clean_session_is_rejected(unconnected):
    client = unconnected()
    client.send(connect(V3, "", clean=False), PING)
    assert client.rest() == ID_REFUSED


@proves("MQTT-3.1.3-2")
def test_a_session_belongs_to_its_client_id(connected, name):
    connected(f"{name}-a", clean=False).subscribe(f"{name}/a")
    connected(f"{name}-b", clean=False).subscribe(f"{name}/b")
    sender = connected()
    for client_id in "ab":
        connected(f"{name}-{client_id}", clean=False).leave()
        sender.publish(f"{name}/{client_id}", client_id)
    for client_id in "ba":
        client = connected(f"{name}-{client_id}", clean=False)
        sender.publish(f"{name}/{client_id}", "end")
        assert client.texts_until("end") == [client_id]


@proves("MQTT-3.1.4-4", "MQTT-3.2.0-1", "MQTT-3.1.4-3")
def test_success_is_four_bytes_and_the_first_to_be_said(connected, unconnected, name):
    first = unconnected()
    first.send(connect(V3, name, clean=False), subscribe(V3, [(name, 1)], 9))
    assert first.exactly(9) == ACCEPTED + b"\x90\x03\x00\x09\x01"
    first.leave()
    connected().publish(name, "waiting")
    again = unconnected()
    again.send(connect(V3, name, clean=False))
    assert again.exactly(4) == RESUMED
    assert again.message().text == "waiting"
    again.leave()
    clean = unconnected()
    clean.send(connect(V3, name), PING)
    assert clean.exactly(6) == ACCEPTED + b"\xd0\x00"


@proves("MQTT-3.2.2-4", "MQTT-3.2.2-5", "MQTT-3.1.4-5")
def test_a_refusal_says_no_session_and_closes_and_nothing_behind_it_counts(connected, unconnected, name):
    watcher = connected()
    watcher.subscribe(name)
    connected(name, clean=False).leave()
    refused = unconnected()
    wrong = connect(V3, name, clean=False, user=name, password="wrong", will={"topic": name})
    refused.send(wrong, publish(V3, name, "acted upon"), subscribe(V3, [("a", 0)]), PING)
    assert refused.rest() == LOGIN_REFUSED
    watcher.publish(name, "end")
    assert watcher.texts_until("end") == []
    assert connected(name, clean=False).connack.session_present


@proves("MQTT-3.2.2-6")
def test_a_refusal_that_has_no_return_code_is_said_by_closing(unconnected, server, name):
    server.device(name)
    # The topic is the device's telemetry, and the payload is none.
    will = {"topic": f"devices/{name}/telemetry", "payload": "{"}
    assert_closed_silently(unconnected(), connect(V3, name, will=will), PING)
    # Above what is taken before log-in, said by the fixed header alone.
    assert_closed_silently(unconnected(), b"\x10\xff\xff\xff\x7f")
