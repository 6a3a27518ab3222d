"""Autobahn 1.x: messages of every form of length come back as they were."""

import pytest

from ws.cases import cases
from ws.client import BINARY, TEXT, binary, frame, text

SIZES = [0, 125, 126, 127, 128, 65_535, 65_536, 65_536]


@cases("size, chop", [(f"1.1.{n}", size, 997 if n == 8 else None) for n, size in enumerate(SIZES, 1)])
def test_a_text_comes_back(echo, size, chop):
    echo.check([frame(TEXT, b"*" * size)], [text(b"*" * size)], chop)


@cases("size, chop", [(f"1.2.{n}", size, 997 if n == 8 else None) for n, size in enumerate(SIZES, 1)])
def test_bytes_come_back(echo, size, chop):
    echo.check([frame(BINARY, b"\xfe" * size)], [binary(b"\xfe" * size)], chop)


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\xff\0\xff"])
def test_any_mask_will_do(echo, mask):
    echo.check([frame(TEXT, b"Hello, masks", mask=mask)], [text(b"Hello, masks")])


@cases("data, code", [
    ("unmasked", b"\x81\x05Hello", 1002),
    ("unmasked-empty", b"\x81\x00", 1002),
    ("unmasked-ping", b"\x89\x00", 1002),
    ("125-in-two-bytes", b"\x82\xfe\x00\x7d", 1002),
    ("65535-in-eight-bytes", b"\x82\xff" + (65_535).to_bytes(8, "big"), 1002),
    ("top-bit", b"\x82\xff\x80" + bytes(7) + bytes(4), 1002),
    ("2^63-1", b"\x82\xff\x7f" + b"\xff" * 7 + bytes(4), 1009),
])
def test_a_wrong_header_ends_the_connection_before_its_payload(echo, data, code):
    echo.check_failed([data], [], code)
