"""What was made for other servers finds its paths here: InfluxDB's writers, ThingsBoard's HTTP devices, call-backs of
radio networks, a Prometheus. Tokens in paths and queries are written down nowhere."""

import gzip
import json

from test_http import ask, latest


def test_telegraf_writes_and_a_part_that_cannot_be_taken_is_named(roost):
    token = roost.device("pi")
    shown = {"Authorization": f"Token {token}"}
    assert ask(roost, "GET", "/ping")[0] == 204
    assert json.loads(ask(roost, "GET", "/health")[2])["status"] == "pass"
    body = gzip.compress(b"cpu,core=0 usage=1.5\nmem used=7i\n")
    assert ask(roost, "POST", "/api/v2/write?org=o&bucket=b", None, body, Content_Encoding="gzip", **shown)[0] == 204
    assert latest(roost, "pi") == {"cpu.core=0.usage": 1.5, "mem.used": 7}
    status, _, text = ask(roost, "POST", f"/write?db=x&u=pi&p={token}", None, b"mem used=8i\nnonsense\n")
    assert status == 400 and "line 2" in json.loads(text)["error"]
    assert latest(roost, "pi")["mem.used"] == 8
    assert ask(roost, "POST", "/write", roost.owner, b"m,host=new x=1\n")[0] == 204
    assert [one["proposed"]["id"] for one in roost.call("GET", "/inbox")["items"]] == ["new"]


def test_a_thingsboard_device_over_http(make_roost):
    roost = make_roost("--log.level", "trace")
    token = roost.device("board")
    path = f"/api/v1/{token}"
    assert ask(roost, "POST", f"{path}/telemetry", None, b'{"temp":21.5}')[0] == 200
    assert latest(roost, "board") == {"temp": 21.5}
    assert ask(roost, "POST", f"{path}/attributes", None, b'{"firmware":"1.2"}')[0] == 200
    roost.call("PATCH", "/devices/board/twin", {"desired": {"interval": 30}})
    attributes = json.loads(ask(roost, "GET", f"{path}/attributes?clientKeys=firmware&sharedKeys=interval")[2])
    assert attributes == {"client": {"firmware": "1.2"}, "shared": {"interval": 30}}
    sent = roost.call("POST", "/devices/board/commands", {"name": "setGpio", "params": {"pin": 4}})
    call = json.loads(ask(roost, "GET", f"{path}/rpc?timeout=10000")[2])
    assert (call["method"], call["params"]) == ("setGpio", {"pin": 4})
    assert ask(roost, "POST", f"{path}/rpc/{call['id']}", None, b'{"done":true}')[0] == 200
    assert roost.call("GET", f"/devices/board/commands/{sent['id']}")["state"] == "succeeded"
    assert ask(roost, "GET", f"{path}/rpc?timeout=10")[0] == 408
    assert token not in "".join(roost.log) + json.dumps(roost.call("GET", "/devices/board/log"))


def test_a_radio_network_calls_back_and_gets_the_downlink(roost):
    token = roost.device("network")
    sigfox = {"device": "1A2B3C", "time": 1_795_269_297, "data": "01ff", "rssi": "-110.5", "temp": "19.5", "ack": True}
    body = json.dumps(sigfox).encode()
    path = f"/api/v1/radio/sigfox?token={token}"
    assert ask(roost, "POST", path, None, body)[0] == 204
    waiting = roost.call("GET", "/inbox")["items"]
    assert [(one["dialect"], one["sample"]["temp"]) for one in waiting] == [("sigfox", "19.5")]
    roost.call("POST", f"/inbox/{waiting[0]['id']}/accept", {"id": "tank"})
    sent = roost.call("POST", "/devices/tank/commands", {"name": "set", "params": {"hex": "0102030405060708"}})
    status, _, text = ask(roost, "POST", path, None, body)
    assert (status, json.loads(text)) == (200, {"1A2B3C": {"downlinkData": "0102030405060708"}})
    assert latest(roost, "tank")["temp"] == 19.5 and latest(roost, "tank")["payload"] == "Af8="
    assert roost.call("GET", f"/devices/tank/commands/{sent['id']}")["state"] == "sent"


def test_a_prometheus_of_the_tenant_scrapes_the_newest_values(roost):
    token = roost.device("greenhouse")
    ask(roost, "POST", "/api/v1/me/telemetry", token, b'{"temp":21.5,"name":"x"}', Content_Type="application/json")
    status, headers, text = ask(roost, "GET", "/api/v1/metrics", roost.owner)
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'roost_temp{device="greenhouse",key="temp"} 21.5\n' in text and "name" not in text
    assert ask(roost, "GET", "/api/v1/metrics", token)[0] == 403
    assert ask(roost, "GET", "/api/v1/metrics")[0] == 401
