// An object: its details, its events, the objects that belong to it, and the actions on it.

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { age, moment } from "../format.js";
import { KINDS, listPath, objectPath, ownerOf, place, podColumns, seen } from "../kinds.js";
import { badge, button, facts, labels, link, nothing, section, table, trouble } from "../parts.js";
import { open } from "../store.js";
import { actions } from "./actions.js";
import { containers, podFacts } from "./pod.js";
import { history } from "./history.js";
import { listing } from "./lists.js";
import { logs } from "./logs.js";
import { shell } from "./shell.js";
import { specific } from "./specific.js";
import { yaml } from "./yaml.js";

/** The tabs of a kind: [word, title, view]. */
const TABS = {
  pods: [
    ["", "Details", details],
    ["logs", "Logs", logs],
    ["shell", "Shell", shell],
    ["yaml", "YAML", yaml],
  ],
};
const OTHERS = [
  ["", "Details", details],
  ["yaml", "YAML", yaml],
];

/** Kinds whose pods are found by a selector. */
const WITH_PODS = ["deployments", "statefulsets", "daemonsets", "replicasets", "jobs", "services"];

export function detail(context) {
  const { word, rest } = context;
  const kind = KINDS[word];
  const [namespace, name, tab = ""] = [rest[0] === "-" ? "" : rest[0], rest[1], rest[2]];
  const path = objectPath(kind, namespace, name);
  const tabs = TABS[word] ?? OTHERS;
  const shown = tabs.find(([one]) => one === tab) ?? tabs[0];
  const state = h("span");
  const tools = h("div", { class: "actions" });
  const body = h("div", { class: "detail" });
  // A list of one object, watched as any other. For a secret, only its metadata: its values are fetched on request.
  const store = open(listPath(kind, namespace), {
    query: { fieldSelector: `metadata.name=${name}` },
    table: word === "secrets",
  });
  const target = { word, kind, namespace, name, path, object: null, body, state, context };
  let view;
  const show = () => {
    if (store.error) return fill(body, trouble(store.error));
    if (!store.complete) return;
    const object = store.values()[0];
    if (!object) {
      fill(state, badge({ text: target.object ? "Deleted" : "Not found", tone: "off" }));
      fill(tools);
      if (!view)
        fill(body, nothing(`There is no ${kind.one} ${name}${namespace ? ` in ${namespace}` : ""} (any more).`));
      return context.ready();
    }
    if (word === "pods") fill(state, badge(podFacts(object).state));
    target.object = { apiVersion: kind.api.replace(/^apis?\//, ""), kind: kind.name, ...object };
    if (!view) {
      fill(tools, actions(target));
      view = shown[2](target) ?? {};
    }
    view.update?.(target.object);
    context.ready();
  };
  context.until(store.subscribe(show));
  context.until(() => view?.close?.());
  context.parent = parentOf(word).split("/")[0];
  context.title = `${name} · ${kind.title}`;
  return [
    h(
      "p",
      { class: "path" },
      link(`#/${parentOf(word)}`, parentTitle(word)),
      namespace && [" / ", h("span", null, namespace)],
    ),
    h("div", { class: "heading" }, h("h1", null, h("span", { class: "kind" }, kind.name), " ", name), state, tools),
    h(
      "nav",
      { class: "tabs", "aria-label": `${kind.name} ${name}` },
      tabs.map(([one, title]) =>
        link(place(word, namespace, name, one), title, { "aria-current": one === shown[0] ? "page" : null }),
      ),
    ),
    body,
  ];
}

const PARENTS = {
  deployments: "workloads",
  statefulsets: "workloads",
  daemonsets: "workloads",
  jobs: "workloads",
  cronjobs: "workloads",
  replicasets: "workloads",
  ingresses: "ingress",
  httproutes: "ingress",
  persistentvolumeclaims: "volumes",
  persistentvolumes: "volumes/persistentvolumes",
  storageclasses: "volumes/storageclasses",
  configmaps: "settings",
  secrets: "settings/secrets",
  namespaces: "overview",
};
const parentOf = (word) => PARENTS[word] ?? word;
const parentTitle = (word) =>
  ({ workloads: "Workloads", ingress: "Ingress routes", overview: "Overview" })[parentOf(word)] ?? KINDS[word].title;

/** Shows the details of any object, and more for some kinds. */
function details(target) {
  const { word, namespace, name, body, context } = target;
  const general = h("div");
  const special = h("div");
  const pods = h("div");
  const happened = h("div");
  const plots = h("div");
  fill(body, general, special, plots, pods, happened);
  if (word === "pods") history(context, plots, { namespace, pod: name });
  if (word === "nodes") history(context, plots, { node: name });
  const query = { fieldSelector: `involvedObject.name=${name},involvedObject.kind=${target.kind.name}` };
  const events = open(listPath(KINDS.events, namespace || undefined), { query });
  const paintEvents = () => {
    const all = events.values().sort((a, b) => Date.parse(seen(b)) - Date.parse(seen(a)));
    fill(
      happened,
      events.error
        ? null
        : section(
            "Events",
            all.length
              ? table(
                  "Events",
                  ["Seen", "Type", "Reason", "Message"],
                  all
                    .slice(0, 50)
                    .map((event) => [
                      age(seen(event)),
                      badge({ text: event.type, tone: event.type === "Warning" ? "bad" : "off" }),
                      event.reason,
                      event.message,
                    ]),
                )
              : nothing("Nothing happened in the last hour."),
          ),
    );
  };
  context.until(events.subscribe(paintEvents));
  let list;
  const withPods = (object) => {
    const selector = selectorOf(word, object);
    if (!selector || list) return;
    const store = open(listPath(KINDS.pods, namespace), {
      query: { [word === "nodes" ? "fieldSelector" : "labelSelector"]: selector },
    });
    list = listing(context, "Pods", podColumns, [store], { empty: "It has no pods." });
    fill(pods, section("Pods", list.element));
    list.element.classList.add("short");
  };
  return {
    update(object) {
      const { metadata } = object;
      const owner = ownerOf(object);
      fill(
        general,
        facts([
          [
            "Created",
            [moment(metadata.creationTimestamp), h("span", { class: "soft" }, ` (${age(metadata.creationTimestamp)})`)],
          ],
          ["Owner", owner && (owner.href ? link(owner.href, owner.text) : owner.text)],
          ...(word === "pods" ? podFacts(object).pairs : []),
          ...specific(word, object),
          ["Labels", labels(metadata.labels)],
          [
            "Annotations",
            labels(
              Object.fromEntries(
                Object.entries(metadata.annotations ?? {}).filter(
                  ([key]) => !key.endsWith("last-applied-configuration"),
                ),
              ),
            ),
          ],
          ["Finalizers", metadata.finalizers?.join(", ")],
        ]),
      );
      if (word === "pods") fill(special, containers(target, object));
      else if (word === "secrets") special.firstChild || fill(special, secret(target));
      else if (word === "configmaps") fill(special, section("Data", data(Object.entries(object.data ?? {}))));
      if (WITH_PODS.includes(word) || word === "nodes") withPods(object);
    },
  };
}

function selectorOf(word, object) {
  if (word === "nodes") return `spec.nodeName=${object.metadata.name}`;
  const selector = word === "services" ? { matchLabels: object.spec.selector } : object.spec.selector;
  const pairs = Object.entries(selector?.matchLabels ?? {});
  const more = (selector?.matchExpressions ?? []).map(
    ({ key, operator, values }) =>
      ({
        In: `${key} in (${values})`,
        NotIn: `${key} notin (${values})`,
        Exists: key,
        DoesNotExist: `!${key}`,
      })[operator],
  );
  return [...pairs.map(([key, value]) => `${key}=${value}`), ...more].join(",");
}

function data(entries) {
  return entries.length
    ? h(
        "div",
        { class: "data" },
        entries.map(([key, value]) =>
          h("div", null, h("h3", null, key), h("pre", { tabindex: "0", "aria-label": key }, value)),
        ),
      )
    : nothing("It is empty.");
}

/** Fetches the values of a secret on request, and drops them with the view. */
function secret(target) {
  const place = h("div");
  const ask = button("Show values", async () => {
    try {
      const { data: values = {}, type } = await get(target.path);
      const decode = (value) => new TextDecoder().decode(Uint8Array.from(atob(value), (one) => one.charCodeAt(0)));
      fill(
        place,
        facts([["Type", type]]),
        data(Object.entries(values).map(([key, value]) => [key, decode(value)])),
        button("Hide values", hide),
      );
    } catch (error) {
      fill(place, trouble(error));
    }
  });
  const hide = () => fill(place, h("p", { class: "soft" }, "The values are hidden. They were not fetched."), ask);
  hide();
  return section("Data", place);
}
