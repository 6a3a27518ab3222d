// The inbox against a running server: Spots that nobody registered stand for whatever is recognised.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { call, freshId, open, openAs, ORIGIN, overflow, PHONE, start, stop, WIDE } from "./browser.mjs";

before(start);
after(stop);

const INBOX = `${ORIGIN}/#/inbox`;

/** What a Spot posts; its serial number is heard of by the server then. */
async function spotPosts(serial, said = { version: "61-4", online: true }) {
  const text = `${JSON.stringify(["spot", "create", said])}\n\n`;
  const headers = { "Content-Type": "text/x-intellifi-events" };
  const response = await fetch(`${ORIGIN}/api/spots/${serial}/events/`, {
    method: "POST",
    headers,
    body: text,
  });
  assert.equal(response.status, 200);
}

const freshSerial = () => freshId("s");
const itemOf = (page, serial) =>
  page
    .getByTestId("inbox")
    .getByRole("listitem")
    .filter({ hasText: `spot-${serial}` });

test("a device appears by itself, is accepted with another id, name and labels, and is then online", async () => {
  const { page, context, problems } = await open(WIDE, INBOX);
  await page.getByRole("heading", { name: "Inbox" }).waitFor();
  const serial = freshSerial();
  await spotPosts(serial);
  const item = itemOf(page, serial);
  await item.getByText("61-4", { exact: true }).waitFor();
  assert.ok(Number.parseInt(await page.getByTestId("inbox-count").innerText(), 10) >= 1);
  await item.locator("summary").click();
  await item.getByText('"online": true').waitFor();

  await item.getByRole("button", { name: "Accept" }).click();
  const dialog = page.getByRole("dialog", { name: "Accept this device?" });
  assert.equal(await dialog.getByLabel("Id", { exact: true }).inputValue(), `spot-${serial}`);
  assert.equal(await dialog.getByLabel("Name", { exact: true }).inputValue(), `Spot ${serial}`);
  await dialog.getByLabel("Id", { exact: true }).fill(`gate-${serial}`);
  await dialog.getByLabel("Name", { exact: true }).fill("The gate");
  await dialog.getByLabel("Labels").fill("hall=7");
  await dialog.getByRole("button", { name: "Accept" }).click();
  const done = page.getByRole("dialog", { name: "The device is accepted" });
  assert.ok((await done.getByTestId("secret").innerText()).length >= 16);
  await item.waitFor({ state: "detached" });
  await done.getByRole("link", { name: "Open the device" }).click();
  await page.getByRole("heading", { name: "The gate" }).waitFor();
  assert.equal(await page.getByRole("dialog").count(), 0);

  const device = await call(page, "GET", `/devices/gate-${serial}`);
  assert.deepEqual([device.profile, device.labels], ["spot", { hall: "7" }]);
  await spotPosts(serial);
  await page.locator(".presence", { hasText: "online" }).waitFor();
  assert.deepEqual(problems, []);
  await context.close();
});

test("what the server refuses is said in the dialog, and the device waits on", async () => {
  const { page, context, problems } = await open(WIDE, INBOX);
  const serial = freshSerial();
  await call(page, "POST", "/devices", { id: `spot-${serial}` });
  await spotPosts(serial);
  const item = itemOf(page, serial);
  await item.getByRole("button", { name: "Accept" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Accept" }).click();
  await dialog.getByRole("alert").getByText(`spot-${serial}`).waitFor();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.equal(await item.count(), 1);
  // The browser itself reports the one answer 409.
  assert.deepEqual(
    problems.filter((text) => !text.includes("409")),
    [],
  );
  await context.close();
});

test("a device is forgotten by keyboard alone, and the focus is not lost with it", async () => {
  const { page, context, problems } = await open(WIDE, INBOX);
  const serial = freshSerial();
  await spotPosts(serial);
  const item = itemOf(page, serial);
  await item.getByRole("button", { name: "Forget" }).focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Forget this device?" });
  await dialog.waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Cancel");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "detached" });
  await item.waitFor({ state: "detached" });
  await page.waitForFunction(() => document.activeElement !== document.body);
  assert.deepEqual(problems, []);
  await context.close();
});

test("a rule accepts those that wait and those to come, and is removed again", async () => {
  const { page, context, problems } = await open(WIDE, INBOX);
  const run = freshSerial();
  await spotPosts(`${run}-1`);
  await itemOf(page, `${run}-1`).waitFor();
  const rules = page.getByTestId("inbox-rules");
  await rules.getByRole("button", { name: "Add a rule" }).click();
  const dialog = page.getByRole("dialog", { name: "Add a rule" });
  await dialog.getByLabel("Dialect").selectOption("spot");
  await dialog.getByLabel("Name", { exact: true }).fill(`${run}-*`);
  await dialog.getByLabel("Labels").fill("a:b=c");
  await dialog.getByRole("button", { name: "Add the rule" }).click();
  await dialog.getByRole("alert").getByText("a:b").waitFor();
  await dialog.getByRole("button", { name: /a:b/ }).click();
  await dialog.getByLabel("Labels").fill("hall=9");
  await dialog.getByRole("button", { name: "Add the rule" }).click();
  await dialog.waitFor({ state: "detached" });
  const row = rules.locator("tbody tr", { hasText: `${run}-*` });
  await row.getByText("1 of 1000").waitFor();
  await itemOf(page, `${run}-1`).waitFor({ state: "detached" });
  await spotPosts(`${run}-2`);
  for (const serial of [`${run}-1`, `${run}-2`]) {
    const device = await call(page, "GET", `/devices/spot-${serial}`);
    assert.deepEqual(device.labels, { hall: "9" });
  }

  await row.getByRole("button", { name: "Remove" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await row.waitFor({ state: "detached" });
  await spotPosts(`${run}-3`);
  await itemOf(page, `${run}-3`).waitFor();
  assert.deepEqual(
    problems.filter((text) => !text.includes("422")),
    [],
  );
  await context.close();
});

test("rules that somebody else changes at the same moment are left alone, and shown", async () => {
  const { page, context, problems } = await open(WIDE, INBOX);
  const run = freshSerial();
  const rules = page.getByTestId("inbox-rules");
  await rules.getByRole("button", { name: "Add a rule" }).click();
  const before = await call(page, "GET", "/inbox/rules");
  let isFirst = true;
  await page.route("**/api/v1/inbox/rules", async (route) => {
    if (route.request().method() === "PUT" && isFirst) {
      isFirst = false;
      const headers = { ...route.request().headers() };
      delete headers["if-match"];
      await route.fetch({ headers, postData: [...before, { dialect: "spot", name: `${run}-theirs` }] });
    }
    await route.continue();
  });
  const dialog = page.getByRole("dialog", { name: "Add a rule" });
  await dialog.getByLabel("Name", { exact: true }).fill(`${run}-mine`);
  await dialog.getByRole("button", { name: "Add the rule" }).click();
  await dialog.getByRole("alert").getByText("Somebody else changed the rules").waitFor();
  await rules.getByText(`${run}-theirs`).waitFor();
  await dialog.getByRole("button", { name: "Add the rule" }).click();
  await dialog.waitFor({ state: "detached" });
  for (const name of ["theirs", "mine"]) {
    await rules.locator("tbody tr", { hasText: `${run}-${name}` }).waitFor();
  }
  await call(page, "PUT", "/inbox/rules", before);
  // The browser itself reports the answer 412.
  assert.deepEqual(
    problems.filter((text) => !text.includes("412")),
    [],
  );
  await context.close();
});

test("a viewer sees who waits and by which rules, and is offered no change", async () => {
  const serial = freshSerial();
  await spotPosts(serial);
  const { page, context, problems } = await openAs("viewer", WIDE, INBOX);
  await itemOf(page, serial).waitFor();
  await page.getByTestId("inbox-rules").getByRole("heading", { name: "Rules" }).waitFor();
  for (const name of ["Accept", "Forget", "Add a rule", "Remove"]) {
    assert.equal(await page.getByRole("button", { name, exact: true }).count(), 0, name);
  }
  for (const name of ["MQTT", "Access"]) {
    assert.equal(await page.getByRole("navigation").getByRole("link", { name }).count(), 0, name);
  }
  await page.goto(`${ORIGIN}/#/devices`);
  await page.getByRole("heading", { name: "Devices" }).waitFor();
  assert.equal(await page.getByRole("link", { name: /Add a/ }).count(), 0);
  assert.deepEqual(problems, []);
  await context.close();
});

test("an empty inbox says how devices get there", async () => {
  const { page, context, problems } = await open(WIDE);
  for (;;) {
    const { items } = await call(page, "GET", "/inbox?limit=1000");
    if (items.length === 0) break;
    for (const { id } of items) await call(page, "DELETE", `/inbox/${encodeURIComponent(id)}`);
  }
  await page.goto(INBOX);
  await page.getByRole("heading", { name: "No device waits" }).waitFor();
  await page.getByText("Intellifi Spot").waitFor();
  assert.equal(await page.getByTestId("inbox-count").count(), 0);
  assert.deepEqual(problems, []);
  await context.close();
});

test("what a device sends is shown as text, and fits a phone, in light and in dark", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const { page, context, problems } = await open({ ...PHONE, colorScheme }, INBOX);
    const serial = `${freshSerial()}-of-some-length`.slice(0, 32);
    const img = '<img src=x onerror="window.ran=true">';
    await spotPosts(serial, { [img]: img, turned: "safe\u202egnp.exe", long: "x".repeat(600), "{{7*7}}": 1 });
    const item = itemOf(page, serial);
    await item.getByText("U+202E").waitFor();
    await item.locator("summary").click();
    await item.getByRole("button", { name: "Accept" }).click();
    await page.getByRole("dialog").waitFor();
    assert.equal(await overflow(page), 0);
    const box = await page.getByRole("dialog").boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= 390, `${box.x} + ${box.width}`);
    if (process.env.SCREENSHOTS)
      await page.screenshot({ path: `${process.env.SCREENSHOTS}/accept-${colorScheme}.png` });
    await page.keyboard.press("Escape");
    const nav = await page.getByRole("navigation", { name: "Rooms" }).evaluate((node) => {
      return [node.scrollWidth, node.clientWidth, node.lastElementChild.getBoundingClientRect().right];
    });
    assert.ok(nav[0] <= nav[1] && nav[2] <= 390, `the rooms are ${nav} wide`);
    assert.equal(await page.locator("img").count(), 0);
    assert.notEqual(await page.evaluate(() => window.ran), true);
    assert.deepEqual(problems, []);
    await context.close();
  }
});
