// A thousand pods: how long until the first view is whole, and that as much is drawn as can be seen.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { kubectl, link, shot, step, view, visitor, withBrowser } from "./support.mjs";

const MANY = 1000;

writeFileSync(
  "many.json",
  JSON.stringify({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "many", namespace: "default" },
    spec: {
      replicas: MANY,
      selector: { matchLabels: { app: "many" } },
      template: {
        metadata: { labels: { app: "many" } },
        // There is no such node: they wait.
        spec: {
          nodeSelector: { nowhere: "yes" },
          containers: [
            { name: "c", image: process.env.IMAGE, resources: { requests: { cpu: "10m", memory: "16Mi" } } },
          ],
        },
      },
    },
  }),
);
kubectl("apply", "-f", "many.json");
kubectl("wait", `--for=jsonpath={.status.unavailableReplicas}=${MANY}`, "--timeout=180s", "deployment/many");
kubectl("wait", "--for=condition=PodScheduled=false", "--timeout=180s", "pods", "-l", "app=many");

await withBrowser(async (browser) => {
  step(`the first view with ${MANY} pods`);
  const times = [];
  for (let round = 0; round < 5; round += 1) {
    const page = await visitor(browser);
    await page.goto(link());
    // By the clock: by frames, which is usual, this would wait for the browser to draw.
    await page.waitForFunction(() => performance.getEntriesByName("first-view").length, undefined, { polling: 20 });
    times.push(await page.evaluate(() => Math.round(performance.getEntriesByName("first-view")[0].startTime)));
    assert.ok(Number(await page.locator(".tile", { hasText: "Pods" }).locator(".big").textContent()) > MANY);
    if (round === 4) {
      // What the answer alone takes, in the same browser.
      const list = await page.evaluate(async () => {
        const begun = performance.now();
        await (await fetch("api/v1/pods?limit=2500", { cache: "no-store" })).json();
        return Math.round(performance.now() - begun);
      });
      times.sort((a, b) => a - b);
      console.error(
        `    first view after ${times[0]} to ${times[4]} ms, median ${times[2]} ms; the list of pods alone takes ${list} ms`,
      );
      await shot(page, "many-overview");
      await view(page, "#/pods");
      await page.waitForFunction(
        (many) => Number(document.querySelector("table.rows").getAttribute("aria-rowcount")) > many,
        MANY,
      );
      const rows = () => page.locator("table.rows tbody tr[data-uid]").count();
      assert.ok((await rows()) < 100, `${await rows()} rows are drawn`);
      await page.locator(".scroller").evaluate((element) => (element.scrollTop = element.scrollHeight));
      await page.waitForFunction(
        (many) =>
          Number(
            document
              .querySelector("table.rows tbody tr[data-uid]:last-of-type, table.rows tbody tr[data-uid]")
              ?.getAttribute("aria-rowindex"),
          ) >
          many / 2,
        MANY,
      );
      assert.ok((await rows()) < 100, `${await rows()} rows are drawn`);
      await shot(page, "many-pods");
      assert.deepEqual(page.troubles, []);
    }
    await page.context().close();
  }
});
kubectl("delete", "deployment", "many", "--cascade=foreground", "--timeout=180s");
