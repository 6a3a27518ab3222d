// Rooms by the fragment of the address: `#/devices/ID?query`.

/** The rooms whose address is their name. */
type Plain = (typeof PLAIN)[number];
const PLAIN = ["login", "inbox", "users", "tokens", "account", "api"] as const;

/** The rooms whose address carries what was looked for. */
type List = "devices" | "sessions" | "retained" | "decoders";

export type Route =
  | { room: Plain | "home" | "lost" }
  | { room: "new-device"; profile: string }
  | { room: "setup"; token: string }
  | { room: List; query: URLSearchParams }
  | { room: "session"; id: string }
  | { room: "device"; id: string; query: URLSearchParams };

/** Reads the fragment; one that names no room is `lost`. */
export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split(/\?(.*)/s, 2);
  const raw = path.replace(/\/$/, "").split("/");
  let parts: string[];
  try {
    parts = raw.map(decodeURIComponent);
  } catch {
    return { room: "lost" };
  }
  const [first = "", second] = parts;
  if (parts.length > 2) return { room: "lost" };
  if (first === "setup") return { room: "setup", token: second ?? "" };
  if (
    (first === "devices" || first === "sessions" || first === "retained" || first === "decoders") &&
    second === undefined
  )
    return { room: first, query: new URLSearchParams(query) };
  // Compared before decoding: a device may be called `new`, see `deviceHref`.
  if (first === "devices" && raw[1] === "new") {
    return { room: "new-device", profile: new URLSearchParams(query).get("profile") ?? "" };
  }
  if (first === "devices" && second !== undefined)
    return { room: "device", id: second, query: new URLSearchParams(query) };
  if (first === "sessions" && second !== undefined) return { room: "session", id: second };
  if (second !== undefined) return { room: "lost" };
  if (first === "") return { room: "home" };
  const room = PLAIN.find((name) => name === first);
  return { room: room ?? "lost" };
}

/** The address of a device's page, where certain keys are on the chart over a certain range. */
export function deviceHref(id: string, shown: { keys?: string[]; range?: string } = {}): string {
  const query = new URLSearchParams((shown.keys ?? []).map((key) => ["key", key]));
  if (shown.range) query.set("range", shown.range);
  const text = query.toString();
  return `#/devices/${id === "new" ? "%6Eew" : encodeURIComponent(id)}${text && `?${text}`}`;
}

/** The address where a device with this profile is added. */
export function newDeviceHref(profile: string): string {
  return `#/devices/new?${new URLSearchParams({ profile })}`;
}

/** The address of an MQTT session's page. */
export function sessionHref(clientId: string): string {
  return `#/sessions/${encodeURIComponent(clientId)}`;
}

/** The address of a list with a search. */
export function listHref(list: List, query: Record<string, string>): string {
  const filled = Object.entries(query).filter(([, value]) => value !== "");
  const text = new URLSearchParams(filled).toString();
  return text ? `#/${list}?${text}` : `#/${list}`;
}

/** The address of the list of devices with a search. */
export const devicesHref = (query: Record<string, string>): string => listHref("devices", query);

class Router {
  route = $state.raw<Route>(parseRoute(location.hash));

  constructor() {
    addEventListener("hashchange", () => this.#read());
  }

  #read(): void {
    this.route = parseRoute(location.hash);
  }

  go(hash: string): void {
    location.hash = hash;
  }

  /** Like `go`, but the back button skips what was there: a used set-up token, a half-typed search. */
  replace(hash: string): void {
    history.replaceState(null, "", hash);
    this.#read();
  }
}

export const router = typeof location === "undefined" ? undefined! : new Router();
