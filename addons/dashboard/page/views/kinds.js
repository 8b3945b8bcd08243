// All kinds that the cluster serves, also those unknown to this page, as the API server prints them.

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { KINDS, ageColumn, apiPath, listPath, namespaceColumn, objectPath, place } from "../kinds.js";
import { facts, link, nothing, trouble } from "../parts.js";
import { open } from "../store.js";
import { ObjectTable } from "../table.js";
import { actions } from "./actions.js";
import { yaml } from "./yaml.js";

const DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/** `#/kinds`, `#/kinds/<group or core>/<version>/<plural>`, and an object below. */
export function kinds(context) {
  const [group, version, plural, namespace, name] = context.rest;
  if (!plural) return all(context);
  const apiVersion = group === "core" ? version : `${group}/${version}`;
  const body = h("div", null, nothing("Looking…"));
  find(apiVersion, plural).then(
    (kind) => {
      if (context.closed) return;
      if (!kind) fill(body, nothing("The cluster does not have this kind, or no longer."));
      else if (name) fill(body, object(context, kind, namespace === "-" ? "" : namespace, name));
      else fill(body, list(context, kind));
      context.ready();
    },
    (error) => fill(body, trouble(error)),
  );
  return [
    h(
      "p",
      { class: "path" },
      link("#/kinds", "All kinds"),
      name && [" / ", link(`#/kinds/${group}/${version}/${plural}`, plural)],
    ),
    h("h1", null, name ?? plural, " ", h("span", { class: "kind" }, name ? plural : apiVersion)),
    body,
  ];
}

async function find(apiVersion, plural) {
  const { resources } = await get(apiPath(apiVersion));
  const found = resources.find((one) => one.name === plural);
  return found && { name: found.kind, api: apiPath(apiVersion), plural, namespaced: found.namespaced, one: found.kind };
}

function all(context) {
  const body = h("div", null, nothing("Looking…"));
  const filter = h("input", {
    type: "search",
    placeholder: "Filter",
    "aria-label": "Filter kinds",
    "data-filter": true,
    oninput: () => paint(),
  });
  let groups = [];
  const paint = () => {
    const word = filter.value.toLowerCase();
    const shown = groups
      .map(([title, kinds]) => [
        title,
        kinds.filter((one) => `${one.kind} ${one.plural} ${title}`.toLowerCase().includes(word)),
      ])
      .filter(([, kinds]) => kinds.length);
    fill(
      body,
      shown.map(([title, kinds]) =>
        h(
          "section",
          { class: "group" },
          h("h2", null, title),
          h(
            "ul",
            { class: "columns" },
            kinds.map((one) => h("li", null, link(one.href, one.kind))),
          ),
        ),
      ),
      !shown.length && nothing("Nothing matches the filter."),
    );
  };
  (async () => {
    try {
      const [core, others] = await Promise.all([get("api", { accept: DISCOVERY }), get("apis", { accept: DISCOVERY })]);
      groups = [...(core.items ?? []), ...(others.items ?? [])].map((group) => {
        const version = group.versions[0];
        const own = group.metadata.name || "core";
        const kinds = (version.resources ?? [])
          .filter((one) => one.verbs.includes("list"))
          .map((one) => ({
            kind: one.responseKind.kind,
            plural: one.resource,
            href: known(own, version.version, one.resource) ?? `#/kinds/${own}/${version.version}/${one.resource}`,
          }));
        return [own === "core" ? "Core" : own, kinds];
      });
      paint();
    } catch (error) {
      fill(body, trouble(error));
    }
    context.ready();
  })();
  return [h("h1", null, "All kinds"), h("div", { class: "tools" }, filter), body];
}

/** Returns the address of a kind's own view, if it has one. */
function known(group, version, plural) {
  const own = {
    pods: "pods",
    nodes: "nodes",
    services: "services",
    events: "events",
    ingresses: "ingress",
    persistentvolumeclaims: "volumes",
    configmaps: "settings",
  }[plural];
  return own && KINDS[plural].api === apiPath(group === "core" ? version : `${group}/${version}`) ? `#/${own}` : null;
}

function list(context, kind) {
  const word = Object.keys(KINDS).find((one) => KINDS[one].plural === kind.plural && KINDS[one].api === kind.api);
  const base = `#/kinds/${context.rest.slice(0, 3).join("/")}`;
  const href = ({ metadata }) =>
    word ? place(word, metadata.namespace, metadata.name) : `${base}/${metadata.namespace ?? "-"}/${metadata.name}`;
  const columns = (definitions) =>
    [
      {
        title: "Name",
        value: (one) => one.metadata.name,
        cell: (one) => link(href(one), one.metadata.name),
        main: true,
      },
      kind.namespaced && namespaceColumn,
      ...definitions
        .map((column, index) => ({
          title: column.name,
          value: (one) => one.cells?.[index] ?? "",
          rank: 3,
          shown: column.priority === 0 && !["Name", "Age", "Created At"].includes(column.name),
        }))
        .filter((one) => one.shown),
      ageColumn,
    ].filter(Boolean);
  const table = new ObjectTable(kind.name, columns([]));
  const store = open(listPath(kind, context.namespace), { table: true });
  let known;
  context.until(
    store.subscribe(() => {
      if (known !== store.columns) {
        known = store.columns;
        table.setColumns(columns(known));
      }
      table.show([store]);
      context.ready();
    }),
  );
  context.until(() => table.close());
  return table.element;
}

function object(context, kind, namespace, name) {
  const body = h("div", { class: "detail" });
  const target = {
    word: kind.plural === "secrets" ? "secrets" : "",
    kind,
    namespace,
    name,
    path: objectPath(kind, namespace, name),
    body,
    context,
  };
  yaml(target);
  return [h("div", { class: "actions" }, actions(target)), facts([["Namespace", namespace]]), body];
}
