// What the mock knows: devices, readings, feeds, all in memory.

import { randomBytes } from "node:crypto";

export const id = () => randomBytes(6).toString("hex");
export const now = () => new Date().toISOString();
export const state = {
  setup: process.env.SETUP ?? null,
  owner: { id: "u1", name: "Ada", email: "ada@example.org", password: "correct horse", role: "owner" },
  sessions: new Set(),
  devices: new Map(),
  tokens: [],
  inbox: [],
  rules: [],
  feeds: new Set(),
};

export function tell(kind, data) {
  for (const feed of state.feeds) {
    if (feed.devices.size > 0 && !feed.devices.has(data.device)) continue;
    if (feed.kinds.has(kind)) feed.response.write(`event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`);
  }
}

export function note(device, kind, detail, protocol = "mqtt") {
  const item = { at: now(), kind, detail, protocol };
  device.log.unshift(item);
  device.log.length = Math.min(device.log.length, 200);
  tell("log", { device: device.id, ...item });
}

export function makeDevice({ id: wanted, name = null, profile = "standard", labels = {} }) {
  const device = { id: wanted ?? id(), name, profile, labels, online: false, last_seen: null, links: [] };
  Object.defineProperties(device, {
    history: { value: new Map() },
    commands: { value: [] },
    log: { value: [] },
    credentials: { value: [] },
    twin: { value: { reported: {}, desired: {}, version: 0 }, writable: true },
  });
  state.devices.set(device.id, device);
  return device;
}

export function record(device, ts, values) {
  for (const [key, value] of Object.entries(values)) {
    const points = device.history.get(key) ?? [];
    device.history.set(key, points);
    points.push([ts, value]);
  }
  device.last_seen = new Date(ts).toISOString();
  tell("telemetry", { device: device.id, ts, values });
}

export function setOnline(device, online) {
  device.online = online;
  device.last_seen = now();
  tell("presence", { device: device.id, online, ts: Date.now() });
  note(
    device,
    online ? "connected" : "disconnected",
    online ? "MQTT 5.0, clean start" : "keep alive expired",
  );
}

export function step(device, command, change) {
  Object.assign(command, change);
  tell("command", command);
  note(device, "command", `${command.name}: ${command.state}`);
}

export const latest = (device) =>
  Object.fromEntries(
    [...device.history].map(([key, points]) => [key, { ts: points.at(-1)[0], value: points.at(-1)[1] }]),
  );

const MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
export const duration = (text) => (/^\d+$/.test(text) ? text * 1000 : parseInt(text) * MS[text.at(-1)]);

const AGG = {
  mean: (v) => v.reduce((a, b) => a + b, 0) / v.length,
  min: (v) => Math.min(...v),
  max: (v) => Math.max(...v),
  last: (v) => v.at(-1),
};

export function series(device, query) {
  const key = query.get("key");
  const from = Number(query.get("from") ?? Date.now() - 864e5);
  const to = Number(query.get("to") ?? Date.now());
  let points = (device.history.get(key) ?? []).filter(([ts]) => ts >= from && ts < to);
  if (query.get("every")) {
    const every = duration(query.get("every"));
    const agg = query.get("agg") ?? "mean";
    const buckets = new Map();
    for (const [ts, value] of points) {
      if (agg !== "last" && typeof value !== "number") continue;
      const start = Math.floor(ts / every) * every;
      buckets.set(start, [...(buckets.get(start) ?? []), value]);
    }
    points = [...buckets].map(([ts, values]) => [ts, AGG[agg](values)]);
  }
  const limit = Number(query.get("limit") || 10_000);
  return {
    key,
    points: points.slice(0, limit),
    next: points.length > limit ? String(points[limit][0]) : null,
  };
}

export function merge(target, patch) {
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete target[key];
    else if (typeof value === "object" && !Array.isArray(value))
      target[key] = merge({ ...target[key] }, value);
    else target[key] = value;
  }
  return target;
}
