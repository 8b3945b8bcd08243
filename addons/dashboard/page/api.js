// Requests to the API server, through the console's server. Paths are those of Kubernetes, without the first "/".

/** The page's own address: all requests are below it. */
const BASE = new URL("../", import.meta.url);

/** The media type of lists that need not have whole objects. */
export const TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/** The parameters of a first list, and the fields to leave out. */
const { first: FIRST, omit: OMIT } = globalThis.early;

/** A refusal or failure, in the server's own words. */
export class ApiError extends Error {
  constructor(status, message, reason) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/** Sends a request; throws an `ApiError` unless it succeeds. */
export async function ask(path, { method = "GET", body, type, accept = "application/json", omit, signal } = {}) {
  const headers = { accept };
  if (omit) headers["x-omit"] = omit;
  if (body !== undefined) headers["content-type"] = type ?? "application/json";
  let response;
  try {
    const send = () => fetch(new URL(path, BASE), { method, body, headers, signal, cache: "no-store" });
    const early = method === "GET" && globalThis.early.answers.get(path);
    globalThis.early.answers.delete(path);
    const answer = early || send();
    // Requests that only read are retried once; early.js says why.
    response = await (method === "GET" ? answer.catch(send) : answer);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(
      0,
      "The console’s server does not answer. Was the cluster stopped? kcl dashboard opens it again.",
    );
  }
  if (response.ok) return response;
  const text = await response.text();
  let status = {};
  try {
    status = JSON.parse(text);
  } catch {
    // Not an answer of Kubernetes: show its text.
  }
  throw new ApiError(response.status, status.message ?? (text.trim() || response.statusText), status.reason);
}

export const get = async (path, options) => (await ask(path, options)).json();
export const getText = async (path, options) => (await ask(path, options)).text();
export const post = async (path, document) =>
  (await ask(path, { method: "POST", body: JSON.stringify(document) })).json();

export const patch = async (path, document, type = "application/merge-patch+json") =>
  (await ask(path, { method: "PATCH", body: JSON.stringify(document), type })).json();

export const remove = async (path, options = { propagationPolicy: "Background" }) =>
  (await ask(path, { method: "DELETE", body: JSON.stringify(options) })).json();

/**
 * Lists in chunks; `each` gets every one as it comes. Resolves to the list's version, from which it can be watched. `newest`
 * is for a list that was too old to be watched.
 */
export async function list(path, query, { accept, signal, newest }, each) {
  let next = "";
  // One object by its name is wanted whole, and rows of a table have no fields.
  const omit = query.fieldSelector || accept ? undefined : OMIT;
  for (;;) {
    const parameters = new URLSearchParams(FIRST);
    if (newest || next) parameters.delete("resourceVersion");
    if (next) parameters.set("continue", next);
    for (const [name, value] of Object.entries(query)) parameters.set(name, value);
    const chunk = await get(`${path}?${parameters}`, { accept, omit, signal });
    next = chunk.metadata?.continue ?? "";
    each(chunk, next === "");
    if (!next) return chunk.metadata?.resourceVersion;
  }
}

/** Opens a channel. WebSockets rather than streams, as browsers have only six connections to a server. */
export function channel(path, protocols) {
  const url = new URL(path, BASE);
  url.protocol = "ws:";
  const socket = new WebSocket(url, protocols);
  socket.binaryType = "arraybuffer";
  return socket;
}
