// What is wrong in the cluster, and why: a pure function of the lists.

import { KINDS, workloadState } from "../kinds.js";
import { podState } from "../pods.js";
import { nodeState } from "./nodes.js";

/** The lists in which problems are looked for, beside nodes, pods and deployments. */
export const LATER = [
  "statefulsets",
  "daemonsets",
  "jobs",
  "persistentvolumeclaims",
  "storageclasses",
  "ingresses",
  "services",
];

/** The annotation of the class for claims that name none. */
const DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class";

/**
 * Returns the problems that the lists show, each as { word, object, state }: nodes first, then workloads with the reason of
 * their pods, pods that no workload accounts for, and what leads nowhere. `stores` are lists by the words of their kinds; one
 * that is missing or not complete shows no problem.
 */
export function problems(stores) {
  const values = (word) => stores[word]?.values() ?? [];
  const complete = (word) => stores[word]?.complete && !stores[word].error;
  const found = [];
  const add = (word, object, state) => found.push({ word, object, state });

  for (const node of values("nodes")) {
    const state = nodeState(node);
    if (state.tone === "bad") add("nodes", node, state);
  }

  const groups = alike(values("pods"));
  for (const word of ["deployments", "statefulsets", "daemonsets", "jobs"]) {
    for (const object of values(word)) {
      const state = workloadState(object);
      if (state.tone !== "bad") continue;
      const own = groups.find((group) => !group.told && belongs(group.pod, KINDS[word].name, object.metadata.name));
      if (own) own.told = true;
      const text = word === "jobs" ? state.text : `${state.ready} of ${state.wanted} ready`;
      add(word, object, { ...state, text, why: state.why || (own && `${own.state.text}: ${own.state.why}`) });
    }
  }
  for (const { pod, state, others, told } of groups) {
    if (!told) add("pods", pod, others ? { ...state, text: `${state.text}, and ${others} more` } : state);
  }

  for (const claim of values("persistentvolumeclaims")) {
    const phase = claim.status?.phase;
    if (phase === "Lost")
      add("persistentvolumeclaims", claim, { text: "Lost", tone: "bad", why: "its volume is gone" });
    if (phase === "Pending" && !claim.spec.volumeName && complete("storageclasses")) {
      const why = classMissing(claim.spec.storageClassName, values("storageclasses"));
      if (why) add("persistentvolumeclaims", claim, { text: "Pending", tone: "bad", why });
    }
  }

  if (complete("services")) {
    const services = new Set(values("services").map(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
    for (const ingress of values("ingresses")) {
      const missing = backends(ingress).filter((name) => !services.has(`${ingress.metadata.namespace}/${name}`));
      const why = `there is no service ${missing.join(", ")}`;
      if (missing.length) add("ingresses", ingress, { text: "Leads nowhere", tone: "bad", why });
    }
  }
  return found;
}

/** Lists pods that do not run, the youngest first; one for each owner and reason. */
function alike(pods) {
  const groups = new Map();
  for (const pod of pods) {
    const state = podState(pod);
    if (state.tone !== "bad") continue;
    const key = `${pod.metadata.ownerReferences?.[0]?.uid ?? pod.metadata.uid} ${state.text}`;
    const group = groups.get(key);
    if (group) group.others += 1;
    else groups.set(key, { pod, state, others: 0, told: false });
  }
  const since = ({ pod }) => Date.parse(pod.metadata.creationTimestamp);
  return [...groups.values()].sort((a, b) => since(b) - since(a));
}

/** Returns true if a workload owns the pod; a Deployment does so through a ReplicaSet with the pod's hash in its name. */
function belongs(pod, kind, name) {
  const owner = pod.metadata.ownerReferences?.find((one) => one.controller);
  if (!owner) return false;
  if (kind !== "Deployment") return owner.kind === kind && owner.name === name;
  return owner.kind === "ReplicaSet" && owner.name === `${name}-${pod.metadata.labels?.["pod-template-hash"]}`;
}

function classMissing(name, classes) {
  // An empty name asks for a volume that somebody makes by hand.
  if (name === "") return null;
  if (name) return classes.some((one) => one.metadata.name === name) ? null : `there is no storage class ${name}`;
  const standard = classes.some((one) => one.metadata.annotations?.[DEFAULT_CLASS] === "true");
  return standard ? null : "it names no storage class, and there is no default one";
}

/** Returns the names of the services to which an ingress leads. */
function backends({ spec }) {
  const all = (spec.rules ?? []).flatMap((rule) => (rule.http?.paths ?? []).map((path) => path.backend));
  const names = [spec.defaultBackend, ...all].map((backend) => backend?.service?.name).filter(Boolean);
  return [...new Set(names)];
}
