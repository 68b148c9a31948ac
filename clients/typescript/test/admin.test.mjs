// Profiles and their connections: which calls are made, and what a browser may send.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createAdmin } from "../dist/index.js";
import { callbackProblem } from "../dist/react.js";
import { ACCESS, errorOf, problem, scripted } from "./scripted.mjs";

const APP = "http://localhost:3000/api/connection";
const user = { authorize: () => true, profile: async () => "ben" };
const nobody = { authorize: () => true, profile: async () => null };

function adminWith(...answers) {
  const { fetch, requests } = scripted(...answers);
  return { admin: createAdmin({ ...ACCESS, fetch }), requests };
}

const shown = (requests) => requests.map(({ method, url, body }) => `${method} ${url.replace(ACCESS.url, "")} ${body ?? ""}`.trim());
const post = (path, body, headers = {}) => new Request(`${APP}${path}`, { method: "POST", body: JSON.stringify(body), headers });
const callback = (query) => new Request(`${APP}/callback?${query}`, { headers: { "sec-fetch-site": "cross-site" } });
const TOKENS = { consumer_key: "ABCDEFGHI", access_token: "a1", access_token_secret: "c2" };

test("each call has its route", async () => {
  const { admin, requests } = adminWith(...Array.from({ length: 12 }, () => Response.json({})));
  await admin.profiles();
  await admin.createProfile({ name: "ben", settings: { road: "oauth" }, key: null, app_key: "app" });
  await admin.forgetProfile("ben");
  await admin.addKey("ben", "read");
  await admin.connection("ben");
  await admin.beginConnection("ben", { kind: "oauth1a" });
  await admin.verifyConnection("ben", { oauth_token: "t", oauth_verifier: "v" });
  await admin.endConnection("ben");
  await admin.importCredential("ben", TOKENS);
  await admin.checkCredential("ben");
  await admin.saveConsumer({ ...TOKENS, signature_key: "s", encryption_key: "e", dh_parameters: "d" });
  await admin.forgetConsumer();

  assert.deepEqual(shown(requests).map((each) => each.split(" ").slice(0, 2).join(" ")), [
    "GET /profiles", "POST /profiles", "DELETE /profiles/ben", "POST /profiles/ben/keys", "GET /profiles/ben/connection",
    "POST /profiles/ben/connection", "POST /profiles/ben/connection/verifier", "DELETE /profiles/ben/connection",
    "POST /profiles/ben/credential", "POST /profiles/ben/check", "PUT /consumer", "DELETE /consumer",
  ]);
});

test("the key has a variable of its own", async () => {
  const { IBKR_BRIDGE_ADMIN_KEY: before } = process.env;
  const { fetch, requests } = scripted(Response.json({}));
  delete process.env.IBKR_BRIDGE_ADMIN_KEY;
  const missing = await errorOf(createAdmin({ url: ACCESS.url, fetch }).profiles());
  process.env.IBKR_BRIDGE_ADMIN_KEY = "a".repeat(40);
  await createAdmin({ url: ACCESS.url, fetch }).profiles();
  if (before === undefined) delete process.env.IBKR_BRIDGE_ADMIN_KEY;

  assert.deepEqual([missing.code, missing.message.startsWith("IBKR_BRIDGE_ADMIN_KEY is missing")], ["settings_invalid", true]);
  assert.equal(requests[0].headers["X-Bridge-Key"], "a".repeat(40));
});

test("a page begins, looks and ends for its own user", async () => {
  const { admin, requests } = adminWith(Response.json({}), Response.json({ step: "upload" }), Response.json({}));
  const { GET, POST, DELETE } = admin.route.connection(user);
  await POST(post("", { kind: "oauth1a", dh_parameters: "of a browser" }));
  const looked = await (await GET(new Request(APP))).json();
  await DELETE(new Request(APP, { method: "DELETE" }));

  assert.equal(looked.step, "upload");
  assert.deepEqual(shown(requests), [
    'POST /profiles/ben/connection {"kind":"oauth1a"}', "GET /profiles/ben/connection", "DELETE /profiles/ben/connection",
  ]);
});

test("a browser stores tokens and never keys", async () => {
  const { admin, requests } = adminWith(Response.json({ complete: true }));
  const POST = admin.route.tokens(user);
  await POST(post("", { ...TOKENS, access_token: " a1\n", signature_key: "of a browser" }));
  const missing = await POST(post("", { ...TOKENS, access_token: "" }));
  const other = await POST(post("", [1]));

  assert.deepEqual(shown(requests), [`POST /profiles/ben/credential ${JSON.stringify(TOKENS)}`]);
  assert.deepEqual([missing.status, (await missing.json()).field, other.status], [422, "access_token", 422]);
});

test("without a sign-in, or from another site, nothing is begun", async () => {
  const { admin, requests } = adminWith();
  const stranger = await admin.route.connection(nobody).POST(post("", { kind: "oauth1a" }));
  const foreign = await admin.route.check(user)(post("", {}, { "sec-fetch-site": "cross-site" }));

  assert.deepEqual([stranger.status, foreign.status, requests.length], [403, 403, 0]);
});

test("a callback hands over what IBKR's page sent, and leaves nothing in the address", async () => {
  const { admin, requests } = adminWith(Response.json({}));
  const reply = await admin.route.callback({ ...user, to: "/connect" })(callback("oauth_token=t1&oauth_verifier=v1"));

  assert.deepEqual([reply.status, reply.headers.get("location")], [303, "/connect"]);
  assert.deepEqual(shown(requests), ['POST /profiles/ben/connection/verifier {"oauth_token":"t1","oauth_verifier":"v1"}']);
});

test("a callback that fails adds a code, and the page has words for it", async () => {
  const { admin, requests } = adminWith(problem(404, "request_token_unknown"));
  const GET = (options) => admin.route.callback({ ...options, to: "/connect" });
  const [foreign, refused, stranger] = [
    await GET(user)(callback("oauth_token=t1&oauth_verifier=v1")), await GET(user)(callback("")),
    await GET(nobody)(callback("oauth_token=t1&oauth_verifier=v1")),
  ].map((reply) => new URLSearchParams(reply.headers.get("location").split("?")[1]).get("problem"));

  assert.deepEqual([foreign, refused, stranger], ["request_token_unknown", "not_agreed", "not_signed_in"]);
  assert.match(callbackProblem(refused), /you did not agree/);
  assert.match(callbackProblem(stranger), /Nobody is signed in/);
  assert.equal(callbackProblem("Send money to"), callbackProblem("toString")); // an address makes the page say nothing new
  assert.equal(callbackProblem(null), null);
  assert.equal(requests.length, 1);
});
