// What a person does with the list, in Chromium: browser.mjs URL add|see WORDS.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [address, what, words] = process.argv.slice(2);
const { SHOTS, CHROMIUM = "/usr/bin/chromium" } = process.env;
const base = new URL(address);
// Nothing is sent anywhere but to the app.
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

mkdirSync(SHOTS, { recursive: true });
const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args });
try {
  const page = await browser.newPage({ viewport: { width: 800, height: 600 } });
  page.setDefaultTimeout(120_000);
  const troubles = [];
  page.on("pageerror", (error) => troubles.push(error.stack));
  // Node asks, not Chromium: that gives up a request when the host's network changes (ERR_NETWORK_CHANGED), as it does when
  // another cluster starts beside.
  await page.route("**/*", async (route) => route.fulfill({ response: await route.fetch() }));
  page.on(
    "request",
    (request) => new URL(request.url()).host === base.host || troubles.push(`a request to ${request.url()}`),
  );

  await page.goto(new URL("/frontend", base).href);
  await page.getByRole("heading", { name: "Things to do" }).waitFor();
  const item = page.getByRole("listitem").filter({ hasText: words });
  if (what === "add") {
    await page.getByLabel("What is to be done?").fill(words);
    await page.getByRole("button", { name: "Add" }).click();
    await item.getByRole("checkbox").check();
  }
  await item.waitFor();
  await page.waitForFunction(() => document.querySelector("li :checked"));
  await page.screenshot({ path: join(SHOTS, `${what}.png`) });

  await page.getByRole("link", { name: "Dashboard" }).click();
  await page.waitForFunction(() => document.getElementById("done").textContent === "1");
  await page
    .locator("#pods")
    .filter({ hasText: /\d|unknown/ })
    .waitFor();
  await page.screenshot({ path: join(SHOTS, `${what}-dashboard.png`) });
  assert.equal(new URL(page.url()).pathname, "/dashboard/");
  assert.deepEqual(troubles, []);
} finally {
  await browser.close();
}
