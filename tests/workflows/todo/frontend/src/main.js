// The list: shown, added to, done, removed.

import { about, add, mark, remove, todos } from "./api.js";

const list = document.querySelector("ul");
const form = document.querySelector("form");
const status = document.querySelector("[role=status]");

/** Does something with the API, and shows how the list is then, or why it failed. */
async function then(work) {
  try {
    await work();
    list.replaceChildren(...(await todos()).map(row));
    status.textContent = "";
  } catch (error) {
    status.textContent = error.message;
  }
}

function row(todo) {
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: todo.done });
  box.addEventListener("change", () => then(() => mark(todo.id, box.checked)));
  const label = document.createElement("label");
  label.append(box, todo.title);
  const button = Object.assign(document.createElement("button"), {
    textContent: "Remove",
    ariaLabel: `Remove ${todo.title}`,
  });
  button.addEventListener("click", () => then(() => remove(todo.id)));
  const item = document.createElement("li");
  item.append(label, button);
  return item;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  then(async () => {
    await add(form.elements.title.value);
    form.reset();
  });
});

then(async () => {
  document.querySelector("h1").textContent = (await about()).title;
});
