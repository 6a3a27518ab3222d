"""Rows of the bad-input catalogue that only a whole server can show; ids are those of the catalogue."""

import json
import socket
import threading
import urllib.error
import urllib.request

import paho.mqtt.client as mqtt
import pytest

from client import Client
from roost import EPOCH, Problem


def send(roost, head, body=b""):
    """Sends bytes to the HTTP door and gives everything that comes until it closes."""
    with socket.create_connection(roost.door("http"), timeout=20) as stream:
        stream.sendall(head.encode() + body)
        answer = b""
        while more := stream.recv(65_536):
            answer += more
    return answer.decode(errors="replace")


def post(path, token, *headers):
    lines = [f"POST /api/v1{path} HTTP/1.1", "Host: roost", f"Authorization: Bearer {token}", "Connection: close"]
    return "\r\n".join([*lines, *headers, "", ""])


def latest(roost, device):
    return roost.call("GET", f"/devices/{device}/telemetry/latest")


def test_h_08_a_body_of_chunks_of_one_byte_each_is_the_body(roost):
    token = roost.device("slow")
    body = json.dumps({"text": "x" * 50_000}).encode()
    chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body) + b"0\r\n\r\n"
    answer = send(roost, post("/me/telemetry", token, "Content-Type: application/json", "Transfer-Encoding: chunked"), chunks)
    assert answer.startswith("HTTP/1.1 204 "), answer
    assert latest(roost, "slow")["text"]["value"] == "x" * 50_000


def test_h_08_what_follows_the_last_chunk_is_no_part_of_the_body(roost):
    token = roost.device("more")
    body = b'8\r\n{"a": 1}\r\n0\r\n\r\n{"a": 2}'
    answer = send(roost, post("/me/telemetry", token, "Content-Type: application/json", "Transfer-Encoding: chunked"), body)
    assert answer.startswith("HTTP/1.1 204 "), answer
    assert latest(roost, "more")["a"]["value"] == 1


def test_h_17_a_token_in_the_query_string_opens_nothing(roost):
    token = roost.device("shy")
    request = urllib.request.Request(f"{roost.url}/api/v1/me/telemetry?token={token}", data=b'{"a":1}', method="POST")
    request.add_header("Content-Type", "application/json")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    assert refused.value.code == 401
    assert token not in "".join(roost.log)


def test_h_20_a_forwarded_address_of_a_stranger_is_not_believed(roost):
    token = roost.device("far")
    head = post("/me/telemetry", token, "Content-Type: application/json", "X-Forwarded-For: 203.0.113.9", "Content-Length: 7")
    assert send(roost, head, b'{"a":1}').startswith("HTTP/1.1 204 ")
    told = json.dumps(roost.call("GET", "/devices/far/log")) + json.dumps(roost.call("GET", "/devices/far"))
    assert "203.0.113.9" not in told
    # The head of the PROXY protocol is no HTTP.
    assert send(roost, "PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n\r\n").startswith("HTTP/1.1 400 ")


def test_h_22_a_thousand_ranges_are_not_answered_a_thousand_times(roost):
    ranges = ",".join(["0-"] * 1_000)
    answer = send(roost, f"GET / HTTP/1.1\r\nHost: roost\r\nConnection: close\r\nRange: bytes={ranges}\r\n\r\n")
    plain = send(roost, "GET / HTTP/1.1\r\nHost: roost\r\nConnection: close\r\n\r\n")
    assert len(answer) <= len(plain) + 100


def test_j_11_a_number_that_is_written_as_text_stays_text(roost):
    token = roost.device("writer")
    roost.call("POST", "/me/telemetry", {"temp": "21.5", "comma": "21,5"}, token=token)
    found = latest(roost, "writer")
    assert (found["temp"]["value"], found["comma"]["value"]) == ("21.5", "21,5")


def test_j_15_control_characters_of_a_device_do_not_reach_the_log_lines(make_roost):
    roost = make_roost("--log.level", "debug")
    roost.device("noisy")
    evil = "evil\n2026-01-01 ERROR forged\x1b[2J"
    client = Client(roost.door("mqtt"), "noisy", "wrong", client_id=evil)
    client.drop()
    with pytest.raises(Problem):
        roost.call("POST", "/devices", {"id": evil})
    roost.stop()
    assert [line for line in roost.log if "forged" in line], "the log tells of it"
    assert not [line for line in roost.log if "\x1b[2J" in line or line.startswith("2026-01-01 ERROR forged")]


def test_j_19_a_device_clock_that_jumps_back_keeps_every_reading_at_its_own_time(roost):
    token = roost.device("summer")
    hour = 3_600_000
    times = [EPOCH + 2 * hour, EPOCH + 3 * hour, EPOCH + 2 * hour + 1, EPOCH + 3 * hour + 1]
    for number, ts in enumerate(times):
        roost.call("POST", "/me/telemetry", {"ts": ts, "values": {"n": number}}, token=token)
    assert roost.points("summer", "n") == {ts: number for number, ts in enumerate(times)}


def test_x_11_metrics_and_system_topics_need_the_operator(roost):
    other = roost.call("POST", "/tenants", {"id": "orchard"})["owner_token"]
    token = roost.device("curious")
    for shown in (None, token, other):
        request = urllib.request.Request(f"{roost.url}/metrics")
        if shown:
            request.add_header("Authorization", f"Bearer {shown}")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        assert refused.value.code in (401, 403)
    assert Client(roost.door("mqtt"), "any", other).is_refused("$SYS/#")
    request = urllib.request.Request(f"{roost.url}/metrics", headers={"Authorization": f"Bearer {roost.owner}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        text = answer.read().decode()
    assert token not in text and roost.owner not in text and "curious" not in text


def test_x_14_in_a_storm_of_reconnects_nobody_hears_another_tenant(roost):
    tenants = {f"t{number}": roost.call("POST", "/tenants", {"id": f"t{number}"})["owner_token"] for number in range(10)}
    foreign, heard = [], []

    def storm(tenant, token):
        for turn in range(8):
            client = Client(roost.door("mqtt"), "any", token, version=mqtt.MQTTv5, client_id="the-same", session=True)
            client.subscribe("#")
            client.publish("shared/name", f"{tenant}:{turn}")
            own = False
            while not own:
                topic, text = client.next()
                if topic == "shared/name":
                    heard.append(text)
                    foreign.extend([text] if not text.startswith(f"{tenant}:") else [])
                    own = text == f"{tenant}:{turn}"
            client.leave()

    threads = [threading.Thread(target=storm, args=item) for item in tenants.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(heard) >= 80 and not foreign, foreign
