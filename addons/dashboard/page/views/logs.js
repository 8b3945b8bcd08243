// The log of a container: of the current one, live, or of the previous one.

import { channel, getText } from "../api.js";
import { fill, h } from "../dom.js";
import { count } from "../format.js";
import { button, trouble } from "../parts.js";

/** The numbers of lines that are requested at first, and that are kept. */
const FIRST = 1000;
const MOST = 5000;

export function logs(target) {
  const { object: pod, path, body, context } = target;
  const names = [
    ...(pod.spec.initContainers ?? []),
    ...pod.spec.containers,
    ...(pod.spec.ephemeralContainers ?? []),
  ].map((one) => one.name);
  const asked = context.rest[3];
  const usual = pod.metadata.annotations?.["kubectl.kubernetes.io/default-container"] ?? pod.spec.containers[0].name;
  const first = names.includes(asked) ? asked : usual;
  const container = h(
    "select",
    { "aria-label": "Container", onchange: () => begin() },
    names.map((name) => h("option", { value: name, selected: name === first }, name)),
  );
  const previous = box("Previous", false, () => begin());
  const times = box("Times", false, () => begin());
  const wrap = box("Wrap", true, () => output.classList.toggle("wrapped", wrap.input.checked));
  const follow = box("Follow", true, () => follow.input.checked && down());
  const filter = h("input", {
    type: "search",
    placeholder: "Filter",
    "aria-label": "Filter lines",
    "data-filter": true,
    oninput: () => paint(),
  });
  const total = h("span", { class: "total", role: "status" });
  const output = h("div", {
    class: "log wrapped",
    tabindex: "0",
    role: "log",
    "aria-live": "off",
    "aria-label": "Log",
    onscroll: scrolled,
  });
  const message = h("div");
  let lines = [];
  let waiting = [];
  let rest = "";
  let socket;
  let reading;
  let moving = false;

  function box(label, checked, onchange) {
    const input = h("input", { type: "checkbox", checked, onchange });
    return { input, element: h("label", { class: "box" }, input, label) };
  }

  function begin() {
    stop();
    lines = [];
    waiting = [];
    rest = "";
    fill(message);
    paint();
    const parameters = new URLSearchParams({ container: container.value, tailLines: FIRST });
    if (times.input.checked) parameters.set("timestamps", "true");
    if (previous.input.checked) {
      parameters.set("previous", "true");
      return read(parameters);
    }
    const decoder = new TextDecoder();
    const own = channel(`${path}/log?${parameters}&follow=true`, ["binary.k8s.io"]);
    socket = own;
    own.onopen = () => say("live");
    own.onmessage = ({ data }) => own === socket && receive(decoder.decode(data, { stream: true }));
    own.onclose = () => {
      if (own !== socket) return;
      socket = null;
      // A channel does not report its error; a request does.
      if (!lines.length && !waiting.length && !rest) return read(parameters);
      if (rest) receive("\n");
      say("the container ended");
    };
  }

  /** Reads the existing log, without following it. */
  async function read(parameters) {
    const own = {};
    reading = own;
    try {
      const text = await getText(`${path}/log?${parameters}`);
      if (own === reading) receive(text && !text.endsWith("\n") ? `${text}\n` : text);
    } catch (error) {
      if (own === reading) fill(message, trouble(error));
    }
  }

  function receive(text) {
    const parts = (rest + text).split("\n");
    rest = parts.pop();
    waiting.push(...parts);
    if (!receive.pending) {
      receive.pending = true;
      requestAnimationFrame(() => {
        receive.pending = false;
        append();
      });
    }
  }

  function append() {
    const fresh = waiting.splice(0);
    lines.push(...fresh);
    const dropped = lines.length - MOST;
    if (dropped > 0) {
      lines.splice(0, dropped);
      return paint();
    }
    output.append(...matching(fresh).map(line));
    after();
  }

  function paint() {
    fill(output, matching(lines).map(line));
    after();
  }

  function after() {
    say(socket?.readyState === WebSocket.OPEN ? "live" : "");
    if (follow.input.checked) down();
  }

  function say(more) {
    const shown = output.childElementCount;
    total.textContent = [
      shown === lines.length ? count(lines.length, "line") : `${shown} of ${count(lines.length, "line")}`,
      more,
    ]
      .filter(Boolean)
      .join(", ");
  }

  const matching = (some) => {
    const word = filter.value.toLowerCase();
    return word ? some.filter((text) => text.toLowerCase().includes(word)) : some;
  };
  // Terminal colours are removed.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal's escape sequences start with one
  const line = (text) => h("div", null, text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "") || " ");

  function down() {
    moving = true;
    output.scrollTop = output.scrollHeight;
  }

  /** Stops following when the user scrolls up, and follows again at the end. */
  function scrolled() {
    if (moving) {
      moving = false;
      return;
    }
    follow.input.checked = output.scrollTop + output.clientHeight >= output.scrollHeight - 4;
  }

  function stop() {
    const old = socket;
    socket = null;
    reading = null;
    old?.close();
  }

  const save = button(
    "Save",
    () => {
      const url = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/plain" }));
      h("a", { href: url, download: `${pod.metadata.name}-${container.value}.log` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    },
    { class: "quiet" },
  );
  fill(
    body,
    h(
      "div",
      { class: "tools" },
      container,
      filter,
      follow.element,
      previous.element,
      times.element,
      wrap.element,
      save,
      total,
    ),
    message,
    output,
  );
  body.classList.add("full");
  begin();
  return { close: stop };
}
