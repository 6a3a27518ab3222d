"""Autobahn 3.x: no extension is agreed, so no reserved bit may be set."""

from ws.cases import cases
from ws.client import BINARY, CLOSE, PING, TEXT, frame, text

HELLO = b"Hello, world!"
AFTER_ONE = [frame(TEXT, HELLO), None, frame(PING)]


def with_bits(rsv):
    return [frame(TEXT, HELLO, rsv=rsv) if said is None else said for said in AFTER_ONE]


@cases("said, expected, chop", [
    ("3.1", [frame(TEXT, HELLO, rsv=1)], [], None),
    ("3.2", [b"".join(with_bits(2))], [text(HELLO)], None),
    ("3.3", with_bits(3), [text(HELLO)], None),
    ("3.4", with_bits(4), [text(HELLO)], 1),
    ("3.5", [frame(BINARY, b"\x00\xff\xfe", rsv=5)], [], None),
    ("3.6", [frame(PING, HELLO, rsv=6)], [], None),
    ("3.7", [frame(CLOSE, b"\x03\xe8", rsv=7)], [], None),
])
def test_a_reserved_bit_ends_the_connection_behind_what_was_right(echo, said, expected, chop):
    echo.check_failed(said, expected, 1002, chop)
