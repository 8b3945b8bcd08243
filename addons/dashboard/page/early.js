// Runs before the page's other files, and is part of the page, so that it is always there. It reloads the page if a file
// fails to load, requests the first view's lists while the page is loading, and sets the colours, so that none flash. A
// browser has six connections to a server, so the lists are requested before the page's other files.
(() => {
  const early = {
    /**
     * The parameters of lists: in chunks, and at first from the API server's memory, which spares it a question to etcd;
     * later changes are watched.
     */
    first: "limit=2500&resourceVersion=0",
    /** Fields of listed objects that no view uses, which are most of a pod. */
    omit: ["metadata.managedFields", "spec.volumes", "spec.tolerations", "spec.containers.volumeMounts"]
      .map((path) => `items.${path}`)
      .join(),
    /** Answers that no view has used yet, by their paths. */
    answers: new Map(),
    /** True while none of the page's files has failed to load. */
    whole: true,
  };
  globalThis.early = early;

  // When the host's network changes, as it does when a cluster starts, browsers cancel requests, to loopback too
  // (Chromium: ERR_NETWORK_CHANGED), and a page without one of its files would stay broken.
  addEventListener("error", ({ target }) => (early.whole &&= !target.matches?.("script, link[rel=stylesheet]")), true);
  addEventListener("load", () => {
    if (early.whole) return;
    // At once the first time; after further failures, once a second.
    const again = performance.getEntriesByType("navigation")[0].type === "reload";
    setTimeout(() => location.reload(), again ? 1000 : 0);
  });

  const ask = (path) => {
    const asked = `${path}?${early.first}`;
    const answer = fetch(asked, { headers: { accept: "application/json", "x-omit": early.omit }, cache: "no-store" });
    // The view that uses the answer handles its error.
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
  // The files that app.js imports, which the browser would request only after loading it.
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
    "views/nodes",
    "views/overview",
    "views/problems",
  ]) {
    document.head.append(
      Object.assign(document.createElement("link"), { rel: "modulepreload", href: `page/${name}.js` }),
    );
  }

  // Last: a browser may take tens of milliseconds to open its storage.
  const kept = localStorage.getItem("theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
