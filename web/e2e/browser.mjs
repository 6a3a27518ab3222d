// What the browser tests share: a browser, the owner's session, and a page that notices what goes wrong.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

/** The server under test. */
export const ORIGIN = (process.env.ROOST_URL ?? "http://127.0.0.1:8080").replace(/\/$/, "");
/** The link that a server without an owner printed; without it, ROOST_EMAIL and ROOST_PASSWORD sign in. */
const SETUP_LINK = process.env.ROOST_SETUP_LINK;
const OWNER = {
  name: "Ada",
  email: process.env.ROOST_EMAIL ?? "ada@example.org",
  password: process.env.ROOST_PASSWORD ?? "a password for tests 7",
};
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const WIDE = { viewport: { width: 1280, height: 900 } };
export const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

let browser;
let signedIn;

/** Whether the set-up link is still good: the first file of tests makes the owner, the others sign in. */
async function needsOwner() {
  const response = await fetch(`${ORIGIN}/api/v1/setup`);
  return SETUP_LINK !== undefined && (await response.json()).needed;
}

/** Starts the browser and signs in: as a new owner by the set-up link, or by e-mail and password. */
export async function start() {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: FLAGS,
  });
  const isNew = await needsOwner();
  const { page, context, problems } = await open(WIDE, isNew ? SETUP_LINK : `${ORIGIN}/`);
  if (isNew) await page.getByLabel("Your name").fill(OWNER.name);
  await page.getByLabel("E-mail").fill(OWNER.email);
  await page.getByLabel("Password").fill(OWNER.password);
  await page.locator("button[type=submit]").click();
  await page.getByRole("heading", { name: isNew ? "Add a device" : "Devices" }).waitFor();
  assert.ok(!page.url().includes("setup"), "the used set-up token stays in the address");
  signedIn = await context.storageState();
  assert.deepEqual(problems, []);
  await context.close();
}

export async function stop() {
  await browser?.close();
}

/** A page of its own, signed in as somebody of this role who is made for it. */
export async function openAs(role, options, address = `${ORIGIN}/`) {
  const owner = await open(options);
  const email = `${freshId(role)}@example.org`;
  const { password } = OWNER;
  await call(owner.page, "POST", "/users", { email, password, role, name: role });
  await owner.context.close();
  const opened = await open({ ...options, storageState: undefined }, `${ORIGIN}/`);
  await signIn(opened.page, email, password);
  await opened.page.goto(address);
  return { ...opened, email };
}

/** Signs in at the page's form, and waits for the room that the page's address names. */
export async function signIn(page, email, password, room = "Devices") {
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.locator("button[type=submit]").click();
  await page.getByRole("heading", { name: room, exact: true }).waitFor();
}

/** A page of its own, signed in once `start` is through; `problems` gathers whatever a healthy page does not do. */
export async function open(options, address = `${ORIGIN}/`) {
  const context = await browser.newContext({ ...(signedIn ? { storageState: signedIn } : {}), ...options });
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()))
      problems.push(`${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => problems.push(String(error.stack ?? error)));
  page.on("dialog", (dialog) => {
    problems.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.goto(address);
  return { page, context, problems };
}

/** A call to the API with the page's own session, as the page makes it. */
export async function call(page, method, path, body) {
  const answer = await page.evaluate(
    async ([verb, address, data]) => {
      const response = await fetch(`/api/v1${address}`, {
        method: verb,
        headers: { "Content-Type": "application/json" },
        ...(data === undefined ? {} : { body: JSON.stringify(data) }),
      });
      const text = await response.text();
      return { status: response.status, body: text ? JSON.parse(text) : null };
    },
    [method, path, body],
  );
  assert.ok(
    answer.status < 300,
    `${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`,
  );
  return answer.body;
}

/** A call as a device makes it, outside the browser. */
export async function asDevice(token, method, path, body) {
  const response = await fetch(`${ORIGIN}/api/v1${path}`, {
    method,
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  assert.ok(response.ok, `${method} ${path} answered ${response.status}: ${await response.clone().text()}`);
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

/** By how many pixels the page is wider than its window. */
export function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

/** An id that no earlier run has used. */
export function freshId(name) {
  return `${name}-${Date.now().toString(36)}${Math.floor(Math.random() * 1296).toString(36)}`;
}
