// The details of particular kinds, in addition to those of all objects.

import { h } from "../dom.js";
import { bytes, cores, quantity } from "../format.js";
import { ingressRoutes, place, serviceUrls, workloadState } from "../kinds.js";
import { badge, external, labels, link } from "../parts.js";
import { nodeState, rolesOf } from "./nodes.js";

const list = (items) =>
  items.length
    ? h(
        "ul",
        { class: "lines" },
        items.map((item) => h("li", null, item)),
      )
    : null;

const workload = (object) => {
  const state = workloadState(object);
  const template = (object.kind === "CronJob" ? object.spec.jobTemplate.spec : object.spec).template;
  return [
    [
      "Status",
      [
        badge(state),
        state.wanted === undefined ? "" : ` ${state.ready} of ${state.wanted}`,
        state.why && h("span", { class: "soft" }, ` ${state.why}`),
      ],
    ],
    ["Images", list(template.spec.containers.map((one) => h("code", null, one.image)))],
    ["Strategy", object.spec.strategy?.type ?? object.spec.updateStrategy?.type],
    ["Selector", labels(object.spec.selector?.matchLabels)],
    ["Last run", object.status?.lastScheduleTime],
  ];
};

const KNOWN = {
  deployments: workload,
  statefulsets: workload,
  daemonsets: workload,
  replicasets: workload,
  jobs: workload,
  cronjobs: workload,
  services: ({ spec, ...service }) => [
    ["Type", spec.type],
    ["URLs", list(serviceUrls({ spec, ...service }).map(external))],
    ["Cluster address", spec.clusterIPs?.join(", ")],
    [
      "Ports",
      list(
        (spec.ports ?? []).map((port) =>
          h(
            "code",
            null,
            `${port.name ? `${port.name}: ` : ""}${port.port}${port.nodePort ? ` (on nodes: ${port.nodePort})` : ""} → ${port.targetPort} ${port.protocol ?? "TCP"}`,
          ),
        ),
      ),
    ],
    ["External traffic", spec.externalTrafficPolicy],
    ["Selector", labels(spec.selector)],
  ],
  nodes: (node) => [
    ["Status", [badge(nodeState(node)), h("span", { class: "soft" }, ` ${nodeState(node).why ?? ""}`)]],
    ["Roles", rolesOf(node).join(", ") || "worker"],
    [
      "Addresses",
      list((node.status?.addresses ?? []).map((one) => h("span", null, h("code", null, one.address), ` ${one.type}`))),
    ],
    [
      "Room",
      `${cores(quantity(node.status?.allocatable?.cpu))} cores, ${bytes(quantity(node.status?.allocatable?.memory))}, ${node.status?.allocatable?.pods} pods`,
    ],
    ["Pod addresses", node.spec.podCIDR],
    [
      "System",
      [
        node.status?.nodeInfo?.osImage,
        node.status?.nodeInfo?.kernelVersion,
        node.status?.nodeInfo?.containerRuntimeVersion,
      ]
        .filter(Boolean)
        .join(" · "),
    ],
    ["Kubelet", node.status?.nodeInfo?.kubeletVersion],
    [
      "Taints",
      list(
        (node.spec.taints ?? []).map((one) =>
          h("code", null, `${one.key}${one.value ? `=${one.value}` : ""}:${one.effect}`),
        ),
      ),
    ],
    ["Conditions", list((node.status?.conditions ?? []).map((one) => `${one.type}: ${one.status} (${one.reason})`))],
  ],
  ingresses: (ingress) => [
    ["Class", ingress.spec.ingressClassName],
    [
      "Routes",
      list(
        ingressRoutes(ingress).map((route) => [
          route.url ? external(route.url) : route.text,
          " → ",
          h("code", null, route.to),
        ]),
      ),
    ],
    ["Address", (ingress.status?.loadBalancer?.ingress ?? []).map((one) => one.ip ?? one.hostname).join(", ")],
    [
      "Certificates",
      list(
        (ingress.spec.tls ?? []).map(
          (one) => `${one.secretName ?? "of the controller"} for ${(one.hosts ?? []).join(", ")}`,
        ),
      ),
    ],
  ],
  persistentvolumeclaims: (claim) => [
    [
      "Status",
      badge({
        text: claim.status?.phase ?? "Unknown",
        tone: claim.status?.phase === "Bound" ? "good" : claim.status?.phase === "Lost" ? "bad" : "busy",
      }),
    ],
    ["Size", claim.status?.capacity?.storage ?? `${claim.spec.resources?.requests?.storage} requested`],
    [
      "Volume",
      claim.spec.volumeName && link(place("persistentvolumes", "", claim.spec.volumeName), claim.spec.volumeName),
    ],
    [
      "Class",
      claim.spec.storageClassName &&
        link(place("storageclasses", "", claim.spec.storageClassName), claim.spec.storageClassName),
    ],
    ["Access", claim.spec.accessModes?.join(", ")],
  ],
  persistentvolumes: ({ spec, status }) => [
    [
      "Status",
      badge({
        text: status?.phase ?? "Unknown",
        tone: status?.phase === "Bound" ? "good" : status?.phase === "Failed" ? "bad" : "off",
      }),
    ],
    ["Size", spec.capacity?.storage],
    [
      "Claim",
      spec.claimRef &&
        link(
          place("persistentvolumeclaims", spec.claimRef.namespace, spec.claimRef.name),
          `${spec.claimRef.namespace}/${spec.claimRef.name}`,
        ),
    ],
    ["When released", spec.persistentVolumeReclaimPolicy],
    ["Path", (spec.local ?? spec.hostPath)?.path],
  ],
  storageclasses: (one) => [
    ["Provisioner", one.provisioner],
    ["When released", one.reclaimPolicy],
    ["Binding", one.volumeBindingMode],
  ],
};

/** The details of an object as names and values, by kind. */
export const specific = (word, object) => KNOWN[word]?.(object) ?? [];
