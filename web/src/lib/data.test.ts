// JSON, merge patches, ranges and the API document.

import { describe, expect, test } from "vitest";
import { flatten, parse, parseObject, pretty } from "./json";
import { example, groups, outline } from "./openapi";
import { applyPatch, mergePatch, twinRows } from "./patch";
import {
  bounds,
  bucketFor,
  fromLocalInputs,
  moved,
  parseRange,
  POINTS_SHOWN,
  PRESETS,
  rangeText,
  toLocalInput,
  widened,
} from "./range";

describe("JSON", () => {
  test("is written with all digits of a bigint, and marks in texts stay", () => {
    expect(pretty({ a: 18446744073709551615n, b: "x" }, 0)).toBe('{"a":18446744073709551615,"b":"x"}');
    expect(pretty(undefined)).toBe("");
  });

  test("is read", () => {
    expect(parse('{"a":[1,2.5,"x",true,null]}')).toEqual({ a: [1, 2.5, "x", true, null] });
  });

  test.each(["[1]", "1", "null", '"x"', "{", "{'a':1}"])("%s is no object", (text) =>
    expect(parseObject(text)).toHaveProperty("error"),
  );
});

describe("what a device sent", () => {
  test.each([
    [
      { a: { b: 1, c: { d: "x" } }, e: [1, 2], f: null },
      [
        ["a.b", 1],
        ["a.c.d", "x"],
        ["e", [1, 2]],
      ],
    ],
    ["text", [["value", "text"]]],
    [null, []],
    [{}, []],
  ])("%j is flattened", (value, flat) => expect(flatten(value)).toEqual(flat));
});

describe("merge patches", () => {
  const before = { a: 1, b: { c: 2, d: [1, 2] }, e: "x" };

  test.each([
    [{ a: 1, b: { c: 2, d: [1, 2] }, e: "x" }, {}],
    [
      { a: 2, b: { c: 2, d: [1, 2] } },
      { a: 2, e: null },
    ],
    [{ a: 1, b: { c: 2, d: [1] }, e: "x" }, { b: { d: [1] } }],
    [{ a: 1, b: { d: [1, 2] }, e: "x" }, { b: { c: null } }],
    [
      { a: 1, b: 5, e: { f: {} } },
      { b: 5, e: { f: {} } },
    ],
  ])("the way to %j is %j", (after, patch) => {
    expect(mergePatch(before, after)).toEqual(patch);
    expect(applyPatch(before, patch)).toEqual(after);
  });

  test("the device's open work comes first", () => {
    const rows = twinRows({ a: 1, z: { y: 2 } }, { a: 1, z: { y: 3 }, n: true });
    expect(rows.map((row) => [row.path, row.state])).toEqual([
      ["n", "pending"],
      ["z.y", "pending"],
      ["a", "same"],
    ]);
  });
});

describe("ranges", () => {
  test.each(Object.values(PRESETS))("%d ms fit into the picture", (length) => {
    expect(length / bucketFor(length)).toBeLessThanOrEqual(POINTS_SHOWN);
    expect(length / bucketFor(length)).toBeGreaterThan(POINTS_SHOWN / 4);
  });

  test("ten years are cut into buckets too", () => {
    const length = 3650 * 86_400_000;
    expect(length / bucketFor(length)).toBeLessThanOrEqual(POINTS_SHOWN);
  });

  test("a preset ends now, a custom range where it says", () => {
    expect(bounds({ preset: "15m" }, 1_000_000)).toEqual({ from: 100_000, to: 1_000_000 });
    expect(bounds({ from: 1, to: 2 }, 1_000_000)).toEqual({ from: 1, to: 2 });
  });

  test("what the fields show is what they give back", () => {
    const from = 1_795_000_000_000;
    expect(fromLocalInputs(toLocalInput(from), toLocalInput(from + 5000))).toEqual({ from, to: from + 5000 });
    expect(fromLocalInputs(toLocalInput(from), toLocalInput(from))).toBeNull();
    expect(fromLocalInputs("", "x")).toBeNull();
  });
});

describe("the API document", () => {
  const node = {
    type: "object",
    required: ["id"],
    properties: { id: { type: "string" }, child: { $ref: "#/components/schemas/Node" } },
  };
  const doc = {
    tags: [{ name: "b" }, { name: "a" }],
    paths: {
      "/x/{id}": {
        parameters: [{ name: "id", in: "path", schema: { type: "string" } }],
        get: { tags: ["a"], responses: { 200: { description: "it" } } },
        post: {
          tags: ["b"],
          requestBody: { content: { "application/json": { schema: { $ref: "#/components/schemas/Node" } } } },
        },
      },
    },
    components: { schemas: { Node: node } },
  };

  test("is grouped by tag in its own order, with shared parameters", () => {
    const all = groups(doc, "http://h");
    expect(all.map((group) => group.tag)).toEqual(["b", "a"]);
    expect(all[1]?.operations[0]?.parameters[0]).toMatchObject({ name: "id", required: true });
    expect(all[1]?.operations[0]?.curl).toBe(`curl -H "Authorization: Bearer $TOKEN" 'http://h/x/ID'`);
    expect(all[0]?.operations[0]?.curl).toContain(`-d '{"id":"text"}'`);
  });

  test("a schema that holds itself ends", () => {
    expect(outline(doc, { $ref: "#/components/schemas/Node" })).toContain("id: string");
    expect(example(doc, { type: "array", items: { $ref: "#/components/schemas/Node" } })).toEqual([
      { id: "text" },
    ]);
  });
});

describe("looking around in time", () => {
  const shown = { from: 1000, to: 2000 };

  test("earlier and later keep half of what was seen, and do not go beyond now", () => {
    expect(moved(shown, 5000, "earlier")).toEqual({ from: 500, to: 1500 });
    expect(moved(shown, 5000, "later")).toEqual({ from: 1500, to: 2500 });
    expect(moved(shown, 2100, "later")).toEqual({ from: 1100, to: 2100 });
    expect(moved(shown, 1500, "later")).toEqual(shown);
  });

  test("wider is twice as long around the middle, or into the past", () => {
    expect(widened(shown, 5000)).toEqual({ from: 500, to: 2500 });
    expect(widened(shown, 2000)).toEqual({ from: 0, to: 2000 });
  });

  test.each([[{ preset: "6h" as const }], [{ from: 1, to: 1_795_304_862_179 }]])(
    "%o has an address",
    (range) => expect(parseRange(rangeText(range))).toEqual(range),
  );

  test.each(["", "6 h", "toString", "2-1", "1-1", "-1-2", "1-", "1e3-2e3"])("%s is no range", (text) =>
    expect(parseRange(text)).toBeNull(),
  );
});
