import { describe, expect, test } from "vitest";
import {
  decimalsFor,
  formatAgo,
  formatBytes,
  formatDuration,
  formatNumber,
  formatTick,
  formatValue,
  hasHiddenMarks,
  hiddenMarks,
  writtenOut,
  shorten,
  slug,
  toMs,
} from "./format";

test.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1536, "1.5 KiB"],
  [20 * 1024, "20 KiB"],
  [3 * 1024 * 1024, "3.0 MiB"],
])("%d bytes are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

describe("numbers", () => {
  test.each([
    [0, "0"],
    [-0, "0"],
    [21.5, "21.5"],
    [21.50001, "21.5"],
    [0.1 + 0.2, "0.3"],
    [1013.256, "1013.26"],
    [12345, "12\u202f345"],
    [-1234567, "-1\u202f234\u202f567"],
    [0.00012, "0.00012"],
    [0.0000012, "1.2e-6"],
    [1.5e15, "1.5e15"],
    [NaN, "–"],
    [Infinity, "–"],
  ])("%d is written %s", (value, text) => expect(formatNumber(value)).toBe(text));

  test("a mean gets no more digits than tell the values apart", () => {
    expect(formatNumber(22.93644, decimalsFor(22, 24))).toBe("22.94");
    expect(formatNumber(1013.4567, decimalsFor(900, 1100))).toBe("1013");
    expect(formatNumber(0.00123, decimalsFor(0.001, 0.002))).toBe("0.00123");
    expect(formatNumber(42.125, decimalsFor(42.125, 42.125))).toBe("42.125");
  });
});

test("a value of any type is text", () => {
  expect(formatValue(true)).toBe("true");
  expect(formatValue("")).toBe("(empty)");
  expect(formatValue(null)).toBe("–");
  expect(formatValue(9007199254740993n)).toBe("9\u202f007\u202f199\u202f254\u202f740\u202f993");
  expect(formatValue("<b>x</b>")).toBe("<b>x</b>");
});

test("a long text is cut between characters", () => {
  expect(shorten("abc", 3)).toBe("abc");
  expect(shorten("😀😀😀😀", 3)).toBe("😀😀…");
});

test.each([
  [null, "never"],
  [1_000_000, "now"],
  [1_003_000, "now"],
  [988_000, "12 s ago"],
  [1_000_000 - 3_600_000, "1 h ago"],
  [1_000_000 + 7_200_000, "in 2 h"],
])("%s is %s", (time, text) => expect(formatAgo(time, 1_000_000)).toBe(text));

test.each([
  [0, "0 ms"],
  [340, "340 ms"],
  [1000, "1 s"],
  [1240, "1.2 s"],
  [303_000, "5 min 3 s"],
  [7_500_000, "2 h 5 min"],
  [86_400_000, "1 d"],
])("%d ms lasts %s", (ms, text) => expect(formatDuration(ms)).toBe(text));

test("a time is read from text and from milliseconds, and nonsense is no time", () => {
  expect(toMs("1970-01-01T00:00:01.500Z")).toBe(1500);
  expect(toMs(7)).toBe(7);
  expect(toMs("yesterday")).toBeNull();
  expect(toMs(undefined)).toBeNull();
});

test("marks that nobody sees are named", () => {
  expect(hiddenMarks("plain ünïcode 漢字")).toBe("");
  expect(hiddenMarks("safe\u202egnp.exe\u200b")).toBe("U+202E U+200B");
  expect(hasHiddenMarks("\u{1F469}\u200D\u{1F469}\u200D\u{1F467} \u{1F469}\u{1F3FD}\u200D\u{1F33E}")).toBe(
    false,
  );
  expect(writtenOut('"safe\u202egnp.exe"\n')).toBe('"safe\\u{202E}gnp.exe"\n');
  expect(hiddenMarks("a\u200Db \u{1F469}\u200D")).toBe("U+200D");
});

test("an id is made of a name", () => {
  expect(slug("Gewächshaus Nord #2")).toBe("gewachshaus-nord-2");
  expect(slug("漢字")).toBe("");
});

test.each([
  [21.5, 0.5, "21.5"],
  [0, 1, "0"],
  [-0.000125, 0.000005, "-1.25e-4"],
  [9_007_199_254_740_993, 500_000_000_000_000, "9.007e15"],
  [12_345_678, 1, "1.234568e7"],
  [12_000_000, 1_000_000, "1.2e7"],
  [10_000_000, 5_000_000, "1e7"],
])("beside an axis %d with marks %d apart is %s", (value, step, text) =>
  expect(formatTick(value, step)).toBe(text),
);

test("what joins pictures is part of a picture, and is not written out", () => {
  expect(writtenOut("👩\u200d🔧 a\u200db")).toBe("👩\u200d🔧 a\\u{200D}b");
});
