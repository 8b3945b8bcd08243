// The state, roles and order of nodes.

/** Returns the state of a node. */
export function nodeState(node) {
  const conditions = node.status?.conditions ?? [];
  const ready = conditions.find((one) => one.type === "Ready");
  if (ready?.status !== "True")
    return { text: "Not ready", tone: "bad", why: ready?.message ?? "its kubelet has not said anything" };
  const pressed = conditions.find((one) => one.type !== "Ready" && one.status === "True");
  if (pressed) return { text: pressed.type, tone: "bad", why: pressed.message };
  if (node.spec.unschedulable) return { text: "Cordoned", tone: "busy", why: "takes no new pods" };
  return { text: "Ready", tone: "good" };
}

/** Returns the roles of a node, by its labels. */
export const rolesOf = (node) =>
  Object.keys(node.metadata.labels ?? {})
    .filter((label) => label.startsWith("node-role.kubernetes.io/"))
    .map((label) => label.slice(24));

/** Sorts nodes: those of the control plane first, then by name. */
export const sorted = (nodes) =>
  nodes.sort(
    (a, b) =>
      rolesOf(b).includes("control-plane") - rolesOf(a).includes("control-plane") ||
      a.metadata.name.localeCompare(b.metadata.name, undefined, { numeric: true }),
  );
