"""Autobahn 7.x: the good-bye, its codes and its words."""

import select

from ws.cases import cases, numbered
from ws.client import CLOSE, ENDED, PING, TEXT, close, closed, fragments, frame, text

HELLO = b"Hello World!"
LARGE = b"BAsd7&jh23" * 26_215
FRAGMENTS = fragments(TEXT, [b"fragment1", b"fragment2"])
VALID = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
INVALID = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999]


@cases("before, after, expected", [
    ("7.1.1", [frame(TEXT, HELLO)], [], [text(HELLO)]),
    ("7.1.2", [], [close()], []),
    ("7.1.3", [], [frame(PING)], []),
    ("7.1.4", [], [frame(TEXT, HELLO)], []),
    ("7.1.5", [FRAGMENTS[0]], [FRAGMENTS[1]], []),
    ("7.1.6", [frame(TEXT, LARGE)], [frame(PING)], [text(LARGE)]),
    ("nonsense", [], [b"\xff" * 10_000], []),
])
def test_what_comes_behind_a_good_bye_counts_for_nothing(echo, before, after, expected):
    echo.send(b"".join([*before, close(), *after]))
    assert echo.rest() == [*expected, closed(1000), ENDED]


@cases("payload, answer", [
    ("7.3.1", b"", 1000),
    ("7.3.3", b"\x03\xe8", 1000),
    ("7.3.4", b"\x03\xe8" + HELLO, 1000),
    ("7.3.5", b"\x03\xe8" + b"*" * 123, 1000),
])
def test_a_good_bye_is_answered(echo, payload, answer):
    echo.send(frame(CLOSE, payload))
    assert echo.rest() == [closed(answer), ENDED]


@cases("payload, code", [
    ("7.3.2", b"\x03", 1002),
    ("7.3.6", b"\x03\xe8" + b"*" * 124, 1002),
    ("7.5.1", b"\x03\xe8" + b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64", 1007),
])
def test_a_good_bye_that_is_none_is_an_error(echo, payload, code):
    echo.check_failed([frame(CLOSE, payload)], [], code)


@cases("code", [*numbered("7.7", VALID), ("1012", 1012), ("1013", 1013), ("1014", 1014)])
def test_a_code_that_may_be_sent_comes_back(echo, code):
    echo.send(close(code))
    assert echo.rest() == [closed(code), ENDED]


# 1015 and what lies beyond 4999 are for nobody to send; the suite only reports what a server does (7.13).
@cases("code", [*numbered("7.9", INVALID), ("1015", 1015), ("7.13.1", 5000), ("7.13.2", 65_535)])
def test_a_code_that_may_not_be_sent_is_an_error(echo, code):
    echo.check_failed([close(code)], [], 1002)


def test_w_15_who_never_closes_is_hung_up_on(echo):
    echo.send(close())
    assert echo.rest() == [closed(1000), ENDED]
    # Our side stays open. Once the server has let go of the connection, what we write meets nobody.
    reset = select.poll()
    reset.register(echo.socket, select.POLLERR)
    for _ in range(300):
        echo.send(frame(PING))
        if reset.poll(100):
            return
    raise AssertionError("the server holds on to a connection that nobody closes")
