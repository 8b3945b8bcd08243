// The first view: problems, the load of the nodes, and numbers of objects.

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { age, bytes, cores, count, quantity } from "../format.js";
import { KINDS, listPath, place, seen, wordOf, workloadState } from "../kinds.js";
import { badge, link, meter, nothing, section, table, trouble } from "../parts.js";
import { podState, requests } from "../pods.js";
import { open } from "../store.js";
import { history } from "./history.js";
import { nodeState, rolesOf, sorted } from "./nodes.js";
import { LATER, problems } from "./problems.js";

/** The most problems that are shown. */
const MOST = 12;

/** The interval of requests for the load, in milliseconds: metrics-server measures every 15 s. */
const LOAD = 15000;

export function overview(context) {
  const { namespace } = context;
  const wrong = h("div", null, nothing("Looking…"));
  const nodes = h("div", null, nothing("Looking…"));
  const tiles = h("div", { class: "tiles" });
  const warnings = h("div");
  const plots = h("div");
  const stores = {
    nodes: open(listPath(KINDS.nodes)),
    pods: open(listPath(KINDS.pods, namespace)),
    deployments: open(listPath(KINDS.deployments, namespace)),
  };
  const later = {};
  const load = loads(() => paint());
  let first = true;

  function paint() {
    const { pods } = stores;
    paintTiles();
    paintProblems();
    paintNodes();
    if (first && (pods.complete || pods.error) && (stores.nodes.complete || stores.nodes.error)) {
      first = false;
      performance.mark("first-view");
      context.ready();
      requestAnimationFrame(() => setTimeout(rest));
    }
  }

  /** The parts that the first view can wait for. */
  function rest() {
    if (context.closed) return;
    for (const word of LATER) follow(later, word, open(listPath(KINDS[word], namespace)));
    follow(later, "events", open(listPath(KINDS.events, namespace), { query: { fieldSelector: "type=Warning" } }));
    load.begin(context);
    history(context, plots, namespace ? { namespace } : {});
  }

  function follow(all, word, store) {
    all[word] = store;
    context.until(store.subscribe(paint));
  }

  function paintTiles() {
    const tile = (href, title, store, tell) =>
      store &&
      !store.error &&
      h(
        "a",
        { class: "tile", href },
        h("span", { class: "big" }, store.complete ? store.items.size : `${store.items.size}…`),
        h("span", { class: "what" }, title),
        h("span", { class: "how" }, tell?.(store)),
      );
    const running = (store) => {
      const bad = store.values().filter((pod) => podState(pod).tone === "bad").length;
      return bad ? badge({ text: `${bad} not running`, tone: "bad" }) : badge({ text: "all well", tone: "good" });
    };
    const ready = (store) => {
      const states = store.values().map(workloadState);
      const number = (tone) => states.filter((state) => state.tone === tone).length;
      if (number("bad")) return badge({ text: `${number("bad")} not ready`, tone: "bad" });
      if (number("busy")) return badge({ text: `${number("busy")} rolling out`, tone: "busy" });
      return badge({ text: "all ready", tone: "good" });
    };
    const up = (store) => {
      const bad = store.values().filter((node) => nodeState(node).tone === "bad").length;
      return bad ? badge({ text: `${bad} not ready`, tone: "bad" }) : badge({ text: "all ready", tone: "good" });
    };
    fill(
      tiles,
      tile("#/nodes", "Nodes", stores.nodes, up),
      tile("#/pods", "Pods", stores.pods, running),
      tile("#/workloads", "Deployments", stores.deployments, ready),
      tile("#/services", "Services", later.services),
      tile("#/volumes", "Volume claims", later.persistentvolumeclaims),
    );
  }

  function paintProblems() {
    const { pods } = stores;
    if (pods.error) return fill(wrong, trouble(pods.error));
    const rows = problems({ ...stores, ...later }).map(({ word, object, state }) => [
      link(place(word, object.metadata.namespace, object.metadata.name), `${KINDS[word].name} ${object.metadata.name}`),
      object.metadata.namespace ?? "",
      badge(state),
      state.why ?? "",
      age(object.metadata.creationTimestamp),
    ]);
    if (!rows.length) {
      fill(
        wrong,
        pods.complete
          ? h("p", { class: "well" }, badge({ text: "Everything that should run does.", tone: "good" }))
          : nothing("Looking…"),
      );
    } else {
      fill(
        wrong,
        table("Problems", ["What", "Namespace", "Status", "Why", "Age"], rows.slice(0, MOST)),
        rows.length > MOST && h("p", null, link("#/pods", `All ${count(rows.length, "problem")}: see the pods`)),
      );
    }
    const events = (later.events?.values() ?? []).filter((event) => Date.now() - Date.parse(seen(event)) < 3600000);
    events.sort((a, b) => Date.parse(seen(b)) - Date.parse(seen(a)));
    fill(
      warnings,
      events.length > 0 &&
        section(
          "Warnings of the last hour",
          table(
            "Warnings",
            ["Object", "Reason", "Message", "Seen"],
            events.slice(0, 8).map((event) => {
              const { kind, name, namespace: where, apiVersion } = event.involvedObject;
              const word = wordOf(apiVersion ?? "v1", kind);
              return [
                word ? link(place(word, where, name), `${kind} ${name}`) : `${kind} ${name}`,
                event.reason,
                event.message,
                age(seen(event)),
              ];
            }),
          ),
          events.length > 8 && h("p", null, link("#/events", `All ${count(events.length, "warning")}`)),
        ),
    );
  }

  function paintNodes() {
    const { nodes: list, pods } = stores;
    if (list.error) return fill(nodes, trouble(list.error));
    fill(
      nodes,
      h(
        "ul",
        { class: "nodes" },
        sorted(list.values()).map((node) => nodeCard(node, pods, load.of(node.metadata.name), Boolean(namespace))),
      ),
      load.hint(),
    );
  }

  for (const store of Object.values(stores)) context.until(store.subscribe(paint));
  return [h("h1", null, "Overview"), tiles, section("Problems", wrong), section("Nodes", nodes), plots, warnings];
}

/** Shows capacity, requests of pods, and the load of a node. */
export function nodeMeters(node, pods, load) {
  const own = pods.filter(
    (pod) => pod.spec.nodeName === node.metadata.name && !["Succeeded", "Failed"].includes(pod.status?.phase),
  );
  const asked = own
    .map(requests)
    .reduce((a, b) => ({ cpu: a.cpu + b.cpu, memory: a.memory + b.memory }), { cpu: 0, memory: 0 });
  const room = node.status?.allocatable ?? {};
  return [
    meter("CPU", { now: load?.cpu, asked: asked.cpu, total: quantity(room.cpu), show: cores }),
    meter("Memory", { now: load?.memory, asked: asked.memory, total: quantity(room.memory), show: bytes }),
    h(
      "div",
      { class: "metered" },
      h("span", { class: "label" }, "Pods"),
      h("span", { class: "numbers" }, `${own.length} of ${room.pods ?? "?"}`),
    ),
  ];
}

function nodeCard(node, pods, load, partial) {
  const roles = rolesOf(node);
  return h(
    "li",
    { class: "card" },
    h("h3", null, link(place("nodes", "", node.metadata.name), node.metadata.name)),
    badge(nodeState(node)),
    h(
      "p",
      { class: "soft" },
      [roles.join(", ") || "worker", node.status?.nodeInfo?.kubeletVersion].filter(Boolean).join(" · "),
    ),
    partial
      ? nothing("Choose all namespaces to see what is requested.")
      : pods.error
        ? null
        : nodeMeters(node, pods.values(), load),
  );
}

/** Polls the load of nodes by name, as metrics cannot be watched. */
export function loads(changed) {
  let loaded = new Map();
  let missing = false;
  return {
    of: (name) => loaded.get(name),
    hint: () =>
      missing &&
      h(
        "p",
        { class: "soft" },
        "Load is not measured. To measure it, enable the addon metrics-server: ",
        h("code", null, "kcl addons enable metrics-server"),
      ),
    begin(context) {
      const look = async () => {
        try {
          const { groups } = await get("apis");
          missing = !groups.some((group) => group.name === "metrics.k8s.io");
          const { items } = missing ? { items: [] } : await get("apis/metrics.k8s.io/v1beta1/nodes");
          loaded = new Map(
            items.map((one) => [
              one.metadata.name,
              { cpu: quantity(one.usage.cpu), memory: quantity(one.usage.memory) },
            ]),
          );
        } catch (error) {
          // Its addon is starting, or this user may not see it.
          missing = error.status === 503;
        }
        if (!context.closed) changed();
      };
      look();
      const timer = setInterval(() => document.hidden || look(), LOAD);
      context.until(() => clearInterval(timer));
    },
  };
}
