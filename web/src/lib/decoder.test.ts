import { expect, test } from "vitest";
import { decoderText, parseFrame, spaced } from "./decoder";

test.each([
  ["08 66 01 5f", "hex", "0866015f"],
  ["0x08:66-01 5F\n", "hex", "0866015f"],
  ["", "hex", ""],
  ["CGYBXw==", "base64", "0866015f"],
  [" CGYBXw ", "base64", "0866015f"],
  ["-_8=", "base64", "fbff"],
] as const)("%j in %s is a frame", (text, form, hex) => expect(parseFrame(text, form)).toEqual({ hex }));

test.each([
  ["08 6", "hex"],
  ["zz", "hex"],
  ["<img src=x>", "hex"],
  ["%%%", "base64"],
  ["00".repeat(65_537), "hex"],
] as const)("%j in %s is no frame, and it is said why", (text, form) =>
  expect(parseFrame(text, form)).toEqual({ error: expect.stringMatching(/.{10,}/) }),
);

test("a field stands in a line, its name first, and keeps its digits", () => {
  const first = { at: 1, key: "a", missing: [18446744073709551615n], type: "u64" };
  const shown = decoderText({ fields: [first, { add: -40, key: "b" }] });
  expect(shown.split("\n")).toEqual([
    "{",
    '  "fields": [',
    '    {"key": "a", "type": "u64", "at": 1, "missing": [18446744073709551615]},',
    '    {"key": "b", "add": -40}',
    "  ]",
    "}",
  ]);
});

test("the byte at which reading ended is told from the others", () => {
  expect(spaced("0866015f", 2, 256)).toEqual(["08 66", "01", "5f"]);
  expect(spaced("0866", 2, 256)).toEqual(["08 66", "", ""]);
  expect(spaced("0866015f", null, 2)).toEqual(["08 66", "", " …"]);
});
