// Applies YAML: first a dry run, which reports the changes; once confirmed, the real one.

import { ask, get } from "../api.js";
import { announce, fill, h } from "../dom.js";
import { apiPath, listPath } from "../kinds.js";
import { dialog } from "../dialog.js";
import { badge, table } from "../parts.js";

/** The documents of a YAML text: [{ text, apiVersion, kind, name, namespace }]. They are sent unchanged; only the fields that say where to are read. */
export function documents(text) {
  const parts = text.trimStart().startsWith("{") ? json(text) : text.replace(/\r\n/g, "\n").split(/^---(?:[ \t].*)?$/m);
  return parts
    .filter((part) => part.split("\n").some((line) => line.trim() && !/^\s*#/.test(line)))
    .map((part, index) => {
      const where = { text: part, ...(part.trimStart().startsWith("{") ? ofJson(part) : ofYaml(part)) };
      for (const key of ["apiVersion", "kind", "name"]) {
        if (!where[key]) throw new Error(`Document ${index + 1} has no ${key === "name" ? "metadata.name" : key}.`);
      }
      return where;
    });
}

function json(text) {
  const value = JSON.parse(text);
  return (value.kind === "List" ? value.items : [value]).map((one) => JSON.stringify(one));
}

function ofJson(text) {
  const { apiVersion, kind, metadata = {} } = JSON.parse(text);
  return { apiVersion, kind, name: metadata.name, namespace: metadata.namespace };
}

/** The few fields that say where to, by their indentation: of the document, and of its metadata. */
function ofYaml(text) {
  const found = {};
  let inner = null;
  let within = false;
  for (const line of text.split("\n")) {
    const [, indent, key, rest] = /^( *)["']?([A-Za-z]+)["']?:(?:\s+(.*))?$/.exec(line) ?? [];
    if (key === undefined) continue;
    if (indent === "") {
      within = key === "metadata";
      inner = null;
      if (within && rest?.startsWith("{")) {
        for (const name of ["name", "namespace"])
          found[name] = scalar(new RegExp(`[{,]\\s*["']?${name}["']?:\\s*([^,}]+)`).exec(rest)?.[1]);
      }
      if (key === "apiVersion" || key === "kind") found[key] = scalar(rest);
    } else if (within) {
      inner ??= indent;
      if (indent === inner && (key === "name" || key === "namespace")) found[key] = scalar(rest);
    }
  }
  return found;
}

function scalar(text) {
  const plain = (text ?? "").trim();
  const quoted = /^(["'])(.*?)\1/.exec(plain);
  return quoted ? quoted[2] : plain.replace(/\s+#.*$/, "").trim();
}

/** Returns the name of a kind's objects in the API server's paths. */
async function resourceOf({ apiVersion, kind }, known) {
  const api = apiPath(apiVersion);
  if (!known.has(api))
    known.set(
      api,
      get(api).then(({ resources }) => resources),
    );
  let resources;
  try {
    resources = await known.get(api);
  } catch (error) {
    known.delete(api);
    if (error.status === 404)
      throw new Error(`The cluster has no ${apiVersion}. Is its definition (CRD) applied already?`);
    throw error;
  }
  const found = resources.find((one) => one.kind === kind && !one.name.includes("/"));
  if (!found) throw new Error(`The cluster has no ${kind} in ${apiVersion}.`);
  return { api, plural: found.name, namespaced: found.namespaced };
}

/** Applies one document; returns the result, or the expected result. */
async function applyOne(document, known, namespace, trial) {
  const resource = await resourceOf(document, known);
  const where = document.namespace || namespace || "default";
  const path = `${listPath(resource, where)}/${document.name}`;
  let before = null;
  try {
    before = await get(path);
  } catch (error) {
    if (error.status !== 404) throw error;
  }
  const query = new URLSearchParams({
    fieldManager: "kcl-console",
    force: "true",
    ...(trial ? { dryRun: "All" } : {}),
  });
  const done = await ask(`${path}?${query}`, {
    method: "PATCH",
    body: document.text,
    type: "application/apply-patch+yaml",
  });
  const after = await done.json();
  const same = before && content(before) === content(after);
  return {
    path,
    before,
    what: before ? (same ? "unchanged" : "changed") : "created",
    namespace: resource.namespaced ? where : "",
  };
}

/** Returns an object without the fields that the API server changes. */
function content({ metadata, status, ...rest }) {
  const { managedFields, resourceVersion, generation, ...kept } = metadata;
  return JSON.stringify([rest, kept]);
}

/** Opens the dialog. */
export function applyDialog(namespace) {
  const area = h("textarea", {
    name: "text",
    class: "code",
    rows: "16",
    spellcheck: "false",
    autocomplete: "off",
    "aria-label": "YAML",
    autofocus: true,
    placeholder: "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: example\ndata:\n  greeting: hello",
    oninput: () => {
      tried = null;
      fill(report);
      relabel();
    },
  });
  const file = h("input", {
    type: "file",
    accept: ".yaml,.yml,.json,text/*",
    "aria-label": "Read a file",
    onchange: async () => {
      area.value = await file.files[0].text();
      area.dispatchEvent(new Event("input", { bubbles: true }));
    },
  });
  const report = h("div", { "aria-live": "polite" });
  let tried = null;
  const relabel = () => {
    const main = area.closest("dialog")?.querySelector("button[type=submit]");
    if (main) main.textContent = tried ? "Apply" : "Check";
  };
  const known = new Map();
  const show = (results, will) =>
    fill(
      report,
      table(
        will ? "What would happen" : "What happened",
        ["Object", "Namespace", will ? "Would be" : "Was"],
        results.map(({ document, namespace: where, what, error }) => [
          `${document.kind} ${document.name}`,
          where ?? "",
          error
            ? [badge({ text: "refused", tone: "bad" }), ` ${error.message}`]
            : badge({ text: what, tone: what === "unchanged" ? "off" : "good" }),
        ]),
      ),
    );
  const run = async (all, trial) => {
    const results = [];
    for (const document of all) {
      try {
        results.push({ document, ...(await applyOne(document, known, namespace, trial)) });
      } catch (error) {
        // In a dry run, a namespace of an earlier document does not exist yet.
        const made =
          trial &&
          error.status === 404 &&
          all.some((one) => one.kind === "Namespace" && one.name === document.namespace);
        results.push(made ? { document, what: "created", namespace: document.namespace } : { document, error });
      }
    }
    return results;
  };
  return dialog(
    "Apply YAML",
    [
      h(
        "p",
        { class: "soft" },
        `Objects without a namespace go to ${namespace || "default"}. A check changes nothing, and shows what applying would change.`,
      ),
      area,
      h("p", null, file),
      report,
    ],
    {
      go: "Check",
      wide: true,
      allowed: ({ text }) => text.trim() !== "",
      work: async ({ text }) => {
        const all = documents(text);
        const results = await run(all, !tried);
        show(results, !tried);
        if (results.some((one) => one.error))
          throw new Error(tried ? "Some documents were not applied." : "Nothing was applied.");
        if (!tried) {
          tried = results;
          relabel();
          return undefined;
        }
        announce(`${results.length} applied.`);
        return results;
      },
    },
  );
}
