"""Streams of readings, as http.client, curl and a device on a bad link send them."""

import http.client
import json
import socket
import subprocess

from roost import EPOCH, reading

PATH = "/api/v1/me/telemetry"
LINES = "application/x-ndjson"


def lines(first, count):
    return "".join(f"{reading(number)}\n" for number in range(first, first + count)).encode()


def headers(token, **more):
    return {"Authorization": f"Bearer {token}", "Content-Type": LINES} | {
        name.replace("_", "-"): value for name, value in more.items()}


def stored(roost, device):
    return roost.call("GET", f"/devices/{device}/telemetry?key=n&from={EPOCH}&every=1d&agg=count")["points"][0][1]


def memory(roost):
    """Resident, in bytes."""
    with open(f"/proc/{roost.process.pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))


def post(roost, body, sent):
    connection = http.client.HTTPConnection(*roost.door("http"), timeout=60)
    connection.request("POST", PATH, body=body, headers=sent, encode_chunked=True)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_a_generator_is_a_stream_whose_lines_are_seen_while_it_is_open(roost):
    token = roost.device("generator")

    def body(key):
        for number in range(3):
            yield b'{"%s":%d}\n' % (key.encode(), number)
            # A query has it, while this request is open.
            while roost.call("GET", "/devices/generator/telemetry/latest").get(key, {}).get("value") != number:
                pass

    for key, kind in (("lines", LINES), ("json", "application/json"), ("nothing", None)):
        sent = {name: value for name, value in headers(token).items() if name != "Content-Type" or kind}
        sent |= {"Content-Type": kind} if kind else {}
        status, text = post(roost, body(key), sent | {"Transfer-Encoding": "chunked"})
        assert (status, json.loads(text)["accepted"]) == (200, 3), (kind, text)


def test_a_long_stream_is_told_as_it_is_stored_and_the_server_stays_small(roost):
    token = roost.device("long")
    before = memory(roost)
    pieces = (lines(number, 1_000) for number in range(0, 200_000, 1_000))
    status, text = post(roost, pieces, headers(token, Transfer_Encoding="chunked", Accept=LINES, Idempotency_Key="long"))
    told = [json.loads(line) for line in text.splitlines()]
    assert status == 200 and len(told) > 1
    assert [line["accepted"] for line in told] == sorted(line["accepted"] for line in told)
    assert told[-1] == {"accepted": 200_000, "last_line": 200_000, "rejected": []}
    assert stored(roost, "long") == 200_000
    assert memory(roost) - before < 100 << 20


def test_a_device_on_a_bad_link_goes_on_where_the_server_was(roost):
    token = roost.device("bad-link")
    everything = lines(0, 5_000)
    sent = headers(token, Transfer_Encoding="chunked", Accept=LINES, Idempotency_Key="monday")
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    last = 0
    for reach in (20_000, 60_000, 100_000):
        with socket.create_connection(roost.door("http"), timeout=20) as device:
            device.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{head}\r\n{reach:x}\r\n".encode() + everything[:reach] + b"\r\n")
            answer = device.makefile("rb")
            whole = everything[:reach].count(b"\n")
            while True:
                line = answer.readline()
                if line.startswith(b"{"):
                    told = json.loads(line)
                    assert last <= told["last_line"] <= whole
                    last = told["last_line"]
                    if last == whole:
                        break
    status, text = post(roost, iter([everything]), sent)
    assert (status, json.loads(text.splitlines()[-1])["accepted"]) == (200, 5_000)
    assert stored(roost, "bad-link") == 5_000
    status, text = post(roost, b"", {name: value for name, value in sent.items() if name not in ("Accept", "Transfer-Encoding")})
    assert json.loads(text) == {"accepted": 5_000, "last_line": 5_000, "rejected": []}


def test_what_was_told_to_be_stored_outlives_the_server(make_roost):
    roost = make_roost()
    token = roost.device("crash")
    sent = headers(token, Transfer_Encoding="chunked", Accept=LINES, Idempotency_Key="crash")
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    with socket.create_connection(roost.door("http"), timeout=20) as device:
        part = lines(0, 500)
        device.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{head}\r\n{len(part):x}\r\n".encode() + part + b"\r\n")
        answer = device.makefile("rb")
        while not (line := answer.readline()).startswith(b'{"accepted":500,'):
            assert line, "the answer ended"
        roost.kill()
    roost.start()
    assert stored(roost, "crash") == 500
    status, text = post(roost, iter([lines(0, 600)]), sent)
    assert (status, json.loads(text.splitlines()[-1])["accepted"]) == (200, 600)
    assert stored(roost, "crash") == 600


def test_curl_sends_a_stream_after_100_continue_and_is_refused_without_it(roost, tmp_path):
    token = roost.device("curl")
    body = tmp_path / "lines"
    body.write_bytes(lines(0, 50_000))

    def curl(token, *more):
        told = subprocess.run(
            ["curl", "-sv", "--max-time", "60", "-T", body, "-X", "POST", "-H", f"Authorization: Bearer {token}", "-H", f"Content-Type: {LINES}",
             "-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue", "--expect100-timeout", "30", *more, roost.url + PATH],
            capture_output=True, text=True, timeout=90, check=True)
        return told.stdout, told.stderr

    out, talk = curl(token)
    assert json.loads(out)["accepted"] == 50_000 and "< HTTP/1.1 100 Continue" in talk
    out, _ = curl(token, "-H", f"Accept: {LINES}", "-H", "TE: trailers", "-D", tmp_path / "headers")
    assert json.loads(out.splitlines()[-1])["accepted"] == 50_000
    assert "roost-stored: 50000" in (tmp_path / "headers").read_text().lower()
    out, talk = curl("wrong")
    assert "< HTTP/1.1 401" in talk and "100 Continue" not in talk
