"""Rows of the bad-input catalogue about the platform: who is let in, whose data it is, and what goes in circles."""

import base64
import json
import socket
import threading
import urllib.error
import urllib.request

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

from client import Client
from raw_mqtt import V3, Raw, publish
from roost import Problem
from test_bad_input import latest, send
from test_thingsboard import until
from ws.client import PONG, TEXT, frame
from ws.client import Client as WebSocket


def test_h_13_http_2_is_not_spoken_in_the_clear(roost):
    preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    assert send(roost, preface, b"\x00\x00\x00\x04\x00\x00\x00\x00\x00").startswith("HTTP/1.1 400 ")
    upgrade = "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    answer = send(roost, f"GET /healthz HTTP/1.1\r\nHost: roost\r\n{upgrade}\r\n")
    assert answer.startswith("HTTP/1.1 200 "), answer


def test_j_25_base64_that_is_none_is_refused_and_nothing_is_published(roost):
    watcher = Client(roost.door("mqtt"), "any", roost.owner).subscribe("raw/#")
    for text in ["+/8==", "=", "+/ 8=", "+/\n8=", "A", "+/9=", "%2B/8="]:
        with pytest.raises(Problem) as refused:
            roost.call("POST", "/publish", {"topic": "raw/x", "payload_base64": text})
        assert refused.value.status == 422, text
    for text in ["+/8=", "-_8=", "+/8", "-_8"]:
        roost.call("POST", "/publish", {"topic": "raw/x", "payload_base64": text})
        assert watcher.messages.get(timeout=20).payload == b"\xfb\xff"


def test_j_29_an_expression_of_a_profile_cannot_hold_the_server_up(roost):
    heavy = {"topic": "slow/{device}", "values": {"a": {"regex": "(?:a?){1000}(x)"}}}
    roost.call("POST", "/profiles", {"id": "slow", "dialect": {"name": "generic", "readings": [heavy]}})
    client = Client(roost.door("mqtt"), roost.device("s1", profile="slow"), None)
    client.publish("slow/s1", "a" * 500_000)
    noted = until(lambda: "too long for the regular expressions" in json.dumps(roost.call("GET", "/devices/s1/log")))
    assert noted
    client.publish("slow/s1", "aax")
    assert until(lambda: latest(roost, "s1").get("a", {}).get("value")) == "x"


def unsigned(**claims):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT', 'kid': '../../dev/null'})}.{part(claims)}."


def test_x_03_a_json_web_token_is_no_credential_whatever_it_claims(roost):
    roost.device("known")
    for token in [unsigned(sub="known"), unsigned(sub="known", exp="4102444800", aud=""), unsigned(operator=True) + "AAAA"]:
        with pytest.raises(Problem) as refused:
            roost.call("GET", "/devices", token=token)
        assert refused.value.status == 401
        assert Client(roost.door("mqtt"), token, None).reason.is_failure
        assert Client(roost.door("mqtt"), "known", token).reason.is_failure


def signed_in(roost, user):
    """The cookie of somebody who signs in at the dashboard."""
    body = json.dumps({key: user[key] for key in ("email", "password")}).encode()
    headers = {"Content-Type": "application/json", "Origin": roost.url}
    with urllib.request.urlopen(urllib.request.Request(f"{roost.url}/api/v1/session", body, headers), timeout=20) as answer:
        return answer.headers["Set-Cookie"].split(";")[0]


def opened(roost, *lines):
    """WebSockets at both doors that take a cookie, both heard of once."""
    made = [WebSocket(roost.door("http"), path, *lines) for path in ("/api/v1/ws", "/api/v1/echo")]
    made[0].send(frame(TEXT, b'{"subscribe":"t","id":1}'))
    made[1].send(frame(TEXT, b'{"ack":1}'))
    assert [one.next() for one in made] == [("text", b'{"ack":1}')] * 2
    return made


def closes(client):
    """The code with which a WebSocket is closed, whatever comes before."""
    while (heard := client.next())[0] != "close":
        assert heard[0] == "ping", heard
        client.send(frame(PONG, heard[1]))
    return heard[1]


def who(roost, cookie):
    request = urllib.request.Request(f"{roost.url}/api/v1/session", headers={"Cookie": cookie})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_x_04_what_was_opened_before_a_credential_died_is_closed(roost):
    token = roost.call("POST", "/tokens", {"name": "short-lived", "role": "admin"})
    device = roost.call("POST", "/devices", {"id": "gone"})["credential"]["token"]
    user = {"email": "ada@example.com", "password": "long enough a password", "role": "admin"}
    person = roost.call("POST", "/users", user)
    cookie = signed_in(roost, user)
    assert who(roost, cookie) == 200
    other = roost.call("POST", "/tenants", {"id": "orchard"})["owner_token"]
    sockets = [one for shown in (token["token"], device, other) for one in opened(roost, f"Authorization: Bearer {shown}")]
    # A WebSocket of a page of the dashboard, whose Host is what the client says.
    sockets += opened(roost, f"Cookie: {cookie}", "Origin: http://roost")
    clients = [Client(roost.door("mqtt"), "any", shown) for shown in (token["token"], other)]
    clients.append(Client(roost.door("mqtt"), "gone", device))

    roost.call("DELETE", f"/tokens/{token['id']}")
    roost.call("DELETE", "/devices/gone")
    roost.call("PATCH", f"/users/{person['id']}", {"password": "another long password"})
    roost.call("DELETE", "/tenants/orchard")

    for client in clients:
        client.closed.get(timeout=60)
        client.drop()
    for shown in (token["token"], device, other):
        with pytest.raises(Problem) as refused:
            roost.call("GET", "/me", token=shown)
        assert refused.value.status == 401
    assert who(roost, cookie) == 401
    for one in sockets:
        assert closes(one) == 1008
        one.drop()


def test_x_07_a_tenant_that_is_deleted_while_it_is_written_to_leaves_nothing_behind(roost):
    other = roost.call("POST", "/tenants", {"id": "orchard"})["owner_token"]
    keep = roost.device("keep")
    barn = roost.call("POST", "/devices", {"id": "barn"}, token=other)["credential"]["token"]
    begun, refused = threading.Event(), []

    def write():
        for number in range(100_000):
            try:
                roost.call("POST", "/me/telemetry", {"n": number}, token=barn)
            except Problem as problem:
                refused.append(problem.status)
                return
            if number == 20:
                begun.set()

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    assert begun.wait(60)
    roost.call("DELETE", "/tenants/orchard")
    for writer in writers:
        writer.join(timeout=60)
    assert refused == [401] * 4
    # The name is never given to somebody else.
    with pytest.raises(Problem) as taken:
        roost.call("POST", "/tenants", {"id": "orchard"})
    assert taken.value.status == 409
    fresh = roost.call("POST", "/tenants", {"id": "orchard-2"})["owner_token"]
    assert roost.call("GET", "/devices", token=fresh)["items"] == []
    roost.call("POST", "/me/telemetry", {"a": 1}, token=keep)
    assert latest(roost, "keep")["a"]["value"] == 1
    roost.stop()
    roost.start()
    assert [item["id"] for item in roost.call("GET", "/tenants")["items"]].count("orchard") == 0
    assert latest(roost, "keep")["a"]["value"] == 1


def test_x_09_what_a_bridge_brings_back_of_our_own_words_is_no_news(roost):
    grants = {"receive": ["devices/+/telemetry", "devices/+/status"]}
    roost.call("POST", "/profiles", {"id": "ha", "dialect": "homeassistant", "grants": grants})
    barn = Client(roost.door("mqtt"), "barn", roost.device("barn"))
    home = roost.device("home", profile="ha")
    bridge = Client(roost.door("mqtt"), home, None, version=mqtt.MQTTv5)
    heard = []

    def bring_back(client, _user, message):
        heard.append(message.topic)
        client.publish(message.topic, message.payload, 1, message.retain)

    bridge.mqtt.on_message = bring_back
    options = SubscribeOptions(qos=1, noLocal=True)
    bridge.subscribe([(topic, options) for topic in ("homeassistant/#", "devices/+/telemetry", "devices/+/status")])
    watcher = Client(roost.door("mqtt"), "any", roost.owner).subscribe("homeassistant/#").subscribe("devices/#")
    for number in range(5):
        barn.publish("me/telemetry", json.dumps({"temp": number}))
    assert until(lambda: heard.count("devices/barn/telemetry") == 5)
    assert until(lambda: any(topic.startswith("homeassistant/sensor/roost-barn/") for topic in heard))
    bridge.publish("homeassistant/the-end", "x")
    barn.publish("me/telemetry", json.dumps({"temp": 99}))
    topics = []
    while True:
        topic, text = watcher.next()
        topics.append(topic)
        if topic == "devices/barn/telemetry" and "99" in text:
            break
    assert topics.count("devices/barn/telemetry") == 6
    assert roost.call("GET", "/inbox")["items"] == []
    assert sorted(item["id"] for item in roost.call("GET", "/devices")["items"]) == ["barn", "home"]


def test_x_13_a_tenant_that_floods_takes_nothing_from_another(make_roost):
    roost = make_roost("--limits.publish_rate", "1000")
    other = roost.call("POST", "/tenants", {"id": "flood"})["owner_token"]
    loud = roost.call("POST", "/devices", {"id": "loud"}, token=other)["credential"]["token"]
    messages = publish(V3, "me/telemetry", '{"a":1}') * 1_000

    def flood(client):
        try:
            while True:
                client.socket.sendall(messages)
        except OSError:
            pass

    floods = []
    for _ in range(4):
        client = Raw(roost.door("mqtt"), V3)
        client.login(user="loud", password=loud)
        floods.append((client, threading.Thread(target=flood, args=[client])))
        floods[-1][1].start()
    try:
        quiet = roost.device("quiet")
        watcher = Client(roost.door("mqtt"), "any", roost.owner).subscribe("devices/quiet/telemetry")
        client = Client(roost.door("mqtt"), "quiet", quiet)
        for number in range(200):
            client.publish("me/telemetry", json.dumps({"n": number}))
        assert [json.loads(watcher.next()[1])["n"] for _ in range(200)] == list(range(200))
        for number in range(20):
            roost.call("POST", "/me/telemetry", {"h": number}, token=quiet)
        assert latest(roost, "quiet")["h"]["value"] == 19
    finally:
        for client, thread in floods:
            client.socket.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=30)
            client.drop()
