// Quantities and times in readable form.

const SUFFIX = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** Parses a quantity of Kubernetes ("250m", "1Gi", "1e3") as a number. */
export function quantity(text) {
  const found = /^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)$/.exec(String(text ?? "0"));
  return found ? Number(found[1]) * (SUFFIX[found[2]] ?? NaN) : NaN;
}

/** Cores: "0.25", "2", "12m" for little. */
export function cores(number) {
  if (!Number.isFinite(number)) return "–";
  if (number > 0 && number < 0.1) return `${Math.max(1, Math.round(number * 1000))}m`;
  return number.toFixed(number < 10 ? 2 : 1).replace(/\.?0+$/, "");
}

/** Bytes in powers of 1024: "1.5 GiB". */
export function bytes(number) {
  if (!Number.isFinite(number)) return "–";
  let unit = 0;
  while (number >= 1024 && unit < 5) {
    number /= 1024;
    unit += 1;
  }
  return `${number.toFixed(number < 10 && unit > 0 ? 1 : 0).replace(/\.0$/, "")} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit]}`;
}

/** Returns an age as kubectl shows it: "12s", "5m", "3h", "2d". */
export function age(time, now = Date.now()) {
  if (!time) return "";
  return span(Math.max(0, (now - Date.parse(time)) / 1000));
}

/** Formats seconds as a span of time. */
export function span(seconds) {
  if (seconds < 120) return `${Math.floor(seconds)}s`;
  const minutes = seconds / 60;
  if (minutes < 10) return `${Math.floor(minutes)}m${Math.floor(seconds % 60) ? `${Math.floor(seconds % 60)}s` : ""}`;
  if (minutes < 180) return `${Math.floor(minutes)}m`;
  const hours = minutes / 60;
  if (hours < 8) return `${Math.floor(hours)}h${Math.floor(minutes % 60) ? `${Math.floor(minutes % 60)}m` : ""}`;
  if (hours < 48) return `${Math.floor(hours)}h`;
  return `${Math.floor(hours / 24)}d`;
}

/** A time of the cluster in this browser's zone. */
export function moment(time) {
  return time ? new Date(time).toLocaleString() : "";
}

/** "1 pod", "2 pods". */
export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;
