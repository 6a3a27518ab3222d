"""The upgrade itself, RFC 6455 section 4: what is one, what is none, and what may stand around it."""

import json

import pytest

from ws.cases import cases
from ws.client import PING, TEXT, TOKEN, accept, frame, head, pong, text

ECHO = "/api/v1/echo"
PATHS = {"echo": (ECHO, TOKEN), "json": ("/api/v1/ws", TOKEN), "mqtt": ("/mqtt", "Sec-WebSocket-Protocol: mqtt"),
         "page": ("/clients", TOKEN)}
PATH = pytest.mark.parametrize("path, header", PATHS.values(), ids=PATHS.keys())


def change(**headers):
    return {"replace": {name.replace("_", "-"): value for name, value in headers.items()}}


VERSION, KEY = "Sec_WebSocket_Version", "Sec_WebSocket_Key"


@PATH
def test_an_upgrade_is_answered_with_its_key(asked, path, header):
    stream = asked(head(path, header))
    assert stream.status == 101
    assert stream.headers["upgrade"].lower() == "websocket" and stream.headers["connection"].lower() == "upgrade"
    assert stream.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert not {"content-length", "transfer-encoding", "sec-websocket-extensions"} & set(stream.headers)


@cases("more", [
    ("many-tokens", change(Connection="keep-alive, Upgrade")),
    ("other-case", change(Connection="UPGRADE", Upgrade="WebSocket")),
    ("other-protocols-too", change(Upgrade="h2c, websocket")),
    ("names-in-lower-case", {"replace": {"Sec-WebSocket-Version": None}, "lines": ["sec-websocket-version: 13"]}),
    ("two-connection-lines", {"replace": {"Connection": "keep-alive"}, "lines": ["Connection: Upgrade"]}),
    ("two-upgrade-lines", {"replace": {"Upgrade": "h2c"}, "lines": ["Upgrade: websocket"]}),
    ("length-zero", change(Content_Length="0")),
    ("spaces-around", change(Sec_WebSocket_Version="  13  ")),
])
def test_an_upgrade_may_be_written_in_many_ways(asked, more):
    lines = more.pop("lines", [])
    assert asked(head(ECHO, TOKEN, *lines, **more)).status == 101


@cases("more, status", [
    ("no-version", change(**{VERSION: None}), 426),
    ("version-8", change(**{VERSION: "8"}), 426),
    ("version-14", change(**{VERSION: "14"}), 426),
    ("version-013", change(**{VERSION: "013"}), 426),
    ("versions", change(**{VERSION: "13, 8"}), 426),
    ("no-key", change(**{KEY: None}), 400),
    ("empty-key", change(**{KEY: ""}), 400),
    ("15-bytes", change(**{KEY: "AAAAAAAAAAAAAAAAAAAA"}), 400),
    ("17-bytes", change(**{KEY: "AAAAAAAAAAAAAAAAAAAAAAA="}), 400),
    ("no-base64", change(**{KEY: "dGhlIHNhbXBsZSBub25j?Q=="}), 400),
    ("no-padding", change(**{KEY: "dGhlIHNhbXBsZSBub25jZQ"}), 400),
    ("no-connection", change(Connection=None), 400),
    ("connection-close", change(Connection="close"), 400),
    ("no-upgrade", change(Upgrade=None), 400),
    ("upgrade-to-other", change(Upgrade="h2c"), 400),
    ("http-1.0", {"version": "1.0"}, 400),
    ("post", {"method": "POST"}, 405),
    ("put", {"method": "PUT"}, 405),
    ("options", {"method": "OPTIONS"}, 405),
    ("no-host", change(Host=None), 400),
])
@PATH
def test_w_02_what_is_no_upgrade_is_refused(asked, path, header, more, status):
    stream = asked(head(path, header, **more))
    assert stream.status == status
    assert json.loads(stream.body())["status"] == status
    # RFC 6455 section 4.4, RFC 9110 sections 15.5.6 and 15.5.22.
    if status == 426:
        assert stream.headers["sec-websocket-version"] == "13"
        assert stream.headers["upgrade"] == "websocket"
    if status == 405:
        assert stream.headers["allow"] == "GET"


@cases("line, status", [
    ("key-twice", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 400),
    ("version-twice", "Sec-WebSocket-Version: 8", 426),
    ("host-twice", "Host: other", 400),
])
def test_what_is_said_twice_is_refused(asked, line, status):
    assert asked(head(ECHO, TOKEN, line)).status == status


@PATH
@cases("lines, body", [
    ("length", ["Content-Length: 6"], frame(PING)),
    ("chunked", ["Transfer-Encoding: chunked"], b"6\r\n" + frame(PING) + b"\r\n0\r\n\r\n"),
    ("length-of-more-to-come", ["Content-Length: 1000"], b""),
])
def test_an_upgrade_with_a_body_is_refused_so_that_no_body_is_taken_for_frames(asked, path, header, lines, body):
    assert asked(head(path, header, *lines) + body).status == 400


@cases("chop", [("whole", None), ("in-tens", 10), ("bytes", 1)])
def test_a_frame_may_follow_directly_behind_the_request(opened, chop):
    client = opened(ECHO, TOKEN, behind=frame(PING, b"first") + frame(TEXT, b"second"), chop=chop)
    client.check([], [pong(b"first"), text(b"second")])


@cases("count", [(str(count), count) for count in (1, 2, 5, 6, 7, 10)])
def test_a_part_of_a_frame_may_follow_directly_behind_the_request(opened, count):
    said = frame(TEXT, b"Hello")
    client = opened(ECHO, TOKEN, behind=said[:count])
    client.check([said[count:]], [text(b"Hello")])


@PATH
def test_a_connection_that_was_used_before_can_be_upgraded(asked, path, header):
    stream = asked(b"GET /healthz HTTP/1.1\r\nHost: roost\r\n\r\n")
    assert stream.status == 200
    stream.body()
    key = "AAAAAAAAAAAAAAAAAAAAAA=="
    stream.send(head(path, header, key=key) + frame(PING, b"right behind"))
    assert stream.answer().status == 101
    assert stream.headers["sec-websocket-accept"] == accept(key)
    assert stream.next() == pong(b"right behind")


@cases("offered, chosen", [
    ("mqtt", ["mqtt"], "mqtt"),
    ("among-others", ["mqttv3.1, mqtt , other"], "mqtt"),
    ("two-lines", ["mqttv3.1", "mqtt"], "mqtt"),
])
def test_w_03_mqtt_is_chosen_among_the_sub_protocols(asked, offered, chosen):
    stream = asked(head("/mqtt", *[f"Sec-WebSocket-Protocol: {line}" for line in offered]))
    assert (stream.status, stream.headers["sec-websocket-protocol"]) == (101, chosen)


@cases("lines", [
    ("none", []), ("other", ["Sec-WebSocket-Protocol: mqttv3.1"]), ("empty", ["Sec-WebSocket-Protocol: "]),
])
def test_w_03_without_its_sub_protocol_there_is_no_mqtt(asked, lines):
    assert asked(head("/mqtt", *lines)).status == 400


@pytest.mark.parametrize("path", [ECHO, "/api/v1/ws"])
def test_where_no_sub_protocol_is_spoken_none_is_chosen(asked, path):
    stream = asked(head(path, TOKEN, "Sec-WebSocket-Protocol: chat, superchat"))
    assert stream.status == 101 and "sec-websocket-protocol" not in stream.headers


@cases("header, status", [
    ("none", "X-Nothing: 1", 401), ("wrong", "Authorization: Bearer not-a-token", 401),
    ("no-scheme", "Authorization: something", 401),
])
def test_the_echo_wants_to_know_who_asks(asked, header, status):
    assert asked(head(ECHO, header)).status == status


@pytest.mark.parametrize("path", [ECHO, "/api/v1/ws", "/clients"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_w_01_a_token_is_as_good_from_any_page(asked, path, origin):
    assert asked(head(path, TOKEN, f"Origin: {origin}")).status == 101


@pytest.fixture(scope="module")
def cookie(server):
    """The cookie of somebody who is signed in at the dashboard."""
    from urllib.request import Request, urlopen

    user = {"email": "ada@example.com", "password": "long enough a password", "role": "owner"}
    server.call("POST", "/users", user)
    body = json.dumps({key: user[key] for key in ("email", "password")}).encode()
    host = server.doors["http"]
    headers = {"Content-Type": "application/json", "Origin": f"http://{host}"}
    with urlopen(Request(f"{server.url}/api/v1/session", data=body, headers=headers), timeout=20) as answer:
        return answer.headers["Set-Cookie"].split(";")[0]


@pytest.mark.parametrize("path", [ECHO, "/api/v1/ws", "/clients"])
@cases("origin, status", [
    ("own", "http://roost", 101), ("own-over-tls", "https://roost", 101), ("foreign", "http://evil.example", 403),
    ("longer", "http://roost.evil.example", 403), ("other-port", "http://roost:81", 403), ("null", "null", 403),
    ("none", None, 403),
])
def test_w_01_a_cookie_counts_only_from_our_own_pages(asked, cookie, path, origin, status):
    lines = [f"Cookie: {cookie}"] + ([f"Origin: {origin}"] if origin else [])
    assert asked(head(path, *lines)).status == status


def test_an_upgrade_of_a_path_without_a_websocket_is_answered_as_ever(asked):
    assert asked(head("/api/v1/nothing-here", TOKEN)).status == 404
    assert asked(head("/api/v1/devices", TOKEN)).status == 200
