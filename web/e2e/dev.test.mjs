// `npm run dev` in front of a real server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createServer } from "vite";
import { freshId } from "./browser.mjs";

test("who works on the dashboard signs in through Vite at a real server", async () => {
  const root = new URL("..", import.meta.url).pathname;
  const vite = await createServer({ root, logLevel: "error", server: { port: 0, host: "127.0.0.1" } });
  try {
    await vite.listen();
    const origin = `http://127.0.0.1:${vite.httpServer.address().port}`;
    const response = await fetch(`${origin}/api/v1/session`, {
      method: "POST",
      headers: { Origin: origin, "Content-Type": "application/json" },
      body: JSON.stringify({ email: `${freshId("nobody")}@example.org`, password: "not the password" }),
    });
    // 403 would say that the page is somebody else's; this password is simply wrong.
    assert.equal(response.status, 401, await response.text());
  } finally {
    await vite.close();
  }
});
