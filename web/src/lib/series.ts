// Points of a key, made ready for a chart. Pure: arrays in, arrays out.

import type { Point, Value } from "./types";

/** A stretch of time in which a text or boolean key kept its value. */
export interface Span {
  from: number;
  to: number;
  value: string | boolean;
}

/** A numeric line; null is a gap. */
export type Line = [ts: number, value: number | null][];

export interface Statistics {
  min: number;
  max: number;
  mean: number;
  last: number;
  count: number;
}

/** What a live chart keeps of one key at most. */
export const POINTS_MAX = 20_000;

/**
 * Puts new points among those that are there. The result is ordered by time with one point per time;
 * where both have one, the new one stays.
 */
export function mergePoints(points: Point[], added: Point[]): Point[] {
  if (added.length === 0) return points;
  const sorted = isOrdered(added) ? added : [...added].sort((a, b) => a[0] - b[0]);
  const last = points.at(-1);
  const first = sorted[0];
  // The common case, live readings that come in order, is a plain append.
  const all =
    last === undefined || (first !== undefined && first[0] > last[0])
      ? points.concat(sorted)
      : points.concat(sorted).sort((a, b) => a[0] - b[0]);
  const unique = all.filter((point, i) => point[0] !== all[i + 1]?.[0]);
  return unique.length > POINTS_MAX ? unique.slice(-POINTS_MAX) : unique;
}

function isOrdered(points: Point[]): boolean {
  return points.every((point, i) => i === 0 || point[0] > (points[i - 1]?.[0] ?? -Infinity));
}

/** Drops the points before `from`. */
export function trimBefore(points: Point[], from: number): Point[] {
  const keep = points.findIndex((point) => point[0] >= from);
  return keep === 0 ? points : keep === -1 ? [] : points.slice(keep);
}

/**
 * Tells numbers from states: a key that changed its type has both, and each is drawn in its own way.
 * A null, or a value of the other type, is a gap in the line and the end of a state.
 */
export function splitByType(points: Point[]): { line: Line; states: Point[] } {
  const line: Line = [];
  const states: Point[] = [];
  for (const [ts, value] of points) {
    if (typeof value === "number" || typeof value === "bigint") {
      line.push([ts, Number(value)]);
      if (states.length > 0 && states.at(-1)?.[1] !== null) states.push([ts, null]);
    } else {
      if (value !== null || states.length > 0) states.push([ts, value]);
      if (line.length > 0 && line.at(-1)?.[1] !== null) line.push([ts, null]);
    }
  }
  return { line, states };
}

/** The widest silence that is still drawn as a line, guessed from how often the key usually reports. */
export function usualGap(line: Line, every: number | undefined): number {
  const steps: number[] = [];
  for (let i = 1; i < line.length; i += 1) steps.push((line[i]?.[0] ?? 0) - (line[i - 1]?.[0] ?? 0));
  steps.sort((a, b) => a - b);
  const usual = steps[Math.floor(steps.length * 0.75)] ?? 60_000;
  return Math.max(usual * 4, (every ?? 0) * 2.5, 5000);
}

/** Breaks the line with a null wherever nothing came for longer than `gap` milliseconds. */
export function withGaps(line: Line, gap: number): Line {
  const out: Line = [];
  for (const point of line) {
    const before = out.at(-1);
    if (before && before[1] !== null && point[1] !== null && point[0] - before[0] > gap) {
      out.push([before[0] + 1, null]);
    }
    out.push(point);
  }
  return out;
}

/** Columns over one common axis; undefined where a line has no point at that time, null where it has a gap. */
export function align(lines: Line[]): { ts: number[]; columns: (number | null | undefined)[][] } {
  const ts = [...new Set(lines.flatMap((line) => line.map((point) => point[0])))].sort((a, b) => a - b);
  const columns = lines.map((line) => {
    const at = new Map(line);
    return ts.map((time) => at.get(time));
  });
  return { ts, columns };
}

/** Stretches of equal value between `from` and `until`; a null ends one, the last one is open to `until`. */
export function spans(states: Point[], from: number, until: number): Span[] {
  const out: Span[] = [];
  let open: Span | undefined;
  for (const [ts, value] of states) {
    if (ts >= until) break;
    if (open?.value === value) continue;
    if (open) open.to = ts;
    open = undefined;
    if (typeof value !== "string" && typeof value !== "boolean") continue;
    open = { from: ts, to: until, value };
    out.push(open);
  }
  return out.filter((span) => span.to > from).map((span) => ({ ...span, from: Math.max(from, span.from) }));
}

export function statistics(line: Line): Statistics | null {
  let min = Infinity;
  let max = -Infinity;
  let sum = 0;
  let count = 0;
  let last = NaN;
  for (const [, value] of line) {
    if (value === null || !Number.isFinite(value)) continue;
    min = Math.min(min, value);
    max = Math.max(max, value);
    sum += value;
    count += 1;
    last = value;
  }
  return count === 0 ? null : { min, max, mean: sum / count, last, count };
}

/** An SVG path over a box of `width` by `height` for a small line without axes. */
export function sparkPath(line: Line, width: number, height: number): string {
  const known = statistics(line);
  const first = line[0];
  const last = line.at(-1);
  if (!known || !first || !last || last[0] === first[0]) return "";
  const reach = known.max - known.min || 1;
  const middle = known.max === known.min ? 0.5 : 0;
  let pen = "M";
  let path = "";
  for (const [ts, value] of line) {
    if (value === null) {
      pen = "M";
      continue;
    }
    const x = ((ts - first[0]) / (last[0] - first[0])) * width;
    const y = height - ((value - known.min) / reach + middle) * height;
    path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  }
  return path;
}

/** True for a value that is drawn as a line. */
export function isNumeric(value: Value | undefined): boolean {
  return typeof value === "number" || typeof value === "bigint";
}
