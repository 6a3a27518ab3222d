"""Autobahn 4.x: opcodes that mean nothing yet."""

from ws.cases import cases
from ws.client import PING, TEXT, frame, text

HELLO = b"Hello, world!"


def rows(category, opcodes):
    """As the suite has them: alone without and with a payload, then behind a good message, in one piece and in bytes."""
    for number, opcode in enumerate(opcodes, 1):
        wrong = frame(opcode, HELLO if number in (2, 4, 5) else b"")
        if number <= 2:
            yield f"{category}.{number}", [wrong], [], None
        else:
            said = [frame(TEXT, HELLO), wrong, frame(PING)]
            yield f"{category}.{number}", said, [text(HELLO)], 1 if number == 5 else None


@cases("said, expected, chop", [*rows("4.1", range(3, 8)), *rows("4.2", range(11, 16))])
def test_an_unknown_opcode_ends_the_connection_behind_what_was_right(echo, said, expected, chop):
    echo.check_failed(said, expected, 1002, chop)
