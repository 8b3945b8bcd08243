// How much is to be done, and what Prometheus sees of the API.

import { measured, todos } from "./api.js";

const show = (id, value) => (document.getElementById(id).textContent = value ?? "unknown");

try {
  const all = await todos();
  show("open", all.filter((todo) => !todo.done).length);
  show("done", all.filter((todo) => todo.done).length);
  show("pods", await measured('count(todo_items{done="true"})'));
} catch (error) {
  document.querySelector("[role=status]").textContent = error.message;
}
