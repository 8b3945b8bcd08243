// What the scripts share: Chromium, kcl, and waiting for what a person would see.

import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const { KCL, PROFILE, SHOTS, CHROMIUM = "/usr/bin/chromium" } = process.env;

/** Longer than anything takes. */
export const LIMIT = 120_000;

/** Nothing is sent anywhere but to the console. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function kcl(...words) {
  return execFileSync(KCL, ["-p", PROFILE, ...words], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 1 << 28,
  }).trim();
}

export const kubectl = (...words) => kcl("kubectl", "--", ...words);

/** A link to the console. */
export const link = (...words) => kcl("dashboard", "--url", ...words);

export const step = (text) => console.error(`  - ${(performance.now() / 1000).toFixed(1)} s: ${text}`);

/** Runs `story` with a browser, which ends with it. */
export async function withBrowser(story) {
  mkdirSync(SHOTS, { recursive: true });
  const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: FLAGS });
  try {
    await story(browser);
  } catch (error) {
    for (const page of browser.contexts().flatMap((context) => context.pages())) console.error(await state(page));
    throw error;
  } finally {
    await browser.close();
  }
}

/** What there is to see of a page when a story fails: an answer that does not come says that its script is stuck. */
async function state(page) {
  const look = page.evaluate(() => {
    const entries = performance
      .getEntries()
      .map(({ name, startTime, duration }) => `${Math.round(startTime)}+${Math.round(duration)} ms ${name}`);
    return [
      document.visibilityState,
      document.body.dataset.view,
      document.body.textContent.slice(0, 2000),
      ...entries,
    ].join("\n");
  });
  const never = new Promise((done) => setTimeout(done, 10_000, "it does not answer"));
  const seen = await Promise.race([look, never]).catch((error) => error.stack);
  return `${page.url()}\n${(page.troubles ?? []).join("\n")}\n${seen}`;
}

/** A page of a new visitor, whose errors fail the story. */
export async function visitor(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(LIMIT);
  const page = await context.newPage();
  page.troubles = [];
  page.on("pageerror", (error) => page.troubles.push(error.stack));
  page.on(
    "console",
    (message) => /Content Security|Trusted/.test(message.text()) && page.troubles.push(message.text()),
  );
  page.on(
    "request",
    (request) => new URL(request.url()).hostname === "127.0.0.1" || page.troubles.push(`a request to ${request.url()}`),
  );
  return page;
}

/** Goes to a view and waits until it has what it shows. */
export async function view(page, hash) {
  await page.evaluate((to) => (location.hash = to), hash);
  await page.waitForFunction((to) => document.body.dataset.view === to, hash);
}

export const shot = (page, name) => page.screenshot({ path: join(SHOTS, `${name}.png`) });
