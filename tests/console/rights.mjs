// Another user's console: it shows and does what that user may, and no more.

import assert from "node:assert/strict";
import { kubectl, link, shot, step, view, visitor, withBrowser } from "./support.mjs";

await withBrowser(async (browser) => {
  const pod = kubectl("get", "pods", "-n", "shop", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}");
  const token = kubectl("create", "token", "guest", "-n", "shop");
  const links = [() => link("--token", token), () => link("--as", "system:serviceaccount:shop:guest")];
  for (const [index, made] of links.entries()) {
    step(index ? "as another user" : "by a token");
    const page = await visitor(browser);
    await page.goto(made());
    await guest(page, pod);
    await page.context().close();
  }

  step("the owner may become the guest, and then is no more than that");
  const page = await visitor(browser);
  await page.goto(link());
  await page.getByText("Pod crash").first().waitFor();
  await page.getByRole("button", { name: "User" }).click();
  await page
    .getByRole("dialog")
    .getByText(/kubernetes|admin|kcl/)
    .first()
    .waitFor();
  await page.getByLabel("Bearer token").first().fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("You may not see this").first().waitFor();
  await guest(page, pod);

  step("an invalid token");
  await page.goto(link("--token", "bogus"));
  await page
    .getByText(/not signed in|Unauthorized/)
    .first()
    .waitFor();
});

async function guest(page, pod) {
  await page.getByText("You may not see this").first().waitFor();
  await page.getByLabel("Namespace", { exact: true }).fill("shop");
  await page.keyboard.press("Enter");
  await view(page, "#/pods");
  await page.getByRole("row", { name: /crash/ }).waitFor();
  await view(page, "#/nodes");
  await page.getByText(/nodes is forbidden/).waitFor();
  await shot(page, "refused");
  await view(page, "#/settings/secrets");
  await page.getByText(/secrets is forbidden/).waitFor();
  await view(page, `#/pods/shop/${pod}/logs`);
  await page.getByRole("log").getByText("of the log").last().waitFor();
  await view(page, `#/pods/shop/${pod}/shell`);
  await page.getByText("You have no right to run commands in pods of shop").waitFor();
  // Also for who does not ask first.
  const refused = await page.evaluate(async (name) => {
    const answers = [];
    for (const [method, path] of [
      ["GET", `api/v1/namespaces/shop/pods/${name}/exec?command=id&stdout=true`],
      ["DELETE", `api/v1/namespaces/shop/pods/${name}`],
      ["GET", "api/v1/secrets"],
      ["GET", "console/addons"],
      ["GET", "api/v1/nodes/con/proxy/pods"],
    ]) {
      const headers = { authorization: "Bearer x", "impersonate-user": "admin", "impersonate-group": "system:masters" };
      answers.push((await fetch(path, { method, headers })).status);
    }
    return answers;
  }, pod);
  assert.deepEqual(refused, [403, 403, 403, 404, 403]);
  await view(page, `#/pods/shop/${pod}`);
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.keyboard.type(pod);
  await page.keyboard.press("Enter");
  await page
    .getByRole("dialog")
    .getByText(/cannot delete resource/)
    .waitFor();
  await page.keyboard.press("Escape");
  assert.deepEqual(page.troubles, []);
}
