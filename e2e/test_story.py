"""One device from its registration to its answer, with the tools that people have: curl and mosquitto's clients."""

import json
import subprocess


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def curl(roost, method, path, token, body=None):
    data = ["-d", json.dumps(body), "-H", "Content-Type: application/json"] if body is not None else []
    text = run("curl", "-sS", "--fail-with-body", "-X", method, "-H", f"Authorization: Bearer {token}", *data,
               f"{roost.url}/api/v1{path}")
    return json.loads(text) if text else None


def login(roost, token):
    host, port = roost.door("mqtt")
    return ["-h", host, "-p", str(port), "-u", "greenhouse", "-P", token]


def publish(roost, token, topic, payload, *more):
    run("mosquitto_pub", *login(roost, token), "-q", "1", "-t", topic, "-m", payload, *more)


def test_a_device_is_made_reports_and_obeys(roost):
    made = curl(roost, "POST", "/devices", roost.owner, {"id": "greenhouse", "name": "Greenhouse north"})
    token = made["credential"]["token"]
    publish(roost, token, "me/telemetry", '{"temp": 21.5, "door": false}', "-V", "5")
    publish(roost, token, "me/telemetry/humidity", "63", "-V", "mqttv311")
    curl(roost, "POST", "/me/telemetry", token, {"co2": 417})

    latest = curl(roost, "GET", "/devices/greenhouse/telemetry/latest", roost.owner)
    assert {key: entry["value"] for key, entry in latest.items()} == {
        "temp": 21.5, "door": False, "humidity": 63, "co2": 417,
    }
    history = curl(roost, "GET", "/devices/greenhouse/telemetry?key=temp", roost.owner)
    assert history["points"] == [[latest["temp"]["ts"], 21.5]]

    command = curl(roost, "POST", "/devices/greenhouse/commands", roost.owner, {"name": "vent", "params": {"open": 40}})
    assert command["state"] == "queued"
    seen = json.loads(run("mosquitto_sub", *login(roost, token), "-q", "1", "-t", "me/commands", "-C", "1", "-W", "20"))
    assert (seen["id"], seen["name"], seen["params"]) == (command["id"], "vent", {"open": 40})
    publish(roost, token, f"me/commands/{command['id']}/result", '{"ok": true, "result": "moved"}')
    path = f"/devices/greenhouse/commands/{command['id']}"
    finished = curl(roost, "GET", f"{path}?wait=10s", roost.owner)
    assert (finished["state"], finished["result"]) == ("succeeded", "moved")


def test_a_device_without_a_connection_fetches_its_command(roost):
    token = roost.device("sleeper")
    sent = roost.call("POST", "/devices/sleeper/commands", {"name": "set_led", "params": {"on": True}})
    items = roost.call("GET", "/me/commands?wait=10s", token=token)["items"]
    assert [item["id"] for item in items] == [sent["id"]]
    roost.call("POST", f"/me/commands/{sent['id']}/result", {"ok": False, "error": "no led"}, token=token)
    finished = roost.call("GET", f"/devices/sleeper/commands/{sent['id']}?wait=10s")
    assert (finished["state"], finished["error"]) == ("failed", "no led")


def test_nothing_is_reachable_without_a_credential(roost):
    for path in ["/devices", "/tokens", "/tenants", "/devices/x/telemetry/latest"]:
        status = run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{roost.url}/api/v1{path}")
        assert status == "401", path
    host, port = roost.door("mqtt")
    refused = subprocess.run(["mosquitto_pub", "-h", host, "-p", str(port), "-t", "a", "-m", "b", "-q", "1"],
                             capture_output=True, timeout=30, check=False)
    assert refused.returncode != 0
    assert run("curl", "-sf", "-o", "/dev/null", "-w", "%{http_code}", f"{roost.url}/healthz") == "200"
    assert run("curl", "-sf", "-o", "/dev/null", "-w", "%{http_code}", f"{roost.url}/readyz") == "200"
