import { describe, expect, test } from "vitest";
import {
  align,
  mergePoints,
  POINTS_MAX,
  spans,
  sparkPath,
  splitByType,
  statistics,
  trimBefore,
  usualGap,
  withGaps,
} from "./series";
import type { Point } from "./types";

describe("merging", () => {
  const there: Point[] = [
    [10, 1],
    [20, 2],
  ];

  test("a live reading goes to the end", () => {
    expect(mergePoints(there, [[30, 3]])).toEqual([...there, [30, 3]]);
  });

  test("a late reading goes to its place", () => {
    expect(mergePoints(there, [[15, 9]])).toEqual([
      [10, 1],
      [15, 9],
      [20, 2],
    ]);
  });

  test("of two readings of one time the newer stays", () => {
    expect(mergePoints(there, [[20, 7]])).toEqual([
      [10, 1],
      [20, 7],
    ]);
  });

  test("readings in disorder and twice are put in order", () => {
    const added: Point[] = [
      [40, 4],
      [30, 3],
      [40, 5],
    ];
    expect(mergePoints(there, added)).toEqual([...there, [30, 3], [40, 5]]);
  });

  test("a chart keeps a bounded number of points, the newest", () => {
    const many = Array.from({ length: POINTS_MAX }, (_, i): Point => [i, i]);
    const merged = mergePoints(many, [[POINTS_MAX, 0]]);
    expect(merged.length).toBe(POINTS_MAX);
    expect(merged[0]).toEqual([1, 1]);
  });

  test("what left the range is dropped", () => {
    expect(trimBefore(there, 11)).toEqual([[20, 2]]);
    expect(trimBefore(there, 21)).toEqual([]);
    expect(trimBefore(there, 0)).toBe(there);
  });
});

test("a key that changes its type is a line with a gap, and states", () => {
  const { line, states } = splitByType([
    [1, 5],
    [2, "off"],
    [3, true],
    [4, 9007199254740993n],
    [5, null],
    [6, 7],
  ]);
  expect(line).toEqual([
    [1, 5],
    [2, null],
    [4, 9007199254740992],
    [5, null],
    [6, 7],
  ]);
  expect(states).toEqual([
    [2, "off"],
    [3, true],
    [4, null],
    [5, null],
  ]);
});

test("silence breaks the line", () => {
  const line: [number, number][] = [
    [0, 1],
    [1000, 1],
    [90_000, 1],
  ];
  expect(withGaps(line, 10_000)).toEqual([
    [0, 1],
    [1000, 1],
    [1001, null],
    [90_000, 1],
  ]);
});

test("the usual gap follows how often a key reports", () => {
  const each = (step: number) => Array.from({ length: 20 }, (_, i): [number, number] => [i * step, 1]);
  expect(usualGap(each(1000), undefined)).toBe(5000);
  expect(usualGap(each(60_000), undefined)).toBe(240_000);
  expect(usualGap([], 60_000)).toBe(240_000);
});

test("lines of different times share an axis: undefined where there is no point, null where there is a gap", () => {
  const { ts, columns } = align([
    [
      [1, 10],
      [3, null],
    ],
    [[2, 20]],
  ]);
  expect(ts).toEqual([1, 2, 3]);
  expect(columns).toEqual([
    [10, undefined, null],
    [undefined, 20, undefined],
  ]);
});

test("states become stretches, equal neighbours one", () => {
  const states: Point[] = [
    [5, "a"],
    [12, "a"],
    [20, "b"],
  ];
  expect(spans(states, 10, 30)).toEqual([
    { from: 10, to: 20, value: "a" },
    { from: 20, to: 30, value: "b" },
  ]);
  expect(spans([], 0, 10)).toEqual([]);
  expect(
    spans(
      [
        [1, true],
        [4, null],
        [6, true],
      ],
      0,
      10,
    ),
  ).toEqual([
    { from: 1, to: 4, value: true },
    { from: 6, to: 10, value: true },
  ]);
});

test("figures leave gaps out", () => {
  const line: [number, number | null][] = [
    [1, 2],
    [2, null],
    [3, 4],
  ];
  expect(statistics(line)).toEqual({ min: 2, max: 4, mean: 3, last: 4, count: 2 });
  expect(statistics([[1, null]])).toBeNull();
});

test("a small line lifts its pen at a gap", () => {
  expect(
    sparkPath(
      [
        [0, 0],
        [5, null],
        [10, 10],
      ],
      100,
      20,
    ),
  ).toBe("M0.0 20.0M100.0 0.0");
  expect(sparkPath([[0, 1]], 100, 20)).toBe("");
});
