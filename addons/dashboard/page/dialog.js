// Dialogs: the browser's own, which keep the focus, close by Escape and give the focus back.

import { h } from "./dom.js";
import { button, trouble } from "./parts.js";

/**
 * Opens a dialog. The main button calls `work` with the form's values; the dialog closes when that succeeds, and shows its
 * error otherwise. If `work` returns nothing, the dialog stays open.
 * Resolves to what `work` returns, or to undefined if the user cancels.
 */
export function dialog(title, content, { go = "OK", danger = false, wide = false, work, allowed } = {}) {
  return new Promise((resolve) => {
    let result;
    const failed = h("div");
    const main = h("button", { type: "submit", class: danger ? "danger" : "primary" }, go);
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", { id: "dialog-title" }, title),
      content,
      failed,
      h(
        "div",
        { class: "actions" },
        button(work ? "Cancel" : "Close", () => element.close()),
        work && main,
      ),
    );
    const element = h("dialog", { class: wide ? "large" : null, "aria-labelledby": "dialog-title" }, form);
    const check = () => (main.disabled = allowed ? !allowed(values(form)) : false);
    form.addEventListener("input", check);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!work) return element.close();
      main.disabled = true;
      failed.replaceChildren();
      try {
        result = await work(values(form));
        if (result !== undefined) return element.close();
        check();
      } catch (error) {
        failed.replaceChildren(trouble(error));
        check();
      }
    });
    element.addEventListener("close", () => {
      element.remove();
      resolve(result);
    });
    document.body.append(element);
    check();
    element.showModal();
  });
}

const values = (form) => Object.fromEntries(new FormData(form));

/** Makes a field with its label. */
export function field(label, input, hint) {
  return h("label", { class: "line" }, h("span", null, label), input, hint && h("small", null, hint));
}

/** Asks for the name before something is deleted. */
export function confirmByName(what, name, consequence, work) {
  const input = h("input", { name: "name", autocomplete: "off", spellcheck: "false", autofocus: true });
  return dialog(
    `Delete ${what}?`,
    [h("p", null, consequence), field(["To confirm, type ", h("code", null, name)], input)],
    {
      go: "Delete",
      danger: true,
      allowed: (given) => given.name === name,
      work,
    },
  );
}
