import { expect, test } from "vitest";
import { browserName } from "./browser";

test("a browser is told by its name and its system", () => {
  const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
  const safari =
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1";
  const edge =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0";
  expect([firefox, safari, edge].map(browserName)).toEqual([
    "Firefox on Linux",
    "Safari on iOS",
    "Edge on Windows",
  ]);
});

test("what is no known browser says itself what it is", () => {
  expect(browserName("curl/8.5.0")).toBe("curl/8.5.0");
  expect(browserName(null)).toBe("Unknown browser");
});
