// Decoders of binary payloads as people write them, and the frames to try them on.

import { pretty } from "./json";
import type { Frame } from "./types";

const LINE_MAX = 76;
const FRAME_LENGTH_MAX = 64 * 1024;
// What says which field it is stands first; the server gives the members by the alphabet.
const FIRST = ["byte_order", "key", "type"];

type Members = [name: string, value: unknown][];

function membersOf(value: object): Members {
  const place = (name: string) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  return Object.entries(value).sort(([a], [b]) => place(a) - place(b));
}

function inOneLine(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inOneLine).join(", ")}]`;
  if (typeof value !== "object" || value === null) return pretty(value, 0);
  return `{${membersOf(value)
    .map(([name, part]) => `${JSON.stringify(name)}: ${inOneLine(part)}`)
    .join(", ")}}`;
}

/** A decoder as text for an editor: a field in a line, as long as it fits. */
export function decoderText(value: unknown, indent = ""): string {
  const line = inOneLine(value);
  if (typeof value !== "object" || value === null || indent.length + line.length <= LINE_MAX) return line;
  const deeper = `${indent}  `;
  const [open, close, parts] = Array.isArray(value)
    ? ["[", "]", value.map((part) => decoderText(part, deeper))]
    : [
        "{",
        "}",
        membersOf(value).map(([name, part]) => `${JSON.stringify(name)}: ${decoderText(part, deeper)}`),
      ];
  return `${open}\n${parts.map((part) => deeper + part).join(",\n")}\n${indent}${close}`;
}

function fromBase64(text: string): string | null {
  try {
    const bytes = atob(text.replace(/\s/g, "").replaceAll("-", "+").replaceAll("_", "/"));
    return Array.from(bytes, (byte) => byte.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  } catch {
    return null;
  }
}

/** The bytes that a person typed, in hexadecimal without anything between them; or what is wrong with the text. */
export function parseFrame(text: string, form: "hex" | "base64"): { hex: string } | { error: string } {
  if (form === "base64") {
    const hex = fromBase64(text);
    return hex === null ? { error: "This is not base64, such as CGYBXw==." } : bounded(hex);
  }
  const digits = text
    .trim()
    .replace(/^0x/, "")
    .replace(/[\s:-]/g, "")
    .toLowerCase();
  const wrong = /[^0-9a-f]/u.exec(digits);
  if (wrong) return { error: "Hexadecimal digits are 0 to 9 and a to f, such as 08 66 01 5f." };
  return digits.length % 2 === 1 ? { error: "Half a byte: two digits are one byte." } : bounded(digits);
}

function bounded(hex: string): { hex: string } | { error: string } {
  return hex.length / 2 > FRAME_LENGTH_MAX
    ? { error: `A frame has at most ${FRAME_LENGTH_MAX} bytes.` }
    : { hex };
}

/** By what a frame's outcome is known: the same bytes from the same port are always read the same way. */
export function frameKey({ hex, port }: Frame): string {
  return `${port ?? ""}/${hex}`;
}

/** The bytes before, at and behind the one at `offset`, in pairs of digits, at most `most` of them. */
export function spaced(hex: string, offset: number | null, most: number): [string, string, string] {
  const bytes = hex.slice(0, most * 2).match(/../g) ?? [];
  const at = offset === null || offset >= bytes.length ? bytes.length : offset;
  const cut = hex.length > most * 2 ? " …" : "";
  const [before, one, after] = [bytes.slice(0, at), bytes.slice(at, at + 1), bytes.slice(at + 1)];
  return [before.join(" "), one.join(""), after.join(" ") + cut];
}
