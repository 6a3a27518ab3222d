"""Sections 3.14 and 3.15, 4.12 and 4.13: DISCONNECT, AUTH and errors."""

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import proves
from conformance.v5.asserts import MALFORMED, PROTOCOL, is_ended
from raw_mqtt import PING, V5, connect, disconnect, packet, properties_of, publish, subscribe

# Table 3-13 of the specification: what a client may say, and what a server may.
CLIENT = {0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99}
AUTH_METHOD = properties_of(V5, {"AuthenticationMethod": "SCRAM-SHA-1"})


@proves("MQTT-3.14.1-1")
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
def test_disconnect_with_reserved_flags_is_malformed(raw, flags):
    is_ended(raw, packet(Kind.DISCONNECT, flags, b""), MALFORMED)


@proves("MQTT-3.14.2-1")
@pytest.mark.parametrize("code", [0x01, 0x10, 0x18, 0x55, 0x86, 0xA3, 0xFF])
def test_disconnect_with_a_code_that_is_not_of_the_table_is_malformed(raw, code):
    is_ended(raw, packet(Kind.DISCONNECT, 0, bytes([code])), MALFORMED)


@proves("MQTT-3.14.2-1", "MQTT-3.14.4-2")
@pytest.mark.parametrize("code", sorted(CLIENT))
def test_disconnect_with_a_code_of_the_table_closes_without_an_answer(raw, code):
    client = raw()
    client.send(disconnect(V5, code, ReasonString="that is all", UserProperty=[("a", "b")]))
    with pytest.raises((EOFError, ConnectionResetError)):
        client.next()


@proves("MQTT-3.14.4-1", "MQTT-3.14.4-2")
def test_nothing_behind_disconnect_is_done(raw, name):
    watcher, client = raw(), raw()
    watcher.subscribe(name)
    client.send(publish(V5, name, "before"), disconnect(V5), publish(V5, name, "behind", qos=1), PING)
    with pytest.raises((EOFError, ConnectionResetError)):
        client.next()
    raw().publish(name, "end")
    assert watcher.texts_until("end") == ["before"]


ENDED = {
    "malformed": (b"\xc1\0", 0x81), "protocol error": (subscribe(V5, []), 0x82), "topic": (publish(V5, "#", "x"), 0x90),
    "alias": (publish(V5, "a", "x", TopicAlias=99), 0x94), "too large": (b"\x30\xff\xff\xff\x7f", 0x95),
}


@proves("MQTT-3.14.2-1", "MQTT-3.14.2-2", "MQTT-3.14.2-3", "MQTT-3.14.2-4", "MQTT-3.14.4-1", "MQTT-4.13.1-1",
        "MQTT-4.13.2-1")
@pytest.mark.parametrize("asked", [{}, {"MaximumPacketSize": 40}, {"SessionExpiryInterval": 60}])
@pytest.mark.parametrize("why", ENDED)
def test_the_server_s_disconnect_is_a_code_of_the_table_alone(raw, name, why, asked):
    said, reason = ENDED[why]
    is_ended(raw, said + PING, reason, client_id=name, properties=asked)


@proves("MQTT-4.13.1-1")
@pytest.mark.parametrize("why", ENDED)
def test_who_is_ended_is_gone_and_its_will_is_sent(raw, name, why):
    watcher = raw()
    watcher.subscribe(name)
    is_ended(raw, ENDED[why][0], ENDED[why][1], will={"topic": name})
    assert watcher.message().text == "gone"


SERVER_ONLY = {"CONNACK": b"\x20\x03\0\0\0", "SUBACK": b"\x90\x04\0\1\0\0", "UNSUBACK": b"\xb0\x04\0\1\0\0", "PINGRESP": b"\xd0\0"}


@proves("MQTT-4.13.1-1")
@pytest.mark.parametrize("kind", SERVER_ONLY)
def test_a_packet_that_only_servers_send_is_a_protocol_error(raw, kind):
    is_ended(raw, SERVER_ONLY[kind], PROTOCOL)


@proves("MQTT-4.13.1-1")
@pytest.mark.parametrize("said", [
    publish(V5, "a", "x", ContentType=["a", "b"]), publish(V5, "a", "x", MessageExpiryInterval=[1, 2]),
    subscribe(V5, [("a", 0)], SubscriptionIdentifier=0), publish(V5, "a", "x", PayloadFormatIndicator=2),
    disconnect(V5, 0, SessionExpiryInterval=60), publish(V5, "", "x"), publish(V5, "", "x", TopicAlias=3),
], ids=["content type", "expiry", "identifier 0", "format 2", "expiry raised", "no topic", "unknown alias"])
def test_a_value_that_is_not_allowed_is_a_protocol_error(raw, said):
    is_ended(raw, said, PROTOCOL)


@proves("MQTT-4.13.1-1")
@pytest.mark.parametrize("said", [
    publish(V5, "a", "x", ServerKeepAlive=1), packet(Kind.PUBLISH, 0, b"\0\1a\x02\x7f\0"), packet(Kind.PUBLISH, 0, b"\0\1a\x09\1"),
    b"\0\0", subscribe(V5, [("a", 0)], ContentType="x"), disconnect(V5, 0, TopicAlias=1),
], ids=["another's", "unknown", "too long", "type 0", "SUBSCRIBE", "DISCONNECT"])
def test_what_cannot_be_read_is_malformed(raw, said):
    is_ended(raw, said, MALFORMED)


@proves("MQTT-4.12.0-1", "MQTT-4.12.0-4", "MQTT-4.12.0-2", "MQTT-4.12.0-5", "MQTT-3.15.2-1", "MQTT-3.15.2-2", "MQTT-3.15.2-3",
        "MQTT-4.12.0-3")
@pytest.mark.parametrize("method", ["SCRAM-SHA-1", "SCRAM-SHA-256", "GS2-KRB5", "PLAIN", "", "no such"])
def test_an_authentication_method_is_refused_clearly(raw, method):
    client = raw.unconnected()
    client.send(connect(V5, properties={"AuthenticationMethod": method, "AuthenticationData": b"n,,n=a,r=b"}))
    client.send(packet(Kind.AUTH, 0, b"\x18" + properties_of(V5, {"AuthenticationMethod": method})))
    assert client.next().wire == b"\x20\x03\0\x8c\0"
    assert client.last_words() is None


@proves("MQTT-4.12.0-6", "MQTT-3.15.2-1", "MQTT-3.15.2-2", "MQTT-3.15.2-3")
def test_who_names_no_method_hears_of_none(raw, name):
    client = raw(client_id=name)
    assert "AuthenticationMethod" not in client.connack.properties
    client.send(PING)
    assert client.next().kind == Kind.PINGRESP


@proves("MQTT-4.12.0-7", "MQTT-4.12.1-1", "MQTT-4.12.1-2")
@pytest.mark.parametrize("code", [0x00, 0x18, 0x19])
def test_auth_without_a_method_in_connect_is_a_protocol_error(raw, code):
    is_ended(raw, packet(Kind.AUTH, 0, bytes([code]) + AUTH_METHOD), PROTOCOL)


@proves("MQTT-3.15.2-1")
@pytest.mark.parametrize("code", [0x01, 0x55, 0x80, 0x8C])
def test_auth_with_a_code_that_is_not_of_the_table_is_malformed(raw, code):
    is_ended(raw, packet(Kind.AUTH, 0, bytes([code]) + AUTH_METHOD), MALFORMED)


@proves("MQTT-3.15.1-1")
@pytest.mark.parametrize("flags", [1, 2, 8, 15])
def test_auth_with_reserved_flags_is_malformed(raw, flags):
    is_ended(raw, packet(Kind.AUTH, flags, b"\x18" + AUTH_METHOD), MALFORMED)
