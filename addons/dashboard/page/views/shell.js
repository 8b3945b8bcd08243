// A shell in a container of a pod: exec over a channel (`v5.channel.k8s.io`: the first byte of a message names the stream).

import { ApiError, channel, post } from "../api.js";
import { fill, h } from "../dom.js";
import { button, trouble } from "../parts.js";
import { Screen, keyText } from "../term.js";

const [STDIN, STDOUT, STDERR, FAILURE, RESIZE] = [0, 1, 2, 3, 4];

/** Runs the best available shell. */
const COMMAND = ["sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash || exec sh"];

export function shell(target) {
  const { object: pod, path, namespace, name, body } = target;
  const names = [...pod.spec.containers, ...(pod.spec.ephemeralContainers ?? [])].map((one) => one.name);
  const container = h(
    "select",
    { "aria-label": "Container" },
    names.map((one) => h("option", { value: one }, one)),
  );
  const state = h("span", { class: "total", role: "status" });
  const again = button("Open a shell", begin, { class: "primary" });
  const message = h("div");
  const rows = h("div", { class: "screen", "aria-hidden": "true" });
  const input = h("textarea", {
    class: "typed",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    "aria-label": `Terminal of ${name}. Ctrl+Shift+Left leaves it.`,
  });
  const heard = h("div", { class: "hidden", role: "log", "aria-live": "polite", "aria-label": "Output" });
  const terminal = h(
    "div",
    { class: "terminal", onclick: () => String(getSelection()) || input.focus() },
    rows,
    input,
    heard,
  );
  const probe = h("span", { class: "probe", "aria-hidden": "true" }, "0".repeat(50));
  let socket;
  let screen;

  function size() {
    terminal.append(probe);
    const { width, height } = probe.getBoundingClientRect();
    probe.remove();
    const room = terminal.clientWidth - 24;
    return [
      Math.max(20, Math.floor(room / (width / 50 || 8))),
      Math.max(5, Math.floor((terminal.clientHeight - 20) / (height || 18))),
    ];
  }

  async function begin() {
    end();
    fill(message);
    again.disabled = true;
    const [columns, lines] = size();
    screen = new Screen(columns, lines, (text) => send(STDIN, text));
    paint();
    state.textContent = "connecting…";
    try {
      await allowed();
    } catch (error) {
      again.disabled = false;
      state.textContent = "";
      return fill(message, trouble(error));
    }
    const parameters = new URLSearchParams({ container: container.value, stdin: "true", stdout: "true", tty: "true" });
    for (const word of COMMAND) parameters.append("command", word);
    const own = channel(`${path}/exec?${parameters}`, ["v5.channel.k8s.io", "v4.channel.k8s.io"]);
    socket = own;
    const decoder = new TextDecoder();
    let why = "";
    own.onopen = () => {
      state.textContent = "connected";
      resized();
      input.focus();
    };
    own.onmessage = ({ data }) => {
      const bytes = new Uint8Array(data);
      const text = decoder.decode(bytes.subarray(1), { stream: true });
      if (bytes[0] === STDOUT || bytes[0] === STDERR) {
        screen.write(text);
        tell(text);
        later();
      } else if (bytes[0] === FAILURE) why = failure(new TextDecoder().decode(bytes.subarray(1)));
    };
    own.onclose = () => {
      if (own !== socket) return;
      again.disabled = false;
      state.textContent = why ? "" : "the shell has ended";
      if (why) fill(message, trouble(new ApiError(500, why)));
      else if (!screen.lines.some((line) => line.some((cell) => cell.text !== " ")))
        state.textContent = "it was closed before anything came";
    };
  }

  /** Finds out why a channel was refused, which the channel does not say. */
  async function allowed() {
    const review = await post("apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SelfSubjectAccessReview",
      spec: { resourceAttributes: { namespace, verb: "create", resource: "pods", subresource: "exec", name } },
    });
    if (!review.status.allowed)
      throw new ApiError(
        403,
        `You have no right to run commands in pods of ${namespace} (create pods/exec). ${review.status.reason ?? ""}`,
      );
  }

  function failure(text) {
    try {
      const status = JSON.parse(text);
      const code = status.details?.causes?.find((one) => one.reason === "ExitCode")?.message;
      if (status.status === "Success" || code)
        return code && code !== "0" && code !== "130" && code !== "127"
          ? `The shell ended with exit code ${code}.`
          : code === "127"
            ? "This container has no shell."
            : "";
      return status.message;
    } catch {
      return text;
    }
  }

  function send(stream, text) {
    if (socket?.readyState !== WebSocket.OPEN) return;
    const bytes = new TextEncoder().encode(text);
    const message = new Uint8Array(bytes.length + 1);
    message[0] = stream;
    message.set(bytes, 1);
    socket.send(message);
  }

  function resized() {
    if (!screen) return;
    const [columns, lines] = size();
    screen.resize(columns, lines);
    send(RESIZE, JSON.stringify({ Width: columns, Height: lines }));
    paint();
  }

  /** Passes output to screen readers, without control sequences. */
  function tell(text) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal's controls are to be removed
    const plain = text.replace(/\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|.)/g, "").replace(/[\x00-\x09\x0b-\x1f]/g, "");
    if (!plain.trim()) return;
    heard.append(h("div", null, plain));
    while (heard.childElementCount > 40) heard.firstChild.remove();
  }

  function later() {
    if (later.pending) return;
    later.pending = true;
    requestAnimationFrame(() => {
      later.pending = false;
      paint();
    });
  }

  function paint() {
    const at = rows.scrollTop + rows.clientHeight >= rows.scrollHeight - 30;
    const past = screen.other ? [] : screen.history.slice(-500);
    fill(rows, [
      ...past.map((line) => row(line, -1)),
      ...screen.lines.map((line, y) => row(line, screen.cursor && y === screen.y ? screen.x : -1)),
    ]);
    if (at) rows.scrollTop = rows.scrollHeight;
  }

  function row(line, cursor) {
    const spans = [];
    let text = "";
    let style = "";
    const flush = () => {
      if (text) spans.push(style ? h("span", { class: style }, text) : text);
      text = "";
    };
    let end = line.length;
    while (end > 0 && line[end - 1].text === " " && !line[end - 1].style && end - 1 > cursor) end -= 1;
    for (let x = 0; x < end; x += 1) {
      const now = x === cursor ? `${line[x].style} cursor` : line[x].style;
      if (now !== style) {
        flush();
        style = now;
      }
      text += line[x].text;
    }
    flush();
    return h("div", null, spans.length ? spans : " ");
  }

  function end() {
    const old = socket;
    socket = null;
    old?.close();
  }

  input.addEventListener("keydown", (event) => {
    // The way out without a mouse: all other keys are the program's.
    if (event.ctrlKey && event.shiftKey && event.key === "ArrowLeft") {
      event.preventDefault();
      return container.focus();
    }
    if (event.isComposing) return;
    const text = keyText(event, screen?.application);
    if (text === null) return;
    event.preventDefault();
    event.stopPropagation();
    send(STDIN, text);
    rows.scrollTop = rows.scrollHeight;
  });
  input.addEventListener("input", () => {
    // Text that was typed, composed or pasted.
    send(STDIN, input.value.replace(/\n/g, "\r"));
    input.value = "";
  });
  const sizes = new ResizeObserver(() => resized());
  fill(
    body,
    h(
      "div",
      { class: "tools" },
      container,
      again,
      state,
      h("span", { class: "soft" }, "Ctrl+Shift+← leaves the terminal"),
    ),
    message,
    terminal,
  );
  body.classList.add("full");
  if (pod.status?.phase === "Running") begin();
  else state.textContent = "the pod does not run";
  container.addEventListener("change", begin);
  sizes.observe(terminal);
  return {
    close() {
      sizes.disconnect();
      end();
    },
  };
}
