// The dashboard against a running server: `ROOST_URL=… ROOST_SETUP_LINK=… npm run e2e`.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { asDevice, call, freshId, open, ORIGIN, overflow, PHONE, start, stop, WIDE } from "./browser.mjs";

before(start);
after(stop);

/** Adds a device through the API and gives its id and token. */
async function addDevice(page, name, more = {}) {
  const made = await call(page, "POST", "/devices", { id: freshId("e2e"), name, ...more });
  return { id: made.id, token: made.credential.token };
}

const deviceUrl = (id) => `${ORIGIN}/#/devices/${encodeURIComponent(id)}`;

test("a device is added, its first reading arrives, and shows on the list and on the chart", async () => {
  const { page, context, problems } = await open(WIDE, `${ORIGIN}/#/devices/new`);
  const id = freshId("greenhouse");
  await page.getByLabel("Name", { exact: true }).fill("Greenhouse north");
  await page.getByLabel("Id", { exact: true }).fill(id);
  await page.locator("#labels").fill(`run=${id}`);
  await page.getByRole("button", { name: "Add the device" }).click();

  const waiting = page.getByTestId("first-reading");
  await waiting.getByText("Waiting for the first reading").waitFor();
  const token = await page.getByTestId("secret").nth(1).innerText();
  for (const tab of ["mosquitto_pub", "curl", "Python", "MicroPython", "Arduino"]) {
    await page.getByRole("tab", { name: tab, exact: true }).click();
    const code = await page.getByRole("tabpanel").locator("pre").innerText();
    assert.ok(code.includes(token) && code.includes(id), `${tab} lacks the credentials`);
  }
  await asDevice(token, "POST", "/me/telemetry", { temp: 21.25, mode: "auto", door: false });
  await waiting.getByText("First reading received").waitFor();
  await waiting.getByText("21.25").waitFor();

  await page.goto(`${ORIGIN}/#/devices?q=${id}`);
  const row = page.locator("tbody tr", { hasText: id });
  await row.getByText("21.25").waitFor();
  await asDevice(token, "POST", "/me/telemetry", { temp: 22.75 });
  await row.getByText("22.75").waitFor();

  await row.getByRole("link", { name: "Greenhouse north" }).click();
  await page.locator('[data-key="temp"]').getByText("22.75").waitFor();
  const chart = page.locator('[data-chart="temp"]');
  await chart.locator("canvas").waitFor();
  await asDevice(token, "POST", "/me/telemetry", { temp: 23.5 });
  await chart.getByTestId("chart-last").getByText("23.5").waitFor();
  await page.locator('[data-key="mode"]').click();
  await page.locator('[data-chart="mode"] li', { hasText: "auto" }).waitFor();
  assert.deepEqual(problems, []);
  await context.close();
});

test("a key that changes its type does not break the chart", async () => {
  const { page, context, problems } = await open(WIDE);
  const { id, token } = await addDevice(page, "Type flipper");
  for (const x of [1, 2, "three", true, 4.5]) await asDevice(token, "POST", "/me/telemetry", { x });
  await page.goto(deviceUrl(id));
  const chart = page.locator('[data-chart="x"]');
  await chart.locator("canvas").waitFor();
  await chart.locator("li", { hasText: "three" }).waitFor();
  for (const range of ["15m", "24h", "30d", "1h"]) {
    await page
      .getByRole("group", { name: "Range" })
      .getByRole("button", { name: range, exact: true })
      .click();
    await page.locator('[data-testid="chart-panel"][aria-busy="false"]').waitFor();
  }
  assert.deepEqual(problems, []);
  await context.close();
});

test("what is on the chart stands in the address, is looked around in by keyboard, and is saved as a file", async () => {
  const { page, context, problems } = await open(WIDE);
  const { id, token } = await addDevice(page, "Charted");
  const hour = 3_600_000;
  const start = Date.now() - 3 * hour;
  const points = Array.from({ length: 30 }, (_, i) => ({
    ts: start + i * 6 * 60_000,
    values: { steady: 42.125, "a,b": i },
  }));
  await asDevice(token, "POST", "/me/telemetry", points);
  await page.goto(`${deviceUrl(id)}?key=steady&range=6h`);
  const chart = page.locator('[data-chart="steady"]');
  await chart.locator("canvas").waitFor();
  assert.equal(await chart.getByTestId("chart-last").innerText(), "42.125");
  await page.locator('[data-key="a,b"]').click();
  await page.locator('[data-chart="a,b"] canvas').waitFor();
  assert.match(page.url(), /key=steady&key=a%2Cb&range=6h$/);
  await page.getByRole("button", { name: "Take steady off the chart" }).click();
  await chart.waitFor({ state: "detached" });

  const settled = () => page.locator('[data-testid="chart-panel"][aria-busy="false"]').waitFor();
  const press = async (name) => {
    await page.getByRole("button", { name, exact: true }).focus();
    await page.keyboard.press("Enter");
    await settled();
  };
  assert.ok(await page.getByRole("button", { name: "Later" }).isDisabled());
  await press("Earlier");
  await press("Wider");
  const [, from, to] = /range=(\d+)-(\d+)$/.exec(page.url()).map(Number);
  assert.ok(Math.abs(to - from - 12 * hour) < 60_000, `${(to - from) / hour} hours`);
  await page.reload();
  await page.locator('[data-chart="a,b"] canvas').waitFor();
  assert.ok(page.url().endsWith(`${from}-${to}`));
  await page.goto(`${deviceUrl(id)}?key=steady&range=6h`);
  await chart.locator("canvas").waitFor();
  await page.goBack();
  await page.locator('[data-chart="a,b"] canvas').waitFor();
  await press("Later");

  const waiting = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save a,b as a file" }).click();
  const file = await waiting;
  assert.match(file.suggestedFilename(), new RegExp(`^${id}_a-b_\\d{4}-\\d\\d-\\d\\d\\.csv$`));
  const lines = (await readFile(await file.path(), "utf8")).trim().split(/\r?\n/);
  assert.equal(lines.length, 31);
  assert.ok(lines[1].includes('"a,b"'), lines[1]);
  await press("Go back");
  assert.deepEqual(problems, []);
  await context.close();
});

test("a command waits, is fetched and answered, and another is cancelled, all seen as it happens", async () => {
  const { page, context, problems } = await open(WIDE);
  const { id, token } = await addDevice(page, "Obedient");
  await page.goto(deviceUrl(id));
  const panel = page.getByTestId("commands");
  await panel.getByLabel("Name").fill("set_led");
  await panel.getByLabel("Parameters").fill("{on: true}");
  await panel.getByRole("button", { name: "Send command" }).click();
  await panel.getByRole("alert").waitFor();
  await panel.getByLabel("Parameters").fill('{"on": true}');
  await panel.getByRole("button", { name: "Send command" }).click();
  await panel.locator('[data-state="queued"]').waitFor();

  const { items } = await asDevice(token, "GET", "/me/commands?wait=5s");
  assert.deepEqual(items[0].params, { on: true });
  await asDevice(token, "POST", `/me/commands/${items[0].id}/result`, { ok: true, result: "lit" });
  const done = panel.locator('[data-state="succeeded"]');
  await done.getByText("lit").waitFor();

  await panel.getByRole("button", { name: "Send command" }).click();
  await panel.locator('[data-state="queued"]').getByRole("button", { name: "Cancel" }).click();
  await panel.locator('[data-state="cancelled"]').waitFor();
  await page.getByTestId("recorder").locator("li", { hasText: "command" }).first().waitFor();
  assert.deepEqual(problems, []);
  await context.close();
});

test("the desired state is edited, and a change by somebody else meanwhile is not written over", async () => {
  const { page, context, problems } = await open(WIDE);
  const { id } = await addDevice(page, "Twin");
  await call(page, "PATCH", `/devices/${id}/twin`, { desired: { interval: 10 } });
  await page.goto(deviceUrl(id));
  const panel = page.getByTestId("twin");
  await panel.getByRole("button", { name: "Edit desired" }).click();
  await panel.getByLabel("Desired state").fill('{"interval": 5, "led": true}');
  await call(page, "PATCH", `/devices/${id}/twin`, { desired: { colour: "amber" } });
  await panel.getByRole("button", { name: "Save" }).click();
  await panel.getByRole("button", { name: "Put my change on top" }).click();
  await panel.getByRole("button", { name: "Save" }).click();
  await panel.locator('[data-field="led"]').getByText("true").waitFor();
  const { desired } = await call(page, "GET", `/devices/${id}/twin`);
  assert.deepEqual(desired, { interval: 5, led: true, colour: "amber" });
  // The browser itself reports the one answer 412.
  assert.deepEqual(
    problems.filter((text) => !text.includes("412")),
    [],
  );
  await context.close();
});

test("hostile names, labels, keys and values are shown as text and run nothing (J-12, J-14)", async () => {
  const { page, context, problems } = await open(WIDE);
  await context.addInitScript(() => {
    window.ran = false;
  });
  const img = '<img src=x onerror="window.ran=true">';
  const names = [
    img,
    "{{7*7}}",
    "${jndi:ldap://x}",
    "%s%n",
    "javascript:alert(1)",
    "[a](javascript:alert(1))",
  ];
  const run = freshId("run");
  const devices = [];
  for (const name of [...names, "safe\u202egnp.exe", "zero\u200bwidth"]) {
    devices.push(await addDevice(page, name, { labels: { run, note: img, turned: "\u2066inside" } }));
  }
  const [{ id, token }] = devices;
  await asDevice(token, "POST", "/me/telemetry", { [img]: img, "{{7*7}}": "{{7*7}}", n: 1 });
  await call(page, "PATCH", `/devices/${id}/twin`, { desired: { [img]: img } });
  await call(page, "POST", `/devices/${id}/commands`, { name: img, params: { [img]: img } });

  await page.goto(`${ORIGIN}/#/devices?label=run%3D${run}`);
  await page
    .locator("tbody tr")
    .nth(devices.length - 1)
    .waitFor();
  for (const name of names) await page.locator("td bdi", { hasText: name }).first().waitFor();
  assert.equal(await page.getByText("49", { exact: true }).count(), 0);
  const turned = page.locator("tbody tr", { hasText: "U+202E" });
  assert.equal(await turned.locator("bdi").first().innerText(), "safe\u202egnp.exe");
  await page.getByText("U+200B").waitFor();
  await page.getByText("\\u{2066}inside", { exact: false }).first().waitFor();

  await page.reload();
  await page.goto(deviceUrl(id));
  await page.getByTestId("commands").getByText(img).first().waitFor();
  await page.getByTestId("twin").getByText(img).first().waitFor();
  for (const tile of await page.locator("[data-key]").all()) await tile.click();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByText(img).waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  assert.equal(await page.locator('img, iframe, object, a[href^="javascript:"]').count(), 0);
  assert.notEqual(await page.evaluate(() => window.ran), true);
  assert.deepEqual(problems, []);
  await context.close();
});

test("every room fits a phone of 390 pixels, in light and in dark", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const { page, context, problems } = await open({ ...PHONE, colorScheme });
    const { id, token } = await addDevice(page, `A rather long name of a device, ${"x".repeat(90)}`, {
      labels: { place: "y".repeat(60), room: "kitchen" },
    });
    await asDevice(token, "POST", "/me/telemetry", { ["key".repeat(30)]: "z".repeat(300), temp: 1.5 });
    for (const room of ["#/devices", "#/devices/new", `#/devices/${id}`, "#/inbox", "#/tokens", "#/api"]) {
      await page.goto(`${ORIGIN}/${room}`);
      await page.locator("h1").waitFor();
      await page.waitForLoadState("load");
      assert.ok(
        (await overflow(page)) <= 0,
        `${room} is ${await overflow(page)} pixels too wide in ${colorScheme}`,
      );
    }
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const brightness = Number(/\d+/.exec(ground)?.[0]);
    assert.ok(colorScheme === "dark" ? brightness < 60 : brightness > 200, `${ground} is not ${colorScheme}`);
    assert.deepEqual(problems, []);
    await context.close();
  }
});

test("the theme is switched, and stays so after a reload", async () => {
  const { page, context, problems } = await open({ ...WIDE, colorScheme: "light" });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.getByRole("heading", { name: "Devices" }).waitFor();
  const light = await ground();
  await page.getByRole("button", { name: "Switch to dark colours" }).click();
  assert.notEqual(await ground(), light);
  await page.reload();
  await page.getByRole("button", { name: "Switch to light colours" }).waitFor();
  assert.notEqual(await ground(), light);
  assert.deepEqual(problems, []);
  await context.close();
});

test("a device is renamed, gets a new token, loses it again, and is deleted", async () => {
  const { page, context, problems } = await open(WIDE);
  const { id } = await addDevice(page, "Before");
  await page.goto(deviceUrl(id));
  await page.getByRole("button", { name: "Edit", exact: true }).click();
  await page.locator("#edit-name").fill("After");
  await page.locator("#edit-labels").fill("room=kitchen");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "After" }).waitFor();

  const credentials = page.getByTestId("credentials");
  await credentials.getByRole("button", { name: "New token" }).click();
  const token = await credentials.getByTestId("secret").innerText();
  await asDevice(token, "POST", "/me/telemetry", { temp: 1 });
  await credentials.locator("tbody tr").nth(1).getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await credentials.locator("tbody tr").count(), 1);

  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByRole("heading", { name: "Devices" }).waitFor();
  assert.deepEqual(problems, []);
  await context.close();
});

test("an API token is made, shown once and revoked, and the API page lists the operations", async () => {
  const { page, context, problems } = await open(WIDE, `${ORIGIN}/#/tokens`);
  const name = freshId("reporting");
  await page.locator("#token-name").fill(name);
  await page.getByRole("button", { name: "Create a token" }).click();
  const secret = await page.getByTestId("secret").innerText();
  assert.ok(secret.length >= 16);
  await page.reload();
  const row = page.locator("tbody tr", { hasText: name });
  await row.waitFor();
  assert.equal(await page.getByText(secret).count(), 0);
  await row.getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await row.waitFor({ state: "detached" });

  await page.goto(`${ORIGIN}/#/api`);
  await page.locator("summary", { hasText: "/devices" }).first().click();
  await page.getByText("Authorization: Bearer").first().waitFor();
  assert.deepEqual(problems, []);
  await context.close();
});

/** A persistent MQTT session that subscribes with QoS 1 and goes away, over WebSocket and by hand. */
async function leaveSession(page, clientId, filter, token) {
  await page.evaluate(
    ([id, wanted, password]) =>
      new Promise((resolve, reject) => {
        const text = (value) => {
          const bytes = new TextEncoder().encode(value);
          return [bytes.length >> 8, bytes.length & 255, ...bytes];
        };
        const packet = (kind, body) => new Uint8Array([kind, body.length, ...body]);
        const socket = new WebSocket(`${location.origin.replace("http", "ws")}/mqtt`, "mqtt");
        socket.binaryType = "arraybuffer";
        socket.onerror = () => reject(new Error("no WebSocket"));
        socket.onopen = () =>
          socket.send(
            packet(0x10, [...text("MQTT"), 4, 0xc0, 0, 60, ...text(id), ...text("app"), ...text(password)]),
          );
        socket.onmessage = ({ data }) => {
          const [kind, , , refusal] = new Uint8Array(data);
          if (kind === 0x20 && refusal === 0) socket.send(packet(0x82, [0, 1, ...text(wanted), 1]));
          else if (kind === 0x90) {
            socket.onclose = () => resolve();
            socket.send(packet(0xe0, []));
          } else reject(new Error(`packet ${kind}`));
        };
      }),
    [clientId, filter, token],
  );
}

test("a session that is away shows what waits for it, and is ended; retained messages are deleted by filter", async () => {
  const { page, context, problems } = await open(WIDE);
  const run = freshId("lab");
  const { token } = await call(page, "POST", "/tokens", { name: run, role: "operator" });
  await leaveSession(page, `${run}/reader`, `${run}/#`, token);
  for (const [room, retain] of [
    ["hall", true],
    ["attic", true],
    ["<b>cellar</b>", false],
  ]) {
    await call(page, "POST", "/publish", { topic: `${run}/${room}`, payload: "on", qos: 1, retain });
  }

  await page.goto(`${ORIGIN}/#/sessions`);
  await page.getByRole("searchbox", { name: "Search sessions" }).fill(`${run}/READ`);
  await page.getByRole("button", { name: "Away" }).click();
  const row = page.getByTestId("sessions").locator("tbody tr", { hasText: `${run}/reader` });
  await row.getByText("3", { exact: true }).waitFor();
  assert.equal(await page.getByTestId("sessions").locator("tbody tr").count(), 1);
  await row.getByRole("link").click();
  const queue = page.getByTestId("queue");
  await queue.getByText(`${run}/<b>cellar</b>`).waitFor();
  assert.equal(await queue.getByText("waiting", { exact: true }).count(), 3);
  await page.getByRole("button", { name: "End the session" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End it" }).click();
  await page.getByRole("heading", { name: "Sessions" }).waitFor();
  await row.waitFor({ state: "detached" });

  await page.goto(`${ORIGIN}/#/retained`);
  await page.getByRole("searchbox", { name: "Topic filter" }).fill(`${run}/+`);
  const retained = page.getByTestId("retained");
  await retained.getByText(`${run}/attic`).waitFor();
  await page.waitForFunction(
    () => document.querySelectorAll('[data-testid="retained"] tbody tr').length === 2,
  );
  await page.getByRole("button", { name: "Delete what matches" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByText("No retained message matches.").waitFor();
  assert.deepEqual(problems, []);
  await context.close();
});

test("a session that somebody else ended is not shown as if it were there, and the server's words stay", async () => {
  const { page, context, problems } = await open(WIDE);
  const run = freshId("lab");
  const { token } = await call(page, "POST", "/tokens", { name: run, role: "operator" });
  await leaveSession(page, run, `${run}/#`, token);
  await page.goto(`${ORIGIN}/#/sessions/${run}`);
  await page.getByTestId("queue").waitFor();
  await call(page, "DELETE", `/sessions/${run}`);
  await page.getByRole("alert").getByText("There is no session").waitFor();
  assert.equal(await page.getByTestId("queue").count(), 0);
  assert.equal(await page.getByRole("button", { name: "End the session" }).count(), 0);

  const { id } = await addDevice(page, "Told");
  await call(page, "PATCH", `/devices/${id}/twin`, { desired: { interval: 10 } });
  await page.goto(`${ORIGIN}/#/retained?filter=${encodeURIComponent(`devices/${id}/#`)}`);
  await page.getByTestId("retained").getByText(`devices/${id}/twin/desired`).waitFor();
  assert.equal(await page.getByRole("button", { name: /Delete devices/ }).count(), 0);
  assert.ok(await page.getByRole("button", { name: "Delete what matches" }).isDisabled());
  // The browser itself reports the one answer 404.
  assert.deepEqual(
    problems.filter((text) => !text.includes("404")),
    [],
  );
  await context.close();
});

test("sessions and retained messages fit a phone, light and dark", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const { page, context, problems } = await open({ ...PHONE, colorScheme });
    const run = freshId("a-long-name-of-a-session-that-has-to-be-broken-somewhere");
    const { token } = await call(page, "POST", "/tokens", { name: run, role: "operator" });
    const topic = `${run}/a/very/long/topic/that/goes/on/and/on/and/on/and/on`;
    await leaveSession(page, run, `${topic}/#`, token);
    await call(page, "POST", "/publish", { topic, payload: { text: "x".repeat(200) }, qos: 1, retain: true });
    const places = [
      [`sessions?q=${run}`, "sessions"],
      [`sessions/${run}`, "queue"],
      [`retained?filter=${encodeURIComponent(topic)}`, "retained"],
    ];
    for (const [place, testId] of places) {
      await page.goto(`${ORIGIN}/#/${place}`);
      await page.getByTestId(testId).getByText(run).first().waitFor();
      assert.equal(await overflow(page), 0, place);
      if (process.env.SCREENSHOTS)
        await page.screenshot({ path: `${process.env.SCREENSHOTS}/${testId}-${colorScheme}.png` });
    }
    assert.deepEqual(problems, []);
    await context.close();
  }
});
