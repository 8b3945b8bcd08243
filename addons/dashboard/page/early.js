// Before the page itself: its colours, so that none flash; and the first view's lists, so that they are on their way while the
// page is still being loaded.
(() => {
  const kept = localStorage.getItem("theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;

  /** How many objects are asked for at once, and answers by their paths that nobody has taken yet. */
  const early = { chunk: 2500, answers: new Map() };
  globalThis.early = early;
  if (!/^(#\/?(overview)?)?$/.test(location.hash)) return;
  const namespace = sessionStorage.getItem("namespace");
  const within = (api, plural) => `${api}/${namespace ? `namespaces/${namespace}/` : ""}${plural}`;
  for (const path of [within("api/v1", "pods"), "api/v1/nodes", within("apis/apps/v1", "deployments")]) {
    const asked = `${path}?limit=${early.chunk}`;
    const answer = fetch(asked, { headers: { accept: "application/json" }, cache: "no-store" });
    // Whoever takes it hears of it.
    answer.catch(() => {});
    early.answers.set(asked, answer);
  }
})();
