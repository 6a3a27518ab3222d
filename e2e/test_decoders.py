"""Binary payloads: a profile's decoder, over MQTT and HTTP, and `roost decode` with and without a server."""

import json
import os
import subprocess
import urllib.error
import urllib.request

import paho.mqtt.client as mqtt
import pytest

from client import Client

# As LoRaWAN room sensors send: groups of a tag and a value, little-endian.
DECODER = {
    "byte_order": "little",
    "fields": [{"key": "opened", "type": "u16", "when": {"port": 9}}],
    "tagged": {"length": 2, "groups": {
        "0175": [{"key": "battery", "type": "u8"}],
        "0367": [{"key": "temperature", "type": "i16", "scale": 0.1}],
        "0468": [{"key": "humidity", "type": "u8", "scale": 0.5}],
    }},
}
FRAME = bytes.fromhex("01756403671001 04687b")
READ = {"battery": 100, "temperature": 27.2, "humidity": 61.5}


@pytest.fixture
def sensor(roost):
    """The token of a device whose profile has the decoder."""
    roost.call("POST", "/profiles", {"id": "room", "decoder": DECODER})
    return roost.device("room-1", profile="room")


def latest(roost):
    return {key: found["value"] for key, found in roost.call("GET", "/devices/room-1/telemetry/latest").items()}


def post(roost, token, body, query="", kind="application/octet-stream"):
    request = urllib.request.Request(f"{roost.url}/api/v1/me/telemetry{query}", body, method="POST", headers={
        "Authorization": f"Bearer {token}", "Content-Type": kind,
    })
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, None
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def decode(binary, *words, roost=None):
    server = {"ROOST_URL": roost.url, "ROOST_TOKEN": roost.owner} if roost else {}
    done = subprocess.run([str(binary), "decode", *words], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **server})
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("version", [mqtt.MQTTv311, mqtt.MQTTv5])
def test_a_frame_over_mqtt_becomes_readings(roost, sensor, version):
    client = Client(roost.door("mqtt"), "room-1", sensor, version=version)
    client.publish("me/telemetry", FRAME)
    assert latest(roost) == READ
    client.publish("me/telemetry", b'{"temperature": 5}')
    assert latest(roost)["temperature"] == 5
    assert roost.points("room-1", "humidity", times=("0", str(2**42)))


def test_a_frame_over_http_becomes_readings(roost, sensor):
    assert post(roost, sensor, FRAME)[0] == 204
    assert latest(roost) == READ
    assert post(roost, sensor, b"\x05\x00", "?port=9")[0] == 204
    assert latest(roost)["opened"] == 5


def test_a_frame_that_cannot_be_read_is_refused_and_kept_for_its_people(roost, sensor):
    client = Client(roost.door("mqtt"), "room-1", sensor, version=mqtt.MQTTv5)
    reason = client.publish("me/telemetry", FRAME[:6])
    assert reason.value == 0x99
    status, problem = post(roost, sensor, FRAME[:9])
    assert (status, problem["field"], problem["offset"]) == (400, "humidity", 9)
    assert latest(roost) == {}
    noted = [entry["detail"] for entry in roost.call("GET", "/devices/room-1/log?kind=refused")["items"]]
    assert "017564036710\"" in noted[1] and "temperature: needs bytes 5 to 6" in noted[1], noted
    assert "humidity: needs byte 9" in noted[0], noted
    frames = roost.call("GET", "/devices/room-1/frames")["items"]
    assert [frame["hex"] for frame in frames] == [FRAME[:9].hex(), FRAME[:6].hex()]
    # A decoder that reads them is found by trying, and then written.
    better = {"fields": [{"key": "all", "type": "hex"}]}
    tried = roost.call("POST", "/profiles/room/decode", {"decoder": better, "device": "room-1"})["items"]
    assert [item["readings"][0]["value"] for item in tried] == [FRAME[:9].hex(), FRAME[:6].hex()]
    roost.call("POST", "/profiles", {"id": "room", "decoder": better})
    assert post(roost, sensor, FRAME[:6])[0] == 204
    assert latest(roost) == {"all": FRAME[:6].hex()}


def test_decode_needs_no_server(binary, tmp_path):
    decoder, frame = tmp_path / "decoder.json", tmp_path / "frame"
    decoder.write_text(json.dumps(DECODER))
    frame.write_bytes(FRAME)
    for words in (["01 75 64 03 67 10 01 04 68 7b"], ["--base64", "AXVkA2cQAQRoew=="], ["--file", str(frame)]):
        code, out, _ = decode(binary, "--decoder", str(decoder), *words, "--output", "json")
        [report] = json.loads(out)
        assert code == 0 and {read["key"]: read["value"] for read in report["readings"]} == READ
    code, out, _ = decode(binary, "--decoder", str(decoder), "0500", "--port", "9")
    assert code == 0 and out.splitlines() == ["0500", "KEY     VALUE", "opened  5", ""]
    code, out, error = decode(binary, "--decoder", str(decoder), "0367")
    assert code == 1 and "temperature: needs bytes 2 to 3" in out and "1 of 1 frames cannot be read" in error
    decoder.write_text(json.dumps({"decoder": {"fields": [{"key": "t", "type": "u7"}]}}))
    code, _, error = decode(binary, "--decoder", str(decoder), "00")
    assert code == 1 and "decoder.fields[0] \"t\": there is no type \"u7\"" in error
    for words in ([], ["--decoder", str(decoder)], ["--decoder", str(decoder), "0"]):
        assert decode(binary, *words)[0] in (1, 2)


def test_decode_takes_profiles_and_frames_from_a_server(roost, sensor, binary):
    assert post(roost, sensor, FRAME)[0] == 204
    code, out, _ = decode(binary, "--profile", "room", FRAME.hex(), roost=roost)
    assert code == 0 and "temperature  27.2" in out
    code, out, _ = decode(binary, "--device", "room-1", roost=roost)
    assert code == 0 and FRAME.hex() in out and "humidity     61.5" in out
