// Addons, with a switch for each.

import { get, post } from "../api.js";
import { announce, fill, h } from "../dom.js";
import { dialog } from "../dialog.js";
import { badge, button, nothing, trouble } from "../parts.js";

export function addons(context) {
  const place = h("div", null, nothing("Looking…"));
  const busy = new Map();

  async function look() {
    try {
      const { items } = await get("console/addons");
      if (!context.closed) paint(items);
    } catch (error) {
      fill(place, trouble(error));
    }
    context.ready();
  }

  function paint(items) {
    fill(
      place,
      items.length
        ? h(
            "ul",
            { class: "addons" },
            items.map((one) => card(one, items)),
          )
        : nothing("This kcl has no addons."),
    );
  }

  function card(addon, items) {
    const working = busy.get(addon.name);
    const turn = button(addon.enabled ? "Disable" : "Enable", () => change(addon, items), {
      disabled: Boolean(working),
      "aria-label": `${addon.enabled ? "Disable" : "Enable"} ${addon.name}`,
    });
    const state = working
      ? { text: working, tone: "busy" }
      : addon.enabled
        ? { text: "On", tone: "good" }
        : { text: "Off", tone: "off" };
    return h(
      "li",
      { class: "card" },
      h("h2", null, addon.name),
      badge(state),
      h("p", null, addon.title),
      h(
        "p",
        { class: "soft" },
        [addon.version, addon.needs.length && `needs ${addon.needs.join(", ")}`].filter(Boolean).join(" · "),
      ),
      turn,
    );
  }

  async function change(addon, items) {
    const verb = addon.enabled ? "disable" : "enable";
    if (addon.enabled) {
      const sure = await dialog(
        `Disable ${addon.name}?`,
        h("p", null, "Everything that it created in the cluster is removed. Your volumes are kept."),
        { go: "Disable", danger: true, work: async () => true },
      );
      if (!sure) return;
    }
    busy.set(addon.name, addon.enabled ? "Switching off…" : "Switching on…");
    paint(items);
    try {
      await post(`console/addons/${addon.name}/${verb}`, {});
      announce(`${addon.name} is ${addon.enabled ? "off" : "on"}.`);
    } catch (error) {
      await dialog(`${addon.name} could not be ${verb}d`, h("p", { class: "words" }, error.message));
    }
    busy.delete(addon.name);
    look();
  }

  look();
  return [h("h1", null, "Addons"), place];
}
