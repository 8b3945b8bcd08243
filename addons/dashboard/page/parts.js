// Small parts that many views are made of.

import { h } from "./dom.js";

/** A shape for each tone: what is told by colour is told by shape and word, too. */
const SHAPES = { good: "●", busy: "◐", bad: "▲", off: "○" };

/** How something is: a shape, a word and a colour; why, as a tip. */
export function badge({ text, tone, why }) {
  return h(
    "span",
    { class: `badge ${tone}`, title: why || null },
    h("span", { "aria-hidden": "true" }, SHAPES[tone] ?? "○"),
    text,
  );
}

export const link = (href, text, properties) => h("a", { href, ...properties }, text);

/** A link out of the console. */
export const external = (url) =>
  h("a", { class: "out", href: url, target: "_blank", rel: "noopener noreferrer" }, url.replace(/^http:\/\//, ""));

export const button = (text, onclick, properties) => h("button", { type: "button", onclick, ...properties }, text);

/** Used and asked for, of what there is. `now` may be missing. */
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

/** Names and values. */
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

/** What is shown where there is nothing. */
export const nothing = (text, ...more) => h("p", { class: "nothing" }, text, more);

/** An error in the words of who refused. */
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
    forbidden && h("p", null, "Choose a namespace that you have rights in, or ask who runs the cluster for them."),
  );
}

/** Labels or annotations. */
export const labels = (map) =>
  map && Object.keys(map).length
    ? h(
        "ul",
        { class: "labels" },
        Object.entries(map).map(([name, value]) => h("li", null, value ? `${name}: ${value}` : name)),
      )
    : null;
