// The status of a pod, in kubectl's words, and the reason why it does not run.

import { quantity } from "./format.js";

/** Returns the status of a pod: { text, tone, why }. The tone is good, busy, bad or off. */
export function podState(pod) {
  const { status = {}, metadata, spec } = pod;
  const containers = status.containerStatuses ?? [];
  const first = (status.initContainerStatuses ?? []).find(
    (one) => !(one.state?.terminated?.exitCode === 0) && !(one.started && one.ready),
  );
  let text = status.reason ?? status.phase ?? "Unknown";
  let why = status.message ?? "";
  if (first && status.phase === "Pending") {
    const wait = first.state?.waiting;
    const end = first.state?.terminated;
    if (end) {
      text = `Init:${end.reason ?? "Error"}`;
      why = ended(first.name, end);
    } else if (wait?.reason && wait.reason !== "PodInitializing") {
      text = `Init:${wait.reason}`;
      why = wait.message ?? "";
    } else {
      text = "Initializing";
    }
  } else {
    for (const one of containers) {
      const { waiting, terminated } = one.state ?? {};
      if (waiting?.reason) {
        text = waiting.reason;
        why = one.lastState?.terminated ? ended(one.name, one.lastState.terminated) : (waiting.message ?? "");
        if (text !== "ContainerCreating") break;
      } else if (terminated && terminated.reason !== "Completed") {
        text = terminated.reason ?? "Error";
        why = ended(one.name, terminated);
        break;
      }
    }
  }
  const unscheduled = (status.conditions ?? []).find((one) => one.type === "PodScheduled" && one.status === "False");
  if (unscheduled) {
    text = "Unscheduled";
    why = unscheduled.message ?? "";
  }
  const ready = containers.filter((one) => one.ready).length;
  if (text === "Running" && ready < spec.containers.length) {
    text = "NotReady";
    why = `${ready} of ${spec.containers.length} containers are ready`;
  }
  if (status.phase === "Succeeded") text = "Completed";
  if (metadata.deletionTimestamp) text = "Terminating";
  return { text, tone: tone(text, pod), why };
}

function ended(name, { reason, exitCode, signal, message }) {
  const how = signal ? `signal ${signal}` : `exit code ${exitCode}`;
  return `container ${name} ended: ${reason ?? "Error"}, ${how}${message ? `: ${message}` : ""}`;
}

function tone(text, pod) {
  if (text === "Running") return "good";
  if (text === "Completed") return "off";
  if (["Terminating", "ContainerCreating", "Initializing"].includes(text)) return "busy";
  if (text === "Pending" || text === "PodInitializing") return "busy";
  // A young pod is still starting.
  if (text === "NotReady") return Date.now() - Date.parse(pod.status?.startTime ?? 0) < 30000 ? "busy" : "bad";
  return "bad";
}

/** Returns the numbers of ready and of all containers: "1/2". */
export function readiness(pod) {
  const all = pod.spec.containers.length;
  return `${(pod.status?.containerStatuses ?? []).filter((one) => one.ready).length}/${all}`;
}

export const restarts = (pod) => (pod.status?.containerStatuses ?? []).reduce((sum, one) => sum + one.restartCount, 0);

/** Returns the requests of a pod in cores and bytes, as the scheduler counts them: zero for a pod that has ended. */
export function requests(pod) {
  const none = { cpu: 0, memory: 0 };
  if (["Succeeded", "Failed"].includes(pod.status?.phase)) return none;
  const of = (container) => ({
    cpu: quantity(container.resources?.requests?.cpu),
    memory: quantity(container.resources?.requests?.memory),
  });
  const sum = (pod.spec.containers ?? [])
    .map(of)
    .reduce((a, b) => ({ cpu: a.cpu + b.cpu, memory: a.memory + b.memory }), none);
  // Init containers run one at a time.
  return (pod.spec.initContainers ?? [])
    .map(of)
    .reduce((a, b) => ({ cpu: Math.max(a.cpu, b.cpu), memory: Math.max(a.memory, b.memory) }), sum);
}
