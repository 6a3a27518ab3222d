import { expect, test } from "vitest";
import { deviceHref, devicesHref, listHref, newDeviceHref, parseRoute, sessionHref } from "./router.svelte";

test.each([
  ["", "home"],
  ["#", "home"],
  ["#/", "home"],
  ["#/login", "login"],
  ["#/tokens/", "tokens"],
  ["#/api", "api"],
  ["#/users", "users"],
  ["#/account", "account"],
  ["#/users/x", "lost"],
  ["#/inbox", "inbox"],
  ["#/inbox/x", "lost"],
  ["#/devices/new", "new-device"],
  ["#/sessions", "sessions"],
  ["#/retained?filter=a%2F%23", "retained"],
  ["#/retained/x", "lost"],
  ["#/decoders?profile=door", "decoders"],
  ["#/decoders/x", "lost"],
  ["#/nowhere", "lost"],
  ["#/tokens/x", "lost"],
  ["#/devices/a/b", "lost"],
  ["#/devices/%E0%A4%A", "lost"],
])("%s leads to %s", (hash, room) => expect(parseRoute(hash).room).toBe(room));

test("the set-up link carries its token", () => {
  expect(parseRoute("#/setup/abc-123")).toEqual({ room: "setup", token: "abc-123" });
  expect(parseRoute("#/setup")).toEqual({ room: "setup", token: "" });
});

test("the list carries its search", () => {
  const route = parseRoute(devicesHref({ q: "a&b=?", label: "room=kitchen", online: "" }));
  expect(route.room === "devices" && Object.fromEntries(route.query)).toEqual({
    q: "a&b=?",
    label: "room=kitchen",
  });
  expect(devicesHref({ q: "" })).toBe("#/devices");
});

test.each(["plain", "new", "a.b:c", "a/b", "100%", "ü <x>", "?q"])(
  "the page of the device %s has an address",
  (id) => expect(parseRoute(deviceHref(id))).toMatchObject({ room: "device", id }),
);

test.each(["plain", "a/b", "100%", "ü <x>", "?q", "$x#"])("the page of the session %s has an address", (id) =>
  expect(parseRoute(sessionHref(id))).toEqual({ room: "session", id }),
);

test("the retained messages carry their filter", () => {
  const route = parseRoute(listHref("retained", { filter: "home/+/#" }));
  expect(route.room === "retained" && route.query.get("filter")).toBe("home/+/#");
});

test("the room for a new device carries the profile that is wanted", () => {
  expect(parseRoute(newDeviceHref("a b&c"))).toEqual({ room: "new-device", profile: "a b&c" });
  expect(parseRoute("#/devices/new")).toEqual({ room: "new-device", profile: "" });
});

test("the page of a device carries what is on its chart", () => {
  const route = parseRoute(deviceHref("a/b", { keys: ["temp", "x&y=1,2"], range: "24h" }));
  expect(route.room === "device" && [route.id, route.query.getAll("key"), route.query.get("range")]).toEqual([
    "a/b",
    ["temp", "x&y=1,2"],
    "24h",
  ]);
});
