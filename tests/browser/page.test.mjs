// The page of the example app in Debian's Chromium, against a real bridge in front of a simulated Gateway. Each fault must
// be on the page in words, and the page must recover by itself. Screenshots are in build/.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { startDemo } from "../node/demo.mjs";
import { APP, buildApp, startApp } from "./app.mjs";

const CHROMIUM = "/usr/bin/chromium";
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const PROGRAM = fileURLToPath(new URL("../../bridge.py", import.meta.url)); // with its limits, as an app would meet it
const PICTURES = fileURLToPath(new URL("../../build/", import.meta.url));
const KEY = "a-key-for-this-test-alone-0123456789";
const WAIT_MS = 30_000;
const skip = existsSync(CHROMIUM) ? false : "Chromium is missing; the page is not tested (apt install chromium)";
let demo, app, browser, page;

before(async () => {
  if (skip) return;
  await mkdir(PICTURES, { recursive: true });
  buildApp({ IBKR_BRIDGE_URL: "http://127.0.0.1:9", IBKR_BRIDGE_KEY: KEY }); // no bridge is there while it is built
  demo = await startDemo({ IBKR_BRIDGE_KEY: KEY }, PROGRAM);
  app = await startApp(environment());
  browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  page = await openPage();
});

after(async () => {
  await browser?.close();
  await app?.stop();
  await demo?.stop();
});

const environment = () => ({ IBKR_BRIDGE_URL: demo.url, IBKR_BRIDGE_KEY: demo.key });

async function openPage(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 900 }, ...options });
  const opened = await context.newPage();
  opened.setDefaultTimeout(WAIT_MS);
  await opened.goto(app.url);
  return opened;
}

const picture = (name, of = page) => of.screenshot({ path: `${PICTURES}${name}.png`, fullPage: true });
const says = (text, of = page) => of.locator(".banner", { hasText: text }).waitFor();
const lastPrice = async (of = page) => of.locator("[data-last=AAPL]").textContent();

// Wait until the quote of a page moves.
async function moves(of = page) {
  const before = await lastPrice(of);
  await of.waitForFunction((text) => document.querySelector("[data-last=AAPL]").textContent !== text, before);
}

async function isWell(of = page) {
  await says("Connected to Interactive Brokers.", of);
  await of.locator(".banner.good").waitFor();
  await moves(of);
}

async function fillTicket(limit) {
  await page.getByLabel("Limit").fill(limit);
  await page.getByRole("button", { name: "Buy AAPL" }).click();
}

// A price so far above the market that IBKR asks, and so good that the order fills.
const highPrice = async () => (Number(await lastPrice()) * 1.05).toFixed(2);
const dialogOf = (of = page) => of.getByRole("dialog", { name: "Question of IBKR" });
const newest = () => page.getByRole("region", { name: "Orders" }).locator("li").first();

test("quotes move, and the page shows what the account has", { skip }, async () => {
  await isWell();

  await page.getByRole("region", { name: "Balance" }).getByText("USD").first().waitFor();
  assert.ok((await page.getByRole("region", { name: "Positions" }).locator("tbody tr").count()) >= 10);
  await page.locator("polyline").waitFor();
  await picture("page-light");
});

test("it can be read in the dark and on a telephone", { skip }, async () => {
  for (const [name, options] of [["page-dark", { colorScheme: "dark" }], ["page-phone", { viewport: { width: 400, height: 800 } }]]) {
    const other = await openPage(options);
    await isWell(other);
    await other.locator("polyline").waitFor();
    await other.getByRole("region", { name: "Positions" }).getByText("MSFT").waitFor();

    const widths = await other.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(widths[0] <= widths[1], `${name} is ${widths[0]} wide in a window of ${widths[1]}`);
    await picture(name, other);
    await other.context().close();
  }
});

test("an order asks, is answered, and fills", { skip }, async () => {
  await fillTicket(await highPrice());
  await dialogOf().getByText("price exceeds").waitFor();
  await picture("question");
  await page.getByRole("button", { name: "Yes, place it" }).click();

  await dialogOf().waitFor({ state: "detached" });
  await newest().getByText("Filled").waitFor();
  await page.getByRole("region", { name: "Ticket" }).getByText("Filled").waitFor();
});

test("a question is shown again after a reload, and in another tab", { skip }, async () => {
  await fillTicket("150.00");
  await dialogOf().waitFor();
  await page.reload();
  await dialogOf().getByText("price exceeds").waitFor();
  const other = await openPage();
  await dialogOf(other).getByText("Buy 1 AAPL at 150.00").waitFor();
  await page.getByRole("button", { name: "No", exact: true }).click();

  await newest().getByText("Not placed").waitFor();
  await dialogOf().waitFor({ state: "detached" });
  await dialogOf(other).waitFor({ state: "detached" });
  await other.context().close();
});

test("an order is cancelled", { skip }, async () => {
  await fillTicket((Number(await lastPrice()) * 0.98).toFixed(2));
  await newest().getByRole("button", { name: "Cancel" }).click();

  await newest().getByText("Cancelled").waitFor();
});

test("an order whose answer was lost is explained, and found", { skip }, async () => {
  const before = await page.getByRole("region", { name: "Orders" }).locator("li").count();
  await demo.trigger("done-cut-before", { path: "/orders", times: 1 });
  await fillTicket("");

  const status = page.getByRole("region", { name: "Ticket" }).getByRole("status");
  await status.filter({ hasText: "the bridge is looking for it" }).waitFor();
  await picture("unknown");
  await newest().getByText("Filled").waitFor();
  await status.filter({ hasText: "Filled" }).waitFor();
  assert.equal(await page.getByRole("region", { name: "Orders" }).locator("li").count(), before + 1);
  await demo.clear();
});

test("three tabs stay alive", { skip }, async () => {
  const tabs = [await page.context().newPage(), await page.context().newPage()];
  for (const tab of tabs) {
    tab.setDefaultTimeout(WAIT_MS);
    await tab.goto(app.url);
  }
  for (let round = 0; round < 3; round++) await Promise.all([page, ...tabs].map((tab) => isWell(tab)));
  for (const tab of tabs) await tab.close();
});

test("a lost login is said, with a link to sign in, and its return is noticed", { skip }, async () => {
  await demo.trigger("sso-lost");
  const link = page.locator(".banner.bad").getByRole("link", { name: "Sign in" });
  await link.waitFor();

  assert.match(await link.getAttribute("href"), /^https:\/\//);
  assert.ok(await page.getByRole("button", { name: "Buy AAPL" }).isDisabled());
  await picture("signed-out");
  await demo.clear();
  await isWell();
});

test("a silent Gateway is said, and its return is noticed", { skip }, async () => {
  await demo.trigger("ibkr-down");
  await page.locator(".banner.bad").waitFor();
  await page.getByRole("region", { name: "Orders" }).getByText("its list cannot be read now").first().waitFor();
  await picture("silent");
  await demo.clear();

  await isWell();
});

test("a restart of the bridge is said, and the page goes on by itself", { skip }, async () => {
  const url = demo.url;
  await demo.stop();
  await page.locator(".banner.bad").waitFor();
  await picture("bridge-lost");
  const status = await (await fetch(`${app.url}/api/ibkr/status`)).json();
  demo = await startDemo({ IBKR_BRIDGE_URL: url, IBKR_BRIDGE_KEY: KEY }, PROGRAM);

  assert.deepEqual(status, { ok: false, gateway: { authenticated: false } });
  await isWell();
});

test("the routes of the app answer as an existing app expects", { skip }, async () => {
  const get = async (path, headers = {}) => fetch(`${app.url}/api/ibkr${path}`, { headers });

  assert.deepEqual(await (await get("/status")).json(), { ok: true, gateway: { authenticated: true } });
  assert.equal((await (await get("/marketdata?symbols=AAPL")).json()).quotes[0].symbol, "AAPL");
  assert.equal((await (await get("/account?account=DU1234567")).json()).currency, "USD");
  assert.ok((await (await get("/positions?account=DU1234567")).json()).positions.length >= 10);
  assert.equal((await get("/positions", { "Sec-Fetch-Site": "cross-site" })).status, 403);
});

async function filesBelow(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => `${entry.parentPath}/${entry.name}`);
}

test("the key is in no file of the build and in nothing that the browser gets", { skip }, async () => {
  for (const file of await filesBelow(`${APP}.next`)) {
    const text = await readFile(file, "latin1");
    assert.ok(!text.includes(KEY), `${file} has the key`);
    if (file.includes("/.next/static/")) assert.ok(!text.includes("X-Bridge-Key"), `${file} has code of the server`);
  }
  const other = await browser.newPage();
  const texts = [];
  other.on("response", (reply) => {
    if (!reply.url().includes("/events")) texts.push(reply.text().catch(() => ""));
  });
  await other.goto(app.url);
  await isWell(other);
  await other.close();
  assert.ok(texts.length > 5);
  assert.ok(!(await Promise.all(texts)).join("").includes(KEY));
});
