// The room for the tenant's people, and everybody's own account.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  call,
  freshId,
  open,
  openAs,
  ORIGIN,
  overflow,
  PHONE,
  signIn,
  start,
  stop,
  WIDE,
} from "./browser.mjs";

before(start);
after(stop);

const USERS = `${ORIGIN}/#/users`;
const rowOf = (page, text) => page.getByTestId("users").locator("tbody tr", { hasText: text });

test("somebody is let in with a made password, signs in with it, and gets another role and name", async () => {
  const { page, context, problems } = await open(WIDE, USERS);
  const email = `${freshId("grace")}@example.org`;
  await page.getByRole("button", { name: "Add a user" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("E-mail").fill(email);
  await dialog.getByLabel("Name").fill("Grace");
  await dialog.getByLabel("First password").fill("short");
  await dialog.getByRole("button", { name: "Make one" }).click();
  const password = await dialog.getByLabel("First password").inputValue();
  assert.match(password, /^([a-z2-9]{4}-){3}[a-z2-9]{4}$/);
  await dialog.getByRole("button", { name: "Add the user" }).click();
  const handOver = page.getByTestId("hand-over");
  await handOver.getByText(password).waitFor();
  await handOver.getByText(email).waitFor();
  await handOver.getByRole("button", { name: "Done" }).click();
  assert.equal(await page.getByText(password).count(), 0);
  await rowOf(page, email).getByText("viewer", { exact: true }).waitFor();

  const theirs = await open({ ...WIDE, storageState: undefined });
  await signIn(theirs.page, email, password);
  await theirs.context.close();

  await rowOf(page, email).getByRole("button", { name: "Change Grace" }).click();
  await dialog.getByLabel("Role").selectOption("admin");
  await dialog.getByLabel("Name").fill("Grace H.");
  await dialog.getByRole("button", { name: "Save" }).click();
  await rowOf(page, "Grace H.").getByText("admin", { exact: true }).waitFor();
  assert.deepEqual(problems, []);
  await context.close();
});

test("who is given a new password or shut out is signed out, and who is removed is gone", async () => {
  const { page, context, problems } = await open(WIDE, USERS);
  const them = await openAs("operator", WIDE);
  const { page: theirs } = them;
  const mine = rowOf(page, them.email);
  await page.reload();
  await mine.getByRole("button", { name: /New password/ }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Set it" }).click();
  const password = await page.getByTestId("hand-over").getByTestId("secret").nth(2).innerText();
  await theirs.getByRole("link", { name: "Inbox" }).click();
  await theirs.getByText("Your session has ended").waitFor();
  await signIn(theirs, them.email, password, "Inbox");

  await mine.getByRole("button", { name: /Change/ }).click();
  await dialog.getByLabel("Shut out").check();
  await dialog.getByRole("button", { name: "Save" }).click();
  await mine.getByText("shut out").waitFor();
  await theirs.getByRole("link", { name: "Devices" }).click();
  await theirs.getByRole("heading", { name: "Sign in" }).waitFor();

  await mine.getByRole("button", { name: /Remove/ }).click();
  await dialog.getByRole("button", { name: "Remove" }).click();
  await mine.waitFor({ state: "detached" });
  assert.deepEqual(problems, []);
  await context.close();
  await them.context.close();
});

test("the last owner stays, and the server's words say why", async () => {
  const { page, context, problems } = await open(WIDE, USERS);
  const row = page.getByTestId("users").locator("tbody tr", { has: page.getByText("you", { exact: true }) });
  const dialog = page.getByRole("dialog");
  await row.getByRole("button", { name: /Remove/ }).click();
  await dialog.getByText("This is you").waitFor();
  await dialog.getByRole("button", { name: "Remove" }).click();
  await dialog.getByRole("alert").getByText("at least one owner").waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await row.getByRole("button", { name: /Change/ }).click();
  await dialog.getByLabel("Role").selectOption("viewer");
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.getByRole("alert").getByText("at least one owner").waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await row.getByText("owner", { exact: true }).waitFor();
  // The browser itself reports the answers 409.
  assert.deepEqual(
    problems.filter((text) => !text.includes("409")),
    [],
  );
  await context.close();
});

test("a viewer changes their own name and password, stays signed in, and is offered no change of others", async () => {
  const { page, context, problems, email } = await openAs("viewer", WIDE);
  assert.equal(await page.getByRole("navigation").getByRole("link", { name: "Access" }).count(), 0);
  await page.getByRole("link", { name: /your account/ }).click();
  await page.getByLabel("Your name").fill("Vera");
  await page.getByRole("button", { name: "Save the name" }).click();
  await page.getByRole("link", { name: "Vera, your account" }).waitFor();
  const elsewhere = await open({ ...WIDE, storageState: undefined });
  await signIn(elsewhere.page, email, "a password for tests 7");
  await page.getByLabel("Current password").fill("not the one it is");
  await page.getByLabel("New password").fill("another password 8");
  await page.getByRole("button", { name: "Change the password" }).click();
  await page.getByRole("alert").getByText("current_password").waitFor();
  await page.getByLabel("Current password").fill("a password for tests 7");
  await page.getByRole("button", { name: "Change the password" }).click();
  await page.getByText("The password is changed").waitFor();
  await elsewhere.page.getByRole("link", { name: "Inbox" }).click();
  await elsewhere.page.getByText("Your session has ended").waitFor();
  await elsewhere.context.close();
  await page.getByRole("link", { name: "Devices" }).first().click();
  await page.getByRole("heading", { name: "Devices" }).waitFor();
  // The browser itself reports the answer 403 to the wrong password.
  assert.deepEqual(
    problems.filter((text) => !text.includes("403")),
    [],
  );

  await page.goto(USERS);
  await page.getByRole("alert").waitFor();
  for (const name of ["Add a user", "Change", "Password", "Remove"])
    assert.equal(await page.getByRole("button", { name }).count(), 0, name);
  await page.getByRole("button", { name: "Sign out" }).first().click();
  await signIn(page, email, "another password 8");
  await context.close();
});

test("one sees where one is signed in, and signs out there", async () => {
  const { page, context, problems, email } = await openAs("viewer", WIDE);
  const elsewhere = await open({ ...WIDE, storageState: undefined, userAgent: "Lynx/2.9" });
  await signIn(elsewhere.page, email, "a password for tests 7");
  await page.getByRole("link", { name: /your account/ }).click();
  const places = page.getByTestId("web-sessions").locator("tbody tr");
  await places.filter({ hasText: "here" }).getByText("Chrome on Linux").waitFor();
  const other = places.filter({ hasText: "Lynx/2.9" });
  await other.getByRole("button", { name: "Sign out of Lynx/2.9" }).click();
  await other.waitFor({ state: "detached" });
  await elsewhere.page.getByRole("link", { name: "Inbox" }).click();
  await elsewhere.page.getByText("Your session has ended").waitFor();
  await elsewhere.context.close();
  assert.deepEqual(problems, []);
  await context.close();
});

test("the rooms of people and tokens fit a phone, with hostile names as text, light and dark", async () => {
  const img = '<img src=x onerror="window.ran=true">';
  for (const colorScheme of ["light", "dark"]) {
    const { page, context, problems } = await open({ ...PHONE, colorScheme });
    const email = `${freshId("a.rather.long.name.that.has.to.be.broken.somewhere")}@example.org`;
    const { password } = { password: "a password for tests 7" };
    await call(page, "POST", "/users", { email, password, role: "viewer", name: `${img}safe\u202egnp.exe` });
    await page.goto(USERS);
    await rowOf(page, email).getByText("U+202E").waitFor();
    assert.equal(await overflow(page), 0);
    await rowOf(page, email)
      .getByRole("button", { name: /Change/ })
      .click();
    await page.getByRole("dialog").waitFor();
    assert.equal(await overflow(page), 0);
    await page.keyboard.press("Escape");
    await page.getByRole("link", { name: "API tokens" }).first().click();
    await page.getByRole("heading", { name: "API tokens" }).waitFor();
    assert.equal(await overflow(page), 0);
    await page.getByRole("link", { name: /your account/ }).click();
    await page.getByRole("heading", { name: "Your account" }).waitFor();
    assert.equal(await overflow(page), 0);
    assert.equal(await page.locator("img").count(), 0);
    assert.notEqual(await page.evaluate(() => window.ran), true);
    assert.deepEqual(problems, []);
    await context.close();
  }
});
