// The operator's page in Debian's Chromium, in front of a demo. Screenshots are in build/. axe-core looks for what a
// keyboard or a screen reader cannot use.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { startDemo } from "../node/demo.mjs";

const CHROMIUM = "/usr/bin/chromium";
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const PROGRAM = fileURLToPath(new URL("../../bridge.py", import.meta.url));
const PYTHON = fileURLToPath(new URL("../../.venv/bin/python", import.meta.url));
const PICTURES = fileURLToPath(new URL("../../build/", import.meta.url));
const AXE = fileURLToPath(new URL("node_modules/axe-core/axe.min.js", import.meta.url));
const ACCOUNT = "DU1234567";
const WIDE = { viewport: { width: 1200, height: 900 } };
const PHONE = { viewport: { width: 390, height: 844 } };
const FAR_LIMIT = { side: "buy", type: "limit", symbol: "AAPL", quantity: "1", limit_price: "150" };
const WAIT_MS = 30_000;
const skip = existsSync(CHROMIUM) ? false : "Chromium is missing; the page is not tested (apt install chromium)";
let demo, browser;

before(async () => {
  if (skip) return;
  await mkdir(PICTURES, { recursive: true });
  demo = await startDemo({}, PROGRAM);
  browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

// The address that `bridge.py open` prints.
function address(...options) {
  const result = spawnSync(PYTHON, [PROGRAM, "open", "--print", ...options],
    { encoding: "utf8", cwd: demo.home, env: { PATH: process.env.PATH, HOME: demo.home, XDG_RUNTIME_DIR: demo.home, ...demo.env } });
  return /http:\S+#token=\S+/.exec(result.stdout)[0];
}

// A page that is open, with what it has written to its console and what it has requested.
async function openPage(url, options = WIDE) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const seen = { errors: [], hosts: new Set() };
  page.on("pageerror", (error) => seen.errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && seen.errors.push(message.text()));
  page.on("request", (request) => seen.hosts.add(new URL(request.url()).host));
  await page.goto(url);
  return { page, seen, context };
}

const call = (path, body, method = "POST") => fetch(`${demo.url}${path}`, {
  method,
  headers: { "X-Bridge-Key": demo.key, "Content-Type": "application/json" },
  body: body && JSON.stringify(body),
});
const isLive = (page) => page.getByText("live", { exact: true }).waitFor();
const picture = (page, name) => page.screenshot({ path: `${PICTURES}operator-${name}.png`, fullPage: true });
const begin = (page, fault) => page.getByRole("button", { name: `Begin ${fault}`, exact: true }).click();
const endAll = (page) => page.getByRole("button", { name: "End all faults" }).click();

async function findings(page) {
  await page.evaluate(await readFile(AXE, "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
}

for (const [name, options] of [["light", WIDE], ["dark", { ...WIDE, colorScheme: "dark" }], ["phone", PHONE]]) {
  test(`the page is whole and accessible: ${name}`, { skip }, async () => {
    await call(`/accounts/${ACCOUNT}/orders`, FAR_LIMIT); // IBKR asks something
    const { page, seen, context } = await openPage(address("--trade"), options);
    await isLive(page);
    await page.getByText("IBKR asks:").first().waitFor();
    await page.locator("#rates canvas").waitFor();
    await picture(page, name);

    assert.deepEqual(await findings(page), []);
    assert.deepEqual(seen.errors, []);
    assert.deepEqual([...seen.hosts], [new URL(demo.url).host]);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "it is too wide");
    assert.equal(new URL(page.url()).hash, "", "the token is still in the address bar");
    await page.getByRole("button", { name: "No", exact: true }).first().click();
    await page.getByText("IBKR asks:").first().waitFor({ state: "detached" });
    await context.close();
  });
}

test("a question is answered on a page that trades, and not on one that reads", { skip }, async () => {
  const order = await (await call(`/accounts/${ACCOUNT}/orders`, FAR_LIMIT)).json();
  const reader = await openPage(address());
  await reader.page.getByText("This page may only read.").waitFor();
  await reader.context.close();

  const { page, context } = await openPage(address("--trade"));
  await page.getByRole("button", { name: "Yes, place the order" }).click();
  await page.getByText("BUY 1 AAPL LMT 150, working").first().waitFor();
  await context.close();
  const placed = await (await call(`/orders/${order.id}`, undefined, "GET")).json();
  assert.equal(placed.state, "placed");
});

test("a loss is on the page with what to do, and the page recovers by itself", { skip }, async () => {
  const { page, context } = await openPage(address());
  await isLive(page);
  await begin(page, "sso-lost");
  await page.getByText("critical: nobody is signed in at the Gateway").waitFor();
  await page.locator(".condition a[href^='https://127.0.0.1']").waitFor();
  await picture(page, "signed-out");
  assert.deepEqual(await findings(page), []);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("Ready: signed in, brokerage calls work").waitFor();
  await page.getByText("signed_out").first().waitFor({ state: "attached" }); // in the history
  await context.close();
});

test("a read is sent again, by the keyboard alone", { skip }, async () => {
  await call("/portfolio/accounts", undefined, "GET");
  const { page, context } = await openPage(address());
  const row = page.locator(".request summary", { hasText: "GET /portfolio/accounts" }).first();
  await row.focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByText(/Status 200 after/).waitFor();
  assert.match(await page.getByLabel("Response").textContent(), /DU\*+67/);
  await context.close();
});

test("what is open and focused stays so while the page changes", { skip }, async () => {
  const { page, context } = await openPage(address());
  await isLive(page);
  const row = page.locator(".request summary").first();
  await row.focus();
  await page.keyboard.press("Enter");
  const before = await page.locator("#session").textContent();
  await page.waitForFunction((text) => document.getElementById("session").textContent !== text, before);
  assert.ok(await page.evaluate(() => document.activeElement.matches(".request summary")));
  assert.ok(await page.evaluate(() => document.activeElement.parentElement.open));
  await context.close();
});

test("an address works once, and a page that is open stays open", { skip }, async () => {
  const url = address();
  const { page, context } = await openPage(url);
  await isLive(page);
  await page.reload();
  await isLive(page);
  await page.goto(url); // the same browser has its cookie
  await isLive(page);
  const other = await openPage(url);
  await other.page.getByText("The token of this address is not valid any more").waitFor();
  await other.context.close();
  await context.close();
});

test("a token that has expired asks for a new one", { skip }, async () => {
  const { page, context } = await openPage(`${demo.url}/#token=x.y.z`);
  await page.getByText("The token of this address is not valid any more").waitFor();
  assert.deepEqual(await findings(page), []);
  await picture(page, "without-token");
  await context.close();
});

test("a bridge that is gone is said to be gone", { skip }, async () => {
  const own = await startDemo({}, PROGRAM);
  const shared = demo;
  demo = own;
  const { page, context } = await openPage(address());
  await isLive(page);
  demo = shared;
  await own.stop();
  await page.getByText(/No word from the bridge since/).waitFor();
  await picture(page, "bridge-gone");
  await context.close();
});
