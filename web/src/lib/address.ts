// Where devices reach the server, as the reader of this page would reach it.

import type { ServerInfo } from "./types";

export interface Addresses {
  /** `http://host:port`, without a slash at the end. */
  http: string;
  /** Null where no MQTT door is open. */
  mqtt: { host: string; port: number; tls: boolean } | null;
}

interface Place {
  protocol: string;
  hostname: string;
  origin: string;
}

const isEverywhere = (host: string): boolean => /^(0\.0\.0\.0|::|\*|localhost|127\..*|::1)?$/.test(host);

/** `0.0.0.0:1883`, `[::]:1883` or `mqtt.example.org:1883` in two parts; an address of all interfaces has no host. */
export function parseDoor(door: string | undefined): { host: string; port: number } | null {
  const found = /^(?:[a-z]+:\/\/)?(?:\[([^\]]*)\]|([^:/]*)):(\d{1,5})$/.exec(door ?? "");
  if (!found) return null;
  const host = found[1] ?? found[2] ?? "";
  return { host: isEverywhere(host) ? "" : host, port: Number(found[3]) };
}

/** The addresses for snippets: the page's own for HTTP, the announced ports for MQTT. */
export function addresses(info: ServerInfo | null, place: Place): Addresses {
  // An IPv6 address stands in brackets in a URL, but not on a command line.
  const hostname = place.hostname.replace(/^\[|\]$/g, "");
  const secure = place.protocol === "https:";
  const doors = info?.doors;
  const open = (name: string): { host: string; port: number } | null => parseDoor(doors?.[name]);
  const tls = secure && open("mqtts") !== null;
  const door =
    doors === undefined ? { host: "", port: 1883 } : tls ? open("mqtts") : (open("mqtt") ?? open("mqtts"));
  const mqtt = door && {
    host: door.host || hostname,
    port: door.port,
    tls: tls || (doors !== undefined && !open("mqtt")),
  };
  return { http: place.origin, mqtt };
}
