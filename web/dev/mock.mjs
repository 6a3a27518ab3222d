// A stand-in for the server: the API that the dashboard uses, in memory, with devices that move.
// `npm run mock`, then `npm run dev`; also serves dist/ with the real content security policy.
// PORT=8080, SETUP=TOKEN (no owner yet), EMPTY=1 (no devices). Not a definition of anything: interface.md is.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { fill, simulate } from "./simulated.mjs";
import { id, note, now, record, state, step } from "./world.mjs";
import { Refusal, routes } from "./routes.mjs";

const DIST = new URL("../dist/", import.meta.url);
const TYPES = { html: "text/html", js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
const CSP =
  "default-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

function sessionBody() {
  const { id: user, name, role } = state.owner;
  return {
    user: { id: user, name, role },
    tenant: { id: "default", name: "default" },
    operator: true,
    acks: "synced",
  };
}

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
  if (path.startsWith("/me/commands")) {
    const device = fromBasic(request);
    if (!device) throw new Refusal(401, "Show a device token.");
    const answered = device.commands.find((one) => path === `/me/commands/${one.id}/result`);
    if (answered) {
      const outcome = body.ok
        ? { state: "succeeded", result: body.result }
        : { state: "failed", error: body.error };
      step(device, answered, { ...outcome, finished_at: now() });
      return [204];
    }
    const waiting = device.commands.filter((one) => one.state === "queued");
    for (const command of waiting) step(device, command, { state: "sent", sent_at: now() });
    return [200, { items: waiting }];
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
  const isForeign = request.headers.origin !== `http://${request.headers.host}`;
  if (request.method !== "GET" && (isForeign || request.headers["content-type"] !== "application/json")) {
    throw new Refusal(403, "A change by cookie comes from this origin and says that it is JSON.");
  }
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
