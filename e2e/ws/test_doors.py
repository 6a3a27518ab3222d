"""Every WebSocket door, not the echo alone: JSON, MQTT, and the nodes and pages of OLIMEX IoT."""

import json

import pytest

from roost import OWNER
from ws.cases import cases
from ws.client import (
    BINARY, CLOSE, CONTINUATION, ENDED, PING, PONG, TEXT, TOKEN, binary, close, closed, cut, fragments, frame, pong, text,
)

DOORS = {
    "json": ("/api/v1/ws", TOKEN),
    "mqtt": ("/mqtt", "Sec-WebSocket-Protocol: mqtt"),
    "node": ("/events",),
    "page": ("/clients", TOKEN),
}
LOGIN = b"\x00\x04MQTT\x04\xc2\x00\x00\x00\x00\x00\x03any" + len(OWNER).to_bytes(2, "big") + OWNER.encode()
MQTT_CONNECT = bytes([0x10, len(LOGIN)]) + LOGIN


@pytest.fixture(params=DOORS.values(), ids=DOORS.keys())
def client(opened, request):
    return opened(*request.param)


@cases("said, code", [
    ("w_06", b"\x82\x01a", 1002),
    ("w_07-bit-1", frame(BINARY, b"a", rsv=4), 1002),
    ("w_07-bit-2", frame(BINARY, b"a", rsv=2), 1002),
    ("w_07-bit-3", frame(BINARY, b"a", rsv=1), 1002),
    ("w_07-opcode-3", frame(3), 1002),
    ("w_07-opcode-15", frame(15), 1002),
    ("w_08-top-bit", b"\x82\xff\x80" + bytes(11), 1002),
    ("w_08-too-long", b"\x82\xff\x7f" + b"\xff" * 7 + bytes(4), 1009),
    ("w_08-not-shortest", b"\x82\xfe\x00\x01" + bytes(4), 1002),
    ("w_09-ping-of-126", frame(PING, bytes(126)), 1002),
    ("w_09-ping-in-two", frame(PING, b"a", fin=False), 1002),
    ("w_10-nothing-begun", frame(CONTINUATION, b"a"), 1002),
    ("w_10-two-begun", frame(BINARY, b"", fin=False) + frame(BINARY, b""), 1002),
    ("w_14-one-byte", frame(CLOSE, b"\x03"), 1002),
    ("w_14-999", close(999), 1002),
    ("w_14-1005", close(1005), 1002),
    ("w_14-words-no-utf8", close(1000, b"\xff"), 1007),
])
@pytest.mark.parametrize("flood", [b"", b"\xff" * 300_000], ids=["alone", "with-much-behind"])
def test_what_breaks_the_protocol_is_answered_with_its_code(client, said, code, flood):
    client.send(said + flood)
    assert client.rest() == [closed(code), ENDED]


@cases("said, expected", [
    ("2.4", [frame(PING, b"\xfe" * 125)], [pong(b"\xfe" * 125)]),
    ("2.9", [frame(PONG, b"unasked"), frame(PING, b"asked")], [pong(b"asked")]),
])
@pytest.mark.parametrize("chop", [None, 1], ids=["whole", "bytes"])
def test_pings_are_answered(client, said, expected, chop):
    client.check(said, expected, chop)


@cases("code", [("1000", 1000), ("1001", 1001), ("3000", 3000), ("4999", 4999)])
def test_a_good_bye_is_answered_with_its_code(client, code):
    client.send(close(code, "tschüß".encode()))
    assert client.rest() == [closed(code), ENDED]


@cases("chop", [("whole", None), ("bytes", 1)])
def test_json_may_come_in_fragments_with_pings_between(opened, chop):
    client = opened(*DOORS["json"])
    first, second = fragments(TEXT, [b'{"subscribe":"ws/gr\xc3', b'\xbcn","id":1}'])
    client.send(first, frame(PING, b"p"), second, chop=chop)
    # The acknowledgement waits for the disk; who says good-bye before does not get it.
    assert [client.next(), client.next()] == [pong(b"p"), text(b'{"ack":1}')]
    client.check([], [])


def test_json_that_is_no_utf8_ends_the_connection(opened):
    client = opened(*DOORS["json"])
    client.check_failed([frame(TEXT, b'{"subscribe":"\xff"}')], [], 1007)


def test_a_binary_frame_is_a_mistake_among_json_and_no_end(opened):
    client = opened(*DOORS["json"])
    client.send(frame(BINARY, b"{}"), frame(TEXT, b'{"subscribe":"ws/b","id":2}'))
    kind, told = client.next()
    assert kind == "text" and json.loads(told)["error"]["status"] == 400
    assert client.next() == text(b'{"ack":2}')
    client.check([], [])


@cases("door, bound", [("json", "json", 2**20), ("mqtt", "mqtt", 2**24), ("node", "node", 2**20), ("page", "page", 2**20)])
def test_a_message_over_the_bound_of_its_door_is_refused_by_its_length(opened, door, bound):
    length = (bound + 1).to_bytes(8, "big")
    opened(*DOORS[door]).check_failed([b"\x82\xff" + length + bytes(4)], [], 1009)


@cases("size, between", [("bytes", 1, []), ("pairs", 2, [frame(PING, b"p")]), ("whole", 99, [])])
def test_w_05_mqtt_does_not_care_how_its_packets_are_cut(opened, size, between):
    client = opened(*DOORS["mqtt"])
    pieces = fragments(BINARY, cut(MQTT_CONNECT, size))
    client.send(pieces[0], *between, *pieces[1:])
    if between:
        assert client.next() == pong(b"p")
    assert client.next() == binary(b"\x20\x02\x00\x00")


@cases("said", [("whole", frame(TEXT, b"hello")), ("begun", frame(TEXT, b"he", fin=False))])
def test_w_04_text_has_no_place_in_mqtt(opened, said):
    opened(*DOORS["mqtt"]).check_failed([said], [], 1003)
