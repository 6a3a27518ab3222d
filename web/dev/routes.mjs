// What the mock answers to a call with a session.

import { randomBytes } from "node:crypto";
import { duration, id, latest, makeDevice, merge, note, now, series, state, step, tell } from "./world.mjs";

export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
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

function find(deviceId) {
  const device = state.devices.get(deviceId);
  if (!device) throw new Refusal(404, `There is no device ${deviceId}.`);
  return device;
}

function takeWaiting(waitingId, wanted) {
  const at = state.inbox.findIndex((one) => one.id === waitingId);
  if (at < 0) throw new Refusal(404, `Nothing of the id "${waitingId}" waits in the inbox.`);
  const [waiting] = state.inbox.slice(at);
  if (state.devices.has(wanted ?? waiting.proposed.id))
    throw new Refusal(409, "There is a device of this id already; choose another.");
  state.inbox.splice(at, 1);
  return waiting;
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
export const routes = [
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
  ["GET", "/inbox", (_, query) => ({ ...page(state.inbox, query), total: state.inbox.length })],
  [
    "POST",
    "/inbox/{}/accept",
    ([i], _, body) => {
      const waiting = takeWaiting(i, body.id);
      const { id: proposedId, name, labels } = waiting.proposed;
      const device = makeDevice({ id: proposedId, name, labels, profile: waiting.dialect, ...body });
      return [201, { ...device, credential: credential(device) }];
    },
  ],
  ["DELETE", "/inbox/{}", ([i]) => void takeWaiting(i)],
  ["GET", "/inbox/rules", () => state.rules],
  [
    "PUT",
    "/inbox/rules",
    (_, __, body) => (state.rules = body.map((rule) => ({ name: "*", limit: 1000, accepted: 0, ...rule }))),
  ],
  [
    "GET",
    "/me/sessions",
    () => ({
      items: [
        {
          id: "s1",
          current: true,
          created_at: now(),
          expires_at: now(),
          address: "127.0.0.1",
          browser: null,
        },
      ],
      next: null,
    }),
  ],
  ["GET", "/sessions", (_, query) => page([], query)],
  ["GET", "/retained", (_, query) => page([], query)],
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
