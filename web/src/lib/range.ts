// The stretch of time that a chart shows, and how finely it is asked for.

export type Preset = "15m" | "1h" | "6h" | "24h" | "7d" | "30d";
export interface Bounds {
  from: number;
  to: number;
}
export type Range = { preset: Preset } | Bounds;

export const PRESETS: Record<Preset, number> = {
  "15m": 15 * 60_000,
  "1h": 3_600_000,
  "6h": 6 * 3_600_000,
  "24h": 24 * 3_600_000,
  "7d": 7 * 24 * 3_600_000,
  "30d": 30 * 24 * 3_600_000,
};

/** More points than this are not asked for: they would share pixels. */
export const POINTS_SHOWN = 800;
/** Up to this long a range shows each reading, as long as there are not too many of them. */
export const RAW_RANGE_MAX = 3_600_000;
/** As many raw readings are taken before buckets are asked for instead. */
export const RAW_POINTS_MAX = 3_000;

const STEPS_S = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800,
  604_800,
];

/** The bucket width in milliseconds that cuts `length` into at most `POINTS_SHOWN` buckets. */
export function bucketFor(length: number): number {
  const least = length / 1000 / POINTS_SHOWN;
  const step = STEPS_S.find((s) => s >= least) ?? Math.ceil(least / 604_800) * 604_800;
  return step * 1000;
}

/** From and to in milliseconds; a preset ends now. */
export function bounds(range: Range, now: number): { from: number; to: number } {
  return "preset" in range ? { from: now - PRESETS[range.preset], to: now } : range;
}

/** True where new readings belong into the picture as they come. */
export function isLive(range: Range): boolean {
  return "preset" in range;
}

/** Milliseconds as `<input type="datetime-local">` wants them, in the reader's zone. */
export function toLocalInput(ms: number): string {
  const d = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return d.toISOString().slice(0, 19);
}

/** A range from two such inputs, or null where it is none. */
export function fromLocalInputs(from: string, to: string): Range | null {
  const a = new Date(from).getTime();
  const b = new Date(to).getTime();
  return Number.isFinite(a) && Number.isFinite(b) && a < b ? { from: a, to: b } : null;
}

/** The stretch before or after the one shown, half of which is seen again; none reaches beyond now. */
export function moved({ from, to }: Bounds, now: number, direction: "earlier" | "later"): Range {
  const step = (direction === "earlier" ? -0.5 : 0.5) * (to - from);
  const end = Math.min(to + step, Math.max(to, now));
  return { from: end - (to - from), to: end };
}

/** Twice the stretch around the same middle, as far as there is a past for it. */
export function widened({ from, to }: Bounds, now: number): Range {
  const end = Math.min(to + (to - from) / 2, Math.max(to, now));
  return { from: end - 2 * (to - from), to: end };
}

/** A range as it stands in an address. */
export function rangeText(range: Range): string {
  return "preset" in range ? range.preset : `${Math.round(range.from)}-${Math.round(range.to)}`;
}

/** The range of such a text, or null where it says none. */
export function parseRange(text: string): Range | null {
  if (Object.hasOwn(PRESETS, text)) return { preset: text as Preset };
  const [, from, to] = /^(\d{1,15})-(\d{1,15})$/.exec(text) ?? [];
  const range = { from: Number(from), to: Number(to) };
  return range.from < range.to ? range : null;
}
