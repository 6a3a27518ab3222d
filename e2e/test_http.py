"""Plain HTTP, as the poorest clients speak it."""

import gzip
import json
import socket
import urllib.error
import urllib.request

import pytest


def ask(roost, method, path, token=None, body=None, **headers):
    """Status, headers and text of an answer, refusals included."""
    request = urllib.request.Request(f"{roost.url}{path}", data=body, method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.headers, refused.read().decode()


def latest(roost, device):
    values = roost.call("GET", f"/devices/{device}/telemetry/latest")
    return {key: reading["value"] for key, reading in values.items()}


def test_a_get_is_enough_and_its_token_is_written_down_nowhere(make_roost):
    roost = make_roost("--log.level", "trace")
    token = roost.device("poor")
    assert ask(roost, "GET", f"/api/v1/me/telemetry?temp=21.5&door=open&on=true&token={token}")[0] == 204
    assert latest(roost, "poor") == {"temp": 21.5, "door": "open", "on": True}
    assert ask(roost, "GET", "/api/v1/me/telemetry?temp=1&token=a-wrong-token-of-nobody")[0] == 401
    log = "".join(roost.log) + json.dumps(roost.call("GET", "/devices/poor/log"))
    assert token not in log and "a-wrong-token-of-nobody" not in log
    assert ask(roost, "GET", f"/api/v1/me/telemetry?temp=1&token={token}")[1]["Referrer-Policy"] == "no-referrer"


def test_commands_come_in_the_answer_and_an_operator_may_switch_the_query_off(make_roost):
    roost = make_roost("--telemetry.query", "off")
    token = roost.device("poor")
    roost.call("POST", "/devices/poor/commands", {"name": "set", "params": {"relay": 1}})
    body = json.dumps({"temp": 1}).encode()
    status, _, text = ask(roost, "POST", "/api/v1/me/telemetry?commands=1", token, body, Content_Type="application/json")
    items = json.loads(text)["items"]
    assert (status, [item["params"] for item in items]) == (200, [{"relay": 1}])
    assert ask(roost, "GET", "/api/v1/me/telemetry?temp=2", token)[0] == 405
    assert latest(roost, "poor") == {"temp": 1}


def test_packed_bodies_are_unpacked_and_bombs_are_not(roost):
    token = roost.device("packed")
    post = lambda body, kind: ask(  # noqa: E731
        roost, "POST", "/api/v1/me/telemetry", token, body, Content_Type=kind, Content_Encoding="gzip")
    assert post(gzip.compress(b'{"a":1}'), "application/json")[0] == 204
    lines = b"".join(b'{"b":%d}\n' % number for number in range(1_000))
    status, _, text = post(gzip.compress(lines), "application/x-ndjson")
    assert (status, json.loads(text)) == (200, {"accepted": 1_000, "rejected": [], "last_line": 1_000})
    assert post(gzip.compress(b'{"a":2' + b" " * 50_000_000 + b"}"), "application/json")[0] == 413
    assert post(b'{"a":2}', "application/json")[0] == 400
    assert latest(roost, "packed") == {"a": 1, "b": 999}


def test_a_repeated_post_with_its_key_counts_once(roost):
    token = roost.device("again")
    answers = [
        ask(roost, "POST", "/api/v1/me/telemetry", token, b'{"n":1}', Content_Type="application/json", Idempotency_Key="k1")
        for _ in range(2)
    ]
    assert [status for status, _, _ in answers] == [204, 204]
    assert answers[1][1]["Idempotency-Replayed"] == "true"
    assert len(roost.call("GET", "/devices/again/telemetry?key=n")["points"]) == 1


def test_a_page_of_a_named_host_asks_with_a_token(make_roost):
    roost = make_roost("--cors.origins", "https://farm.example")
    page = {"Origin": "https://farm.example"}
    status, headers, _ = ask(
        roost, "OPTIONS", "/api/v1/devices", **page, Access_Control_Request_Method="GET")
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, "https://farm.example")
    status, headers, _ = ask(roost, "GET", "/api/v1/devices", roost.owner, **page)
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, "https://farm.example")
    assert headers["Access-Control-Allow-Credentials"] is None
    for more in [{"Origin": "https://evil.example"}, {**page, "Cookie": "roost_session=x"}]:
        assert ask(roost, "GET", "/api/v1/devices", roost.owner, **more)[1]["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize("token_holds", [True, False])
def test_who_waits_before_sending_hears_whether_it_may(roost, token_holds):
    token = roost.device("polite") if token_holds else "wrong"
    with socket.create_connection(roost.door("http"), timeout=20) as stream:
        stream.sendall(
            f"POST /api/v1/me/telemetry HTTP/1.1\r\nHost: roost\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n".encode())
        first = stream.recv(65_536).decode()
        assert first.startswith("HTTP/1.1 100 " if token_holds else "HTTP/1.1 401 "), first
        if token_holds:
            stream.sendall(b'8\r\n{"x":1}\n\r\n0\r\n\r\n')
            assert '"accepted":1' in stream.recv(65_536).decode()
