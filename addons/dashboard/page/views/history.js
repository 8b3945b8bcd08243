// Metrics of Prometheus as small plots; nothing if there is no Prometheus.

import { get } from "../api.js";
import { fill, h, svg } from "../dom.js";
import { bytes, cores } from "../format.js";
import { section } from "../parts.js";

/** The path of a list, which is empty without Prometheus rather than an error. */
const SERVICE = "api/v1/namespaces/kcl-monitoring/services?fieldSelector=metadata.name%3Dprometheus";
const QUERY = "api/v1/namespaces/kcl-monitoring/services/prometheus:9090/proxy/api/v1/query_range";

/** The span and the resolution of plots, in seconds. */
const SPAN = 3600;
const STEP = 30;

const WIDTH = 320;
const HEIGHT = 64;

/** Puts plots into `element`, and keeps them up to date: of a pod, of a namespace, of a node, or of all. */
export function history(context, element, of) {
  const what = of.pod
    ? `namespace="${of.namespace}",pod="${of.pod}",container!=""`
    : of.namespace
      ? `namespace="${of.namespace}",container!=""`
      : of.node
        ? `node="${of.node}",id="/"`
        : `id="/"`;
  const by = of.pod ? "container" : of.namespace ? "pod" : "node";
  const series = [
    ["CPU", `sum by (${by}) (rate(container_cpu_usage_seconds_total{${what}}[2m]))`, cores],
    ["Memory", `sum by (${by}) (container_memory_working_set_bytes{${what}})`, bytes],
  ];
  const look = async () => {
    const end = Math.floor(Date.now() / 1000 / STEP) * STEP;
    try {
      if (!(await get(SERVICE)).items.length) return element.replaceChildren();
      const plots = await Promise.all(
        series.map(async ([title, query, show]) => {
          const parameters = new URLSearchParams({ query, start: end - SPAN, end, step: STEP });
          const { data } = await get(`${QUERY}?${parameters}`);
          return plot(title, data.result.slice(0, 8), by, show, end);
        }),
      );
      if (context.closed) return;
      fill(element, plots.some(Boolean) && section("The last hour", h("div", { class: "plots" }, plots)));
    } catch {
      // It is starting, or this user may not query it.
      element.replaceChildren();
    }
  };
  const timer = setInterval(() => document.hidden || look(), STEP * 1000);
  context.until(() => clearInterval(timer));
  look();
}

/** Draws lines over time, with a description for screen readers. */
function plot(title, result, by, show, end) {
  const lines = result.map(({ metric, values }) => ({
    name: metric[by] ?? "",
    values: values.map(([time, value]) => [time, Number(value)]),
  }));
  if (!lines.length) return null;
  const top = Math.max(...lines.flatMap((line) => line.values.map(([, value]) => value)), Number.MIN_VALUE);
  const path = ({ values }) =>
    values
      .map(
        ([time, value], index) =>
          `${index ? "L" : "M"}${(((time - end + SPAN) / SPAN) * WIDTH).toFixed(1)} ${(HEIGHT - 2 - (value / top) * (HEIGHT - 4)).toFixed(1)}`,
      )
      .join("");
  const last = (line) => line.values.at(-1)?.[1] ?? NaN;
  const told = lines.map((line) => `${line.name || "all"} ${show(last(line))}`).join(", ");
  return h(
    "figure",
    { class: "plot" },
    h("figcaption", null, h("strong", null, title), ` up to ${show(top)}`),
    svg(
      "svg",
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        role: "img",
        "aria-label": `${title} of the last hour; now: ${told}`,
        preserveAspectRatio: "none",
      },
      lines.map((line, index) => svg("path", { d: path(line), class: `line line${index}` })),
    ),
    h(
      "ul",
      { class: "legend" },
      lines.map((line, index) =>
        h("li", { class: `line${index}` }, line.name || "all", " ", h("b", null, show(last(line)))),
      ),
    ),
  );
}
