"""Autobahn 12.x and 13.x: compression of messages (RFC 7692) is not spoken. The suite counts a server that agrees to none
as one without it; that it says so rightly, and goes on without, is tested here.
"""

import pytest

from ws.cases import cases
from ws.client import BINARY, CONTINUATION, TEXT, TOKEN, cut, fragments, frame, text

OFFERS = [
    "permessage-deflate",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; server_max_window_bits=8",
    "permessage-deflate; server_max_window_bits=15",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=8",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=15",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=8, "
    "permessage-deflate; server_no_context_takeover, permessage-deflate",
]
# The data sets are not ours to have; sizes and fragments are theirs.
SHAPES = [(size, None) for size in (16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072)] + [
    (8192, 256), (16_384, 256), (32_768, 256), (65_536, 256), (131_072, 256), (131_072, 1024), (131_072, 4096),
    (131_072, 32_768),
]


@cases("offer", [(f"13.{number}", offer) for number, offer in enumerate(OFFERS, 1)] + [
    ("client-only", "permessage-deflate; client_max_window_bits"),
    ("webkit", "x-webkit-deflate-frame"),
    ("unknown", "x-never-heard-of; a=1; b=\"c, d\""),
    ("no-list", ";;;,,,="),
])
@pytest.mark.parametrize("path", ["/api/v1/echo", "/api/v1/ws", "/mqtt", "/events"])
def test_an_offer_to_compress_is_declined_and_the_upgrade_goes_on(opened, path, offer):
    extensions = f"Sec-WebSocket-Extensions: {offer}"
    client = opened(path, TOKEN, extensions, *(["Sec-WebSocket-Protocol: mqtt"] if path == "/mqtt" else []))
    assert "sec-websocket-extensions" not in client.headers


@cases("size, fragment", [(f"12.x.{number}", *shape) for number, shape in enumerate(SHAPES, 1)])
def test_whoever_offered_it_is_understood_without(opened, size, fragment):
    client = opened("/api/v1/echo", TOKEN, f"Sec-WebSocket-Extensions: {OFFERS[0]}")
    payload = (b'{"some": "json", "as": [1, 2, 3]}' * (size // 33 + 1))[:size]
    said = fragments(TEXT, cut(payload, fragment or size))
    for _ in range(20):
        client.send(b"".join(said))
        assert client.next() == text(payload)
    client.check([], [])


@cases("said", [
    # "Hello" as RFC 7692 section 7.2.3.1 has it.
    ("w_13_whole", [frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv=4)]),
    ("w_13_fragments", [frame(TEXT, b"\xf2\x48\xcd", fin=False, rsv=4), frame(CONTINUATION, b"\xc9\xc9\x07\x00")]),
    ("w_13_bomb", [frame(BINARY, b"\xec\xc0\x81" + bytes(200), rsv=4)]),
])
def test_what_is_compressed_all_the_same_ends_the_connection(opened, said):
    client = opened("/api/v1/echo", TOKEN, f"Sec-WebSocket-Extensions: {OFFERS[0]}")
    client.check_failed(said, [], 1002)
