// A table that draws only the visible rows: as many elements for 10 rows as for 10,000.

import { fill, h, say } from "./dom.js";
import { count } from "./format.js";
import { nothing, trouble } from "./parts.js";

/** The height of a row, as in parts.css. */
const ROW = 36;

/** Rows beyond the edges, so that none is missing during a scroll. */
const SPARE = 8;

/**
 * A table of a store's objects (or of several stores').
 * A column: { title, value(object) to sort and filter by, cell(object) to show, width, rank: 2 to 4 leaves first when it gets
 * narrow, number, mono, main: the row's heading, ticks: changes with time }.
 */
export class ObjectTable {
  constructor(name, columns, { sort = 0, filter = "", empty = "There are none.", onfilter, keep } = {}) {
    Object.assign(this, { name, columns, empty, keep });
    this.sort = { column: sort, down: false };
    this.rows = [];
    this.known = new Map();
    this.input = h("input", {
      type: "search",
      placeholder: "Filter",
      "aria-label": `Filter ${name}`,
      value: filter,
      "data-filter": true,
      oninput: () => {
        onfilter?.(this.input.value);
        this.update();
      },
    });
    this.total = h("span", { class: "total", role: "status" });
    this.extra = h("span", { class: "extra" });
    this.head = h("thead");
    this.above = h("tr", { "aria-hidden": "true" }, h("td"));
    this.below = h("tr", { "aria-hidden": "true" }, h("td"));
    this.body = h("tbody");
    this.table = h("table", { class: "rows" }, h("caption", { class: "hidden" }, name), this.head, this.body);
    this.scroller = h("div", { class: "scroller", onscroll: () => this.paint() }, this.table);
    this.message = h("div");
    this.element = h(
      "div",
      { class: "listing" },
      h("div", { class: "tools" }, this.input, this.total, this.extra),
      this.message,
      this.scroller,
    );
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.sizes = new ResizeObserver(() => this.paint());
    this.sizes.observe(this.scroller);
    this.clock = setInterval(() => this.paint(true), 5000);
    this.objects = [];
    this.headings();
  }

  /** Ends all activity of the table. */
  close() {
    clearInterval(this.clock);
    this.sizes.disconnect();
  }

  setColumns(columns) {
    this.columns = columns;
    this.known.clear();
    this.headings();
  }

  headings() {
    const heading = (column, index) => {
      const sorted = this.sort.column === index;
      const turn = () => {
        this.sort = { column: index, down: sorted && !this.sort.down };
        this.headings();
        this.update();
        this.head.querySelectorAll("button")[index].focus();
      };
      const cell = h(
        "th",
        {
          scope: "col",
          class: classes(column),
          "aria-sort": sorted ? (this.sort.down ? "descending" : "ascending") : null,
        },
        h(
          "button",
          { type: "button", onclick: turn },
          column.title,
          h("span", { class: "order", "aria-hidden": "true" }, sorted ? (this.sort.down ? "▾" : "▴") : ""),
        ),
      );
      if (column.width) cell.style.inlineSize = column.width;
      return cell;
    };
    fill(this.head, h("tr", { "aria-rowindex": "1" }, this.columns.map(heading)));
    this.table.setAttribute("aria-colcount", this.columns.length);
  }

  /** Shows the objects of stores. */
  show(stores) {
    const failed = stores.filter((store) => store.error && !(this.keep && store.error.status === 404));
    this.objects = stores.flatMap((store) => store.values());
    this.loading = stores.some((store) => !store.complete && !store.error);
    fill(
      this.message,
      failed.slice(0, 1).map((store) => trouble(store.error)),
    );
    this.failed = failed.length > 0;
    this.update();
  }

  /** Filters and sorts. */
  update() {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (object) => {
      if (!words.length) return true;
      const text = this.columns
        .map((column) => column.value(object))
        .join(" ")
        .toLowerCase();
      return words.every((word) => text.includes(word));
    };
    const { value } = this.columns[this.sort.column] ?? this.columns[0];
    const keyed = this.objects.filter(matches).map((object) => [value(object), object]);
    const order = this.sort.down ? -1 : 1;
    keyed.sort(([a, one], [b, other]) => order * compare(a, b) || compare(one.metadata.name, other.metadata.name));
    this.rows = keyed.map(([, object]) => object);
    const all = this.objects.length;
    say(
      this.total,
      this.loading ? `${all} so far…` : this.rows.length === all ? count(all, "row") : `${this.rows.length} of ${all}`,
    );
    this.table.setAttribute("aria-rowcount", this.rows.length + 1);
    this.paint();
  }

  /** Draws the visible rows. */
  paint(ticked) {
    const from = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - SPARE);
    const height = Math.max(this.scroller.clientHeight, 600);
    const to = Math.min(this.rows.length, from + Math.ceil(height / ROW) + 2 * SPARE);
    const focused = this.body.contains(document.activeElement)
      ? document.activeElement.closest("tr")?.dataset.uid
      : null;
    const shown = [];
    const known = new Map();
    for (let index = from; index < to; index += 1) {
      const object = this.rows[index];
      const uid = object.metadata.uid;
      let row = this.known.get(uid);
      if (!row || row.object !== object) row = { object, element: this.row(object, uid), fresh: true };
      else if (ticked) this.tick(row);
      row.element.setAttribute("aria-rowindex", index + 2);
      known.set(uid, row);
      shown.push(row.element);
    }
    this.known = known;
    this.above.firstChild.style.blockSize = `${from * ROW}px`;
    this.below.firstChild.style.blockSize = `${(this.rows.length - to) * ROW}px`;
    const wanted = [this.above, ...shown, this.below];
    if (wanted.length !== this.body.children.length || wanted.some((row, index) => this.body.children[index] !== row)) {
      const top = this.scroller.scrollTop;
      fill(
        this.body,
        !this.rows.length && !this.failed && !this.loading
          ? h(
              "tr",
              null,
              h(
                "td",
                { colspan: this.columns.length },
                nothing(this.objects.length ? "Nothing matches the filter." : this.empty),
              ),
            )
          : wanted,
      );
      if (this.scroller.scrollTop !== top) this.scroller.scrollTop = top;
    }
    if (focused && !this.body.contains(document.activeElement))
      this.known.get(focused)?.element.querySelector("a, button")?.focus({ preventScroll: true });
  }

  row(object, uid) {
    const cell = (column) => {
      const content = column.cell ? column.cell(object) : column.value(object);
      const text = column.wide || !column.cell ? String(column.value(object) ?? "") : null;
      return h(
        column.main ? "th" : "td",
        { class: classes(column), scope: column.main ? "row" : null, title: text },
        content ?? "",
      );
    };
    return h("tr", { "data-uid": uid }, this.columns.map(cell));
  }

  tick({ object, element }) {
    for (const [index, column] of this.columns.entries()) {
      if (column.ticks) say(element.children[index], column.cell(object));
    }
  }

  /** Moves from row to row by the arrow keys. */
  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    const row = event.target.closest?.("tbody tr");
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    if (!row && !(event.target === this.input && step > 0)) return;
    event.preventDefault();
    const at = row ? this.rows.findIndex((object) => object.metadata.uid === row.dataset.uid) : -1;
    const next = Math.max(0, Math.min(this.rows.length - 1, at + step));
    const top = next * ROW;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + 2 * ROW > scrollTop + clientHeight) this.scroller.scrollTop = top + 2 * ROW - clientHeight;
    this.paint();
    this.known.get(this.rows[next]?.metadata.uid)?.element.querySelector("a, button")?.focus({ preventScroll: true });
  }
}

const collator = new Intl.Collator(undefined, { numeric: true });

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return collator.compare(String(a ?? ""), String(b ?? ""));
}

function classes({ rank, number, mono, wide, main }) {
  return (
    [rank && `rank${rank}`, number && "number", mono && "mono", wide && "wide", main && "main"]
      .filter(Boolean)
      .join(" ") || null
  );
}
