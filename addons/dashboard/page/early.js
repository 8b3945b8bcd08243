// Before the page's other files, and within it, so that none of it can come without this: what is to be done where a file does
// not come; the first view's lists, so that they are on their way while the page is still being loaded; and the page's colours,
// so that none flash. A browser has six connections to a server, so the lists are asked for before the page's other files.
(() => {
  const early = {
    /**
     * How lists are asked for: in chunks, and at first as the API server has them in memory, which spares its asking etcd
     * whether that is the newest; what comes later is watched.
     */
    first: "limit=2500&resourceVersion=0",
    /** What no view has a use for of the objects in a list, which is most of a pod. */
    omit: ["metadata.managedFields", "spec.volumes", "spec.tolerations", "spec.containers.volumeMounts"]
      .map((path) => `items.${path}`)
      .join(),
    /** Answers by their paths that nobody has taken yet. */
    answers: new Map(),
    /** Whether none of the page's files failed to come. */
    whole: true,
  };
  globalThis.early = early;

  // When the host's network changes, as it does when a cluster starts, browsers give up what they are about to ask for, of
  // loopback too (Chromium: ERR_NETWORK_CHANGED), and a page without one of its files would stay as it is.
  addEventListener("error", ({ target }) => (early.whole &&= !target.matches?.("script, link[rel=stylesheet]")), true);
  addEventListener("load", () => {
    if (early.whole) return;
    // At once at first; where something keeps it from coming, once a second.
    const again = performance.getEntriesByType("navigation")[0].type === "reload";
    setTimeout(() => location.reload(), again ? 1000 : 0);
  });

  const ask = (path) => {
    const asked = `${path}?${early.first}`;
    const answer = fetch(asked, { headers: { accept: "application/json", "x-omit": early.omit }, cache: "no-store" });
    // Whoever takes it hears of it.
    answer.catch(() => {});
    early.answers.set(asked, answer);
  };
  const namespace = sessionStorage.getItem("namespace");
  const within = (api, plural) => `${api}/${namespace ? `namespaces/${namespace}/` : ""}${plural}`;
  if (/^(#\/?(overview)?)?$/.test(location.hash)) {
    ask(within("api/v1", "pods"));
    ask("api/v1/nodes");
    ask(within("apis/apps/v1", "deployments"));
  }
  // What app.js imports, which the browser would learn of only when that has come.
  for (const name of [
    "api",
    "dialog",
    "dom",
    "format",
    "kinds",
    "parts",
    "pods",
    "store",
    "table",
    "views/history",
    "views/overview",
  ]) {
    document.head.append(
      Object.assign(document.createElement("link"), { rel: "modulepreload", href: `page/${name}.js` }),
    );
  }

  // Last: a browser may take tens of milliseconds to find what it has kept.
  const kept = localStorage.getItem("theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
