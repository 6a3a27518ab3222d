import { expect, test } from "vitest";
import { lastHeard } from "./heard";
import type { Device } from "./types";

const device = (last_seen: string | null): Device => ({
  id: "d",
  name: null,
  profile: "standard",
  labels: {},
  online: true,
  last_seen,
});

test.each([
  [null, [], null],
  ["1970-01-01T00:00:00.500Z", [], 500],
  ["1970-01-01T00:00:00.500Z", [700, 300], 700],
  ["1970-01-01T00:00:00.500Z", [300], 500],
  [null, [300], 300],
  ["1970-01-01T00:00:00.500Z", [5000], 500],
])("seen at %s with readings of %o is heard of at %s", (seen, times, expected) => {
  const latest = Object.fromEntries(times.map((ts) => [`k${ts}`, { ts, value: 1 }]));
  expect(lastHeard(device(seen), latest, 1000)).toBe(expected);
});
