// Decoders of binary payloads against a running server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { call, freshId, open, openAs, ORIGIN, overflow, PHONE, start, stop, WIDE } from "./browser.mjs";

before(start);
after(stop);

const DOOR = {
  fields: [
    { key: "temperature", type: "i16", scale: 0.01 },
    { key: "open", type: "bool", bits: { from: 0 } },
    { key: "battery", type: "u8", at: -1, missing: [255] },
  ],
};
const COMMANDS = [
  { name: "restart" },
  { name: "level", type: "number", min: 0, max: 100, step: 0.5, unit: "%", param: "percent" },
];
const DECODERS = `${ORIGIN}/#/decoders`;
const benchOf = (id) => `${DECODERS}?profile=${encodeURIComponent(id)}`;

/** A profile with this decoder, and a device that has it. */
async function addDoor(page, more = {}) {
  const profile = freshId("door");
  await call(page, "POST", "/profiles", { id: profile, decoder: DOOR, ...more });
  const made = await call(page, "POST", "/devices", { id: freshId("d"), profile });
  return { profile, device: made.id, token: made.credential.token };
}

/** Bytes as a device sends them; gives the status of the answer. */
async function sendBytes(token, bytes, query = "") {
  const { status } = await fetch(`${ORIGIN}/api/v1/me/telemetry${query}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/octet-stream" },
    body: new Uint8Array(bytes),
  });
  return status;
}

const editorOf = (page) => page.getByRole("textbox", { name: "Decoder" });
const typedOf = (page) => page.getByTestId("typed-frame");
const recordedOf = (page) => page.getByTestId("recorded").getByRole("listitem");
/** What a healthy page reports beside the answers 422, which the browser itself tells of. */
const beside422 = (problems) => problems.filter((text) => !text.includes("422"));

/** The readings that are shown in a place, as `key=value`. */
const readings = (place) =>
  place
    .locator("dl > div")
    .evaluateAll((all) => all.map((one) => [...one.children].map((part) => part.innerText.trim()).join("=")));

async function shows(place, expected) {
  await place.getByText(expected.at(-1).split("=")[1], { exact: true }).waitFor();
  assert.deepEqual(await readings(place), expected);
}

test("a decoder is written while its values are shown, and is then a profile that reads a device's bytes", async () => {
  const { page, context, problems } = await open(WIDE, `${DECODERS}?new=profile`);
  await shows(typedOf(page), ["temperature=21.5", "open=true", "battery=95"]);
  await page.getByLabel("A frame").fill("CGYBXw==");
  await typedOf(page).getByText("Hexadecimal digits").waitFor();
  await page.getByLabel("Written in").selectOption("base64");
  await shows(typedOf(page), ["temperature=21.5", "open=true", "battery=95"]);

  const editor = editorOf(page);
  await editor.fill('{"fields": [{"key": "t", "type": "u7"}]}');
  await page.getByTestId("decoder-note").getByText('fields[0] "t": there is no type "u7"').waitFor();
  assert.equal(await editor.getAttribute("aria-invalid"), "true");
  assert.ok(await page.getByRole("button", { name: "Make the profile" }).isDisabled());
  await editor.fill('{"fields": [');
  await page.getByTestId("decoder-note").getByText("JSON").waitFor();
  await editor.fill('{"fields": [{"key": "t", "type": "u16"}, {"key": "big", "type": "u64"}]}');
  await typedOf(page).getByText("big: needs bytes").waitFor();
  assert.equal(await typedOf(page).locator("mark").count(), 0);
  await page.getByLabel("Written in").selectOption("hex");
  await page.getByLabel("A frame").fill("0001 ffffffffffffffff");
  await shows(typedOf(page), ["t=1", "big=18446744073709551615"]);
  await editor.fill(
    '{"fields": [{"key": "t", "type": "u8", "when": {"port": 7}}, {"key": "u", "type": "u8"}]}',
  );
  await shows(typedOf(page), ["u=0"]);
  await page.getByLabel("Port").fill("7");
  await shows(typedOf(page), ["t=0", "u=1"]);

  const id = freshId("door");
  await editor.fill(JSON.stringify(DOOR));
  await page.getByLabel("Id of the new profile").fill(id);
  await page.getByRole("button", { name: "Make the profile" }).click();
  await page.getByText("No device has this profile yet").waitFor();
  assert.ok(page.url().endsWith(`#/decoders?profile=${id}`));
  assert.deepEqual((await call(page, "GET", `/profiles/${id}`)).decoder, DOOR);
  const made = await call(page, "POST", "/devices", { id: freshId("d"), profile: id });
  assert.equal(await sendBytes(made.credential.token, [8, 102, 1, 255]), 204);
  await recordedOf(page).getByRole("link", { name: made.id }).waitFor();
  await shows(recordedOf(page), ["temperature=21.5", "open=true", "battery=no value"]);
  assert.deepEqual(beside422(problems), []);
  await context.close();
});

test("recorded frames follow each change, what cannot be read says where, and saving keeps the rest of the profile", async () => {
  const { page, context, problems } = await open(WIDE);
  const rest = { name: "Doors", grants: { publish: ["doors/#"] }, commands: COMMANDS };
  const { profile, token } = await addDoor(page, rest);
  assert.equal(await sendBytes(token, [8, 102, 1, 95], "?port=2"), 204);
  assert.equal(await sendBytes(token, [8]), 400);
  await page.goto(benchOf(profile));
  await page.getByText("1 of 2 read").waitFor();
  await recordedOf(page).first().getByText("temperature: needs bytes 0 to 1").waitFor();
  await recordedOf(page).last().getByText("port 2", { exact: true }).waitFor();
  await shows(recordedOf(page).last(), ["temperature=21.5", "open=true", "battery=95"]);

  const editor = editorOf(page);
  await editor.fill('{"fields": [{"key": "first", "type": "u8", "add": 0.5}]}');
  await page.getByText("2 of 2 read").waitFor();
  await shows(recordedOf(page).last(), ["first=8.5"]);
  await editor.fill('{"fields": [{"key": "first", "type": "u8"');
  await page.getByText("read by the text before").waitFor();
  await shows(recordedOf(page).last(), ["first=8.5"]);
  await page.getByRole("button", { name: "Back to what is saved" }).click();
  await page.getByText("1 of 2 read").waitFor();
  assert.equal(await page.getByText("not saved").count(), 0);

  await editor.fill('{"fields": [{"key": "first", "type": "u8"}]}');
  await call(page, "POST", "/profiles", {
    id: profile,
    ...rest,
    decoder: { fields: [{ key: "theirs", type: "u8" }] },
  });
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Somebody else saved another decoder").waitFor();
  await page.getByRole("button", { name: "Replace theirs" }).click();
  await page.getByText("Saved. The next frame is read by it.").waitFor();
  const kept = await call(page, "GET", `/profiles/${profile}`);
  assert.deepEqual([kept.name, kept.grants.publish], ["Doors", ["doors/#"]]);
  assert.deepEqual(kept.commands, COMMANDS);
  assert.deepEqual(kept.decoder, { fields: [{ key: "first", type: "u8" }] });
  assert.equal(await sendBytes(token, [9]), 204);
  await page.getByText("3 of 3 read").waitFor();
  assert.deepEqual(beside422(problems), []);
  await context.close();
});

test("what a profile says beside its decoder is changed, and the decoder stays", async () => {
  const { page, context, problems } = await open(WIDE);
  const { profile } = await addDoor(page, { name: "Doors", commands: COMMANDS });
  await page.goto(benchOf(profile));
  const editor = page.getByRole("textbox", { name: "The rest of the profile" });
  const form = page.getByTestId("profile-rest");
  const said = JSON.parse(await editor.inputValue());
  assert.deepEqual(
    [said.name, said.commands, "decoder" in said, "id" in said],
    ["Doors", COMMANDS, false, false],
  );
  await editor.fill(JSON.stringify({ ...said, decoder: {} }));
  await form.getByRole("alert").getByText('"decoder" is not changed here').waitFor();
  const wrong = { ...said, commands: [{ name: "mode", type: "colour" }] };
  await editor.fill(JSON.stringify(wrong));
  await form.getByRole("button", { name: "Save the rest" }).click();
  await form.getByRole("alert").getByText("commands").waitFor();
  const commands = [...COMMANDS, { name: "mode", options: ["eco", "away"] }];
  await editor.fill(JSON.stringify({ ...said, commands }));
  await form.getByRole("button", { name: "Save the rest" }).click();
  await page.getByText("The profile is saved.").waitFor();
  const kept = await call(page, "GET", `/profiles/${profile}`);
  assert.deepEqual([kept.commands, kept.decoder, kept.name], [commands, DOOR, "Doors"]);
  assert.equal(await form.getByText("not saved").count(), 0);

  await editor.fill(JSON.stringify({ ...said, name: "Mine" }));
  await call(page, "POST", "/profiles", { ...said, id: profile, name: "Theirs", decoder: DOOR });
  await form.getByRole("button", { name: "Save the rest" }).click();
  await form.getByRole("alert").getByText("Somebody else changed the profile").waitFor();
  await form.getByRole("button", { name: "Back to what is saved" }).click();
  assert.equal(JSON.parse(await editor.inputValue()).name, "Theirs");
  assert.deepEqual(beside422(problems), []);
  await context.close();
});

test("whoever has no frame yet is told what to do, by keyboard alone too", async () => {
  const { page, context, problems } = await open(WIDE);
  const profile = freshId("plain");
  await call(page, "POST", "/profiles", { id: profile });
  await page.goto(benchOf(profile));
  await page.getByText("No device has this profile yet").waitFor();
  await page.getByText("devices of this profile send JSON").waitFor();
  await call(page, "POST", "/devices", { id: freshId("d"), profile });
  await page.getByText("Frames are kept once a decoder is saved").waitFor();

  await page.getByRole("button", { name: "Begin with an example" }).focus();
  await page.keyboard.press("Enter");
  await shows(typedOf(page), ["temperature=21.5", "open=true", "battery=95"]);
  await editorOf(page).focus();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Save");
  await page.keyboard.press("Enter");
  await page.getByText("has sent no bytes since the server started").waitFor();
  await page.goto(benchOf("nobody-has-this"));
  await page.getByRole("alert").getByText("nobody-has-this").waitFor();
  assert.deepEqual(problems, []);
  await context.close();
});

test("a viewer tries a decoder and is offered no saving", async () => {
  const owner = await open(WIDE);
  const { profile, token } = await addDoor(owner.page);
  await sendBytes(token, [8, 102, 1, 95]);
  await owner.context.close();
  const { page, context, problems } = await openAs("viewer", WIDE, benchOf(profile));
  await page.getByText("1 of 1 read").waitFor();
  await editorOf(page).fill('{"fields": [{"key": "first", "type": "u8"}]}');
  await shows(recordedOf(page), ["first=8"]);
  await page.getByText("an administrator can save it").waitFor();
  for (const name of ["Save", "Make the profile"])
    assert.equal(await page.getByRole("button", { name }).count(), 0, name);
  assert.deepEqual(problems, []);
  await context.close();
});

test("names and values that bytes say are text, and fit a phone, in light and in dark", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const { page, context, problems } = await open({ ...PHONE, colorScheme });
    const img = '<img src=x onerror="window.ran=true">';
    const { profile, token } = await addDoor(page, {
      name: `${img}\u202egnp.exe`,
      decoder: {
        fields: [
          { key: "n", type: "u8" },
          { key: "a-key-that-is-long-".repeat(5), type: "u8" },
          { key: "said", type: "text" },
        ],
      },
    });
    const text = `${img}\u202e${"x".repeat(190)}`;
    assert.equal(await sendBytes(token, [1, 2, ...Buffer.from(text)]), 204);
    assert.equal(await sendBytes(token, [1]), 400);
    await page.goto(benchOf(profile));
    await page.getByText("1 of 2 read").waitFor();
    await recordedOf(page).last().getByText("\\u{202E}").waitFor();
    const hostile = { fields: [{ key: "a", type: `${img}\u202e${"y".repeat(90)}` }] };
    await editorOf(page).fill(JSON.stringify(hostile));
    await page.getByTestId("decoder-note").getByText("\\u{202E}").waitFor();
    await page.getByLabel("A frame").fill("08".repeat(300));
    await page.getByTestId("typed-frame").getByText("08 08").waitFor();
    assert.equal(await overflow(page), 0);
    if (process.env.SCREENSHOTS)
      await page.screenshot({
        path: `${process.env.SCREENSHOTS}/decoders-${colorScheme}.png`,
        fullPage: true,
      });
    assert.equal(await page.locator("img").count(), 0);
    assert.notEqual(await page.evaluate(() => window.ran), true);
    const nav = await page.getByRole("navigation", { name: "Rooms" }).evaluate((node) => {
      return [node.scrollWidth, node.clientWidth, node.lastElementChild.getBoundingClientRect().right];
    });
    assert.ok(nav[0] <= nav[1] && nav[2] <= 390, `the rooms are ${nav} wide`);
    assert.deepEqual(beside422(problems), []);
    await context.close();
  }
});

test("a draft is there again after the room was left, until it is saved or given up", async () => {
  const { page, context, problems } = await open(WIDE);
  const { profile } = await addDoor(page);
  await page.goto(benchOf(profile));
  const editor = editorOf(page);
  const saved = await editor.inputValue();
  const text = '{"fields": [{"key": "t", "type": "u8"';
  await editor.fill(text);
  await page.getByLabel("A frame").fill("07");
  await page.getByRole("link", { name: "Devices" }).first().click();
  await page.getByRole("heading", { name: "Devices" }).waitFor();
  await page.goto(benchOf(profile));
  await page.getByText("not saved").waitFor();
  assert.equal(await editor.inputValue(), text);
  assert.equal(await page.getByLabel("A frame").inputValue(), "07");
  await page.reload();
  await page.getByText("not saved").waitFor();
  assert.equal(await editor.inputValue(), text);

  const theirs = { fields: [{ key: "theirs", type: "u8" }] };
  await call(page, "POST", "/profiles", { id: profile, decoder: theirs });
  await page.reload();
  await page.getByText("Somebody else saved another decoder").waitFor();
  await page.getByRole("button", { name: "Take theirs" }).click();
  assert.match(await editor.inputValue(), /theirs/);
  await page.reload();
  await page.getByRole("heading", { name: "Frames" }).waitFor();
  assert.match(await editor.inputValue(), /theirs/);
  assert.equal(await page.getByText("not saved").count(), 0);
  assert.ok(!(await editor.inputValue()).includes(saved));

  await page.goto(`${DECODERS}?new=profile`);
  await page.getByLabel("Id of the new profile").fill("half-writ");
  await page.getByRole("link", { name: "Inbox" }).click();
  await page.goto(`${DECODERS}?new=profile`);
  await page.getByText("not saved").waitFor();
  assert.equal(await page.getByLabel("Id of the new profile").inputValue(), "half-writ");
  const id = freshId("door");
  await page.getByLabel("Id of the new profile").fill(id);
  await page.getByRole("button", { name: "Make the profile" }).click();
  await page.getByText("No device has this profile yet").waitFor();
  await page.goto(`${DECODERS}?new=profile`);
  await page.getByLabel("Id of the new profile").waitFor();
  assert.equal(await page.getByLabel("Id of the new profile").inputValue(), "");
  assert.equal(await page.getByText("not saved").count(), 0);
  assert.deepEqual(beside422(problems), []);
  await context.close();
});

test("a profile of one's own is offered where a device is added, changed, and let in by a rule", async () => {
  const { page, context, problems } = await open(WIDE);
  const id = freshId("door");
  await call(page, "POST", "/profiles", { id, name: "Doors <b>", decoder: DOOR });
  await page.goto(benchOf(id));
  await page.getByRole("link", { name: "Add one with it" }).click();
  const profile = page.getByLabel("Profile");
  await page.getByText("read by the profile's decoder").waitFor();
  assert.equal(await profile.inputValue(), id);
  await page.getByLabel("Name", { exact: true }).fill("Front door");
  await page.getByLabel("Id", { exact: true }).fill(`${id}-1`);
  await page.getByRole("button", { name: "Add the device" }).click();
  await page.getByText("Waiting for the first reading").waitFor();
  assert.equal((await call(page, "GET", `/devices/${id}-1`)).profile, id);

  await page.goto(`${ORIGIN}/#/devices/new`);
  assert.equal(await profile.inputValue(), "standard");
  await profile
    .locator('optgroup[label="Your own"] option', { hasText: "Doors <b>" })
    .waitFor({ state: "attached" });
  assert.equal(
    await profile.locator('optgroup[label="Families of devices"] option[value="tasmota"]').count(),
    1,
  );
  await page.goto(`${ORIGIN}/#/devices/${id}-1`);
  await page.getByRole("button", { name: "Edit", exact: true }).click();
  await profile.selectOption("strict");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("profile strict").waitFor();
  assert.equal((await call(page, "GET", `/devices/${id}-1`)).profile, "strict");

  await page.goto(`${ORIGIN}/#/inbox`);
  await page.getByRole("button", { name: "Add a rule" }).click();
  const rule = page.getByRole("dialog");
  await rule.locator(`option[value="${id}"]`).waitFor({ state: "attached" });
  assert.deepEqual(problems, []);
  await context.close();
});
