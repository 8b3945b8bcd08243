// The API, and Prometheus beside it: both at the address of this page.

/** Requests a path; throws the message of the server if it refuses. */
async function ask(path, options) {
  const answer = await fetch(path, options);
  const document = answer.status === 204 ? null : await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(document.error ?? `${path} answers ${answer.status}`);
  return document;
}

const send = (method, path, document) =>
  ask(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(document) });

export const about = () => ask("/djangoapi/");
export const todos = async () => (await ask("/djangoapi/todos")).todos;
export const add = (title) => send("POST", "/djangoapi/todos", { title });
export const mark = (id, done) => send("PATCH", `/djangoapi/todos/${id}`, { done });
export const remove = (id) => ask(`/djangoapi/todos/${id}`, { method: "DELETE" });

/** The value of a query of one number; none where Prometheus knows nothing. */
export async function measured(query) {
  const answer = await ask(`/prometheus/api/v1/query?query=${encodeURIComponent(query)}`);
  return answer.data.result[0]?.value[1];
}
