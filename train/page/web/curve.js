// A chart: one or two columns of each run over steps, tokens or time.
import { duration, number } from "./format.js";
import { measured, smoothed } from "./runs.js";

const uPlot = window.uPlot;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// logTicks are few round numbers between two: powers of ten, or 1, 2, 5 of each, or what divides a short range evenly.
function logTicks(low, high) {
  const decades = Math.log10(high / low);
  if (decades < 0.8) {
    const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
    const gap = power * [1, 2, 5, 10].find((n) => n * power >= raw);
    const first = Math.ceil(low / gap);
    return Array.from({ length: Math.floor(high / gap) - first + 1 }, (_, i) => Number(((first + i) * gap).toPrecision(8)));
  }
  const ticks = [];
  const stride = Math.ceil(decades / 8);
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e += stride) {
    for (const n of decades < 3 ? [1, 2, 5] : [1]) ticks.push(Number(`${n}e${e}`));
  }
  return ticks.filter((t) => t >= low && t <= high);
}

function tick(x) {
  const size = Math.abs(x), short = (unit) => Number((x / unit).toPrecision(6));
  if (size >= 1e6) return `${short(1e6)}M`;
  if (size >= 1e4) return `${short(1e3)}k`;
  return size > 0 && size < 0.01 ? short(1).toExponential() : String(short(1));
}

// axes say how a place on each is written; of times round ones are few.
const axes = {
  step: { tick, at: (x) => `step ${x}` },
  tokens: { tick, at: tick },
  time: { tick: duration, at: duration, incrs: [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14400, 43200].concat(Array.from({ length: 12 }, (_, i) => 86400 * 2 ** i)) },
};

const room = (low, high) => (high > low ? (high - low) * 0.06 : Math.abs(high) * 0.05 || 0.5);

export class Curve {
  // zoomed is called with the part of the axis that a user chose to see, null for all.
  constructor(parent, title, columns, zoomed) {
    this.title = title;
    this.columns = columns; // {name, label}
    this.zoomed = zoomed;
    this.figure = document.createElement("figure");
    this.caption = document.createElement("figcaption");
    this.plot = document.createElement("div");
    this.plot.className = "plot";
    this.plot.tabIndex = 0;
    this.plot.setAttribute("role", "application");
    this.plot.addEventListener("keydown", (e) => this.key(e));
    this.figure.append(this.caption, this.plot);
    parent.append(this.figure);
    new ResizeObserver(() => this.chart?.setSize(this.size())).observe(this.plot);
  }

  size() { return { width: this.plot.clientWidth, height: this.plot.clientHeight }; }

  get dragged() { return this.chart?.select.width > 0; }

  // draw shows runs with these options: axis, smoothing, log, range. A chart of other lines than before is made anew.
  draw(runs, options) {
    this.range = options.range;
    this.axis = axes[options.axis];
    const { lines, data } = this.lines(runs, options);
    const shape = JSON.stringify([options.axis, options.log, options.smoothing > 0, options.theme, lines.map((l) => [l.label, l.color, l.dashed])]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.shown = lines;
      this.chart?.destroy();
      this.legend();
      this.chart = new uPlot(this.options(lines, options), data, this.plot);
    } else {
      this.chart.setData(data, false);
    }
    this.zoom(options.range);
    this.describe(runs[0]);
    this.read();
  }

  // lines returns those of the chart, and its data in uPlot's form.
  lines(runs, { axis, smoothing, log }) {
    const lines = [], tables = [];
    for (const run of runs) {
      const places = run.along(axis);
      for (const [i, column] of this.columns.entries()) {
        const positive = (x) => (x > 0 ? x : null);
        const values = log ? run[column.name].map(positive) : run[column.name];
        if (!values.some((x) => x != null)) continue;
        const color = css(`--c${run.color + (run.color === 0 ? i : 0)}`);
        const label = runs.length > 1 && column.label ? `${column.label} ${run.name}` : column.label;
        const line = { label, color, dashed: i > 0 && run.color > 0, dots: i > 0 };
        if (smoothing > 0 && !column.exact) {
          lines.push({ ...line, label: "", faint: true });
          tables.push([places, values]);
          lines.push(line);
          tables.push([places, smoothed(values, smoothing)]);
        } else {
          lines.push(line);
          tables.push([places, values]);
        }
      }
    }
    if (tables.length === 0) return { lines, data: [[]] };
    if (runs.length === 1 && axis === "step") return { lines, data: [runs[0].step, ...tables.map((t) => t[1])] };
    return { lines, data: uPlot.join(tables.map(([x, y]) => measured(x, y))) };
  }

  options(lines, { log }) {
    const axis = { stroke: css("--dim"), grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const linear = (u, low, high) => (low == null ? [0, 1] : [low - room(low, high), high + room(low, high)]);
    const logarithmic = (u, low, high) => (low > 0 ? [low / 1.08, high * 1.08] : [1, 10]);
    return {
      ...this.size(),
      legend: { show: false },
      padding: [8, 18, 0, 0],
      cursor: {
        sync: { key: "step", filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } }, // a drag is its own chart's
        hover: { skip: [null] },
        points: { size: (u, i) => (lines[i - 1].faint ? 0 : 7) },
        drag: { x: true, y: false, setScale: false },
        bind: { dblclick: () => () => this.zoomed(null) },
        y: false,
      },
      scales: { x: { time: false, range: (u, low, high) => this.range ?? [low ?? 0, Math.max(high ?? 1, (low ?? 0) + 1)] }, y: { distr: log ? 3 : 1, range: log ? logarithmic : linear } },
      axes: [
        { ...axis, size: 28, values: (u, ticks) => ticks.map(this.axis.tick), ...(this.axis.incrs && { incrs: this.axis.incrs }) },
        { ...axis, size: 54, values: (u, ticks) => ticks.map(tick), ...(log && { splits: (u, i, low, high) => logTicks(low, high), filter: (u, ticks) => ticks }) },
      ],
      series: [{}, ...lines.map((l) => ({
        stroke: l.color, width: l.faint ? 1 : 1.75, alpha: l.faint ? 0.3 : 1, spanGaps: true, dash: l.dashed ? [6, 4] : undefined,
        points: { show: (u, i) => !l.faint && this.few(u, i, l.dots ? 200 : 1), size: 5, fill: l.color },
      }))],
      hooks: { setCursor: [() => this.read()], setSelect: [(u) => this.select(u)] },
    };
  }

  // few reports whether a line has points, and so few of them that they are drawn.
  few(u, line, most) {
    let n = 0;
    for (const x of u.data[line]) if (x != null && ++n > most) return false;
    return n > 0;
  }

  select(u) {
    const { left, width } = u.select;
    if (width > 0) this.zoomed([u.posToVal(left, "x"), u.posToVal(left + width, "x")]);
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  }

  zoom(range) {
    this.range = range;
    const steps = this.chart.data[0];
    const [min, max] = range ?? [steps[0] ?? 0, steps.at(-1) ?? 1];
    this.chart.setScale("x", { min, max: Math.max(max, min + 1e-9) });
  }

  // key makes arrows move the cursor, + and - zoom around it, and 0 and Escape show all.
  key(event) {
    const u = this.chart, steps = u?.data[0];
    if (!steps?.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = u.cursor.idx ?? steps.length - 1;
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -Infinity, End: Infinity };
    const { min, max } = u.scales.x;
    if (event.key in moves) {
      const to = Math.min(Math.max(at + moves[event.key], 0), steps.length - 1);
      u.setCursor({ left: u.valToPos(steps[to], "x"), top: 10 });
    } else if (event.key === "+" || event.key === "-") {
      const factor = event.key === "+" ? 0.5 : 2, middle = steps[at];
      const wide = [middle - (middle - min) * factor, middle + (max - middle) * factor];
      const all = wide[0] <= steps[0] && wide[1] >= steps.at(-1);
      this.zoomed(all ? null : wide);
    } else if (event.key === "0" || event.key === "Escape") {
      this.zoomed(null);
    } else return;
    event.preventDefault();
  }

  // legend makes the caption: the title, the place under the cursor, and a place for each line's value.
  legend() {
    const make = (tag, text, className = "") => Object.assign(document.createElement(tag), { textContent: text, className });
    const title = make("b", this.title), values = make("div", "");
    this.at = make("small", "");
    title.append(this.at);
    this.values = this.shown.map((line) => {
      if (line.faint) return null;
      const entry = make("span", ""), mark = make("i", "", line.dashed ? "dashed" : ""), value = make("em", "");
      mark.style.background = line.color;
      entry.append(mark, make("span", line.label, "label"), value);
      values.append(entry);
      return value;
    });
    this.caption.replaceChildren(title, values);
  }

  // read puts the values under the cursor into the caption, or the newest.
  read() {
    const u = this.chart;
    if (!u || u.data.length - 1 !== this.values.length) return;
    const inside = u.cursor.left >= 0 && u.cursor.idx != null;
    this.at.textContent = inside ? this.axis.at(u.data[0][u.cursor.idx]) : "";
    this.values.forEach((v, i) => {
      if (!v) return;
      const column = u.data[i + 1];
      v.textContent = number(inside ? column[u.cursor.idxs[i + 1]] : column.findLast((x) => x != null));
    });
  }

  // describe says in words what the chart shows.
  describe(run) {
    const said = this.columns.map(({ name, label }) => {
      const values = run?.[name].filter((x) => x != null) ?? [];
      return `${label || this.title} ${values.length} points${values.length ? `, last ${number(values.at(-1))}` : ""}`;
    });
    this.plot.setAttribute("aria-label", `${this.title}: ${said.join("; ")}. Arrows move, plus and minus zoom, 0 shows all.`);
  }
}
