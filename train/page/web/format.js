// Numbers in words. Widths vary little, so that nothing jumps when they change.

export function number(x) {
  if (x == null) return "–";
  const size = Math.abs(x);
  if (size === 0) return "0";
  if (size >= 1e6) return `${(x / 1e6).toPrecision(4)}M`;
  if (size >= 1e4) return Math.round(x).toLocaleString("en");
  if (size >= 1e-2) return x.toPrecision(4);
  return x.toExponential(2);
}

export const count = (n) => n.toLocaleString("en");

export function duration(seconds) {
  const s = Math.round(seconds), pad = (n) => String(n).padStart(2, "0");
  if (s >= 86400) return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
  if (s >= 3600) return `${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)} h`;
  return `${Math.floor(s / 60)}:${pad(s % 60)}`;
}

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${i === 0 ? n : n.toPrecision(3)} ${units[i]}`;
}

export function ago(milliseconds) {
  const s = (Date.now() - milliseconds) / 1000;
  if (s < 90) return "just now";
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  if (s < 129600) return `${Math.round(s / 3600)} h ago`;
  return `${Math.round(s / 86400)} d ago`;
}
