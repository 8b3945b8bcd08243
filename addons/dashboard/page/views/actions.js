// The actions on an object.

import { patch, remove } from "../api.js";
import { announce, h } from "../dom.js";
import { confirmByName, dialog, field } from "../dialog.js";
import { button } from "../parts.js";

/** The kinds that have replicas, and those that can be restarted. */
const SCALED = ["deployments", "statefulsets", "replicasets"];
const RESTARTED = ["deployments", "statefulsets", "daemonsets"];

/** The consequences of a deletion, for kinds where the name does not tell them. */
const CONSEQUENCES = {
  pods: "Its containers are stopped. A controller, if it has one, creates a new pod.",
  deployments: "Its pods are deleted with it.",
  statefulsets: "Its pods are deleted with it; its volume claims stay.",
  daemonsets: "Its pods are deleted with it.",
  jobs: "Its pods are deleted with it, with their logs.",
  persistentvolumeclaims: "Its volume is deleted with it, and the data, unless its class keeps volumes.",
  nodes: "The cluster forgets the node until its kubelet registers again. Its pods are recreated on other nodes.",
  namespaces: "Everything in the namespace is deleted with it.",
};

/** The buttons of an object. */
export function actions(target) {
  const { word, kind, name, path } = target;
  const what = `${kind.one} ${name}`;
  const buttons = [];
  if (SCALED.includes(word)) buttons.push(button("Scale…", scale));
  if (RESTARTED.includes(word)) buttons.push(button("Restart", restart));
  if (word === "cronjobs") buttons.push(button("Suspend or resume", suspend));
  if (word === "nodes") buttons.push(button("Cordon or uncordon", cordon));
  buttons.push(button("Delete…", erase, { class: "danger" }));
  return buttons;

  async function scale() {
    const now = target.object.spec.replicas ?? 1;
    const input = h("input", {
      name: "replicas",
      type: "number",
      min: "0",
      max: "1000",
      value: now,
      required: true,
      autofocus: true,
    });
    const done = await dialog(`Scale ${what}`, field("Replicas", input), {
      go: "Scale",
      work: ({ replicas }) => patch(`${path}/scale`, { spec: { replicas: Number(replicas) } }),
    });
    if (done) announce(`${what} is to have ${done.spec.replicas ?? 0} replicas.`);
  }

  async function restart() {
    const annotations = { "kubectl.kubernetes.io/restartedAt": new Date().toISOString() };
    await attempt(`${what} is rolled out again.`, () =>
      patch(path, { spec: { template: { metadata: { annotations } } } }, "application/strategic-merge-patch+json"),
    );
  }

  async function suspend() {
    const stop = !target.object.spec.suspend;
    await attempt(stop ? `${what} is suspended.` : `${what} runs again.`, () =>
      patch(path, { spec: { suspend: stop } }),
    );
  }

  async function cordon() {
    const stop = !target.object.spec.unschedulable;
    await attempt(stop ? `${what} takes no new pods.` : `${what} takes pods again.`, () =>
      patch(path, { spec: { unschedulable: stop } }),
    );
  }

  async function erase() {
    const consequence = CONSEQUENCES[word] ?? "This cannot be undone.";
    const done = await confirmByName(what, name, consequence, () => remove(path));
    if (done) announce(`${what} is being deleted.`);
  }
}

async function attempt(done, work) {
  try {
    await work();
    announce(done);
  } catch (error) {
    announce(error.message);
  }
}
