// Small parts that many views are made of.

import { h } from "./dom.js";

/** A shape for each tone, so that no meaning depends on colour alone. */
const SHAPES = { good: "●", busy: "◐", bad: "▲", off: "○" };

/** Shows a status: a shape, a word and a colour, with the reason as a tooltip. */
export function badge({ text, tone, why }) {
  return h(
    "span",
    { class: `badge ${tone}`, title: why || null },
    h("span", { "aria-hidden": "true" }, SHAPES[tone] ?? "○"),
    text,
  );
}

export const link = (href, text, properties) => h("a", { href, ...properties }, text);

/** Links to a page outside of the console. */
export const external = (url) =>
  h("a", { class: "out", href: url, target: "_blank", rel: "noopener noreferrer" }, url.replace(/^http:\/\//, ""));

export const button = (text, onclick, properties) => h("button", { type: "button", onclick, ...properties }, text);

/** Shows usage and requests in proportion to the capacity. `now` may be missing. */
export function meter(label, { now, asked, total, show }) {
  const part = (value) => `${Math.min(100, total > 0 ? (100 * value) / total : 0).toFixed(1)}%`;
  const bar = h(
    "span",
    { class: "meter", "aria-hidden": "true" },
    h("span", { class: "asked" }),
    Number.isFinite(now) && h("span", { class: "now" }),
  );
  bar.firstChild.style.inlineSize = part(asked);
  if (Number.isFinite(now)) bar.lastChild.style.inlineSize = part(now);
  const used = Number.isFinite(now) ? `${show(now)} used, ` : "";
  return h(
    "div",
    { class: "metered" },
    h("span", { class: "label" }, label),
    bar,
    h("span", { class: "numbers" }, `${used}${show(asked)} requested of ${show(total)}`),
  );
}

/** Shows names and values. */
export function facts(pairs) {
  const rows = pairs.filter(
    ([, value]) =>
      value !== null &&
      value !== undefined &&
      value !== "" &&
      value !== false &&
      !(Array.isArray(value) && !value.length),
  );
  return h(
    "dl",
    { class: "facts" },
    rows.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))),
  );
}

/** A part of a page with a heading. */
export function section(title, ...content) {
  return h("section", { "aria-label": title }, h("h2", null, title), content);
}

/** A plain table of few rows. */
export function table(caption, titles, rows) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    h(
      "table",
      { class: "plain" },
      h("caption", { class: "hidden" }, caption),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          titles.map((title) => h("th", { scope: "col" }, title)),
        ),
      ),
      h(
        "tbody",
        null,
        rows.map((row) =>
          h(
            "tr",
            null,
            row.map((cell, index) =>
              h(
                index ? "td" : "th",
                index ? { "data-title": titles[index] } : { scope: "row" },
                index && cell !== "" ? h("div", null, cell) : cell,
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

/** Shows a text in place of missing content. */
export const nothing = (text, ...more) => h("p", { class: "nothing" }, text, more);

/** Shows an error in the server's own words. */
export function trouble(error) {
  const forbidden = error.status === 403;
  return h(
    "div",
    { class: "trouble", role: "alert" },
    h(
      "strong",
      null,
      forbidden ? "You may not see this" : error.status === 401 ? "You are not signed in" : "This cannot be shown",
    ),
    h("p", null, error.message),
    forbidden &&
      h("p", null, "Choose a namespace that you have access to, or ask the cluster's administrator for access."),
  );
}

/** Shows labels or annotations. */
export const labels = (map) =>
  map && Object.keys(map).length
    ? h(
        "ul",
        { class: "labels" },
        Object.entries(map).map(([name, value]) => h("li", null, value ? `${name}: ${value}` : name)),
      )
    : null;
