"""CoAP with libcoap's client (OpenSSL and GnuTLS builds) and aiocoap."""

import asyncio
import json
import shutil
import socket
import subprocess

import aiocoap
import pytest
import trustme
from aiocoap import Code, Message
from aiocoap.numbers.contentformat import ContentFormat

DOORS = ("--coap", "127.0.0.1:0", "--coaps", "127.0.0.1:0")
PATIENCE = 20


@pytest.fixture
def coap(make_roost):
    server = make_roost(*DOORS)
    yield server
    if server.process.poll() is None:
        server.stop()


class Device:
    def __init__(self, server, name="sensor"):
        self.server, self.name = server, name
        self.token = server.device(name)

    def uri(self, path, door="coap"):
        query = f"?token={self.token}" if door == "coap" else ""
        return f"{door}://{self.server.doors[door]}/{path}{query}"

    def latest(self):
        found = self.server.call("GET", f"/devices/{self.name}/telemetry/latest")
        return {key: reading["value"] for key, reading in found.items()}


def libcoap(*words, program="coap-client-openssl", text=True):
    """Runs libcoap's client to its end; gives what it printed."""
    command = [shutil.which(program) or program, "-B", "15", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=text, timeout=60)
    return done.stdout if not text else (done.stdout + done.stderr).strip()


def run(story):
    """Runs a story with an aiocoap client."""
    async def whole():
        context = await aiocoap.Context.create_client_context()
        try:
            return await asyncio.wait_for(story(context), PATIENCE * 3)
        finally:
            await context.shutdown()
    return asyncio.run(whole())


async def ask(context, code, uri, payload=b"", **options):
    return await asyncio.wait_for(context.request(Message(code=code, uri=uri, payload=payload, **options)).response, PATIENCE)


def test_libcoap_posts_and_reads(coap):
    device = Device(coap)
    assert libcoap("-m", "post", "-t", "json", "-e", '{"temp":21.5}', device.uri("me/telemetry")) == ""
    assert libcoap("-m", "post", "-N", "-e", "7", device.uri("api/v1/me/telemetry/level")) == ""
    assert device.latest() == {"temp": 21.5, "level": 7}
    assert "</me/telemetry>" in libcoap(device.uri(".well-known/core"))
    twin = json.loads(libcoap(device.uri("me/twin")))
    assert twin == {"reported": {}, "desired": {}, "version": 0}
    assert "4.01" in libcoap("-m", "post", "-e", "1", device.uri("me/telemetry/x").replace(device.token, "wrong-token"))


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_one_port_serves_ipv4_and_ipv6(make_roost):
    server = make_roost("--coap", "0.0.0.0:0", "--coaps", "off")
    device = Device(server)
    for key, host in {"four": "127.0.0.1", "six": "[::1]"}.items():
        uri = device.uri(f"me/telemetry/{key}").replace("0.0.0.0", host)
        assert libcoap("-m", "post", "-e", "1", uri) == ""
    assert device.latest() == {"four": 1, "six": 1}
    server.stop()


def test_libcoap_puts_and_gets_a_document_in_blocks(coap, tmp_path):
    device = Device(coap)
    body = bytes(number % 251 for number in range(60_000))
    (tmp_path / "up").write_bytes(body)
    libcoap("-m", "put", "-t", "42", "-b", "1024", "-f", tmp_path / "up", device.uri("me/documents/firmware"))
    libcoap("-o", tmp_path / "down", device.uri("me/documents/firmware"))
    assert (tmp_path / "down").read_bytes() == body


def test_libcoap_observes_commands(coap):
    device = Device(coap)
    command = [shutil.which("coap-client-openssl"), "-s", "6", "-w", "-B", "8", device.uri("me/commands")]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert json.loads(watching.stdout.readline()) == {"items": []}
    made = coap.call("POST", f"/devices/{device.name}/commands", {"name": "open", "params": {"door": 1}})
    item = json.loads(watching.stdout.readline())["items"][0]
    assert (item["id"], item["name"], item["params"]) == (made["id"], "open", {"door": 1})
    watching.wait(timeout=30)
    shown = coap.call("GET", f"/devices/{device.name}/commands/{made['id']}")
    assert shown["state"] == "delivered"


def test_aiocoap_posts_every_format(coap):
    device = Device(coap)

    async def story(context):
        for format, payload in [
            (ContentFormat.JSON, b'{"a":1}'),
            (ContentFormat.CBOR, bytes.fromhex("a1616202")),
            (ContentFormat.SENML_JSON if hasattr(ContentFormat, "SENML_JSON") else ContentFormat(110), b'[{"n":"c","v":3}]'),
            (ContentFormat(112), bytes.fromhex("81a2006164" + "0204")),
        ]:
            answer = await ask(context, Code.POST, device.uri("me/telemetry"), payload, content_format=format)
            assert answer.code == Code.CHANGED, answer
        answer = await ask(context, Code.POST, device.uri("me/telemetry"), b"x", content_format=ContentFormat(41))
        assert answer.code == Code.UNSUPPORTED_CONTENT_FORMAT
    run(story)
    assert device.latest() == {"a": 1, "b": 2, "c": 3, "d": 4}


def test_aiocoap_keeps_documents_and_observes_them(coap):
    device = Device(coap)
    uri = device.uri("me/documents/config")

    async def story(context):
        large = bytes(number % 250 for number in range(30_000))
        answer = await ask(context, Code.PUT, uri, large, content_format=42)
        assert answer.code == Code.CREATED
        answer = await ask(context, Code.GET, uri)
        assert answer.payload == large
        answer = await ask(context, Code.PUT, uri, b"x", if_match=[b"12345678"])
        assert answer.code == Code.PRECONDITION_FAILED

        request = context.request(Message(code=Code.GET, uri=device.uri("me/twin/desired"), observe=0))
        first = await asyncio.wait_for(request.response, PATIENCE)
        assert json.loads(first.payload)["version"] == 0
        told = asyncio.Queue()
        request.observation.register_callback(told.put_nowait)
        await asyncio.to_thread(coap.call, "PATCH", f"/devices/{device.name}/twin", {"desired": {"level": 3}})
        answer = await asyncio.wait_for(told.get(), PATIENCE)
        assert json.loads(answer.payload) == {"version": 1, "desired": {"level": 3}}
        request.observation.cancel()
        assert (await ask(context, Code.DELETE, uri)).code == Code.DELETED
    run(story)


def test_a_command_goes_round(coap):
    device = Device(coap)
    made = coap.call("POST", f"/devices/{device.name}/commands", {"name": "open"})

    async def story(context):
        answer = await ask(context, Code.GET, device.uri("me/commands"))
        assert [item["id"] for item in json.loads(answer.payload)["items"]] == [made["id"]]
        result = device.uri(f"me/commands/{made['id']}/result")
        answer = await ask(context, Code.POST, result, b'{"ok":true,"result":"done"}')
        assert answer.code == Code.CHANGED
    run(story)
    shown = coap.call("GET", f"/devices/{device.name}/commands/{made['id']}")
    assert (shown["state"], shown["result"]) == ("succeeded", "done")


def test_what_was_answered_is_there_after_a_crash(make_roost):
    server = make_roost(*DOORS)
    device = Device(server)

    async def story(context):
        for number in range(200):
            answer = await ask(context, Code.POST, device.uri(f"me/telemetry/n{number % 10}"), str(number).encode())
            assert answer.code == Code.CHANGED
    run(story)
    server.kill()
    server.start()
    assert device.latest() == {f"n{number}": 190 + number for number in range(10)}
    assert libcoap("-m", "post", "-e", "1", device.uri("me/telemetry/after")) == ""
    server.stop()


@pytest.mark.parametrize("program", ["coap-client-openssl", "coap-client-gnutls"])
def test_libcoap_speaks_dtls_with_its_key(coap, program):
    device = Device(coap)
    credential = {"kind": "psk", "identity": "sensor-1", "key": "a-key-of-the-device"}
    made = coap.call("POST", f"/devices/{device.name}/credentials", credential)
    key = ("-u", "sensor-1", "-k", "a-key-of-the-device")
    assert libcoap(*key, "-m", "post", "-e", '{"a":1}', device.uri("me/telemetry", "coaps"), program=program) == ""
    assert device.latest() == {"a": 1}
    twin = json.loads(libcoap(*key, device.uri("me/twin", "coaps"), program=program))
    assert twin["version"] == 0
    # T-03: a wrong key, and an identity that nobody has.
    for wrong in (("-u", "sensor-1", "-k", "another-key-12345"), ("-u", "nobody", "-k", "a-key-of-the-device")):
        libcoap("-B", "3", *wrong, "-m", "post", "-e", '{"a":2}', device.uri("me/telemetry", "coaps"), program=program)
    assert device.latest() == {"a": 1}
    coap.call("DELETE", f"/devices/{device.name}/credentials/{made['id']}")
    libcoap("-B", "3", *key, "-m", "post", "-e", '{"a":3}', device.uri("me/telemetry", "coaps"), program=program)
    assert device.latest() == {"a": 1}


def write(certificate, folder, name):
    """Writes a certificate of an authority as `name`.pem and `name`.key."""
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(folder / f"{name}.pem"))
    certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    (folder / f"{name}.key").chmod(0o600)
    return folder / f"{name}.pem", folder / f"{name}.key"


@pytest.mark.parametrize("program", ["coap-client-openssl", "coap-client-gnutls"])
def test_libcoap_shows_its_certificate(make_roost, tmp_path, program):
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    cert, key = write(authority.issue_cert("localhost", "127.0.0.1"), tmp_path, "server")
    server = make_roost(*DOORS, "--tls.cert", cert, "--tls.key", key, "--tls.client_ca", tmp_path / "ca.pem")
    device = Device(server)
    server.call("POST", f"/devices/{device.name}/credentials", {"kind": "x509"})

    def post(signer, name, value, patience):
        own, key = write(signer.issue_cert("x.example", common_name=name), tmp_path, f"{name}-{value}")
        shown = ("-c", own, "-j", key, "-C", tmp_path / "ca.pem", "-B", patience)
        uri = device.uri("me/telemetry", "coaps")
        return libcoap(*shown, "-m", "post", "-e", json.dumps({"a": value}), uri, program=program)

    assert post(authority, device.name, 1, 15) == ""
    assert device.latest() == {"a": 1}
    # T-07: somebody else's authority, and a name that is nobody's.
    post(stranger, device.name, 2, 3)
    post(authority, "nobody", 3, 3)
    assert device.latest() == {"a": 1}
    server.stop()
