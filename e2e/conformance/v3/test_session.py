"""Sessions, wills, keep alive, PINGREQ and DISCONNECT: what outlives a connection, and how one ends."""

import select

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import proves
from raw_mqtt import PING, V3, connect, disconnect, packet, publish, subscribe


@proves("MQTT-3.2.2-1", "MQTT-3.2.2-2", "MQTT-3.2.2-3", "MQTT-3.1.2-4", "MQTT-3.1.2-6", "MQTT-3.1.4-3")
def test_a_session_is_present_until_a_clean_one(unconnected, name):
    for clean, present in [(0, 0), (0, 1), (0, 1), (1, 0), (0, 0), (0, 1), (1, 0), (1, 0), (0, 0)]:
        client = unconnected()
        client.send(connect(V3, name, clean=bool(clean)))
        assert client.exactly(4) == bytes([0x20, 2, present, 0])
        client.leave()


@proves("MQTT-3.1.2-4", "MQTT-3.1.2-5", "MQTT-4.5.0-1", "MQTT-4.1.0-1", "MQTT-4.1.0-2")
def test_a_session_is_resumed_with_its_subscriptions_and_what_came_meanwhile(connected, name):
    connected(name, clean=False).subscribe((f"{name}/#", 2))
    connected(name, clean=False).leave()
    present, sender = connected(), connected()
    present.subscribe((f"{name}/+", 2))
    for qos in (1, 2, 1, 2):
        sender.publish(f"{name}/x", f"q{qos}", qos)
    back = connected(name, clean=False)
    for reader in (present, back):
        assert [(m.text, m.qos) for m in (reader.message() for _ in range(4))] == [
            ("q1", 1), ("q2", 2), ("q1", 1), ("q2", 2)]
    sender.publish(f"{name}/x", "live", 0)
    assert back.message().text == "live"


@proves("MQTT-3.1.2-6", "MQTT-4.1.0-2")
def test_a_clean_session_forgets_what_was_and_ends_with_its_connection(connected, name):
    sender = connected()
    first = connected(name, clean=False)
    first.subscribe(f"{name}/#")
    first.leave()
    sender.publish(f"{name}/x", "waiting")
    clean = connected(name)
    clean.subscribe(f"{name}/clean")
    sender.publish(f"{name}/x", "no subscription any more")
    sender.publish(f"{name}/clean", "end")
    assert clean.texts_until("end") == []
    clean.leave()
    sender.publish(f"{name}/clean", "nobody is there")
    last = connected(name, clean=False)
    assert not last.connack.session_present
    last.subscribe(f"{name}/last")
    sender.publish(f"{name}/clean", "no subscription any more")
    sender.publish(f"{name}/last", "end")
    assert last.texts_until("end") == []


@proves("MQTT-3.1.2-7")
@pytest.mark.parametrize("clean", [False, True])
def test_what_was_retained_outlives_the_session_of_its_publisher(connected, name, clean):
    sender = connected(name, clean=clean)
    sender.publish(name, "kept", retain=1)
    sender.leave()
    connected(name, clean=True).leave()
    later = connected()
    later.subscribe(name)
    assert later.message().text == "kept"


@proves("MQTT-3.1.2-8", "MQTT-3.1.2-16", "MQTT-3.1.2-17")
@pytest.mark.parametrize("retain", [0, 1])
def test_a_will_is_sent_when_the_connection_breaks_and_retained_as_asked(connected, name, retain):
    watcher = connected()
    watcher.subscribe((name, 2))
    connected(will={"topic": name, "payload": b"\x00\xff", "retain": retain}).drop()
    found = watcher.message()
    assert (found.payload, found.retain) == (b"\x00\xff", 0)
    later = connected()
    later.subscribe(name)
    later.publish(name, "end")
    assert [later.message().payload for _ in range(1 + retain)] == [b"\x00\xff"] * retain + [b"end"]


@proves("MQTT-3.1.2-8")
def test_a_will_is_sent_when_the_server_closes_for_a_fault(connected, name):
    watcher = connected()
    watcher.subscribe(name)
    client = connected(will={"topic": name})
    client.send(b"\x00\x00")
    assert client.rest() == b""
    assert watcher.message().text == "gone"


@proves("MQTT-3.1.2-10", "MQTT-3.14.4-3", "MQTT-3.1.2-12")
def test_a_will_is_sent_once_and_never_after_disconnect(connected, name):
    watcher = connected()
    watcher.subscribe(name)
    connected(name, clean=False, will={"topic": name, "payload": "first"}).drop()
    assert watcher.message().text == "first"
    # The session is resumed without a will: none is sent, neither the old one nor any.
    without = connected(name, clean=False)
    assert without.connack.session_present
    without.drop()
    connected(name, clean=False, will={"topic": name, "payload": "dropped"}).leave()
    without = connected(name, clean=False)
    # Closed by the server, so that the end is known to be dealt with.
    without.send(b"\x00\x00")
    assert without.rest() == b""
    watcher.publish(name, "end")
    assert watcher.texts_until("end") == []


@proves("MQTT-3.1.2-24", "MQTT-3.1.2-23")
def test_silence_for_one_and_a_half_keep_alives_closes_and_sends_the_will(connected, name):
    watcher = connected()
    watcher.subscribe(name)
    silent = connected(keep_alive=1, will={"topic": name})
    lively = connected(keep_alive=1, will={"topic": name, "payload": "also gone"})
    without = connected(keep_alive=0)
    while not select.select([silent.socket], [], [], 0.4)[0]:
        lively.send(PING)
        assert lively.exactly(2) == b"\xd0\x00"
    assert silent.rest() == b""
    assert watcher.message().text == "gone"
    lively.ping().leave()
    without.ping()
    watcher.publish(name, "end")
    assert watcher.texts_until("end") == []


@proves("MQTT-3.1.4-2")
@pytest.mark.parametrize("clean", [False, True])
def test_the_newer_of_two_connections_with_one_id_stays(connected, name, clean):
    watcher = connected()
    watcher.subscribe(name)
    older = connected(name, clean=clean, will={"topic": name})
    newer = connected(name, clean=clean)
    assert newer.connack.session_present != clean
    assert older.rest() == b""
    assert watcher.message().text == "gone"
    newer.ping()


@proves("MQTT-3.1.3-6")
def test_an_empty_client_id_is_a_client_of_its_own(connected, name):
    clients = [connected("") for _ in range(3)]
    for number, client in enumerate(clients):
        client.subscribe(f"{name}/{number}")
    for number, client in enumerate(clients):
        clients[0].publish(f"{name}/{number}", str(number))
        assert client.message().text == str(number)


@proves("MQTT-3.12.4-1", "MQTT-2.2.2-1")
def test_a_ping_is_answered(connected):
    client = connected()
    client.send(PING)
    assert client.exactly(2) == b"\xd0\x00"
    client.send(PING, PING, PING, disconnect(V3))
    assert client.rest() == b"\xd0\x00" * 3


@proves("MQTT-3.14.1-1", "MQTT-2.2.2-2")
@pytest.mark.parametrize("flags", range(1, 16))
def test_a_disconnect_with_flags_is_a_fault_and_sends_the_will(connected, name, flags):
    watcher = connected()
    watcher.subscribe(name)
    client = connected(will={"topic": name})
    client.send(packet(Kind.DISCONNECT, flags, b""))
    assert client.rest() == b""
    assert watcher.message().text == "gone"


@proves("MQTT-3.14.4-1", "MQTT-3.14.4-2", "MQTT-3.14.4-3")
def test_disconnect_closes_without_a_word_and_nothing_behind_it_counts(connected, name):
    watcher = connected()
    watcher.subscribe(name)
    client = connected(name, clean=False, will={"topic": name})
    client.send(disconnect(V3), publish(V3, name, "behind", qos=1), subscribe(V3, [(name, 1)]), PING)
    assert client.rest() == b""
    watcher.publish(name, "end")
    assert watcher.texts_until("end") == []
