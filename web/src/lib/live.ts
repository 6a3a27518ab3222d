// The live feed: server-sent events, gathered and handed on a few times a second.

import { get, ROOT } from "./api";
import { parse } from "./json";
import type { Command, LogItem, Value } from "./types";

export interface Events {
  telemetry: { device: string; ts: number; values: Record<string, Value> };
  presence: { device: string; online: boolean; ts: number };
  command: Command;
  twin: { device: string; version: number };
  event: { device: string; name?: string };
  log: LogItem & { device: string };
  /** The feed was lost and is back: what happened in between has to be fetched. */
  resumed: undefined;
  status: "connecting" | "live" | "lost";
}

export type Kind = Exclude<keyof Events, "resumed" | "status">;
type Listener = (data: never) => void;

/** Events wait at most this long, so that a busy device costs ten updates of the page a second, not a thousand. */
const GATHER_MS = 100;
/** What a page in the background holds back at most; the oldest goes first, and the page refetches on return. */
const HELD_MAX = 20_000;
const RETRY_MS_MAX = 30_000;

export class Feed {
  #listeners = new Map<keyof Events, Set<Listener>>();
  #source: EventSource | undefined;
  #held: [Kind, unknown][] = [];
  #gather: ReturnType<typeof setTimeout> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #wasLive = false;
  #address: string;
  #kinds: Kind[];

  /** Opens the feed of these devices; an empty list means all devices of the tenant. */
  constructor(devices: string[], kinds: Kind[]) {
    const query = new URLSearchParams();
    if (devices.length > 0) query.set("devices", devices.join(","));
    query.set("kinds", kinds.join(","));
    this.#address = `${ROOT}/live?${query}`;
    this.#kinds = kinds;
    this.#open();
  }

  /** Calls `listener` for every event of this kind; returns how to stop that. */
  on<K extends keyof Events>(kind: K, listener: (data: Events[K]) => void): () => void {
    const all = this.#listeners.get(kind) ?? new Set<Listener>();
    this.#listeners.set(kind, all.add(listener as Listener));
    return () => all.delete(listener as Listener);
  }

  close(): void {
    this.#source?.close();
    this.#source = undefined;
    this.#listeners.clear();
    clearTimeout(this.#gather);
    clearTimeout(this.#retry);
  }

  #open(): void {
    const source = new EventSource(this.#address);
    this.#source = source;
    source.onopen = () => {
      this.#failures = 0;
      this.#tell("status", "live");
      if (this.#wasLive) this.#tell("resumed", undefined);
      this.#wasLive = true;
    };
    // A browser reconnects by itself after a broken line, but gives up for good on any answer that is not 200.
    source.onerror = () => {
      this.#tell("status", "lost");
      if (source.readyState !== EventSource.CLOSED) return;
      this.#failures += 1;
      // Why it was refused is not told here; a call that is refused likewise shows the sign-in where that is needed.
      get("/server").catch(() => undefined);
      const wait = Math.min(1000 * 2 ** (this.#failures - 1), RETRY_MS_MAX);
      this.#retry = setTimeout(() => this.#open(), wait);
    };
    for (const kind of this.#kinds) {
      source.addEventListener(kind, (event: MessageEvent<string>) => this.#hold(kind, event.data));
    }
  }

  #hold(kind: Kind, text: string): void {
    let data: unknown;
    try {
      data = parse(text);
    } catch {
      return; // cut off in the middle by a lost connection: the refetch after `resumed` brings it
    }
    if (this.#held.length >= HELD_MAX) this.#held.shift();
    this.#held.push([kind, data]);
    this.#gather ??= setTimeout(() => this.#flush(), GATHER_MS);
  }

  #flush(): void {
    this.#gather = undefined;
    const held = this.#held;
    this.#held = [];
    for (const [kind, data] of held) this.#tell(kind, data as never);
  }

  #tell<K extends keyof Events>(kind: K, data: Events[K]): void {
    for (const listener of this.#listeners.get(kind) ?? []) listener(data as never);
  }
}
