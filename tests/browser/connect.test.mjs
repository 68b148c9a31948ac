// How users connect to IBKR in the example app, in Debian's Chromium: by keys that a user uploads, and by the page of
// IBKR for a company. Everything stands in front of a simulated api.ibkr.com. Screenshots are in build/.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { startDemo } from "../node/demo.mjs";
import { buildApp, freePort, startApp } from "./app.mjs";

const CHROMIUM = "/usr/bin/chromium";
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PICTURES = `${ROOT}build/`;
const [ANNAS, BENS] = ["DU1234567", "DU4242424"];
const WAIT_MS = 30_000;
const LOOKS = [["", {}], ["-dark", { colorScheme: "dark" }], ["-phone", { viewport: { width: 390, height: 844 } }]];
const skip = existsSync(CHROMIUM) ? false : "Chromium is missing; the page is not tested (apt install chromium)";
let demo, env, app, browser, page, folder;

before(async () => {
  if (skip) return;
  await mkdir(PICTURES, { recursive: true });
  folder = await mkdtemp(`${tmpdir()}/ibkr-bridge-connect-`);
  buildApp({ IBKR_BRIDGE_URL: "http://127.0.0.1:9" });
  const port = await freePort();
  const callback = `http://127.0.0.1:${port}/api/ibkr/connection/callback`;
  const words = ["--users", "--activation-seconds", "4", "--callback", callback, "--write-env", `${folder}/env`];
  demo = await startDemo({ PATH: `${await quickOpenssl()}:${process.env.PATH}` }, `${ROOT}bridge.py`, words);
  env = Object.fromEntries((await readFile(`${folder}/env`, "utf8")).trim().split("\n").map((line) => line.split(/=(.*)/)));
  app = await startApp(env, port);
  browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  page = await openPage();
});

after(async () => {
  await browser?.close();
  await app?.stop();
  await demo?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

// A folder with a program `openssl` that has the parameters already: the real one takes a minute.
async function quickOpenssl() {
  const program = "from ibkr_bridge.sim.api_host import usual_keys; print(usual_keys().dhparam_pem, end='')";
  const parameters = execFileSync(`${ROOT}.venv/bin/python`, ["-c", program], { cwd: ROOT, encoding: "utf8" });
  await mkdir(`${folder}/bin`);
  await writeFile(`${folder}/dhparam.pem`, parameters);
  await writeFile(`${folder}/bin/openssl`, `#!/bin/sh\nsleep 1\ncat ${folder}/dhparam.pem\n`, { mode: 0o700 });
  return `${folder}/bin`;
}

async function openPage(options = {}, path = "/") {
  const context = await browser.newContext({ viewport: { width: 1100, height: 900 }, ...options });
  const opened = await context.newPage();
  opened.setDefaultTimeout(WAIT_MS);
  await opened.goto(app.url + path);
  return opened;
}

const hasBalance = (of = page) => of.getByRole("region", { name: "Balance" }).getByText("USD").first().waitFor();
const says = (text, of = page) => of.locator(".banner", { hasText: text }).first().waitFor();
async function become(name) {
  await page.getByRole("button", { name, exact: true }).click();
  await page.locator("button[aria-pressed=true]", { hasText: name }).waitFor();
}
const goTo = (path) => page.goto(app.url + path);

// The page as it looks now in light, in the dark and on a telephone, for the user of `page`.
async function pictures(name, path, text, isReady = async () => {}) {
  const cookies = await page.context().cookies();
  for (const [suffix, options] of LOOKS) {
    const other = await openPage(options);
    await other.context().addCookies(cookies);
    await other.goto(app.url + path);
    await says(text, other);
    await isReady(other);
    const widths = await other.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(widths[0] <= widths[1], `${name}${suffix} is ${widths[0]} wide in a window of ${widths[1]}`);
    await other.screenshot({ path: `${PICTURES}${name}${suffix}.png`, fullPage: true });
    await other.context().close();
  }
}

async function admin(method, path, body) {
  const headers = { "X-Bridge-Key": env.IBKR_BRIDGE_ADMIN_KEY, "Content-Type": "application/json" };
  const reply = await fetch(env.IBKR_BRIDGE_URL + path, { method, headers, body: body && JSON.stringify(body) });
  assert.equal(reply.status, 200, `${method} ${path}`);
  return reply.json();
}

// Everything works for Ben, and nothing of Anna is there.
async function bensDeskWorks() {
  await goTo("/");
  await says("Connected to Interactive Brokers.");
  await page.getByLabel("Limit").fill("");
  await page.getByRole("button", { name: "Buy AAPL" }).click();
  await page.getByRole("region", { name: "Orders" }).locator("li").first().getByText("Filled").waitFor();
  const orders = await (await page.request.get(`${app.url}/api/ibkr/accounts`)).json();
  assert.deepEqual(orders.accounts.map((account) => account.id)[0], BENS);
  assert.ok(!(await page.content()).includes(ANNAS));
}

test("another user sees no figure of the first one", { skip }, async () => {
  await says("Connected to Interactive Brokers.");
  await hasBalance();
  const annas = await page.getByRole("region", { name: "Balance" }).locator("dd").first().textContent();
  assert.ok((await page.content()).includes(ANNAS));
  await become("Ben");
  await says("Interactive Brokers is not connected.");

  await page.getByText("Orders can be sent").waitFor({ state: "detached" });
  const shown = await page.content();
  assert.ok(!shown.includes(ANNAS) && !shown.includes(annas), "a figure of Anna is still there");
  await page.goBack();
  await says("Interactive Brokers is not connected.");
  assert.ok(!(await page.content()).includes(ANNAS), "the page before shows Anna");
  await pictures("user-not-connected", "/", "Interactive Brokers is not connected.");
});

test("a browser cannot choose the profile itself", { skip }, async () => {
  const read = (headers) => page.request.get(`${app.url}/api/ibkr/accounts`, { headers });

  assert.equal((await read({ "X-Bridge-Profile": "main" })).status(), 503);
});

test("a callback with the request token of somebody else connects nobody", { skip }, async () => {
  const settings = { road: "oauth", api_url: new URL((await beginAs("ben")).page).origin, maintenance: "none" };
  await admin("POST", "/profiles", { name: "mallory", settings, key: null });
  const { page: authorize } = await beginAs("mallory");
  const form = { oauth_token: new URL(authorize).searchParams.get("oauth_token"), username: "ben", answer: "yes" };
  const agreed = await fetch(authorize.split("?")[0], { method: "POST", body: new URLSearchParams(form), redirect: "manual" });
  await page.goto(agreed.headers.get("location"));

  await says("This sign-in is over, or was begun by somebody else. Begin it again.");
  assert.ok(!page.url().includes("oauth_token"));
  assert.equal((await admin("GET", "/profiles/ben/connection")).kind, null);
  await page.screenshot({ path: `${PICTURES}connect-foreign.png`, fullPage: true });
  await admin("DELETE", "/profiles/mallory");
  await admin("DELETE", "/profiles/ben/connection");
});

const beginAs = (name) => admin("POST", `/profiles/${name}/connection`, { kind: "oauth1a-third-party" });

test("Ben connects through the company of the app", { skip }, async () => {
  await goTo("/connect");
  await says("Interactive Brokers is not connected.");
  await pictures("connect-begin", "/connect", "Interactive Brokers is not connected.");
  await page.getByRole("button", { name: "Connect IBKR" }).click();
  await page.getByRole("heading", { name: "Simulated login" }).waitFor();
  await page.screenshot({ path: `${PICTURES}simulated-authorize.png`, fullPage: true });
  await page.getByRole("button", { name: "Agree" }).click();

  await says("Interactive Brokers is connected.");
  assert.equal(page.url(), `${app.url}/connect`);
  await pictures("connect-connected", "/connect", "Interactive Brokers is connected.");
  await bensDeskWorks();
  await goTo("/connect");
  page.once("dialog", (dialog) => dialog.accept());
  await page.getByRole("button", { name: "Disconnect" }).click();
  await says("Interactive Brokers is not connected.");
});

// What the guide lets Ben save, uploaded to the page of the simulated IBKR. Returns what that page shows.
async function upload() {
  const files = {};
  for (const name of ["public_signature.pem", "public_encryption.pem", "dhparam.pem"]) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name }).click()]);
    files[name] = `${folder}/${name}`;
    await download.saveAs(files[name]);
  }
  const [ibkr] = await Promise.all([
    page.context().waitForEvent("page"), page.getByRole("link", { name: "the page of Interactive Brokers" }).click(),
  ]);
  await ibkr.getByLabel("Username").fill("ben");
  await ibkr.getByLabel("Consumer key").fill("BENSKEYXX");
  await ibkr.getByLabel("Public signing key").setInputFiles(files["public_signature.pem"]);
  await ibkr.getByLabel("Public encryption key").setInputFiles(files["public_encryption.pem"]);
  await ibkr.getByLabel("Diffie-Hellman").setInputFiles(files["dhparam.pem"]);
  await ibkr.screenshot({ path: `${PICTURES}simulated-self-service.png`, fullPage: true });
  await ibkr.getByRole("button", { name: "Generate token" }).click();
  await ibkr.getByRole("heading", { name: "Your access token" }).waitFor();
  await ibkr.screenshot({ path: `${PICTURES}simulated-token.png`, fullPage: true });
  const shown = ["consumer_key", "access_token", "access_token_secret"].map((id) => ibkr.locator(`#${id}`).textContent());
  const tokens = await Promise.all(shown);
  await ibkr.close();
  return tokens;
}

test("Ben connects with keys of his own", { skip }, async () => {
  await page.getByRole("button", { name: "Make keys" }).click();
  await says("Your keys are being made.");
  await page.screenshot({ path: `${PICTURES}connect-making-keys.png`, fullPage: true });
  await says("Your keys are ready.");
  await pictures("connect-upload", "/connect", "Your keys are ready.");
  const tokens = await upload();
  for (const [index, label] of ["Consumer key", "Access token", "Access token secret"].entries()) {
    await page.getByLabel(label, { exact: true }).fill(tokens[index]);
  }
  await page.getByRole("button", { name: "Connect", exact: true }).click();

  await says("has not taken your keys over yet");
  await page.screenshot({ path: `${PICTURES}connect-activating.png`, fullPage: true });
  await says("Interactive Brokers is connected."); // nobody did anything
  await bensDeskWorks();
  await pictures("user-ben", "/", "Connected to Interactive Brokers.", hasBalance);
});

test("Anna is where she was", { skip }, async () => {
  await become("Anna");
  await hasBalance();
  assert.ok((await page.content()).includes(ANNAS) && !(await page.content()).includes(BENS));
  await goTo("/connect");
  await page.getByText("connected through a Gateway").waitFor();
  await page.screenshot({ path: `${PICTURES}connect-gateway.png`, fullPage: true });
});

test("neither key is in anything that the browser gets", { skip }, async () => {
  const other = await browser.newPage();
  const texts = [];
  other.on("response", (reply) => {
    if (!reply.url().includes("/events")) texts.push(reply.text().catch(() => ""));
  });
  await other.goto(`${app.url}/connect`);
  await other.getByText("connected through a Gateway").waitFor();
  await other.close();
  const all = (await Promise.all(texts)).join("");
  for (const key of [env.IBKR_BRIDGE_KEY, env.IBKR_BRIDGE_ADMIN_KEY]) assert.ok(!all.includes(key));
  assert.ok(all.length > 1000);
});
