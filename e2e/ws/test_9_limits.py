"""Autobahn 9.x and 10.x: large messages, many messages, and messages in small pieces, up to the bound of the echo.

The bound is 1 MiB, where the suite goes to 16 MiB: its larger messages are refused with 1009, and its cases of a fixed
size of 4 MiB are gone through with 1 MiB.
"""

import pytest

from ws.cases import cases
from ws.client import BINARY, CONTINUATION, TEXT, binary, closed, cut, fragments, frame, text

KIB, MIB = 1024, 1024 * 1024
LARGEST = MIB
KINDS = {"text": (TEXT, text, b"BAsd7&jh23"), "binary": (BINARY, binary, b"\x00\xfe\x23\xfa\xf0")}


def message(kind, size):
    """Opcode, what shall come back, and the payload."""
    opcode, echoed, pattern = KINDS[kind]
    payload = (pattern * (size // len(pattern) + 1))[:size]
    return opcode, echoed(payload), payload


def both(first, second, values):
    """Rows for text and for bytes: `first.1`, … and `second.1`, …"""
    for category, kind in ((first, "text"), (second, "binary")):
        for number, value in enumerate(values, 1):
            yield f"{category}.{number}", kind, value


@cases("kind, size", list(both("9.1", "9.2", [64 * KIB, 256 * KIB, MIB])))
def test_a_large_message_comes_back(echo, kind, size):
    opcode, expected, payload = message(kind, size)
    echo.check([frame(opcode, payload)], [expected])


@cases("kind, size", [(f"9.{category}.{number}", kind, size) for category, kind in ((1, "text"), (2, "binary"))
                      for number, size in ((4, 4 * MIB), (5, 8 * MIB), (6, 16 * MIB))])
def test_a_message_over_the_bound_is_refused_by_its_length(echo, kind, size):
    head = frame(KINDS[kind][0], b"")[:1] + b"\xff" + size.to_bytes(8, "big") + bytes(4)
    echo.check_failed([head], [], 1009)


def test_one_byte_more_than_the_bound_is_too_many_in_fragments_too(echo):
    echo.check_failed(fragments(BINARY, [bytes(LARGEST), b"x"]), [], 1009)


@cases("kind, size", list(both("9.3", "9.4", [64 * 4**power for power in range(8)])))
def test_a_large_message_comes_in_fragments_of_any_size(echo, kind, size):
    opcode, expected, payload = message(kind, LARGEST)
    echo.check([b"".join(fragments(opcode, cut(payload, size)))], [expected])


@cases("kind, chop", list(both("9.5", "9.6", [64, 128, 256, 512, 1024, 2048])))
def test_a_large_message_comes_in_small_segments(echo, kind, chop):
    opcode, expected, payload = message(kind, LARGEST)
    echo.check([frame(opcode, payload)], [expected], chop)


@cases("kind, size", list(both("9.7", "9.8", [0, 16, 64, 256, 1024, 4096])))
def test_a_thousand_messages_come_back_one_by_one(echo, kind, size):
    opcode, expected, payload = message(kind, size)
    said = frame(opcode, payload)
    for _ in range(1_000):
        echo.send(said)
        assert echo.next() == expected
    echo.check([], [])


@pytest.mark.parametrize("size", [0, 1000, 60_000])
def test_messages_may_be_sent_ahead_of_their_echoes(echo, size):
    said = [frame(BINARY, bytes([number]) * size) for number in range(50)]
    echo.check([b"".join(said)], [binary(bytes([number]) * size) for number in range(50)])


@cases("size", [("10.1.1", 1300)])
def test_a_message_that_a_library_cuts_by_itself_comes_back(echo, size):
    opcode, expected, payload = message("text", 65_536)
    echo.check(fragments(opcode, cut(payload, size)), [expected])


def test_w_11_empty_fragments_are_counted(echo):
    endless = b"".join([frame(TEXT, b"", fin=False), *[frame(CONTINUATION, b"", fin=False)] * 20_000])
    echo.send(endless)
    assert echo.next() == closed(1009)
