// When a device was heard of.

import { toMs } from "./format";
import type { Device, Latest } from "./types";

/**
 * When the device was last heard of, in milliseconds: what the server keeps of that, which it writes down from time to
 * time, or the newest of its readings. A reading of the future has a clock that is ahead, and says nothing.
 */
export function lastHeard(device: Device, latest: Record<string, Latest>, now: number): number | null {
  const times = Object.values(latest).map(({ ts }) => ts);
  const kept = toMs(device.last_seen);
  const known = [...times.filter((ts) => ts <= now), ...(kept === null ? [] : [kept])];
  return known.length === 0 ? null : Math.max(...known);
}
