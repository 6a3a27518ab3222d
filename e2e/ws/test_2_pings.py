"""Autobahn 2.x: every ping is answered by a pong with its payload; pongs that nobody asked for are nothing."""

from ws.cases import cases
from ws.client import PING, PONG, frame, pong

LONGEST = b"\xfe" * 125
TEN = [f"payload-{number}".encode() for number in range(10)]
BYTES = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"


@cases("said, expected, chop", [
    ("2.1", [frame(PING)], [pong()], None),
    ("2.2", [frame(PING, b"Hello, world!")], [pong(b"Hello, world!")], None),
    ("2.3", [frame(PING, BYTES)], [pong(BYTES)], None),
    ("2.4", [frame(PING, LONGEST)], [pong(LONGEST)], None),
    ("2.6", [frame(PING, LONGEST)], [pong(LONGEST)], 1),
    ("2.7", [frame(PONG)], [], None),
    ("2.8", [frame(PONG, b"unsolicited")], [], None),
    ("2.9", [frame(PONG, b"unsolicited"), frame(PING, b"ping")], [pong(b"ping")], None),
    ("2.10", [frame(PING, payload) for payload in TEN], [pong(payload) for payload in TEN], None),
    ("2.11", [frame(PING, payload) for payload in TEN], [pong(payload) for payload in TEN], 1),
])
def test_a_ping_is_answered(echo, said, expected, chop):
    echo.check(said, expected, chop)


@cases("said", [("2.5", frame(PING, b"\xfe" * 126)), ("2.5-pong", frame(PONG, b"\xfe" * 126))])
def test_a_control_frame_has_at_most_125_bytes(echo, said):
    echo.check_failed([said], [], 1002)
