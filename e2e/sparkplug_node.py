"""Payloads of Sparkplug B as an edge node writes them, and what a host wrote, read: only what the tests need."""

import struct

BOOLEAN, INT32, INT64, FLOAT, DOUBLE, STRING = 11, 3, 4, 9, 10, 12
# Where a value of a datatype stands in a metric, and its kind on the wire.
PLACES = {INT32: 10, INT64: 11, FLOAT: 12, DOUBLE: 13, BOOLEAN: 14, STRING: 15}


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def number(field, value):
    return varint(field << 3) + varint(value)


def block(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def valued(field, datatype, value):
    if datatype == FLOAT:
        return varint(field << 3 | 5) + struct.pack("<f", value)
    if datatype == DOUBLE:
        return varint(field << 3 | 1) + struct.pack("<d", value)
    if datatype == STRING:
        return block(field, value.encode())
    return number(field, int(value) & (0xFFFFFFFF if datatype == INT32 else 0xFFFFFFFFFFFFFFFF))


def metric(name, datatype, value, alias=None, unit=None, ts=None):
    """One metric; without a name it is known by its alias, and then has no datatype either."""
    out = block(1, name.encode()) if name else b""
    out += number(2, alias) if alias is not None else b""
    out += number(3, ts) if ts else b""
    out += number(4, datatype) if name else b""
    if unit:
        out += block(9, block(1, b"engUnit") + block(2, number(1, STRING) + valued(8, STRING, unit)))
    return out + valued(PLACES[datatype], datatype, value)


def payload(seq, *metrics, ts=1_795_200_000_000):
    return number(1, ts) + b"".join(block(2, one) for one in metrics) + (number(3, seq) if seq is not None else b"")


def fields(data):
    """Number and content of each field."""
    at = 0

    def take():
        nonlocal at
        value = shift = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not data[at - 1] & 0x80:
                return value

    while at < len(data):
        key = take()
        if key & 7 == 0:
            yield key >> 3, take()
            continue
        length = {1: 8, 5: 4}.get(key & 7) or take()
        yield key >> 3, data[at:at + length]
        at += length


def written(data):
    """Name and value of each metric of a command."""
    found = []
    for one in (content for field, content in fields(data) if field == 2):
        parts = dict(fields(one))
        [value] = [parts[place] for place in PLACES.values() if place in parts]
        if PLACES[FLOAT] in parts:
            [value] = struct.unpack("<f", value)
        found.append((parts[1].decode(), value))
    return found
