// JSON merge patches (RFC 7396) and the comparison of reported with desired state.

import type { Json } from "./types";

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function isSame(a: unknown, b: unknown): boolean {
  if (isObject(a) && isObject(b)) {
    const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
    return [...keys].every((key) => key in a && key in b && isSame(a[key], b[key]));
  }
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((x, i) => isSame(x, b[i]));
  return a === b;
}

/** The merge patch that turns `before` into `after`; a key that is gone becomes null. */
export function mergePatch(before: Json, after: Json): Json {
  const patch: Json = {};
  for (const key of Object.keys(before)) if (!(key in after)) patch[key] = null;
  for (const [key, value] of Object.entries(after)) {
    const old = before[key];
    if (key in before && isSame(old, value)) continue;
    patch[key] = isObject(old) && isObject(value) ? mergePatch(old, value) : value;
  }
  return patch;
}

/** What `patch` makes of `target`. */
export function applyPatch(target: Json, patch: Json): Json {
  const out: Json = { ...target };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete out[key];
    else if (isObject(value)) {
      const old = out[key];
      out[key] = applyPatch(isObject(old) ? old : {}, value);
    } else out[key] = value;
  }
  return out;
}

export interface TwinRow {
  /** The path of the field, levels joined by dots. */
  path: string;
  reported: unknown;
  desired: unknown;
  /** `same`: as wanted; `pending`: wanted and not reported so; `free`: reported, nothing wanted. */
  state: "same" | "pending" | "free";
}

function flatten(value: Json, prefix: string, out: Map<string, unknown>): Map<string, unknown> {
  for (const [key, part] of Object.entries(value)) {
    const path = prefix ? `${prefix}.${key}` : key;
    if (isObject(part) && Object.keys(part).length > 0) flatten(part, path, out);
    else out.set(path, part);
  }
  return out;
}

/** Reported and desired side by side, one row a field; what the device still has to do comes first. */
export function twinRows(reported: Json, desired: Json): TwinRow[] {
  const is = flatten(reported, "", new Map());
  const wanted = flatten(desired, "", new Map());
  const rows = [...new Set([...wanted.keys(), ...is.keys()])].map((path): TwinRow => {
    const state = !wanted.has(path)
      ? "free"
      : is.has(path) && isSame(is.get(path), wanted.get(path))
        ? "same"
        : "pending";
    return { path, reported: is.get(path), desired: wanted.get(path), state };
  });
  const rank = { pending: 0, same: 1, free: 2 };
  return rows.sort((a, b) => rank[a.state] - rank[b.state] || a.path.localeCompare(b.path));
}
