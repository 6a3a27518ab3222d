// mqtt.js over TCP and WebSocket, both versions. `test_node.py` starts it beside a server.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import mqtt from "mqtt";

const { ROOST_MQTT_URL, ROOST_WS_URL, ROOST_HTTP_URL, ROOST_TOKEN } = process.env;

async function api(method, path, body, token = ROOST_TOKEN) {
  const response = await fetch(`${ROOST_HTTP_URL}/api/v1${path}`, {
    method,
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`);
  return response.json();
}

for (const [address, protocolVersion] of [
  [ROOST_MQTT_URL, 4],
  [ROOST_MQTT_URL, 5],
  [ROOST_WS_URL, 4],
  [ROOST_WS_URL, 5],
]) {
  const name = `js-${new URL(address).protocol.slice(0, -1)}-${protocolVersion}`;
  test(`${name} reports, is told and answers`, { timeout: 60_000 }, async () => {
    const { credential } = await api("POST", "/devices", { id: name });
    const client = await mqtt.connectAsync(address, { username: name, password: credential.token, protocolVersion });
    await client.subscribeAsync("me/commands", { qos: 1 });
    await client.publishAsync("me/telemetry", JSON.stringify({ temp: 20.25 }), { qos: 2 });
    const latest = await api("GET", `/devices/${name}/telemetry/latest`);
    assert.equal(latest.temp.value, 20.25);

    const arrives = once(client, "message");
    const finished = api("POST", `/devices/${name}/commands?wait=20s`, { name: "ping", params: { n: 7 } });
    const [topic, payload] = await arrives;
    const command = JSON.parse(payload.toString());
    assert.equal(topic, "me/commands");
    assert.deepEqual(command.params, { n: 7 });
    await client.publishAsync(`me/commands/${command.id}/result`, JSON.stringify({ ok: true, result: 7 }), { qos: 1 });
    assert.equal((await finished).state, "succeeded");
    await client.endAsync();
  });
}
