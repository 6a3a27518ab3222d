// Fetching what a chart shows: raw readings where they are few, buckets where they are many.

import { telemetry } from "./api";
import { bucketFor, RAW_POINTS_MAX, RAW_RANGE_MAX } from "./range";
import { isNumeric } from "./series";
import type { Point, Value } from "./types";

export interface History {
  points: Point[];
  /** Smallest and largest value of each bucket; empty for raw points. */
  min: Point[];
  max: Point[];
  /** The width of a bucket in milliseconds; undefined for raw points. */
  every: number | undefined;
}

export interface HistoryQuery {
  id: string;
  key: string;
  from: number;
  to: number;
  /** The last value of the key, which tells numbers from states. */
  sample: Value | undefined;
}

/** Loads one key between two times. */
export async function loadHistory(query: HistoryQuery, signal: AbortSignal): Promise<History> {
  const { id, key, from, to } = query;
  const length = to - from;
  if (length <= RAW_RANGE_MAX) {
    const raw = await telemetry(id, { key, from, to, limit: RAW_POINTS_MAX }, signal);
    if (raw.next === null || raw.next === undefined)
      return { points: raw.points, min: [], max: [], every: undefined };
  }
  const every = bucketFor(length);
  // Buckets are aligned to 1970; the first one is asked for whole, or it would be cut and look too small.
  const bucketed = { key, from: Math.floor(from / every) * every, to, every };
  if (query.sample !== undefined && !isNumeric(query.sample)) {
    const last = await telemetry(id, { ...bucketed, agg: "last" }, signal);
    return { points: last.points, min: [], max: [], every };
  }
  const [mean, min, max] = await Promise.all([
    telemetry(id, { ...bucketed, agg: "mean" }, signal),
    telemetry(id, { ...bucketed, agg: "min" }, signal),
    telemetry(id, { ...bucketed, agg: "max" }, signal),
  ]);
  return { points: mean.points, min: min.points, max: max.points, every };
}
