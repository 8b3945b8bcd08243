// The official client for JavaScript: lists, watches, runs a command and forwards a port.
import http from "node:http";
import net from "node:net";
import { PassThrough } from "node:stream";
import { CoreV1Api, Exec, KubeConfig, PortForward, Watch } from "@kubernetes/client-node";

const config = new KubeConfig();
config.loadFromDefault();
const api = config.makeApiClient(CoreV1Api);
const namespace = "default";

const pods = await api.listNamespacedPod({ namespace });
console.log("list", ...pods.items.map((pod) => pod.metadata.name));

const path = `/api/v1/namespaces/${namespace}/configmaps`;
const seen = new Promise((resolve, reject) => {
  const take = (type, object) => object.metadata.name === "node" && resolve(type);
  new Watch(config).watch(path, {}, take, reject).catch(reject);
});
await api.createNamespacedConfigMap({ namespace, body: { metadata: { name: "node" } } });
console.log("watch", await seen);

const out = new PassThrough();
let written = "";
out.on("data", (piece) => {
  written += piece;
});
await new Promise((resolve, reject) => {
  const command = ["echo", "hi there"];
  new Exec(config).exec(namespace, "web", "web", command, out, null, null, false, resolve).catch(reject);
});
console.log("exec", written.trim());

const forward = new PortForward(config);
const server = net.createServer((socket) => forward.portForward(namespace, "web", [8080], socket, null, socket));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const answer = await new Promise((resolve, reject) => {
  const get = http.get({ port: server.address().port, host: "127.0.0.1", agent: false }, (response) => {
    let text = "";
    response.on("data", (piece) => {
      text += piece;
    });
    response.on("end", () => resolve(text));
  });
  get.on("error", reject);
});
console.log("port-forward", answer.trim());
// The watch goes on otherwise.
process.exit(0);
