// The kinds that views know by name: their paths at the API server, and the columns of their tables.

import { age, count } from "./format.js";
import { podState, readiness, restarts } from "./pods.js";
import { badge, external, link } from "./parts.js";

const kind = (name, api, plural, title, one, namespaced = true) => ({ name, api, plural, title, one, namespaced });

/** The kinds, by their words in addresses. */
export const KINDS = {
  pods: kind("Pod", "api/v1", "pods", "Pods", "pod"),
  nodes: kind("Node", "api/v1", "nodes", "Nodes", "node", false),
  services: kind("Service", "api/v1", "services", "Services", "service"),
  events: kind("Event", "api/v1", "events", "Events", "event"),
  configmaps: kind("ConfigMap", "api/v1", "configmaps", "Config maps", "config map"),
  secrets: kind("Secret", "api/v1", "secrets", "Secrets", "secret"),
  namespaces: kind("Namespace", "api/v1", "namespaces", "Namespaces", "namespace", false),
  persistentvolumeclaims: kind("PersistentVolumeClaim", "api/v1", "persistentvolumeclaims", "Claims", "claim"),
  persistentvolumes: kind("PersistentVolume", "api/v1", "persistentvolumes", "Volumes", "volume", false),
  storageclasses: kind("StorageClass", "apis/storage.k8s.io/v1", "storageclasses", "Classes", "storage class", false),
  deployments: kind("Deployment", "apis/apps/v1", "deployments", "Deployments", "deployment"),
  statefulsets: kind("StatefulSet", "apis/apps/v1", "statefulsets", "Stateful sets", "stateful set"),
  daemonsets: kind("DaemonSet", "apis/apps/v1", "daemonsets", "Daemon sets", "daemon set"),
  replicasets: kind("ReplicaSet", "apis/apps/v1", "replicasets", "Replica sets", "replica set"),
  jobs: kind("Job", "apis/batch/v1", "jobs", "Jobs", "job"),
  cronjobs: kind("CronJob", "apis/batch/v1", "cronjobs", "Cron jobs", "cron job"),
  ingresses: kind("Ingress", "apis/networking.k8s.io/v1", "ingresses", "Ingresses", "ingress"),
  httproutes: kind("HTTPRoute", "apis/gateway.networking.k8s.io/v1", "httproutes", "HTTP routes", "HTTP route"),
};

/** Returns the word for a kind in addresses; a generic one if views do not know it. */
export function wordOf(apiVersion, name) {
  const api = apiPath(apiVersion);
  return Object.keys(KINDS).find((word) => KINDS[word].name === name && KINDS[word].api === api);
}

/** "v1" is below "api", "apps/v1" below "apis". */
export const apiPath = (apiVersion) => (apiVersion.includes("/") ? `apis/${apiVersion}` : `api/${apiVersion}`);

/** Returns the path of a list, of one namespace or of all. */
export function listPath({ api, plural, namespaced }, namespace) {
  return namespaced && namespace ? `${api}/namespaces/${namespace}/${plural}` : `${api}/${plural}`;
}

/** Returns the path of an object. */
export function objectPath({ api, plural, namespaced }, namespace, name) {
  return `${namespaced ? `${api}/namespaces/${namespace}` : api}/${plural}/${name}`;
}

/** Returns the address of an object in this page. */
export const place = (word, namespace, name, tab) => `#/${word}/${namespace || "-"}/${name}${tab ? `/${tab}` : ""}`;

/** Returns the address of an object's owner, if views know its kind. */
export function ownerOf(object) {
  const owner = object.metadata.ownerReferences?.find((one) => one.controller) ?? object.metadata.ownerReferences?.[0];
  if (!owner) return null;
  const word = wordOf(owner.apiVersion, owner.kind);
  return { text: `${owner.kind} ${owner.name}`, href: word && place(word, object.metadata.namespace, owner.name) };
}

/** The column with the name, which leads to the details. */
export const nameColumn = (word) => ({
  title: "Name",
  value: (object) => object.metadata.name,
  cell: (object) => link(place(word(object), object.metadata.namespace, object.metadata.name), object.metadata.name),
  main: true,
});

export const namespaceColumn = {
  title: "Namespace",
  value: (object) => object.metadata.namespace ?? "",
  rank: 2,
  width: "10rem",
};

export const ageColumn = {
  title: "Age",
  value: (object) => -Date.parse(object.metadata.creationTimestamp),
  cell: (object) => age(object.metadata.creationTimestamp),
  ticks: true,
  width: "5rem",
  rank: 2,
};

export const podColumns = [
  nameColumn(() => "pods"),
  namespaceColumn,
  { title: "Status", value: (pod) => podState(pod).text, cell: (pod) => badge(podState(pod)), width: "12.5rem" },
  { title: "Ready", value: readiness, width: "5.5rem", rank: 3 },
  { title: "Restarts", value: restarts, number: true, width: "7rem", rank: 3 },
  {
    title: "Node",
    value: (pod) => pod.spec.nodeName ?? "",
    width: "9rem",
    rank: 3,
    cell: (pod) => pod.spec.nodeName && link(place("nodes", "", pod.spec.nodeName), pod.spec.nodeName),
  },
  { title: "Address", value: (pod) => pod.status?.podIP ?? "", width: "8.5rem", rank: 4, mono: true },
  ageColumn,
];

/** Returns the status of a workload: { ready, wanted, text, tone }. */
export function workloadState(object) {
  const { kind: name, spec = {}, status = {} } = object;
  const of = (ready, wanted) => ({
    ready,
    wanted,
    text: wanted === 0 ? "Scaled to 0" : ready >= wanted ? "Ready" : "Not ready",
    tone: wanted === 0 ? "off" : ready >= wanted ? "good" : "bad",
  });
  switch (name) {
    case "DaemonSet":
      return rolling(object, of(status.numberReady ?? 0, status.desiredNumberScheduled ?? 0));
    case "Job": {
      const done = status.succeeded ?? 0;
      const wanted = spec.completions ?? 1;
      const failed = (status.conditions ?? []).find((one) => one.type === "Failed" && one.status === "True");
      if (failed) return { ready: done, wanted, text: "Failed", tone: "bad", why: failed.message };
      return done >= wanted
        ? { ready: done, wanted, text: "Complete", tone: "off" }
        : { ready: done, wanted, text: "Running", tone: "busy" };
    }
    case "CronJob":
      return { text: spec.suspend ? "Suspended" : `At ${spec.schedule}`, tone: spec.suspend ? "off" : "good" };
    default: {
      const state = of(status.readyReplicas ?? 0, spec.replicas ?? 1);
      const stuck = (status.conditions ?? []).find((one) => one.type === "Progressing" && one.status === "False");
      return stuck ? { ...state, why: stuck.message } : rolling(object, state);
    }
  }
}

/** A workload that is young, or whose controller has not seen its last change, is not ready yet rather than bad. */
function rolling(object, state) {
  const young = Date.parse(object.metadata.creationTimestamp) > Date.now() - 60000;
  const unseen = object.status?.observedGeneration < object.metadata.generation;
  return state.tone === "bad" && (young || unseen) ? { ...state, text: "Rolling out", tone: "busy" } : state;
}

const images = (object) => {
  const spec = object.kind === "CronJob" ? object.spec.jobTemplate.spec : object.spec;
  return spec.template.spec.containers.map((one) => one.image).join(", ");
};

export const workloadColumns = [
  nameColumn((object) => wordOf(object.apiVersion, object.kind)),
  namespaceColumn,
  { title: "Kind", value: (object) => object.kind, width: "8.5rem", rank: 2 },
  {
    title: "Status",
    value: (object) => workloadState(object).text,
    cell: (object) => badge(workloadState(object)),
    width: "10rem",
  },
  {
    title: "Ready",
    value: (object) => workloadState(object).ready ?? -1,
    width: "5.5rem",
    rank: 3,
    cell: (object) =>
      workloadState(object).wanted === undefined
        ? ""
        : `${workloadState(object).ready}/${workloadState(object).wanted}`,
  },
  { title: "Images", value: images, rank: 4 },
  ageColumn,
];

/** Returns the URLs that reach a service from outside of the cluster; `address` is of any node. */
export function serviceUrls(service, address) {
  const web = (port) => (port.name?.startsWith("https") || port.port === 443 ? "https" : "http");
  const urls = [];
  const tcp = (service.spec.ports ?? []).filter((port) => (port.protocol ?? "TCP") === "TCP");
  for (const { ip, hostname } of service.status?.loadBalancer?.ingress ?? []) {
    for (const port of tcp) urls.push(`${web(port)}://${ip ?? hostname}:${port.port}`);
  }
  for (const port of tcp)
    if (port.nodePort && address && !urls.length) urls.push(`${web(port)}://${address}:${port.nodePort}`);
  return urls.map((url) => url.replace(/^(http:.*):80$/, "$1").replace(/^(https:.*):443$/, "$1"));
}

const ports = (service) =>
  (service.spec.ports ?? [])
    .map((port) => `${port.port}${port.nodePort ? `:${port.nodePort}` : ""}/${port.protocol ?? "TCP"}`)
    .join(", ");

export const serviceColumns = (address) => [
  nameColumn(() => "services"),
  namespaceColumn,
  { title: "Type", value: (service) => service.spec.type, width: "8rem", rank: 2 },
  {
    title: "URLs",
    value: (service) => serviceUrls(service, address()).join(" "),
    cell: (service) => serviceUrls(service, address()).map(external),
  },
  {
    title: "Cluster IP",
    value: (service) => (service.spec.clusterIP === "None" ? "headless" : (service.spec.clusterIP ?? "")),
    width: "9rem",
    rank: 3,
    mono: true,
  },
  { title: "Ports", value: ports, rank: 4, width: "12rem", mono: true },
  ageColumn,
];

/** Returns the routes of an ingress: [{ url, text, to }]. */
export function ingressRoutes(ingress) {
  const secure = new Set((ingress.spec.tls ?? []).flatMap((one) => one.hosts ?? []));
  const at = ingress.status?.loadBalancer?.ingress?.[0];
  const routes = [];
  for (const rule of ingress.spec.rules ?? []) {
    for (const { path = "/", backend } of rule.http?.paths ?? []) {
      const host = rule.host ?? at?.ip ?? at?.hostname;
      const url = host && !host.startsWith("*") ? `${secure.has(rule.host) ? "https" : "http"}://${host}${path}` : null;
      const { service, resource } = backend;
      routes.push({
        url,
        text: `${rule.host ?? "*"}${path}`,
        to: service ? `${service.name}:${service.port?.name ?? service.port?.number}` : (resource?.name ?? ""),
      });
    }
  }
  return routes;
}

export const ingressColumns = [
  nameColumn(() => "ingresses"),
  namespaceColumn,
  { title: "Class", value: (one) => one.spec.ingressClassName ?? "", width: "8rem", rank: 3 },
  {
    title: "Routes",
    value: (one) =>
      ingressRoutes(one)
        .map((route) => route.text)
        .join(" "),
    cell: (one) =>
      ingressRoutes(one)
        .slice(0, 2)
        .map((route) => (route.url ? external(route.url) : route.text)),
  },
  {
    title: "To",
    value: (one) =>
      ingressRoutes(one)
        .map((route) => route.to)
        .join(" "),
    width: "12rem",
    rank: 2,
    cell: (one) =>
      ingressRoutes(one).length > 2
        ? count(ingressRoutes(one).length, "route")
        : ingressRoutes(one)
            .map((route) => route.to)
            .join(", "),
  },
  {
    title: "Address",
    value: (one) => (one.status?.loadBalancer?.ingress ?? []).map((at) => at.ip ?? at.hostname).join(", "),
    width: "9rem",
    rank: 3,
    mono: true,
  },
  ageColumn,
];

/** Returns the time of an event's last occurrence. */
export const seen = (event) =>
  event.series?.lastObservedTime ?? event.lastTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp;

export const eventColumns = [
  {
    title: "Seen",
    value: (event) => -Date.parse(seen(event)),
    cell: (event) => age(seen(event)),
    ticks: true,
    width: "5rem",
  },
  {
    title: "Type",
    value: (event) => event.type,
    cell: (event) => badge({ text: event.type, tone: event.type === "Warning" ? "bad" : "off" }),
    width: "7.5rem",
  },
  { title: "Reason", value: (event) => event.reason, width: "10rem", rank: 2 },
  {
    title: "Object",
    value: (event) => `${event.involvedObject.kind} ${event.involvedObject.name}`,
    main: true,
    rank: 2,
    width: "15rem",
    cell: (event) => {
      const { apiVersion, kind: name, namespace, name: own } = event.involvedObject;
      const word = wordOf(apiVersion ?? "v1", name);
      const text = `${name} ${own}`;
      return word ? link(place(word, namespace, own), text) : text;
    },
  },
  namespaceColumn,
  { title: "Message", value: (event) => event.message ?? "", wide: true },
  { title: "Times", value: (event) => event.series?.count ?? event.count ?? 1, number: true, width: "5.5rem", rank: 3 },
];
