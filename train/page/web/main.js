// The page of a run: it is told what is new by the server's events, and draws when there is time.
import { Curve } from "./curve.js";
import { Run } from "./runs.js";
import * as view from "./view.js";

const by = (id) => document.getElementById(id);
const colors = 8; // of the style sheet; 0 and 1 are the live run's
const page = {
  live: Object.assign(new Run(""), { live: true, shown: true, color: 0 }),
  others: [],
  samples: [],
  about: { run: "", config: [], total_steps: 0, tokens_per_step: 0 },
  status: { step: 0 },
  options: { axis: "step", smoothing: 0, log: false, range: null, theme: 0 },
};

const zoom = (range) => {
  page.options.range = range;
  by("unzoom").disabled = !range;
  draw();
};
const curves = [
  new Curve(by("curves"), "Loss", [{ name: "loss", label: "training" }, { name: "val_loss", label: "validation", exact: true }], zoom),
  new Curve(by("curves"), "Learning rate", [{ name: "lr", label: "", exact: true }], zoom),
  new Curve(by("curves"), "Gradient norm", [{ name: "grad_norm", label: "" }], zoom),
  new Curve(by("curves"), "Tokens/s", [{ name: "tokens_per_s", label: "" }], zoom),
];

// draw waits for the next frame, and for four times as long as drawing takes (a second at most), so that the browser stays free.
let waiting = false, cost = 0;
function draw() {
  if (waiting) return;
  waiting = true;
  setTimeout(() => requestAnimationFrame(() => {
    waiting = false;
    if (curves.some((curve) => curve.dragged)) return setTimeout(draw, 100); // what is chosen stays under the mouse
    const start = performance.now();
    const shown = runs().filter((run) => run.shown);
    for (const curve of curves) curve.draw(shown, page.options);
    cost = performance.now() - start;
  }), Math.min(4 * cost, 1000));
}

const runs = () => [page.live, ...page.others];

// apply takes in one piece of news; see type news of the server.
function apply(news) {
  if (news.reset) {
    page.live.clear();
    page.samples = [];
  }
  if (news.about) describe(news.about);
  if (news.others) list(news.others);
  if (news.records) page.live.append(news.records);
  if (news.samples || news.reset) {
    page.samples.push(...(news.samples ?? []));
    view.samples(page.samples);
  }
  page.status = news.status;
  view.progress(page.live, page.about, page.status);
  if (news.records || news.reset) draw();
}

function describe(about) {
  page.about = about;
  page.live.name = about.run;
  page.live.config = about.config;
  by("run").textContent = about.run;
  view.device(about.device ?? []);
  view.memory(about.plan ?? [], about.memory ?? 0);
  show();
}

// list takes the folder's other runs, and reads those again that are shown and have changed.
function list(found) {
  const before = new Map(page.others.map((run) => [run.name, run]));
  page.others = found.map(({ name, changed, size }) => {
    const run = before.get(name) ?? Object.assign(new Run(name), { shown: false });
    const stale = run.changed !== changed || run.size !== size;
    Object.assign(run, { changed, size });
    if (run.shown && stale) load(run);
    return run;
  });
  show();
}

async function load(run) {
  try {
    const answer = await fetch(`run?${new URLSearchParams({ name: run.name })}`);
    if (!answer.ok) throw new Error((await answer.text()).trim());
    const { records, config } = await answer.json();
    run.clear();
    run.append(records);
    run.config = config ?? [];
    run.error = "";
  } catch (e) {
    run.error = e instanceof TypeError ? "no connection" : e.message;
  }
  show();
}

function choose(run, shown) {
  run.shown = shown;
  if (shown && !run.live) {
    const taken = new Set(page.others.filter((r) => r.shown && r !== run).map((r) => r.color));
    const free = Array.from({ length: colors - 2 }, (_, i) => i + 2).find((c) => !taken.has(c));
    run.color = free ?? 2 + (taken.size % (colors - 2));
    load(run);
  }
  show();
}

// show draws what depends on which runs are shown.
function show() {
  view.runs(runs(), choose);
  view.configuration(runs().filter((run) => run.shown), by("differences").checked);
  draw();
}

// connect listens to the server, on from where it was. A browser tries again by itself where the connection broke; where
// the server refused, this does.
let events, again, at = "";
function connect() {
  disconnect();
  events = new EventSource(`events?${new URLSearchParams({ after: at })}`);
  events.addEventListener("open", () => view.connection("live", "live"));
  events.addEventListener("message", (event) => {
    at = event.lastEventId;
    apply(JSON.parse(event.data));
    const how = page.status.ended;
    if (how) {
      disconnect(); // the server ends too
      view.connection(how.startsWith("failed") ? "failed" : "ended", `ended: ${how}`);
    } else rest();
  });
  events.addEventListener("error", () => {
    view.connection("connecting", "no connection, trying again");
    view.progress(page.live, page.about, { step: page.status.step });
    if (events.readyState === EventSource.CLOSED) connectIn(2);
  });
}

function disconnect() {
  clearTimeout(again);
  events?.close();
}

function connectIn(seconds) {
  disconnect();
  again = setTimeout(connect, 1000 * seconds);
}

by("tools").addEventListener("submit", (e) => e.preventDefault());
by("smoothing").addEventListener("input", (e) => {
  page.options.smoothing = Number(e.target.value);
  by("smoothing-value").textContent = e.target.value;
  draw();
});
by("axis").addEventListener("change", (e) => {
  page.options.axis = e.target.value;
  zoom(null);
});
by("log").addEventListener("change", (e) => {
  page.options.log = e.target.checked;
  draw();
});
by("unzoom").addEventListener("click", () => zoom(null));
by("sample-step").addEventListener("change", () => view.sample(page.samples));
by("differences").addEventListener("change", show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  page.options.theme++;
  draw();
});
// A browser has six connections to a server for all its tabs. Where there are more than four, one that is hidden leaves its
// own but for a moment now and then. The tabs tell each other that they are there.
const tabs = new BroadcastChannel("tabs"), others = new Set(), me = Math.random();
tabs.addEventListener("message", ({ data: { tab, asks, leaves } }) => {
  leaves ? others.delete(tab) : others.add(tab);
  if (asks) tabs.postMessage({ tab: me });
  rest();
});
tabs.postMessage({ tab: me, asks: true });
window.addEventListener("pagehide", () => tabs.postMessage({ tab: me, leaves: true }));
document.addEventListener("visibilitychange", () => {
  rest();
  if (!document.hidden && !page.status.ended && events.readyState === EventSource.CLOSED) connect();
});

function rest() {
  if (document.hidden && others.size >= 4 && !page.status.ended) connectIn(10);
}

by("tools").reset(); // a browser may remember them from an earlier visit
connect();
