// Numbers, times and values as text. Everything from a device is text for a text node, never markup.

import { pretty } from "./json";
import type { Value } from "./types";

const TEXT_MAX = 400;
const TICK_LENGTH_MAX = 8;

/** A number of bytes: `17 B`, `4.2 KiB`, `1.5 MiB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const [size, unit] = bytes < 1024 ** 2 ? [bytes / 1024, "KiB"] : [bytes / 1024 ** 2, "MiB"];
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${unit}`;
}

/** How many decimals tell values apart that reach from `min` to `max`; of one value, all that it has. */
export function decimalsFor(min: number, max: number): number {
  const reach = max - min;
  if (reach <= 0) return 6;
  return Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(reach))));
}

/** A number with as many digits as a sensor means: up to 6 significant ones, at most `most` decimals, integers in full. */
export function formatNumber(value: number, most = 6): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return group(String(value));
  if (size >= 1e12 || size < 1e-4)
    return value
      .toExponential(3)
      .replace("e+", "e")
      .replace(/\.?0+e/, "e");
  const decimals = Math.max(0, Math.min(most, 5 - Math.floor(Math.log10(size))));
  const text = value.toFixed(decimals);
  return group(text.includes(".") ? text.replace(/\.?0+$/, "") : text);
}

/** A number beside an axis whose marks are `step` apart, short enough to stand there. */
export function formatTick(value: number, step: number): string {
  const text = formatNumber(value);
  if (text.length <= TICK_LENGTH_MAX || value === 0 || !(step > 0)) return text;
  const digits = Math.ceil(Math.log10(Math.abs(value) / step));
  return value
    .toExponential(Math.max(0, Math.min(6, digits)))
    .replace("e+", "e")
    .replace(/(\.\d*?)0+e/, "$1e")
    .replace(".e", "e");
}

// A thin space every three digits from five digits on: readable, and the same in every language.
function group(text: string): string {
  const [whole = "", fraction] = text.split(".");
  const digits = whole.replace("-", "");
  const grouped = digits.length > 4 ? whole.replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f") : whole;
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

/** Any telemetry value as short text. */
export function formatValue(value: Value | undefined): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return formatNumber(value);
  if (typeof value === "bigint") return group(value.toString());
  if (typeof value === "boolean") return value ? "true" : "false";
  return value === "" ? "(empty)" : shorten(value, TEXT_MAX);
}

/** Cuts by code points, so that no character is cut in half. */
export function shorten(text: string, length: number): string {
  if (text.length <= length) return text;
  return Array.from(text.slice(0, length * 2))
    .slice(0, length - 1)
    .join("")
    .concat("…");
}

/** JSON as one line for a table cell. */
export function formatJson(value: unknown, length = 200): string {
  return shorten(pretty(value, 0) || "–", length);
}

/** Milliseconds since 1970 of what the API calls a time: RFC 3339 text or integer milliseconds. */
export function toMs(time: string | number | null | undefined): number | null {
  if (time === null || time === undefined) return null;
  const ms = typeof time === "number" ? time : Date.parse(time);
  return Number.isFinite(ms) ? ms : null;
}

const UNITS: [unit: string, ms: number][] = [
  ["y", 31_557_600_000],
  ["mo", 2_629_800_000],
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1000],
];

/** `12 s ago`, `now`, `in 5 min`; small steps into the future are the clocks' doing and count as now. */
export function formatAgo(time: number | null, now: number): string {
  if (time === null) return "never";
  const past = now - time;
  const size = Math.abs(past);
  if (past < 1000 && past > -5000) return "now";
  for (const [unit, ms] of UNITS) {
    if (size < ms) continue;
    const text = `${Math.floor(size / ms)} ${unit}`;
    return past > 0 ? `${text} ago` : `in ${text}`;
  }
  return "now";
}

/** A length of time: `340 ms`, `1.2 s`, `5 min 3 s`, `2 h 5 min`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0).replace(/\.0$/, "")} s`;
  const [big, small, bigUnit, smallUnit]: [number, number, string, string] =
    ms < 3_600_000
      ? [60_000, 1000, "min", "s"]
      : ms < 86_400_000
        ? [3_600_000, 60_000, "h", "min"]
        : [86_400_000, 3_600_000, "d", "h"];
  const rest = Math.floor((ms % big) / small);
  return `${Math.floor(ms / big)} ${bigUnit}${rest ? ` ${rest} ${smallUnit}` : ""}`;
}

const two = (n: number): string => String(n).padStart(2, "0");

/** `14:03:09` in the reader's zone. */
export function formatClock(ms: number, withMs = false): string {
  const d = new Date(ms);
  const text = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  return withMs ? `${text}.${String(d.getMilliseconds()).padStart(3, "0")}` : text;
}

/** `2026-11-21` in the reader's zone. */
export function formatDay(ms: number): string {
  const d = new Date(ms);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
}

/** `2026-11-21 14:03:09` in the reader's zone. */
export function formatTime(ms: number | null, withMs = false): string {
  return ms === null || !Number.isFinite(ms) ? "–" : `${formatDay(ms)} ${formatClock(ms, withMs)}`;
}

/** Only the clock for today, else with the day. */
export function formatMoment(ms: number | null, now: number): string {
  if (ms === null) return "–";
  return formatDay(ms) === formatDay(now) ? formatClock(ms) : formatTime(ms);
}

// What joins two pictures to one, as in a family, is seen: as that one picture.
const JOINED =
  /(?<=\p{Extended_Pictographic}[\u{FE0F}\u{1F3FB}-\u{1F3FF}]?)\u200D(?=\p{Extended_Pictographic})/gu;
const JOINED_OR_HIDDEN = new RegExp(`${JOINED.source}|([\\p{Cf}\\p{Zl}\\p{Zp}])`, "gu");

/** True where a name holds marks that a reader cannot see or that turn the direction of writing (J-14). */
export function hasHiddenMarks(text: string): boolean {
  return /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text.replace(JOINED, ""));
}

/** The code points of the hidden marks, such as `U+202E`. */
export function hiddenMarks(text: string): string {
  const found = new Set(text.replace(JOINED, "").match(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu) ?? []);
  return [...found]
    .map((c) => `U+${(c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`)
    .join(" ");
}

/** The same text with its hidden marks written out, so that they cannot turn or hide what stands beside them. */
export function writtenOut(text: string): string {
  return text.replace(JOINED_OR_HIDDEN, (found, mark?: string) =>
    mark === undefined
      ? found
      : `\\u{${(mark.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}}`,
  );
}

/** An id made from a name: letters, digits and dashes. */
export function slug(name: string): string {
  return name
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 48);
}
