// Calls to the HTTP API of the server that served this page.

import { parse, pretty } from "./json";
import type { Point } from "./types";

export const ROOT = "/api/v1";

/** An RFC 9457 problem document, or what stands for it when the server could not be reached (status 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    detail: string,
    readonly type = "about:blank",
  ) {
    super(detail || title);
  }
}

export interface CallOptions {
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  ifMatch?: string;
  signal?: AbortSignal;
  /** A media type; JSON without it. */
  accept?: string;
}

let offset = 0;
let onUnauthorized: () => void = () => {};

/** What to do when the session has ended. */
export function whenUnauthorized(action: () => void): void {
  onUnauthorized = action;
}

/** The server's time in milliseconds since 1970, as far as its `Date` header tells it. */
export function serverNow(): number {
  return Date.now() + offset;
}

// `Date` has a resolution of one second; only a clock that is really wrong is corrected.
function learnTime(response: Response): void {
  const date = Date.parse(response.headers.get("date") ?? "");
  if (Number.isNaN(date)) return;
  const difference = date + 500 - Date.now();
  offset = Math.abs(difference) > 3000 ? difference : 0;
}

async function problem(response: Response): Promise<Problem> {
  const fallback = response.statusText || `Status ${response.status}`;
  try {
    const body = (await response.json()) as { title?: string; detail?: string; type?: string };
    return new Problem(response.status, body.title ?? fallback, body.detail ?? "", body.type);
  } catch {
    return new Problem(response.status, fallback, "");
  }
}

// `crypto.randomUUID` is missing on plain HTTP, which is how a server at home is reached.
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join(
    "",
  );
}

async function send(method: string, path: string, options: CallOptions): Promise<Response> {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined && value !== "") query.set(key, String(value));
  }
  const headers: Record<string, string> = { Accept: options.accept ?? "application/json" };
  if (method !== "GET") headers["Content-Type"] = "application/json";
  if (method === "POST") headers["Idempotency-Key"] = randomKey();
  if (options.ifMatch) headers["If-Match"] = `"${options.ifMatch.replaceAll('"', "")}"`;
  const init: RequestInit = { method, headers, credentials: "same-origin" };
  if (options.body !== undefined) init.body = pretty(options.body, 0);
  if (options.signal) init.signal = options.signal;
  const text = query.toString();
  try {
    return await fetch(ROOT + path + (text ? `?${text}` : ""), init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(
      0,
      "No answer",
      "The server does not answer. Check that it runs and that you are connected.",
    );
  }
}

async function answer(method: string, path: string, options: CallOptions): Promise<Response> {
  const response = await send(method, path, options);
  learnTime(response);
  if (!response.ok) {
    const refused = await problem(response);
    if (refused.status === 401 && !path.startsWith("/session") && !path.startsWith("/setup"))
      onUnauthorized();
    throw refused;
  }
  return response;
}

async function call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
  const text = await (await answer(method, path, options)).text();
  return (text === "" ? undefined : parse(text)) as T;
}

export const get = <T>(path: string, query: CallOptions["query"] = {}, signal?: AbortSignal): Promise<T> =>
  call<T>("GET", path, signal ? { query, signal } : { query });
/** The same with the tag by which a change can name what it changes. */
export async function getTagged<T>(path: string): Promise<{ body: T; etag: string }> {
  const response = await answer("GET", path, {});
  return { body: parse(await response.text()) as T, etag: response.headers.get("etag") ?? "" };
}
/** The same as a file of this media type. */
export const getFile = async (path: string, query: CallOptions["query"], accept: string): Promise<Blob> =>
  (await answer("GET", path, { query: query ?? {}, accept })).blob();
export const post = <T>(path: string, body: unknown = {}): Promise<T> => call<T>("POST", path, { body });
export const put = <T>(path: string, body: unknown, ifMatch: string): Promise<T> =>
  call<T>("PUT", path, { body, ifMatch });
export const patch = <T>(path: string, body: unknown, ifMatch?: string): Promise<T> =>
  call<T>("PATCH", path, ifMatch === undefined ? { body } : { body, ifMatch });
export const remove = <T = void>(path: string, query: CallOptions["query"] = {}): Promise<T> =>
  call<T>("DELETE", path, { query });

/** The path of a device, or of something below it. */
export function devicePath(id: string, ...below: string[]): string {
  return ["/devices", id, ...below].map((part, i) => (i === 0 ? part : encodeURIComponent(part))).join("/");
}

export interface TelemetryQuery {
  key: string;
  from: number;
  to: number;
  /** The width of a bucket in milliseconds; raw points without it. */
  every?: number | undefined;
  agg?: "mean" | "min" | "max" | "last" | undefined;
  limit?: number;
}

/** One page of a key's points, oldest first; `next` says whether there are more. */
export function telemetry(id: string, query: TelemetryQuery, signal?: AbortSignal) {
  return get<{ key: string; points: Point[]; next: string | null }>(
    devicePath(id, "telemetry"),
    {
      key: query.key,
      from: Math.floor(query.from),
      to: Math.ceil(query.to),
      every: query.every === undefined ? undefined : `${Math.round(query.every / 1000)}s`,
      agg: query.every === undefined ? undefined : query.agg,
      limit: query.limit,
    },
    signal,
  );
}

/** Text for a person about anything that was thrown. */
export function explain(error: unknown): string {
  return error instanceof Error && error.message ? error.message : "Something went wrong.";
}

export function isAborted(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}
