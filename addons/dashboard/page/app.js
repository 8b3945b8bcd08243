// The frame: chooses the view, the namespace and the user; handles keys that work everywhere.

import { get, post } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { count } from "./format.js";
import { dialog, field } from "./dialog.js";
import { KINDS, listPath } from "./kinds.js";
import { button, link, trouble } from "./parts.js";
import { closeAll, onConnection, open } from "./store.js";
import { overview } from "./views/overview.js";

/** Returns a loader of an export of another file; a load that fails is retried once, for the reason given in early.js. */
const part = (get, name) => async () => (await get().catch(get))[name];
const list = (name) => part(() => import("./views/lists.js"), name);
const detail = part(() => import("./views/detail.js"), "detail");
const applyDialog = part(() => import("./views/apply.js"), "applyDialog");

/** Views by the first word of the address: [title, key after g, loader]. */
const VIEWS = {
  overview: ["Overview", "o", async () => overview],
  nodes: ["Nodes", "n", list("nodes")],
  workloads: ["Workloads", "w", list("workloads")],
  pods: ["Pods", "p", list("pods")],
  services: ["Services", "s", list("services")],
  ingress: ["Ingress routes", "i", list("ingress")],
  volumes: ["Volumes", "v", list("volumes")],
  settings: ["Config", "c", list("settings")],
  events: ["Events", "e", list("events")],
  kinds: ["All kinds", "k", part(() => import("./views/kinds.js"), "kinds")],
  addons: ["Addons", "a", part(() => import("./views/addons.js"), "addons")],
};

const main = document.getElementById("main");
const $ = (id) => document.getElementById(id);
let current = null;
let info = { own: true, addons: false, cluster: "" };
let namespace = sessionStorage.getItem("namespace") ?? "";
const filters = new Map();

/** Shows the view that the address names. */
async function route() {
  const [word = "overview", ...rest] = location.hash
    .replace(/^#\/?/, "")
    .split("/")
    .filter(Boolean)
    .map(decodeURIComponent);
  const own = begin(word, rest);
  const known = VIEWS[word];
  const isDetail = KINDS[word] && rest.length > 1;
  let view;
  try {
    view = await (isDetail ? detail() : known?.[2]());
  } catch {
    if (own !== current) return;
    return fill(
      main,
      trouble({
        message: "The page cannot be loaded: the console’s server does not answer. kcl dashboard opens it again.",
      }),
    );
  }
  if (own !== current) return;
  own.title = known?.[0] ?? KINDS[word]?.title ?? "";
  main.classList.toggle("wide", !isDetail && word !== "overview" && word !== "addons");
  fill(
    main,
    view
      ? view(own)
      : [h("h1", null, "Not here"), h("p", null, "This view does not exist. ", link("#/overview", "Overview"))],
  );
  document.title = [own.title, info.cluster, "kcl"].filter(Boolean).join(" · ");
  for (const anchor of document.querySelectorAll("#nav a")) {
    if (anchor.dataset.word === (isDetail ? (own.parent ?? word) : word)) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  // After a link or a key, the focus goes to the beginning of the view; the first view leaves it.
  if (own.number > 1) main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function begin(word, rest) {
  document.querySelector("dialog[open]")?.close();
  current?.end();
  const ends = [];
  const context = {
    word,
    rest,
    namespace,
    number: (current?.number ?? 0) + 1,
    closed: false,
    filter: filters.get(word) ?? "",
    setFilter: (text) => filters.set(word, text),
    /** Adds a function that runs when the view is left. */
    until: (end) => ends.push(end),
    /** Marks the view's first content as complete. */
    ready: () => (document.body.dataset.view = location.hash || "#/overview"),
    end() {
      context.closed = true;
      for (const end of ends) end?.();
    },
  };
  delete document.body.dataset.view;
  toggleMenu(false);
  current = context;
  return context;
}

function navigation() {
  const entry = ([word, [title]]) => h("li", null, h("a", { href: `#/${word}`, "data-word": word }, title));
  fill(
    $("nav"),
    h(
      "ul",
      null,
      Object.entries(VIEWS)
        .filter(([word]) => word !== "addons" || info.addons)
        .map(entry),
    ),
  );
}

/** Shows the namespaces as a menu, or as a text field if this user may not list them. */
function namespaces() {
  const place = $("namespace");
  const store = open(listPath(KINDS.namespaces));
  const choose = (event) => {
    namespace = event.target.value.trim();
    sessionStorage.setItem("namespace", namespace);
    closeUnused();
    route();
    announce(namespace ? `Namespace ${namespace}` : "All namespaces");
  };
  const paint = () => {
    if (store.error) {
      if (!place.querySelector("input"))
        fill(
          place,
          h("input", { "aria-label": "Namespace", placeholder: "Namespace", value: namespace, onchange: choose }),
        );
      return;
    }
    const names = store
      .values()
      .map((one) => one.metadata.name)
      .sort();
    const shown = names.join();
    if (paint.shown === shown) return;
    paint.shown = shown;
    if (namespace && !names.includes(namespace)) names.push(namespace);
    const select = h(
      "select",
      { "aria-label": "Namespace", onchange: choose },
      h("option", { value: "" }, "All namespaces"),
      names.map((name) => h("option", { value: name, selected: name === namespace }, name)),
    );
    fill(place, select);
  };
  store.subscribe(paint);
}

function closeUnused() {
  current?.end();
}

function toggleMenu(shown) {
  $("nav").classList.toggle("shown", shown);
  $("menu").setAttribute("aria-expanded", String(shown));
}

function theme() {
  const names = { auto: "System", light: "Light", dark: "Dark" };
  const now = () => document.documentElement.dataset.theme ?? "auto";
  const paint = () => {
    $("theme").textContent = `◐ ${names[now()]}`;
    $("theme").setAttribute("aria-label", `Colours: ${names[now()]}`);
    $("theme").title = "Colours: system, light or dark (t)";
  };
  const next = () => {
    const order = ["auto", "light", "dark"];
    const then = order[(order.indexOf(now()) + 1) % 3];
    if (then === "auto") {
      delete document.documentElement.dataset.theme;
      localStorage.removeItem("theme");
    } else {
      document.documentElement.dataset.theme = then;
      localStorage.setItem("theme", then);
    }
    paint();
  };
  $("theme").addEventListener("click", next);
  paint();
  return next;
}

function help() {
  const keys = [
    ["?", "This help"],
    ["/", "Filter the list"],
    [
      "g then a letter",
      "Go to a view: " +
        Object.values(VIEWS)
          .map(([title, key]) => `${key} ${title.toLowerCase()}`)
          .join(", "),
    ],
    ["↑ ↓ PgUp PgDn", "From row to row; Enter opens"],
    ["n", "Choose the namespace"],
    ["y", "Apply YAML"],
    ["t", "Light or dark"],
    ["Esc", "Close a dialog; leave a field"],
    ["Ctrl+Shift+←", "Leave the terminal"],
  ];
  return dialog(
    "Keyboard",
    h(
      "dl",
      { class: "facts" },
      keys.map(([key, what]) => h("div", null, h("dt", null, h("kbd", null, key)), h("dd", null, what))),
    ),
  );
}

async function user() {
  let name = "unknown";
  try {
    const review = await post("apis/authentication.k8s.io/v1/selfsubjectreviews", {
      apiVersion: "authentication.k8s.io/v1",
      kind: "SelfSubjectReview",
    });
    name = review.status.userInfo.username;
  } catch (error) {
    name = error.message;
  }
  const input = h("textarea", {
    name: "token",
    rows: "5",
    spellcheck: "false",
    autocomplete: "off",
    "aria-label": "Bearer token",
  });
  const leave = button("Sign out", async () => {
    await post("console/sign-out", {});
    location.reload();
  });
  await dialog(
    "User",
    [
      h("p", null, "You are signed in as ", h("strong", null, name), "."),
      h(
        "p",
        { class: "soft" },
        "The console has the rights of this user. To use those of another user, sign in with their token; to switch back, open a new link with kcl dashboard.",
      ),
      field("Bearer token", input),
      h("p", null, leave),
    ],
    {
      go: "Sign in",
      allowed: ({ token }) => token.trim() !== "",
      work: async ({ token }) => {
        await post("console/sign-in", { token });
        location.reload();
        return true;
      },
    },
  );
}

async function apply() {
  await (await applyDialog())(namespace);
}

function keys(nextTheme) {
  // After `g`, the next key names the view.
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const field = event.target.closest?.("input, textarea, select");
    if (field) {
      if (event.key === "Escape" && !field.matches(".typed")) field.blur();
      return;
    }
    if (going) {
      going = false;
      const word = Object.keys(VIEWS).find((one) => VIEWS[one][1] === event.key && (one !== "addons" || info.addons));
      if (word) {
        event.preventDefault();
        location.hash = `#/${word}`;
        return;
      }
    }
    const act = {
      "?": help,
      t: nextTheme,
      y: apply,
      n: () => $("namespace").firstElementChild?.focus(),
      "/": () => main.querySelector("[data-filter]")?.focus(),
      g: () => (going = true),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function connection() {
  onConnection((lost) => {
    $("live").textContent = lost ? `${count(lost, "list")} not up to date, trying again…` : "";
    $("live").classList.toggle("lost", lost > 0);
  });
}

async function about() {
  info = await get("console/info");
  $("cluster").textContent = info.cluster;
  $("user").textContent = info.own ? "User" : "Other user";
  document.title = `${current?.title ?? ""} · ${info.cluster} · kcl`;
  navigation();
  if (current)
    for (const anchor of document.querySelectorAll("#nav a"))
      if (anchor.dataset.word === current.word) anchor.setAttribute("aria-current", "page");
}

navigation();
connection();
const nextTheme = theme();
keys(nextTheme);
$("menu").addEventListener("click", () => toggleMenu(!$("nav").classList.contains("shown")));
$("help").addEventListener("click", help);
$("user").addEventListener("click", user);
$("apply").addEventListener("click", apply);
addEventListener("hashchange", route);
addEventListener("pagehide", closeAll);
route().then(() => {
  namespaces();
  about().catch((error) => error.status === 401 && fill(main, trouble(error)));
});
