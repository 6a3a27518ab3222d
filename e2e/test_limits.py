"""Limits from outside: what a client sees that runs into one, and what the operator sees of it."""

import socket
import urllib.error
import urllib.request

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from raw_mqtt import V3, V5, VERSIONS, Raw, connect, publish
from roost import OWNER, Problem

UPGRADE = (
    "GET /mqtt HTTP/1.1\r\nHost: roost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: q83vEjRWeJCrze8SNFZ4kA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)


def refusals(roost, limit):
    request = urllib.request.Request(f"{roost.url}/metrics", headers={"Authorization": f"Bearer {OWNER}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    name = f'roost_limit_refusals_total{{limit="{limit}"}} '
    return next(int(line.removeprefix(name)) for line in lines if line.startswith(name))


def upgrade(roost):
    """The socket of an asked upgrade, closed when it was refused, and the head of the answer; empty when the
    server closed without one."""
    stream = socket.create_connection(roost.door("http"), timeout=20)
    answer = b""
    try:
        stream.sendall(UPGRADE.encode())
        while b"\r\n\r\n" not in answer:
            more = stream.recv(4096)
            if not more:
                break
            answer += more
    except ConnectionError:
        pass
    if not answer.startswith(b"HTTP/1.1 101 "):
        stream.close()
    return stream, answer.decode()


def login(roost, version, client_id, **more):
    client = Raw(roost.door("mqtt"), version)
    client.login(client_id, **more)
    return client


@VERSIONS
def test_before_the_first_owner_mqtt_is_not_available(make_roost, version):
    roost = make_roost(owner=None)
    client = login(roost, version, "early")
    assert client.connack.reason == (0x88 if version == V5 else 3)


def test_w_20_many_upgrades_at_once_are_told_when_to_come_again(make_roost):
    roost = make_roost("--limits.connections", "20")
    first = login(roost, V5, "first")
    asked = [upgrade(roost) for _ in range(300)]
    statuses = [answer[9:12] for _, answer in asked]
    assert set(statuses) == {"101", "503"}, set(statuses)
    assert statuses.count("101") == 19
    assert all("retry-after: " in answer.lower() for _, answer in asked if answer[9:12] == "503")
    first.ping()
    for stream, _ in asked:
        stream.close()
    # The place of one that was closed is free again.
    while True:
        try:
            assert refusals(roost, "connections") >= 281
            break
        except urllib.error.HTTPError as error:
            assert error.code == 503


def test_m_71_connect_floods_are_slowed_where_nobody_is_trusted(make_roost):
    roost = make_roost("--limits.trusted", "", "--limits.connect_rate", "5")
    clients = [socket.create_connection(roost.door("mqtt"), timeout=20) for _ in range(100)]
    said = []
    for client in clients:
        try:
            client.sendall(connect(V5, "flood"))
            said.append(client.recv(64)[3:4])
        except ConnectionError:
            said.append(b"")
    assert said.count(b"\x9f") >= 5, said
    assert said.count(b"") >= 20, said


@VERSIONS
def test_m_29_two_clients_with_one_id_take_turns_and_the_device_log_shows_both(roost, version):
    token = roost.device("twin")
    who = {"user": "twin", "password": token}
    clients = [login(roost, version, "same", **who) for _ in range(5)]
    assert [client.connack.reason for client in clients] == [0] * 5
    log = [entry["detail"] for entry in roost.call("GET", "/devices/twin/log")["items"]]
    duplicate = next(line for line in log if line.startswith("duplicate client id"))
    assert duplicate.count("127.0.0.1:") == 2
    assert refusals(roost, "takeover_rate") >= 1


@VERSIONS
def test_a_device_over_its_publish_rate_is_slowed_and_loses_nothing(make_roost, version):
    roost = make_roost("--limits.publish_rate", "50")
    token = roost.device("fast")
    client = login(roost, version, "fast", user="fast", password=token)
    client.send(*(publish(version, "t", str(number), qos=1, packet_id=number) for number in range(1, 151)))
    acknowledged = [client.take(Kind.PUBACK) for _ in range(150)]
    assert {ack.reason for ack in acknowledged} <= {0, 0x10}
    assert refusals(roost, "publish_rate") >= 1
    log = [entry["detail"] for entry in roost.call("GET", "/devices/fast/log")["items"]]
    assert any("faster than it may" in line for line in log)


def test_over_http_the_publish_rate_is_429(make_roost):
    roost = make_roost("--limits.publish_bytes", "1")
    token = roost.device("fast")
    roost.call("POST", "/me/telemetry", {"temperature": 20.5}, token=token)
    with pytest.raises(Problem) as refused:
        roost.call("POST", "/me/telemetry", {"temperature": 20.5}, token=token)
    assert refused.value.status == 429


@VERSIONS
def test_a_tenant_has_as_many_connections_as_it_may(make_roost, version):
    roost = make_roost("--limits.connections_per_tenant", "2")
    clients = [login(roost, version, f"c{number}") for number in range(3)]
    assert [client.connack.reason for client in clients] == [0, 0, 0x97 if version == V5 else 3]
    assert refusals(roost, "connections_per_tenant") == 1


def test_m_36_the_operator_says_how_long_a_topic_is(make_roost):
    roost = make_roost("--limits.topic_bytes", "20", "--limits.topic_levels", "3")
    client = login(roost, V5, "c")
    for topic in ("x" * 21, "a/b/c/d"):
        assert client.publish(topic, "x").reason == 0x90
    assert refusals(roost, "topic") == 2


def test_a_malformed_flood_shuts_its_address_out(make_roost):
    roost = make_roost("--limits.trusted", "", "--limits.malformed", "3")
    for _ in range(3):
        with socket.create_connection(roost.door("mqtt"), timeout=20) as stream:
            stream.sendall(b"\x10\xff\xff\xff\xff\x7f")
            assert stream.recv(16) == b""
    assert login(roost, V5, "c").connack.reason == 0x8A
    assert login(roost, V3, "c").connack.reason == 5
