"""paho: both versions, plain, TLS and WebSocket; and what stays over kill -9."""

import os
import json

import paho.mqtt.client as mqtt
import pytest
import trustme

from client import Client

VERSIONS = pytest.mark.parametrize("version", [mqtt.MQTTv311, mqtt.MQTTv5], ids=["v3.1.1", "v5"])


def converse(door, roost, version, **more):
    """A device sends a reading and gets a command over the connection that `more` describes."""
    token = roost.device("probe")
    client = Client(door, "probe", token, version=version, **more)
    assert not client.reason.is_failure, client.reason
    client.subscribe("me/commands")
    client.publish("me/telemetry", '{"temp": 3}')
    assert roost.call("GET", "/devices/probe/telemetry/latest")["temp"]["value"] == 3
    sent = roost.call("POST", "/devices/probe/commands", {"name": "go"})
    topic, text = client.next()
    assert (topic, json.loads(text)["id"]) == ("me/commands", sent["id"])
    client.leave()


@VERSIONS
def test_a_device_talks_over_tcp(roost, version):
    converse(roost.door("mqtt"), roost, version)


@VERSIONS
def test_a_device_talks_over_websocket(roost, version):
    converse(roost.door("http"), roost, version, transport="websockets")


@VERSIONS
def test_a_device_talks_over_tls(make_roost, tmp_path, version):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    cert, key, root = (str(tmp_path / name) for name in ("cert.pem", "key.pem", "ca.pem"))
    certificate.private_key_pem.write_to_path(key)
    os.chmod(key, 0o600)
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(cert, append=True)
    authority.cert_pem.write_to_path(root)
    doors = ["--mqtts", "127.0.0.1:0", "--https", "127.0.0.1:0"]
    roost = make_roost("--tls.cert", cert, "--tls.key", key, *doors)
    converse(roost.door("mqtts"), roost, version, tls=root)


@VERSIONS
def test_a_wrong_token_is_refused(roost, version):
    roost.device("probe")
    assert Client(roost.door("mqtt"), "probe", "not-its-token", version=version).reason.is_failure


@VERSIONS
def test_a_session_and_what_is_retained_stay_over_kill_9(roost, version):
    token = roost.device("sleeper")
    away = Client(roost.door("mqtt"), "sleeper", token, version=version, client_id="away", session=True)
    assert not away.flags.session_present
    away.subscribe("news/#", qos=2)
    away.leave()
    sender = Client(roost.door("mqtt"), "any", roost.owner, version=version)
    for number in range(20):
        qos = 1 + number % 2
        sender.publish(f"news/{qos}", str(number), qos)
    sender.publish("state/door", "shut", retain=True)
    roost.kill()
    sender.drop()

    roost.start()
    back = Client(roost.door("mqtt"), "sleeper", token, version=version, client_id="away", session=True)
    assert back.flags.session_present
    # The order holds for each QoS of each topic; between them MQTT promises none.
    received = [back.next() for _ in range(20)]
    for qos in (1, 2):
        expected = [str(number) for number in range(20) if 1 + number % 2 == qos]
        assert [text for topic, text in received if topic == f"news/{qos}"] == expected
    back.subscribe("state/#")
    assert back.next() == ("state/door", "shut")
    back.leave()


def test_the_will_of_a_client_that_was_there_when_the_server_died_is_sent(roost):
    token = roost.device("watched")
    door = roost.door("mqtt")
    watcher = Client(door, "any", roost.owner, client_id="watcher", session=True).subscribe("last/words")
    watcher.leave()
    watched = Client(door, "watched", token, will=("last/words", "gone", 1, False))
    watched.publish("me/telemetry", '{"temp": 1}')
    roost.kill()
    watched.drop()
    roost.start()
    again = Client(roost.door("mqtt"), "any", roost.owner, client_id="watcher", session=True)
    assert again.next() == ("last/words", "gone")
    again.leave()


def test_presence_follows_the_connection(roost):
    token = roost.device("blinker")
    watcher = Client(roost.door("mqtt"), "any", roost.owner).subscribe("devices/+/status")
    device = Client(roost.door("mqtt"), "blinker", token)
    assert watcher.next() == ("devices/blinker/status", "online")
    device.leave()
    assert watcher.next() == ("devices/blinker/status", "offline")
    watcher.leave()
