// An object as YAML, to read and to edit. The API server converts it; the page does not parse it.

import { ask, getText } from "../api.js";
import { announce, fill, h } from "../dom.js";
import { button, trouble } from "../parts.js";

export function yaml(target) {
  const { path, body, kind, name, word } = target;
  const place = h("div", { class: "editor" });
  fill(body, place);
  if (word === "secrets") {
    fill(place, h("p", { class: "soft" }, "The YAML of a secret contains its values."), button("Show it", load));
  } else {
    load();
  }

  async function load() {
    let text;
    try {
      text = withoutManagers(await getText(path, { accept: "application/yaml" }));
    } catch (error) {
      return fill(place, trouble(error));
    }
    const area = h("textarea", {
      class: "code",
      spellcheck: "false",
      autocomplete: "off",
      autocapitalize: "off",
      "aria-label": `YAML of ${name}`,
      value: text,
      oninput: check,
    });
    const message = h("div");
    const save = button("Save", write, { class: "primary", disabled: true });
    const back = button("Reload", load, { class: "quiet" });
    function check() {
      save.disabled = area.value === text;
    }
    async function write() {
      save.disabled = true;
      fill(message);
      try {
        // With the version that was read, so that changes made since are not overwritten.
        const done = await ask(`${path}?fieldManager=kcl-console`, {
          method: "PUT",
          body: area.value,
          type: "application/yaml",
          accept: "application/yaml",
        });
        text = withoutManagers(await done.text());
        area.value = text;
        announce(`${kind.name} ${name} is saved.`);
      } catch (error) {
        fill(message, trouble(error));
        check();
      }
    }
    fill(place, message, area, h("div", { class: "actions" }, save, back));
  }
}

/** Removes the managed fields, which are noise to a reader; the API server keeps them. */
export function withoutManagers(text) {
  const kept = [];
  let within = false;
  for (const line of text.split("\n")) {
    if (line === "  managedFields:") within = true;
    else if (within && !/^ {2}(- | {2})/.test(line)) within = false;
    if (!within) kept.push(line);
  }
  return kept.join("\n");
}
