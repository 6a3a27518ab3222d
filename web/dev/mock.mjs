// A stand-in for the server: the API that the dashboard uses, in memory, with devices that move.
// `npm run mock`, then `npm run dev`; also serves dist/ with the real content security policy.
// PORT=8080, SETUP=TOKEN (no owner yet), EMPTY=1 (no devices). Not a definition of anything: interface.md is.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { fill, simulate } from "./simulated.mjs";

const DIST = new URL("../dist/", import.meta.url);
const TYPES = { html: "text/html", js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
const CSP =
  "default-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

const id = () => randomBytes(6).toString("hex");
const now = () => new Date().toISOString();
const state = {
  setup: process.env.SETUP ?? null,
  owner: { id: "u1", name: "Ada", email: "ada@example.org", password: "correct horse", role: "owner" },
  sessions: new Set(),
  devices: new Map(),
  tokens: [],
  feeds: new Set(),
};

class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

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

const latest = (device) =>
  Object.fromEntries(
    [...device.history].map(([key, points]) => [key, { ts: points.at(-1)[0], value: points.at(-1)[1] }]),
  );

function sessionBody() {
  const { id: user, name, role } = state.owner;
  return {
    user: { id: user, name, role },
    tenant: { id: "default", name: "default" },
    operator: true,
    acks: "synced",
  };
}

function credential(device, kind = "token") {
  const made = {
    id: `c_${id()}`,
    kind,
    created_at: now(),
    token: `rd_${randomBytes(16).toString("base64url")}`,
  };
  device.credentials.push(made);
  return made;
}

function page(items, query, most = 100) {
  const start = Number(query.get("cursor") || 0);
  const end = start + Number(query.get("limit") || most);
  return { items: items.slice(start, end), next: end < items.length ? String(end) : null };
}

const MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const duration = (text) => (/^\d+$/.test(text) ? text * 1000 : parseInt(text) * MS[text.at(-1)]);

const AGG = {
  mean: (v) => v.reduce((a, b) => a + b, 0) / v.length,
  min: (v) => Math.min(...v),
  max: (v) => Math.max(...v),
  last: (v) => v.at(-1),
};

function series(device, query) {
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

function merge(target, patch) {
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete target[key];
    else if (typeof value === "object" && !Array.isArray(value))
      target[key] = merge({ ...target[key] }, value);
    else target[key] = value;
  }
  return target;
}

function find(deviceId) {
  const device = state.devices.get(deviceId);
  if (!device) throw new Refusal(404, `There is no device ${deviceId}.`);
  return device;
}

function listDevices(query) {
  const q = (query.get("q") ?? "").toLowerCase();
  const [labelKey, labelValue] = (query.get("label") ?? "").split("=");
  const items = [...state.devices.values()]
    .filter((d) => `${d.id} ${d.name} ${JSON.stringify(d.labels)}`.toLowerCase().includes(q))
    .filter((d) => !labelKey || (labelKey in d.labels && (!labelValue || d.labels[labelKey] === labelValue)))
    .filter((d) => !query.get("online") || String(d.online) === query.get("online"))
    .sort((a, b) => a.id.localeCompare(b.id))
    .map((d) => (query.get("latest") ? { ...d, latest: latest(d) } : d));
  return page(items, query);
}

// Each route: method, path with {} for one part, what it does with (parts, query, body, request).
const routes = [
  [
    "GET",
    "/server",
    () => ({
      version: "0.1.0",
      acks: "synced",
      started_at: now(),
      doors: { http: "0.0.0.0:8080", mqtt: "0.0.0.0:1883" },
    }),
  ],
  ["GET", "/devices", (_, query) => listDevices(query)],
  [
    "POST",
    "/devices",
    (_, __, body) => {
      if (body.id && state.devices.has(body.id))
        throw new Refusal(409, `There is a device ${body.id} already; choose another id.`);
      const device = makeDevice(body);
      return [201, { ...device, credential: credential(device) }];
    },
  ],
  ["GET", "/devices/{}", ([d]) => find(d)],
  ["PATCH", "/devices/{}", ([d], _, body) => Object.assign(find(d), body)],
  ["DELETE", "/devices/{}", ([d]) => void state.devices.delete(find(d).id)],
  ["GET", "/devices/{}/telemetry/latest", ([d]) => latest(find(d))],
  ["GET", "/devices/{}/telemetry", ([d], query) => series(find(d), query)],
  ["GET", "/devices/{}/twin", ([d]) => find(d).twin],
  [
    "PATCH",
    "/devices/{}/twin",
    ([d], _, body, request) => {
      const device = find(d);
      const wanted = request.headers["if-match"]?.replaceAll('"', "");
      if (wanted && Number(wanted) !== device.twin.version)
        throw new Refusal(412, `The twin is at version ${device.twin.version}.`);
      const { reported, desired, version } = device.twin;
      device.twin = { reported, desired: merge({ ...desired }, body.desired), version: version + 1 };
      tell("twin", { device: device.id, version: version + 1 });
      note(device, "twin", `desired changed to version ${version + 1}`, "http");
      return device.twin;
    },
  ],
  ["GET", "/devices/{}/commands", ([d], query) => page([...find(d).commands].reverse(), query)],
  [
    "POST",
    "/devices/{}/commands",
    ([d], _, body) => {
      const device = find(d);
      const expires = body.expires_in
        ? new Date(Date.now() + duration(String(body.expires_in))).toISOString()
        : null;
      const command = {
        id: id(),
        device: device.id,
        name: body.name,
        params: body.params ?? {},
        state: "queued",
        created_at: now(),
        expires_at: expires,
      };
      device.commands.push(command);
      step(device, command, {});
      return [202, command];
    },
  ],
  [
    "DELETE",
    "/devices/{}/commands/{}",
    ([d, c]) => {
      const command = find(d).commands.find((one) => one.id === c);
      if (command?.state !== "queued") throw new Refusal(409, "Only a queued command can be cancelled.");
      step(find(d), command, { state: "cancelled", finished_at: now() });
      return command;
    },
  ],
  [
    "GET",
    "/devices/{}/credentials",
    ([d]) => ({ items: find(d).credentials.map(({ token: _, ...rest }) => rest), next: null }),
  ],
  ["POST", "/devices/{}/credentials", ([d], _, body) => [201, credential(find(d), body.kind)]],
  [
    "DELETE",
    "/devices/{}/credentials/{}",
    ([d, c]) => {
      const list = find(d).credentials;
      list.splice(
        list.findIndex((one) => one.id === c),
        1,
      );
    },
  ],
  ["GET", "/devices/{}/log", ([d], query) => page(find(d).log, query)],
  [
    "GET",
    "/tokens",
    (_, query) =>
      page(
        state.tokens.map(({ token: _secret, ...rest }) => rest),
        query,
      ),
  ],
  [
    "POST",
    "/tokens",
    (_, __, body) => {
      const expires = body.expires_in ? new Date(Date.now() + duration(body.expires_in)).toISOString() : null;
      const made = {
        id: `t_${id()}`,
        name: body.name,
        role: body.role,
        created_at: now(),
        expires_at: expires,
        token: `rt_${id()}${id()}`,
      };
      state.tokens.push(made);
      return [201, made];
    },
  ],
  [
    "DELETE",
    "/tokens/{}",
    ([t]) =>
      void state.tokens.splice(
        state.tokens.findIndex((one) => one.id === t),
        1,
      ),
  ],
];

function fromBasic(request) {
  const [scheme, text = ""] = (request.headers.authorization ?? "").split(" ");
  const token = scheme === "Basic" ? Buffer.from(text, "base64").toString().split(":")[1] : text;
  return [...state.devices.values()].find((d) => d.credentials.some((c) => c.token === token));
}

function open(request, response, path, body) {
  const cookie = (token) => ({ "Set-Cookie": `roost=${token}; HttpOnly; SameSite=Strict; Path=/` });
  const begin = (status) => {
    const token = id();
    state.sessions.add(token);
    return [status, sessionBody(), cookie(token)];
  };
  if (path === "/setup" && request.method === "GET") return [200, { needed: state.setup !== null }];
  if (path === "/setup") {
    if (state.setup === null) throw new Refusal(409, "This server has an owner already.");
    if (body.token !== state.setup)
      throw new Refusal(403, "This set-up link is not valid. Take the one that the server printed last.");
    Object.assign(state.owner, { email: body.email, password: body.password, name: body.name || body.email });
    state.setup = null;
    return begin(201);
  }
  if (path === "/session" && request.method === "POST") {
    if (body.email !== state.owner.email || body.password !== state.owner.password) {
      throw new Refusal(401, "E-mail and password do not match.");
    }
    return begin(200);
  }
  if (path === "/session" && request.method === "DELETE") return [204, undefined, cookie("gone; Max-Age=0")];
  if (path === "/me/telemetry") {
    const device = fromBasic(request);
    if (!device) throw new Refusal(401, "Show a device token.");
    record(device, Date.now(), body);
    note(device, "telemetry", Object.keys(body).join(", "), "http");
    return [204];
  }
  return null;
}

function isSignedIn(request) {
  const token = /roost=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];
  return state.sessions.has(token);
}

function live(request, response, query) {
  const list = (name) => new Set((query.get(name) ?? "").split(",").filter(Boolean));
  const feed = { response, devices: list("devices"), kinds: list("kinds") };
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  response.write(": open\n\n");
  state.feeds.add(feed);
  request.on("close", () => state.feeds.delete(feed));
}

async function api(request, response, url) {
  const path = url.pathname.replace("/api/v1", "");
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks)) : {};
  const answer = open(request, response, path, body);
  if (answer) return answer;
  if (!isSignedIn(request)) throw new Refusal(401, "Sign in first.");
  if (path === "/session") return [200, sessionBody()];
  for (const [method, pattern, act] of routes) {
    const found = new RegExp(`^${pattern.replaceAll("{}", "([^/]+)")}$`).exec(path);
    if (!found || method !== request.method) continue;
    const result = act(found.slice(1).map(decodeURIComponent), url.searchParams, body, request);
    return Array.isArray(result) ? result : [result === undefined ? 204 : 200, result];
  }
  throw new Refusal(404, `There is nothing at ${path}.`);
}

async function file(response, path) {
  const name =
    path === "/openapi.json"
      ? "../dev/openapi.sample.json"
      : path.includes(".")
        ? path.slice(1)
        : "index.html";
  const type = TYPES[name.split(".").at(-1)] ?? "application/json";
  try {
    const bytes = await readFile(new URL(name, DIST));
    response.writeHead(200, { "Content-Type": type, "Content-Security-Policy": CSP });
    response.end(bytes);
  } catch {
    response.writeHead(404).end();
  }
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://mock");
  if (!url.pathname.startsWith("/api/v1/")) return file(response, url.pathname);
  if (url.pathname === "/api/v1/live" && isSignedIn(request))
    return live(request, response, url.searchParams);
  try {
    const [status, body, headers] = await api(request, response, url);
    response.writeHead(status, { "Content-Type": "application/json", ...headers });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  } catch (error) {
    const status = error.status ?? 500;
    response.writeHead(status, { "Content-Type": "application/problem+json" });
    response.end(JSON.stringify({ type: "about:blank", title: "Refused", status, detail: error.message }));
  }
});

server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => {
  console.log(`mock ready http=127.0.0.1:${server.address().port}`);
  if (!process.env.EMPTY) fill();
  simulate([...state.devices.values()], () => [...state.devices.values()]);
});
