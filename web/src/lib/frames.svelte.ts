// The frames that devices of a profile sent last, looked for again and again.

import { devicePath, explain, get } from "./api";
import { toMs } from "./format";
import type { Device, Frame, Page, RecordedFrame } from "./types";

const REFRESH_MS = 5_000;
const DEVICES_MAX = 8;
const FRAMES_MAX = 32;
const PAGE = 1_000;
const PAGES_MAX = 10;

/** The frames of the devices of a profile that were heard of last. */
export class RecordedFrames {
  list = $state.raw<RecordedFrame[]>([]);
  /** How many devices have the profile; null before they were looked for. */
  devices = $state<number | null>(null);
  error = $state("");
  #profile: string;
  #last: Device[] = [];
  #pages = 0;

  constructor(profile: string) {
    this.#profile = profile;
  }

  /** Looks now and from time to time, until what it gives is called. */
  start(): () => void {
    this.look();
    const timer = setInterval(() => {
      if (!document.hidden) this.look();
    }, REFRESH_MS);
    return () => clearInterval(timer);
  }

  async look(): Promise<void> {
    try {
      // Of very many devices, the ones that were heard of last are chosen once.
      if (this.#pages <= 1) await this.#choose();
      const frames = await Promise.all(this.#last.map(({ id }) => framesOf(id)));
      this.list = frames
        .flat()
        .sort((a, b) => (toMs(b.at) ?? 0) - (toMs(a.at) ?? 0))
        .slice(0, FRAMES_MAX);
      this.error = "";
    } catch (thrown) {
      this.error = explain(thrown);
    }
  }

  async #choose(): Promise<void> {
    const found: Device[] = [];
    let cursor: string | null = "";
    for (this.#pages = 0; cursor !== null && this.#pages < PAGES_MAX; this.#pages += 1) {
      const page: Page<Device> = await get<Page<Device>>("/devices", { limit: PAGE, cursor });
      found.push(...page.items.filter((device) => device.profile === this.#profile));
      cursor = page.next;
    }
    found.sort((a, b) => (toMs(b.last_seen) ?? 0) - (toMs(a.last_seen) ?? 0));
    this.#last = found.slice(0, DEVICES_MAX);
    this.devices = found.length;
  }
}

async function framesOf(device: string): Promise<RecordedFrame[]> {
  const { items } = await get<{ items: (Frame & { at: string })[] }>(devicePath(device, "frames"));
  return items.map((frame) => ({ ...frame, device }));
}
