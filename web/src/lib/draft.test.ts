import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { keepDraft, readDraft } from "./draft";

let kept: Map<string, string>;

beforeEach(() => {
  kept = new Map();
  vi.stubGlobal("sessionStorage", {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, text: string) => void kept.set(key, text),
    removeItem: (key: string) => void kept.delete(key),
  });
});
afterEach(() => vi.unstubAllGlobals());

test("a draft is there again until it is given up", () => {
  keepDraft("a", { text: "x", base: "" });
  expect(readDraft("a", ["text", "base"])).toEqual({ text: "x", base: "" });
  expect(readDraft("b", ["text"])).toBeNull();
  keepDraft("a", null);
  expect(readDraft("a", ["text", "base"])).toBeNull();
});

test.each(["", "null", "[]", "{", '{"text": 1}', '"text"'])("%s is no draft", (text) => {
  kept.set("roost.draft.a", text);
  expect(readDraft("a", ["text"])).toBeNull();
});

test("without storage nothing is kept and nothing breaks", () => {
  vi.stubGlobal("sessionStorage", undefined);
  keepDraft("a", { text: "x" });
  expect(readDraft("a", ["text"])).toBeNull();
});
