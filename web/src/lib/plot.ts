// uPlot, dressed in the colours of the page.

import uPlot from "uplot";
import { formatClock, formatDay, formatTick } from "./format";

export interface PlotSeries {
  name: string;
  unit: string | undefined;
  /** Which of the eight series colours. */
  place: number;
}

export interface PlotOptions {
  series: PlotSeries[];
  /** Draws a band between the last two columns, which are the smallest and largest values. */
  band: boolean;
  height: number;
  onzoom: (from: number, to: number) => void;
  oncursor: (index: number | null, left: number) => void;
}

/** Charts with the same key show their cursor at the same time. */
const SYNC_KEY = "roost";
/** The room left and right of the drawing, which the strips of states keep too. */
const LEFT_PX = 58;
const RIGHT_PX = 12;
const DIGIT_PX = 6.5;

function colour(name: string): string {
  // A custom property holds `light-dark(…)` as written; only a real property computes to a colour.
  const probe = (probes ??= makeProbe());
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

let probes: HTMLElement | undefined;

function makeProbe(): HTMLElement {
  const element = document.createElement("span");
  element.hidden = true;
  document.body.append(element);
  return element;
}

function tickText(seconds: number, step: number): string {
  const ms = seconds * 1000;
  if (step >= 86_400) return formatDay(ms).slice(5);
  const clock = formatClock(ms);
  if (clock === "00:00:00") return formatDay(ms).slice(5);
  return step >= 60 ? clock.slice(0, 5) : clock;
}

function axes(): uPlot.Axis[] {
  const shared = {
    stroke: () => colour("--muted"),
    grid: { stroke: () => colour("--line"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui, sans-serif",
  };
  return [
    {
      ...shared,
      space: 72,
      size: 26,
      gap: 6,
      values: (_plot, splits, _axis, _space, step) => splits.map((split) => tickText(split, step)),
    },
    {
      ...shared,
      space: 34,
      gap: 6,
      size: (_plot, values) =>
        Math.max(LEFT_PX, ...(values ?? []).map((text) => text.length * DIGIT_PX + 12)),
      values: (_plot, splits, _axis, _space, step) => splits.map((split) => formatTick(split, step)),
    },
  ];
}

function line(of: PlotSeries): uPlot.Series {
  return {
    label: of.name,
    stroke: () => colour(`--series-${of.place % 8}`),
    width: 1.5,
    spanGaps: false,
    // Points are drawn where they stand far apart, and for a reading that has no neighbours.
    points: { size: 5, stroke: () => colour(`--series-${of.place % 8}`), fill: () => colour("--surface") },
  };
}

/** Some room above and below; a flat line runs through the middle. */
function paddedRange(_plot: uPlot, min: number | null, max: number | null): [number, number] {
  if (min === null || max === null) return [0, 1];
  if (min === max) {
    const room = Math.abs(min) * 0.05 || 1;
    return [min - room, max + room];
  }
  const room = (max - min) * 0.08;
  return [min - room, max + room];
}

/** Makes a chart in `target`; `data` is replaced with `setData`, the stretch of time with `setScale`. */
export function makePlot(target: HTMLElement, options: PlotOptions, data: uPlot.AlignedData): uPlot {
  const edges: uPlot.Series[] = options.band
    ? [0, 1].map(() => ({ stroke: "transparent", width: 0, points: { show: false } }))
    : [];
  const count = options.series.length;
  const first = options.series[0];
  return new uPlot(
    {
      width: target.clientWidth || 300,
      height: options.height,
      legend: { show: false },
      padding: [10, RIGHT_PX, 0, 0],
      scales: { x: { time: true }, y: { range: paddedRange } },
      axes: axes(),
      series: [{}, ...options.series.map(line), ...edges],
      bands: options.band
        ? [
            {
              series: [count + 2, count + 1],
              fill: () =>
                `color-mix(in srgb, ${colour(`--series-${(first?.place ?? 0) % 8}`)} 16%, transparent)`,
            },
          ]
        : [],
      cursor: {
        sync: { key: SYNC_KEY, scales: ["x", null] },
        drag: { x: true, y: false, setScale: false },
        points: {
          size: 7,
          fill: (_plot, column) => {
            const of = options.series[column - 1];
            return of ? colour(`--series-${of.place % 8}`) : "transparent";
          },
        },
        y: false,
      },
      hooks: {
        setCursor: [(plot) => options.oncursor(plot.cursor.idx ?? null, plot.cursor.left ?? -1)],
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            if (width < 6) return;
            options.onzoom(plot.posToVal(left, "x") * 1000, plot.posToVal(left + width, "x") * 1000);
          },
        ],
      },
    },
    data,
    target,
  );
}
