"""Autobahn 6.x: what is text and what is none, judged as soon as it can be, however it is cut.

6.5 to 6.23 go through the ranges of Markus Kuhn's UTF-8 stress test.
"""

from itertools import product

from ws.cases import cases, numbered
from ws.client import BINARY, PING, TEXT, TOKEN, binary, closed, cut, fragments, frame, pong, text

GREEK = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
MIXED = "Hello-µ@ßöäüàá-UTF-8!!".encode()
# A surrogate stands in the middle.
SURROGATE = GREEK + b"\xed\xa0\x80edited"
# The code point after the last one.
BEYOND = [GREEK, b"\xf4\x90\x80\x80", b"edited"]


@cases("payloads", [
    ("6.1.1", [b""]),
    ("6.1.2", [b"", b"", b""]),
    ("6.1.3", [b"", b"middle frame payload", b""]),
    ("6.2.1", [MIXED]),
    ("6.2.2", [MIXED[:12], MIXED[12:]]),
    ("6.2.3", cut(MIXED, 1)),
    ("6.2.4", cut(GREEK, 1)),
])
def test_text_comes_back_however_it_is_cut(echo, payloads):
    echo.check(fragments(TEXT, payloads), [text(b"".join(payloads))])


@cases("payloads", [("6.3.1", [SURROGATE]), ("6.3.2", cut(SURROGATE, 1))])
def test_a_surrogate_is_no_text_however_it_is_cut(echo, payloads):
    echo.check_failed(fragments(TEXT, payloads), [], 1007)


def frame_begun(payload, count):
    """The first bytes of a frame: its header and `count` bytes of its payload."""
    whole = frame(TEXT, payload)
    return whole[:len(whole) - len(payload) + count]


@cases("said", [
    # Cut at frames: the second is wrong as a whole, or ends where what follows could not mend it.
    ("6.4.1", fragments(TEXT, BEYOND)[:2]),
    ("6.4.2", fragments(TEXT, [GREEK + b"\xf4", b"\x90", b"\x80\x80edited"])[:2]),
    # Cut within a frame.
    ("6.4.3", [frame_begun(b"".join(BEYOND), len(GREEK) + 4)]),
    ("6.4.4", [frame_begun(b"".join(BEYOND), len(GREEK) + 2)]),
])
def test_what_cannot_become_text_any_more_is_refused_before_the_rest_has_come(echo, said):
    echo.check_failed(said, [], 1007)


@cases("begun", [("6.4.1", BEYOND[0]), ("6.4.2", BEYOND[0] + b"\xf4"), ("6.4.4", b"\xe2\x82")])
def test_what_can_still_become_text_is_waited_for(echo, begun):
    echo.send(frame(TEXT, begun, fin=False), frame(PING, b"still there?"))
    assert echo.next() == pong(b"still there?")


NONCHARACTERS = [b"\xef\xbf\xbe", b"\xef\xbf\xbf"] + [
    chr(plane << 16 | low).encode() for plane, low in product(range(1, 17), (0xFFFE, 0xFFFF))
]
PREFIXES = [GREEK[:length] for length in range(1, len(GREEK) + 1)]
IS_TEXT = [2, 5, 7, 9, 11]


@cases("payload", [
    *numbered("6.5", [b"hello$world", "hello¢world".encode(), "hello€world".encode(), "hello𤭢world".encode(), GREEK]),
    *[(f"6.6.{length}", PREFIXES[length - 1]) for length in IS_TEXT],
    *numbered("6.7", [b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"]),
    *numbered("6.9", [b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"]),
    *numbered("6.11", [b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf"]),
    *numbered("6.22", NONCHARACTERS),
    *numbered("6.23", [bytes([0xEF, 0xBF, last]) for last in range(0xB9, 0xC0)]),
])
def test_every_code_point_is_text(echo, payload):
    echo.check([frame(TEXT, payload)], [text(payload)])


def lonely(first, last):
    return b"".join(bytes([start, 0x20]) for start in range(first, last))


CUT_SHORT = [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80",
             b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"]
SURROGATES = [b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf",
              b"\xed\xb0\x80", b"\xed\xbe\x80", b"\xed\xbf\xbf"]
HIGH, LOW = SURROGATES[:4], [b"\xed\xb0\x80", b"\xed\xbf\xbf"]
NO_TEXT = [
    *[(f"6.6.{length}", PREFIXES[length - 1]) for length in range(1, 12) if length not in IS_TEXT],
    *numbered("6.8", [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]),
    *numbered("6.10", [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"]),
    ("6.11.5", b"\xf4\x90\x80\x80"),
    *numbered("6.12", [b"\x80", b"\xbf", *[(b"\x80\xbf" * 3)[:length] for length in range(2, 7)],
                       bytes(range(0x80, 0xBF))]),
    *numbered("6.13", [lonely(0xC0, 0xDF), lonely(0xE0, 0xEF), lonely(0xF0, 0xF7), lonely(0xF8, 0xFB),
                       lonely(0xFC, 0xFD)]),
    *numbered("6.14", CUT_SHORT),
    ("6.15.1", b"".join(CUT_SHORT)),
    *numbered("6.16", [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]),
    *numbered("6.17", [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf",
                       b"\xfc\x80\x80\x80\x80\xaf"]),
    *numbered("6.18", [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf",
                       b"\xfc\x83\xbf\xbf\xbf\xbf"]),
    *numbered("6.19", [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80",
                       b"\xfc\x80\x80\x80\x80\x80"]),
    *numbered("6.20", SURROGATES),
    *numbered("6.21", [high + low for high, low in product(HIGH, LOW)]),
]


@cases("payload", NO_TEXT)
def test_what_is_no_utf8_is_refused(echo, payload):
    echo.check_failed([frame(TEXT, payload)], [], 1007)


@cases("payload", NO_TEXT)
def test_the_same_bytes_are_good_as_bytes(echo, payload):
    echo.check([frame(BINARY, payload)], [binary(payload)])


def test_w_12_all_that_is_no_utf8_is_refused_cut_into_single_bytes_too(opened):
    for number, payload in NO_TEXT:
        client = opened("/api/v1/echo", TOKEN)
        client.send(*fragments(TEXT, cut(payload, 1)))
        assert client.rest()[-2] == closed(1007), number
