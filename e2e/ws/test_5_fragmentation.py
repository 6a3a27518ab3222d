"""Autobahn 5.x: messages in fragments, what may stand between them, and what may not.

Where the suite has a case three times, the frames go out in one write, frame by frame, and byte by byte.
"""

from ws.cases import cases
from ws.client import CONTINUATION, PING, PONG, TEXT, frame, fragments, pong, text

ONE, TWO, HELLO = b"fragment1", b"fragment2", b"Hello, world!"
WHOLE, FRAMES, BYTES = "whole", None, 1
MESSAGE = fragments(TEXT, [ONE, TWO])
PINGED = [MESSAGE[0], frame(PING, b"ping"), MESSAGE[1]]
FIVE = [f"fragment{number}".encode() for number in range(1, 6)]
FIVE_PINGED = fragments(TEXT, FIVE)
FIVE_PINGED[4:4] = [frame(PING, b"pongme 2!")]
FIVE_PINGED[2:2] = [frame(PING, b"pongme 1!")]
PONGED = [pong(b"pongme 1!"), pong(b"pongme 2!"), text(b"".join(FIVE))]
NOTHING_BEGUN = [frame(CONTINUATION, b"non-continuation payload"), frame(TEXT, HELLO)]
NOTHING_BEGUN_OPEN = [frame(CONTINUATION, b"non-continuation payload", fin=False), frame(TEXT, HELLO)]
TWICE = [frame(CONTINUATION, ONE, fin=False), frame(TEXT, TWO, fin=True)] * 2
TWICE_WHOLE = [frame(CONTINUATION, ONE), frame(TEXT, TWO)] * 2
TWO_BEGUN = [frame(TEXT, ONE, fin=False), frame(TEXT, TWO)]


def send(said, chop):
    return ([b"".join(said)], None) if chop == WHOLE else (said, chop)


@cases("said, expected, chop", [
    ("5.3", MESSAGE, [text(ONE + TWO)], WHOLE),
    ("5.4", MESSAGE, [text(ONE + TWO)], FRAMES),
    ("5.5", MESSAGE, [text(ONE + TWO)], BYTES),
    ("5.6", PINGED, [pong(b"ping"), text(ONE + TWO)], WHOLE),
    ("5.7", PINGED, [pong(b"ping"), text(ONE + TWO)], FRAMES),
    ("5.8", PINGED, [pong(b"ping"), text(ONE + TWO)], BYTES),
    ("5.19-whole", FIVE_PINGED, PONGED, WHOLE),
    ("5.20-bytes", FIVE_PINGED, PONGED, BYTES),
])
def test_a_message_may_come_in_fragments(echo, said, expected, chop):
    pieces, chop = send(said, chop)
    echo.check(pieces, expected, chop)


@cases("chop", [("5.19", FRAMES), ("5.20", BYTES)])
def test_a_ping_between_fragments_is_answered_before_the_message_goes_on(echo, chop):
    # The suite pauses for a second; waiting for the pong shows the same and takes no time.
    echo.send(*FIVE_PINGED[:3], chop=chop)
    assert echo.next() == PONGED[0]
    echo.check(FIVE_PINGED[3:], PONGED[1:], chop)


@cases("said, expected, chop", [
    ("5.1", [frame(PING, ONE, fin=False), frame(CONTINUATION, TWO)], [], WHOLE),
    ("5.2", [frame(PONG, ONE, fin=False), frame(CONTINUATION, TWO)], [], WHOLE),
    ("5.9", NOTHING_BEGUN, [], WHOLE),
    ("5.10", NOTHING_BEGUN, [], FRAMES),
    ("5.11", NOTHING_BEGUN, [], BYTES),
    ("5.12", NOTHING_BEGUN_OPEN, [], WHOLE),
    ("5.13", NOTHING_BEGUN_OPEN, [], FRAMES),
    ("5.14", NOTHING_BEGUN_OPEN, [], BYTES),
    ("5.15", MESSAGE + NOTHING_BEGUN_OPEN, [text(ONE + TWO)], FRAMES),
    ("5.16", TWICE, [], FRAMES),
    ("5.17", TWICE_WHOLE, [], FRAMES),
    ("5.18", TWO_BEGUN, [], FRAMES),
])
def test_fragments_out_of_place_end_the_connection(echo, said, expected, chop):
    pieces, chop = send(said, chop)
    echo.check_failed(pieces, expected, 1002, chop)
