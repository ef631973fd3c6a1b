// What the page says besides its curves. Text is only ever set as text.
import { ago, bytes, count, duration, number } from "./format.js";

const by = (id) => document.getElementById(id);

function element(tag, text, className) {
  const e = document.createElement(tag);
  if (text != null) e.textContent = text;
  if (className) e.className = className;
  return e;
}

function set(id, text) {
  const e = by(id);
  if (e.textContent !== text) e.textContent = text;
}

export function connection(state, text) {
  by("state").dataset.state = state;
  by("state").title = text;
  set("state", text);
}

export function progress(run, about, status) {
  const total = about.total_steps, share = total > 0 ? Math.min(status.step / total, 1) : 0;
  const bar = by("bar");
  bar.firstElementChild.style.width = `${share * 100}%`;
  bar.setAttribute("aria-valuenow", status.step);
  bar.setAttribute("aria-valuemax", total);
  set("steps", `step ${count(status.step)} of ${count(total)} · ${Math.floor(share * 100)} % · ${count(status.step * about.tokens_per_step)} tokens`);
  set("phase", phase(status));
  document.title = `${Math.floor(share * 100)} % ${about.run} – Lemnos`;
  for (const tile of document.querySelectorAll("[data-tile]")) {
    const name = tile.dataset.tile;
    const text = name === "left" ? (status.left && !status.ended ? duration(status.left) : "–") : number(run.last(name));
    if (tile.textContent !== text) tile.textContent = text;
  }
}

function phase({ phase: p, training }) {
  if (!p) return training ? "training" : "\u00a0";
  if (!p.total) return p.name;
  const size = (n) => (p.unit === "bytes" ? bytes(n) : count(n));
  return `${p.name}: ${size(p.done)} of ${size(p.total)}${p.unit && p.unit !== "bytes" ? ` ${p.unit}` : ""}`;
}

export function samples(list) {
  const choice = by("sample-step");
  const newest = choice.selectedIndex <= 0; // it follows the newest one unless another was chosen
  const chosen = choice.value;
  choice.disabled = list.length === 0;
  choice.replaceChildren(...list.map((s, i) => new Option(count(s.step), i)).reverse());
  if (list.length === 0) choice.append(new Option("none yet"));
  else if (!newest) choice.value = chosen;
  sample(list);
}

export function sample(list) { set("sample", list[Number(by("sample-step").value)]?.text ?? ""); }

export function runs(all, changed) {
  by("runs").replaceChildren(...all.map((run) => {
    const label = element("label"), box = element("input"), mark = element("i"), name = element("span", run.name, "name");
    box.type = "checkbox";
    box.checked = run.shown;
    box.addEventListener("change", () => changed(run, box.checked));
    mark.style.background = run.shown ? `var(--c${run.color})` : "var(--line)";
    name.dir = "auto";
    name.title = run.name;
    const note = run.error ? element("span", run.error, "note error") : run.live ? element("span", "live", "note live") : element("span", ago(run.changed), "note");
    label.append(box, mark, name, note);
    const item = element("li");
    item.append(label);
    return item;
  }));
}

function row(name, ...values) {
  const tr = element("tr");
  tr.append(element("th", name), ...values.map((v) => element("td", v)));
  return tr;
}

export function device(fields) { by("device").replaceChildren(...fields.map(([name, value]) => row(name, value))); }

// memory draws the plan; what is on the host is beside what is on the device.
export function memory(plan, there) {
  const parts = plan.filter((p) => p.name !== "host" && p.bytes > 0), host = plan.find((p) => p.name === "host");
  const total = parts.reduce((sum, p) => sum + p.bytes, 0);
  set("memory-total", total ? `${bytes(total)} of ${bytes(there)}` : "");
  by("memory-bar").replaceChildren(...parts.map((p, i) => {
    const piece = element("div");
    piece.style.background = `var(--c${i % 8})`;
    piece.style.width = `${(100 * p.bytes) / total}%`;
    return piece;
  }));
  const rows = parts.map((p, i) => {
    const tr = row(p.name, bytes(p.bytes)), mark = element("i");
    mark.style.background = `var(--c${i % 8})`;
    tr.firstChild.prepend(mark);
    return tr;
  });
  if (host) rows.push(row("on the host, beside it", bytes(host.bytes)));
  by("memory").replaceChildren(...rows);
}

// configuration shows the fields of runs side by side; those that differ stand out.
export function configuration(shown, differencesOnly) {
  const maps = shown.map((run) => new Map(run.config));
  const names = [...new Set(shown.flatMap((run) => run.config.map(([name]) => name)))];
  const table = by("config");
  const rows = [];
  for (const name of names) {
    const values = maps.map((m) => m.get(name) ?? "");
    const differs = values.some((v) => v !== values[0]);
    if (differencesOnly && !differs) continue;
    const tr = row(name, ...values);
    tr.classList.toggle("differs", differs);
    rows.push(tr);
  }
  const body = element("tbody");
  body.append(...rows);
  if (shown.length < 2) return table.replaceChildren(body);
  const head = element("thead"), tr = element("tr");
  tr.append(element("th", ""), ...shown.map((run) => element("th", run.name)));
  head.append(tr);
  table.replaceChildren(head, body);
}
