// Views that are tables of objects: of one kind, or of several.

import { h } from "../dom.js";
import { bytes, cores, quantity } from "../format.js";
import {
  KINDS,
  ageColumn,
  eventColumns,
  ingressColumns,
  listPath,
  nameColumn,
  namespaceColumn,
  podColumns,
  serviceColumns,
  workloadColumns,
} from "../kinds.js";
import { badge, link } from "../parts.js";
import { open } from "../store.js";
import { ObjectTable } from "../table.js";
import { nodeState, rolesOf } from "./nodes.js";
import { loads } from "./overview.js";

/** Shows a table that follows stores. */
export function listing(context, title, columns, stores, options = {}) {
  const table = new ObjectTable(title, columns, { filter: context.filter, onfilter: context.setFilter, ...options });
  const show = () => {
    table.show(stores);
    if (stores.every((store) => store.complete || store.error)) context.ready();
  };
  for (const store of stores) context.until(store.subscribe(show));
  context.until(() => table.close());
  return table;
}

const page = (title, ...content) => [h("h1", null, title), ...content];

export function pods(context) {
  return page("Pods", listing(context, "Pods", podColumns, [open(listPath(KINDS.pods, context.namespace))]).element);
}

export function workloads(context) {
  const words = ["deployments", "statefulsets", "daemonsets", "jobs", "cronjobs"];
  const stores = words.map((word) => open(listPath(KINDS[word], context.namespace)));
  return page("Workloads", listing(context, "Workloads", workloadColumns, stores).element);
}

/** An address by which node ports are reached. */
function anyNode(context, changed) {
  const nodes = open(listPath(KINDS.nodes));
  context.until(nodes.subscribe(changed));
  return () => nodes.values()[0]?.status?.addresses?.find((one) => one.type === "InternalIP")?.address;
}

export function services(context) {
  let table;
  const address = anyNode(context, () => table?.setColumns(columns) ?? table?.update());
  const columns = serviceColumns(address);
  table = listing(context, "Services", columns, [open(listPath(KINDS.services, context.namespace))]);
  return page("Services", table.element);
}

export function ingress(context) {
  const table = listing(
    context,
    "Ingress routes",
    ingressColumns,
    [open(listPath(KINDS.ingresses, context.namespace))],
    { empty: "There are no ingresses." },
  );
  const routes = listing(
    context,
    "HTTP routes",
    tableColumns([], "httproutes"),
    [open(listPath(KINDS.httproutes, context.namespace), { table: true })],
    { keep: true, empty: "There are no HTTP routes of the Gateway API." },
  );
  follow(context, routes, "httproutes");
  // Only if its definitions exist.
  const gateway = h(
    "section",
    { class: "listing", "aria-label": "Gateway API", hidden: true },
    h("h2", null, "Gateway API"),
    routes.element,
  );
  const store = open(listPath(KINDS.httproutes, context.namespace), { table: true });
  context.until(store.subscribe(() => (gateway.hidden = store.error?.status === 404)));
  return page("Ingress routes", table.element, gateway);
}

export function events(context) {
  const query = context.rest?.[0] === "warnings" ? { fieldSelector: "type=Warning" } : {};
  const table = listing(context, "Events", eventColumns, [open(listPath(KINDS.events, context.namespace), { query })]);
  table.extra.append(
    link(query.fieldSelector ? "#/events" : "#/events/warnings", query.fieldSelector ? "All events" : "Warnings only"),
  );
  return page("Events", table.element);
}

export function nodes(context) {
  const pods = open(listPath(KINDS.pods));
  let table;
  const load = loads(() => table.setColumns(columns()) ?? table.update());
  const number = (node) => pods.values().filter((pod) => pod.spec.nodeName === node.metadata.name).length;
  const used = (node, what, show) => {
    const now = load.of(node.metadata.name)?.[what];
    const total = quantity(node.status?.allocatable?.[what]);
    return now === undefined ? show(total) : `${show(now)} of ${show(total)}`;
  };
  const columns = () => [
    nameColumn(() => "nodes"),
    { title: "Status", value: (node) => nodeState(node).text, cell: (node) => badge(nodeState(node)), width: "9rem" },
    { title: "Roles", value: (node) => rolesOf(node).join(", ") || "worker", rank: 3 },
    {
      title: "Address",
      value: (node) => node.status?.addresses?.find((one) => one.type === "InternalIP")?.address ?? "",
      mono: true,
      rank: 2,
    },
    {
      title: "CPU",
      value: (node) => load.of(node.metadata.name)?.cpu ?? quantity(node.status?.allocatable?.cpu),
      cell: (node) => used(node, "cpu", cores),
      rank: 2,
    },
    {
      title: "Memory",
      value: (node) => load.of(node.metadata.name)?.memory ?? quantity(node.status?.allocatable?.memory),
      cell: (node) => used(node, "memory", bytes),
      rank: 2,
    },
    { title: "Pods", value: number, number: true, rank: 3, width: "5rem" },
    { title: "Version", value: (node) => node.status?.nodeInfo?.kubeletVersion ?? "", rank: 4 },
    ageColumn,
  ];
  table = listing(context, "Nodes", columns(), [open(listPath(KINDS.nodes))]);
  context.until(pods.subscribe(() => table.setColumns(columns()) ?? table.update()));
  load.begin(context);
  return page("Nodes", table.element);
}

/** The tones of statuses that the API server prints. */
const TONES = { Bound: "good", Available: "good", Active: "good", Released: "off", Lost: "bad", Failed: "bad" };

/** The columns that the API server proposes. */
function tableColumns(definitions, word) {
  const shown = definitions
    .map((column, index) => ({ column, index }))
    .filter(({ column }) => column.priority === 0 && !["Name", "Age"].includes(column.name));
  const of = ({ column, index }, at) => ({
    title: column.name,
    value: (object) => object.cells?.[index] ?? "",
    cell:
      column.name === "Status"
        ? (object) => badge({ text: object.cells?.[index] ?? "", tone: TONES[object.cells?.[index]] ?? "busy" })
        : null,
    number: ["integer", "number"].includes(column.type),
    rank: at && Math.min(4, at + 1),
  });
  return [nameColumn(() => word), KINDS[word].namespaced && namespaceColumn, ...shown.map(of), ageColumn].filter(
    Boolean,
  );
}

/** Gives a table the columns of its store once they are there. */
function follow(context, table, word, namespace = context.namespace) {
  const store = open(listPath(KINDS[word], namespace), { table: true });
  let known;
  context.until(
    store.subscribe(() => {
      if (known === store.columns) return;
      known = store.columns;
      table.setColumns(tableColumns(known, word));
      table.update();
    }),
  );
}

/** Shows several kinds under one title, one at a time, as the API server prints them. */
const printed = (title, words) => (context) => {
  const word = words.includes(context.rest?.[0]) ? context.rest[0] : words[0];
  const table = listing(
    context,
    KINDS[word].title,
    tableColumns([], word),
    [open(listPath(KINDS[word], context.namespace), { table: true })],
    { empty: `There are no ${KINDS[word].title.toLowerCase()}.` },
  );
  follow(context, table, word);
  const tabs = h(
    "nav",
    { class: "tabs", "aria-label": title },
    words.map((one) =>
      link(`#/${context.word}/${one}`, KINDS[one].title, { "aria-current": one === word ? "page" : null }),
    ),
  );
  return page(title, tabs, table.element);
};

export const volumes = printed("Volumes", ["persistentvolumeclaims", "persistentvolumes", "storageclasses"]);
export const settings = printed("Config", ["configmaps", "secrets"]);
