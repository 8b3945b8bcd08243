// The containers of a pod: their state and their limits.

import { h } from "../dom.js";
import { age } from "../format.js";
import { place } from "../kinds.js";
import { badge, link, section, table } from "../parts.js";
import { podState } from "../pods.js";

export function podFacts(pod) {
  const state = podState(pod);
  return {
    state,
    pairs: [
      ["Why", state.why],
      ["Node", pod.spec.nodeName && link(place("nodes", "", pod.spec.nodeName), pod.spec.nodeName)],
      ["Address", pod.status?.podIP],
      ["Service account", pod.spec.serviceAccountName],
      ["Quality of service", pod.status?.qosClass],
      ["Volumes", volumes(pod)],
    ],
  };
}

function volumes(pod) {
  const shown = (pod.spec.volumes ?? []).filter((one) => !one.projected || !one.name.startsWith("kube-api-access"));
  return shown.length
    ? h(
        "ul",
        { class: "lines" },
        shown.map((one) => h("li", null, `${one.name}: `, source(pod, one))),
      )
    : null;
}

function source(pod, { name, ...rest }) {
  const [type, value] = Object.entries(rest)[0] ?? ["emptyDir", {}];
  const word = { persistentVolumeClaim: "persistentvolumeclaims", configMap: "configmaps", secret: "secrets" }[type];
  const target = value.claimName ?? value.secretName ?? value.name;
  return word
    ? link(place(word, pod.metadata.namespace, target), `${type} ${target}`)
    : `${type}${value.path ? ` ${value.path}` : ""}`;
}

function state(status) {
  const { waiting, running, terminated } = status?.state ?? {};
  if (running)
    return {
      text: status.ready ? "Running" : "Not ready",
      tone: status.ready ? "good" : "busy",
      when: `for ${age(running.startedAt)}`,
    };
  if (terminated)
    return {
      text: terminated.reason ?? "Ended",
      tone: terminated.exitCode === 0 ? "off" : "bad",
      when: `exit code ${terminated.exitCode}, ${age(terminated.finishedAt)} ago`,
    };
  return {
    text: waiting?.reason ?? "Waiting",
    tone: ["ContainerCreating", "PodInitializing", undefined].includes(waiting?.reason) ? "busy" : "bad",
    when: waiting?.message ?? "",
  };
}

function before(status) {
  const last = status?.lastState?.terminated;
  return last
    ? h("div", { class: "soft" }, `before: ${last.reason}, exit code ${last.exitCode}, ${age(last.finishedAt)} ago`)
    : null;
}

const limits = ({ resources = {} }) =>
  ["cpu", "memory"]
    .map((what) => `${what} ${resources.requests?.[what] ?? "–"} / ${resources.limits?.[what] ?? "–"}`)
    .join(", ");

export function containers({ namespace, name }, pod) {
  const { spec, status = {} } = pod;
  const all = [
    ...(spec.initContainers ?? []).map((one) => [one, status.initContainerStatuses, "first"]),
    ...spec.containers.map((one) => [one, status.containerStatuses, ""]),
    ...(spec.ephemeralContainers ?? []).map((one) => [one, status.ephemeralContainerStatuses, "for a look"]),
  ];
  const rows = all.map(([container, statuses, note]) => {
    const found = statuses?.find((one) => one.name === container.name);
    const now = state(found);
    return [
      [container.name, note && h("span", { class: "soft" }, ` (${note})`)],
      [badge(now), " ", h("span", { class: "soft" }, now.when), before(found)],
      String(found?.restartCount ?? 0),
      h("code", null, container.image),
      limits(container),
      link(`${place("pods", namespace, name, "logs")}/${container.name}`, "Logs", {
        "aria-label": `Logs of ${container.name}`,
      }),
    ];
  });
  return section(
    "Containers",
    table("Containers", ["Name", "Status", "Restarts", "Image", "Requests / limits", "Logs"], rows),
  );
}
