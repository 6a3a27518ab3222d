// JSON as the server writes it: integers keep all their digits.

type Reviver = (key: string, value: unknown, context?: { source?: string }) => unknown;

const keepDigits: Reviver = (_key, value, context) =>
  typeof value === "number" &&
  !Number.isSafeInteger(value) &&
  context?.source !== undefined &&
  /^-?\d+$/.test(context.source)
    ? BigInt(context.source)
    : value;

/** Parses JSON; an integer beyond 2^53 becomes a bigint where the browser tells its digits. */
export function parse(text: string): unknown {
  // Only numbers of 16 digits or more can need it, and a reviver makes parsing several times slower.
  return /\d{16}/.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text);
}

/** Writes JSON for people; a bigint keeps its digits. */
export function pretty(value: unknown, indent = 2): string {
  const digits = new Map<string, string>();
  const text = JSON.stringify(
    value,
    (_key, part: unknown) => {
      if (typeof part !== "bigint") return part;
      const mark = `\u0000${digits.size}\u0000`;
      digits.set(JSON.stringify(mark), part.toString());
      return mark;
    },
    indent,
  );
  let out = text ?? "";
  for (const [mark, number] of digits) out = out.replace(mark, number);
  return out;
}

/** Parses what a person typed as a JSON object, or says what is wrong with it. */
export function parseObject(text: string): { value: Record<string, unknown> } | { error: string } {
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    return { error: error instanceof Error ? error.message : "This is not JSON." };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { error: 'Write a JSON object, such as {"interval": 10}.' };
  }
  return { value: value as Record<string, unknown> };
}

/** The values inside a value, objects flattened with dots as telemetry keys are; empty ones are left out. */
export function flatten(value: unknown, name = ""): [name: string, value: unknown][] {
  if (value === null || value === undefined) return [];
  if (typeof value !== "object" || Array.isArray(value)) return [[name || "value", value]];
  return Object.entries(value).flatMap(([key, part]) => flatten(part, name ? `${name}.${key}` : key));
}
