// What a person does in the console, from the link to the shell.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { kubectl, link, shot, step, view, visitor, withBrowser } from "./support.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const main = (page) => page.locator("main");

await withBrowser(async (browser) => {
  const url = link();
  const page = await visitor(browser);

  step("a link signs in, once, and leaves the address");
  await page.goto(url);
  assert.ok(!page.url().includes("token"), page.url());
  const base = page.url();
  const other = await visitor(browser);
  const again = await other.goto(url);
  assert.equal(again.status(), 403);
  assert.match(await again.text(), /kcl dashboard/);
  assert.equal((await other.goto(base)).status(), 401, "without a session there is nothing to see");
  await other.context().close();

  step("the overview: nodes, and first what is wrong, with why");
  await page.waitForFunction(() => document.body.dataset.view === "#/overview");
  await main(page).getByRole("heading", { name: "Overview" }).waitFor();
  const problems = page.getByRole("region", { name: "Problems" });
  await problems.getByText("Pod crash").waitFor();
  await problems.getByText("exit code 3").waitFor();
  await problems.getByText("Pod huge").waitFor();
  await problems
    .getByText(/Insufficient memory/)
    .first()
    .waitFor();
  await problems.getByText("there is no storage class nowhere").waitFor();
  await problems.getByText("there is no service nope").waitFor();
  await problems.getByRole("row", { name: /Job broken/ }).waitFor();
  assert.equal(await problems.getByText("exit code 4").count(), 0, "the job tells it, its pod does not again");
  assert.equal(await problems.getByText(/DaemonSet/).count(), 0, "those of the cluster itself are ready");
  for (const node of ["con", "con-m02"])
    await page.getByRole("region", { name: "Nodes" }).getByRole("link", { name: node, exact: true }).waitFor();
  await page.getByText("kcl addons enable metrics-server").waitFor();
  await shot(page, "overview");

  step("pods: live by watch, and filtered");
  await view(page, "#/pods");
  kubectl("run", "late", "-n", "shop", `--image=${process.env.IMAGE}`, "--restart=Never", "--", "sleep", "600");
  const late = page.getByRole("row", { name: /late/ });
  await late.getByText("Running").waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("crash");
  await late.waitFor({ state: "detached" });
  await page.getByText(/^1 of \d+$/).waitFor();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => location.hash === "#/pods/shop/crash");
  await view(page, "#/pods");
  await page.getByRole("searchbox").fill("");
  kubectl("delete", "pod", "-n", "shop", "late", "--now");
  await late.waitFor({ state: "detached" });

  step("a pod: containers, why it fails, events");
  await view(page, "#/pods/shop/crash");
  await page
    .getByRole("region", { name: "Containers" })
    .getByText(/before: Error, exit code 3/)
    .waitFor();
  await page.getByRole("region", { name: "Events" }).getByText("BackOff").first().waitFor();
  await page.getByRole("link", { name: "Logs", exact: true }).click();
  await page.getByRole("log").getByText("going down").waitFor();
  await view(page, "#/pods/shop/second-try/logs");
  await page.getByRole("log").getByText("second run").waitFor();
  await page.getByLabel("Previous").check();
  await page.getByRole("log").getByText("first run").waitFor();

  step("logs follow and are filtered");
  const pod = kubectl("get", "pods", "-n", "shop", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}");
  await view(page, `#/pods/shop/${pod}/logs`);
  const last = () => page.locator(".log > div").last().textContent();
  await page.getByRole("log").getByText("of the log").last().waitFor();
  const before = await last();
  await page.waitForFunction((text) => document.querySelector(".log").lastChild?.textContent !== text, before);
  await page.getByLabel("Filter lines").fill("line 3 of");
  await page.getByText(/^1 of \d+ lines/).waitFor();
  await shot(page, "logs");

  step("a shell runs commands");
  await view(page, `#/pods/shop/${pod}/shell`);
  await page.getByText("connected").waitFor();
  await page.keyboard.type("echo $((6*7))-is-it; stty size\n");
  await page.locator(".screen").getByText("42-is-it").waitFor();
  await page.keyboard.type("vi /w/index.html\n");
  await page.locator(".screen").getByText("index.html 1/1").waitFor();
  await shot(page, "shell");
  await page.keyboard.type(":q\n");
  await page.keyboard.type("exit\n");
  await page.getByText("the shell has ended").waitFor();

  step("services have URLs that work; ingress routes and volumes are there");
  await view(page, "#/services");
  const href = await page.getByRole("row", { name: /web/ }).locator("a.out").getAttribute("href");
  assert.equal((await (await fetch(href)).text()).trim(), "hello", href);
  await view(page, "#/ingress");
  await page.getByText("shop.example/").first().waitFor();
  await view(page, "#/volumes");
  await page.getByRole("row", { name: /data/ }).getByText("Pending").waitFor();
  await view(page, "#/events");
  await page
    .getByRole("row", { name: /FailedScheduling/ })
    .first()
    .waitFor();

  step("values of secrets are hidden, and not fetched, until they are asked for");
  const fetched = [];
  page.on(
    "response",
    async (response) => response.url().includes("/secrets") && fetched.push(await response.text().catch(() => "")),
  );
  await view(page, "#/settings/secrets");
  await view(page, "#/secrets/shop/password");
  await page.getByText("The values are hidden").waitFor();
  const secret = Buffer.from("open-sesame").toString("base64");
  assert.ok(!fetched.some((text) => text.includes(secret)), "the values were fetched");
  await page.getByRole("button", { name: "Show values" }).click();
  await page.getByText("open-sesame").waitFor();

  step("apply: a trial first, then for good; again changes nothing");
  const yaml =
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: fresh # new\n  namespace: shop\ndata:\n  a: b\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  namespace: 'shop'\n  name: web\nspec:\n  revisionHistoryLimit: 3\n";
  const dialog = page.getByRole("dialog");
  await page.keyboard.press("y");
  await dialog.getByLabel("YAML").fill(yaml);
  await dialog.getByRole("button", { name: "Check" }).click();
  await dialog
    .getByRole("row", { name: /ConfigMap fresh/ })
    .getByText("created")
    .waitFor();
  await dialog
    .getByRole("row", { name: /Deployment web/ })
    .getByText("changed")
    .waitFor();
  assert.equal(kubectl("get", "configmap", "-n", "shop", "fresh", "--ignore-not-found"), "", "a trial changes nothing");
  await shot(page, "apply");
  await dialog.getByRole("button", { name: "Apply", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  assert.equal(kubectl("get", "configmap", "-n", "shop", "fresh", "-o", "jsonpath={.data.a}"), "b");
  await page.getByRole("button", { name: "Apply…" }).click();
  await dialog.getByLabel("YAML").fill(yaml);
  await dialog.getByRole("button", { name: "Check" }).click();
  await dialog.getByText("unchanged").nth(1).waitFor();
  await dialog.getByLabel("YAML").fill("kind: Bogus\napiVersion: example.com/v1\nmetadata: {name: x}\n");
  await dialog.getByRole("button", { name: "Check" }).click();
  await dialog
    .getByText(/The cluster has no example.com\/v1/)
    .first()
    .waitFor();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });

  step("delete: only who types the name");
  await view(page, "#/configmaps/shop/fresh");
  await page.getByRole("button", { name: "Delete…" }).click();
  const erase = dialog.getByRole("button", { name: "Delete" });
  assert.ok(await erase.isDisabled());
  await page.keyboard.type("fres");
  assert.ok(await erase.isDisabled());
  await page.keyboard.type("h");
  await shot(page, "delete");
  await page.keyboard.press("Enter");
  await page.locator("main").getByText("Deleted").waitFor();
  assert.equal(kubectl("get", "configmap", "-n", "shop", "fresh", "--ignore-not-found"), "");

  step("scale and edit");
  await view(page, "#/deployments/shop/web");
  await page.getByRole("button", { name: "Scale…" }).click();
  await dialog.getByLabel("Replicas").fill("2");
  await page.keyboard.press("Enter");
  await main(page).getByText("2 of 2").waitFor();
  await view(page, "#/configmaps/shop/settings/yaml");
  const editor = page.getByLabel("YAML of settings");
  await editor.waitFor();
  await editor.fill((await editor.inputValue()).replace("greeting: hello", "greeting: bonjour"));
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("config map settings is saved").or(page.getByText("ConfigMap settings is saved")).waitFor();
  assert.equal(kubectl("get", "configmap", "-n", "shop", "settings", "-o", "jsonpath={.data.greeting}"), "bonjour");

  step("keys: to a view, and for help");
  await page.keyboard.press("Escape");
  await page.locator("main").focus();
  await page.keyboard.press("g");
  await page.keyboard.press("n");
  await page.waitForFunction(() => document.body.dataset.view === "#/nodes");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main", "the focus is at the view");
  await page.keyboard.press("?");
  await dialog.getByRole("heading", { name: "Keyboard" }).waitFor();
  await page.keyboard.press("Escape");
  assert.deepEqual(page.troubles, []);
  await page.context().close();

  step("what the browser gave up comes all the same");
  const shaky = await visitor(browser);
  let lost = [];
  await shaky.route("**/*", async (route) => {
    const { pathname } = new URL(route.request().url());
    const name = lost.find((one) => pathname.endsWith(`/${one}`));
    lost = lost.filter((one) => one !== name);
    await (name ? route.abort("connectionaborted") : route.continue());
  });
  await shaky.goto(link());
  for (const files of [
    ["page/base.css"],
    ["page/app.js"],
    ["page/store.js", "page/views/overview.js"],
    ["api/v1/pods", "page/views/lists.js"],
  ]) {
    lost = files;
    await shaky.goto("about:blank");
    await shaky.goto(base);
    // The page reloads if a file is missing then: what was asked for before the browser needed it may come in time.
    await shaky.waitForFunction(() => globalThis.early?.whole && document.body?.dataset.view);
    await view(shaky, "#/nodes");
    await shaky.getByRole("row", { name: /con-m02/ }).waitFor();
    assert.deepEqual(lost, [], "it was asked for");
    assert.equal(
      await shaky.evaluate(() => getComputedStyle(document.querySelector(".skip")).position),
      "absolute",
      "it has its styles",
    );
  }
  assert.deepEqual(shaky.troubles, []);
  await shaky.context().close();

  step("no violation that axe finds, in both themes and narrow");
  for (const [theme, width] of [
    ["light", 1280],
    ["dark", 1280],
    ["light", 390],
  ]) {
    // The policy of the page would keep axe out.
    const checked = await visitor(browser, { bypassCSP: true, colorScheme: theme, viewport: { width, height: 844 } });
    await checked.goto(link());
    for (const hash of [
      "#/overview",
      "#/nodes",
      "#/workloads",
      "#/pods",
      "#/services",
      "#/volumes",
      "#/events",
      "#/kinds",
      "#/deployments/shop/web",
      `#/pods/shop/${pod}`,
      `#/pods/shop/${pod}/logs`,
      `#/pods/shop/${pod}/shell`,
      "#/secrets/shop/password",
    ]) {
      await view(checked, hash);
      await checked.evaluate(axe);
      const { violations } = await checked.evaluate(() =>
        globalThis.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
      );
      const found = violations.map(
        (one) =>
          `${one.id}: ${one.help}: ${one.nodes
            .map((node) => `${node.target} ${node.failureSummary}`)
            .slice(0, 3)
            .join("; ")}`,
      );
      assert.deepEqual(found, [], `${hash}, ${theme}, ${width}`);
      const wide = await checked.evaluate(() => document.scrollingElement.scrollWidth);
      assert.ok(wide <= width, `${hash} is ${wide} wide on a screen of ${width}`);
      await shot(checked, `${hash.replace(/[^a-z]+/g, "-").slice(1)}-${theme}-${width}`);
    }
    assert.deepEqual(checked.troubles, []);
    await checked.context().close();
  }
});
