// Reads an OpenAPI 3 document into what the API page shows.

interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  enum?: unknown[];
  const?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: boolean | Schema;
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
  example?: unknown;
  examples?: unknown[];
  description?: string;
  nullable?: boolean;
}

interface Media {
  schema?: Schema;
  example?: unknown;
}

interface Parameter {
  $ref?: string;
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema?: Schema;
}

interface Body {
  $ref?: string;
  description?: string;
  content?: Record<string, Media>;
}

interface RawOperation {
  tags?: string[];
  summary?: string;
  description?: string;
  operationId?: string;
  parameters?: Parameter[];
  requestBody?: Body;
  responses?: Record<string, Body>;
}

export interface Document {
  info?: { title?: string; version?: string; description?: string };
  tags?: { name: string; description?: string }[];
  paths?: Record<string, Record<string, unknown>>;
  components?: Record<string, Record<string, unknown>>;
}

export interface Operation {
  id: string;
  method: string;
  path: string;
  summary: string;
  description: string;
  parameters: { name: string; in: string; required: boolean; type: string; description: string }[];
  request: { media: string; outline: string } | null;
  responses: { status: string; description: string; media: string; outline: string }[];
  curl: string;
}

export interface Group {
  tag: string;
  description: string;
  operations: Operation[];
}

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEPTH_MAX = 6;

function resolve<T extends { $ref?: string }>(doc: Document, item: T | undefined): T | undefined {
  let current = item;
  for (let hops = 0; current?.$ref !== undefined && hops < 10; hops += 1) {
    let place: unknown = doc;
    for (const step of current.$ref.replace(/^#\//, "").split("/")) {
      place = (place as Record<string, unknown> | undefined)?.[
        step.replaceAll("~1", "/").replaceAll("~0", "~")
      ];
    }
    current = place as T | undefined;
  }
  return current;
}

/** The type of a schema in a few words. */
export function typeName(doc: Document, raw: Schema | undefined): string {
  const schema = resolve(doc, raw);
  if (!schema) return "any";
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const choice = schema.oneOf ?? schema.anyOf;
  if (choice) return choice.map((part) => typeName(doc, part)).join(" | ");
  if (schema.type === "array") return `${typeName(doc, schema.items)}[]`;
  const type = Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type;
  return (type ?? (schema.properties ? "object" : "any")) + (schema.format ? ` (${schema.format})` : "");
}

function fields(
  doc: Document,
  schema: Schema,
): { properties: Record<string, Schema>; required: Set<string> } {
  const properties = { ...schema.properties };
  const required = new Set(schema.required);
  for (const part of schema.allOf ?? []) {
    const inner = resolve(doc, part);
    if (!inner) continue;
    const more = fields(doc, inner);
    Object.assign(properties, more.properties);
    more.required.forEach((name) => required.add(name));
  }
  return { properties, required };
}

/** A schema as an indented outline, one field a line. */
export function outline(doc: Document, raw: Schema | undefined, depth = 0): string {
  const schema = resolve(doc, raw);
  if (!schema) return "any";
  const pad = "  ".repeat(depth + 1);
  const end = "  ".repeat(depth);
  if (schema.type === "array" && depth < DEPTH_MAX) return `[${outline(doc, schema.items, depth)}, …]`;
  const { properties, required } = fields(doc, schema);
  const names = Object.entries(properties);
  if (names.length === 0) {
    const rest = schema.additionalProperties;
    if (typeof rest === "object" && depth < DEPTH_MAX) {
      return `{\n${pad}(any key): ${outline(doc, rest, depth + 1)}\n${end}}`;
    }
    return typeName(doc, schema);
  }
  if (depth >= DEPTH_MAX) return "{ … }";
  const lines = names.map(([name, part]) => {
    const note = resolve(doc, part)?.description;
    const optional = required.has(name) ? "" : "?";
    return `${pad}${name}${optional}: ${outline(doc, part, depth + 1)}${note ? `  // ${note.split("\n")[0]}` : ""}`;
  });
  return `{\n${lines.join("\n")}\n${end}}`;
}

/** A believable value of a schema. */
export function example(doc: Document, raw: Schema | undefined, depth = 0): unknown {
  const schema = resolve(doc, raw);
  if (!schema || depth > DEPTH_MAX) return {};
  if (schema.example !== undefined) return schema.example;
  if (schema.examples?.[0] !== undefined) return schema.examples[0];
  if (schema.enum) return schema.enum[0];
  const choice = (schema.oneOf ?? schema.anyOf)?.[0];
  if (choice) return example(doc, choice, depth + 1);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === "array") return [example(doc, schema.items, depth + 1)];
  if (type === "integer" || type === "number") return 1;
  if (type === "boolean") return true;
  if (type === "string") return "text";
  const { properties, required } = fields(doc, schema);
  const shown = Object.entries(properties).filter(([name]) => required.size === 0 || required.has(name));
  return Object.fromEntries(shown.map(([name, part]) => [name, example(doc, part, depth + 1)]));
}

function curlFor(
  doc: Document,
  origin: string,
  method: string,
  path: string,
  body: Media | undefined,
): string {
  const verb = method === "get" ? "" : ` -X ${method.toUpperCase()}`;
  const target = path.replace(/\{([^}]+)\}/g, (_, name: string) => name.toUpperCase());
  const head = `curl${verb} -H "Authorization: Bearer $TOKEN"`;
  if (!body) return `${head} '${origin}${target}'`;
  const data = JSON.stringify(body.example ?? example(doc, body.schema)).replaceAll("'", `'\\''`);
  return `${head} \\\n  -H 'Content-Type: application/json' \\\n  -d '${data}' \\\n  '${origin}${target}'`;
}

function firstMedia(body: Body | undefined): [media: string, content: Media] | undefined {
  return Object.entries(body?.content ?? {})[0];
}

/** The operations of a document, grouped by tag in the document's order. */
export function groups(doc: Document, origin: string): Group[] {
  const out = new Map<string, Group>();
  for (const tag of doc.tags ?? []) {
    out.set(tag.name, { tag: tag.name, description: tag.description ?? "", operations: [] });
  }
  for (const [path, item] of Object.entries(doc.paths ?? {})) {
    for (const method of METHODS) {
      const raw = item[method] as RawOperation | undefined;
      if (!raw) continue;
      const tag = raw.tags?.[0] ?? "other";
      const group = out.get(tag) ?? { tag, description: "", operations: [] };
      out.set(tag, group);
      group.operations.push(operation(doc, origin, { path, method, raw, shared: item["parameters"] }));
    }
  }
  return [...out.values()].filter((group) => group.operations.length > 0);
}

function operation(
  doc: Document,
  origin: string,
  { path, method, raw, shared }: { path: string; method: string; raw: RawOperation; shared: unknown },
): Operation {
  const parameters = [...((shared as Parameter[] | undefined) ?? []), ...(raw.parameters ?? [])]
    .map((parameter) => resolve(doc, parameter))
    .filter((parameter) => parameter !== undefined);
  const body = firstMedia(resolve(doc, raw.requestBody));
  return {
    id: raw.operationId ?? `${method}-${path}`,
    method: method.toUpperCase(),
    path,
    summary: raw.summary ?? "",
    description: raw.description ?? "",
    parameters: parameters.map((p) => ({
      name: p.name,
      in: p.in,
      required: p.required ?? p.in === "path",
      type: typeName(doc, p.schema),
      description: p.description ?? "",
    })),
    request: body ? { media: body[0], outline: outline(doc, body[1].schema) } : null,
    responses: Object.entries(raw.responses ?? {}).map(([status, answer]) => {
      const known = resolve(doc, answer);
      const media = firstMedia(known);
      const shape = media?.[1].schema ? outline(doc, media[1].schema) : "";
      return { status, description: known?.description ?? "", media: media?.[0] ?? "", outline: shape };
    }),
    curl: curlFor(doc, origin, method, path, body?.[1]),
  };
}
