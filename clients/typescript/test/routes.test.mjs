// Route handlers of an app: what a page gets, and who may use them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createBridge } from "../dist/index.js";
import { ACCESS, eventStream, problem, scripted } from "./scripted.mjs";

const APP = "http://localhost:3000/api/bridge";
const authorize = () => true;

function bridgeWith(...answers) {
  const { fetch, requests } = scripted(...answers);
  return { bridge: createBridge({ ...ACCESS, fetch }), requests };
}

const params = (values) => ({ params: Promise.resolve(values) });
const post = (path, body, headers = {}) => new Request(`${APP}${path}`, { method: "POST", body: JSON.stringify(body), headers });

test("a read is passed on", async () => {
  const { bridge, requests } = bridgeWith(Response.json({ positions: [] }));
  const GET = bridge.route.positions({ account: "DU1234567" });
  const reply = await GET(new Request(`${APP}/positions`));

  assert.deepEqual([reply.status, await reply.json()], [200, { positions: [] }]);
  assert.equal(reply.headers.get("cache-control"), "no-store");
  assert.equal(requests[0].url, `${ACCESS.url}/accounts/DU1234567/positions`);
});

test("parameters come from the path or the query", async () => {
  const { bridge, requests } = bridgeWith(Response.json({}), Response.json({}), Response.json({}));
  await bridge.route.order()(new Request(`${APP}/order`), params({ id: "o 1" }));
  await bridge.route.trades()(new Request(`${APP}/trades?account=DU1&days=3`));
  await bridge.route.quotes()(new Request(`${APP}/quotes?symbols=AAPL,MSFT&conids=265598`));

  assert.deepEqual(requests.map((request) => request.url.replace(ACCESS.url, "")), [
    "/orders/o%201", "/accounts/DU1/trades?days=3", "/quotes?symbols=AAPL,MSFT&conids=265598",
  ]);
});

test("a page gets of an error only what it may show", async () => {
  const { bridge } = bridgeWith(problem(422, "validation_failed", {}, { field: "quantity" }));
  const reply = await bridge.route.place({ authorize })(post("/orders", {}), params({ account: "DU1" }));
  const body = await reply.json();

  assert.deepEqual([reply.status, body.code, body.user_message, body.field], [422, "validation_failed", "For users.", "quantity"]);
  assert.deepEqual([body.hint, body.detail], [undefined, undefined]);
});

test("a page gets the id of an order whose outcome is unknown", async () => {
  const { bridge } = bridgeWith(problem(502, "order_unknown", {}, { order_id: "o1" }));
  const reply = await bridge.route.place({ authorize })(post("/orders", {}), params({ account: "DU1" }));

  assert.equal((await reply.json()).order_id, "o1");
});

test("a wrong key of the server does not sign the user out", async () => {
  const { bridge } = bridgeWith(problem(401, "invalid_key"));

  assert.equal((await bridge.route.session()(new Request(`${APP}/session`))).status, 502);
});

test("a page of another site may not trade, and the app decides who may", async () => {
  const { bridge, requests } = bridgeWith();
  const foreign = await bridge.route.place({ authorize })(post("/orders", {}, { "sec-fetch-site": "cross-site" }), params({ account: "DU1" }));
  const stranger = await bridge.route.cancel({ authorize: async () => false })(post("/orders/1", {}), params({ id: "1" }));

  assert.deepEqual([foreign.status, stranger.status, requests.length], [403, 403, 0]);
});

test("the key of a page's order is passed on", async () => {
  const { bridge, requests } = bridgeWith(Response.json({ state: "placed" }));
  await bridge.route.place({ authorize })(post("/orders", { side: "buy" }, { "idempotency-key": "page-1" }), params({ account: "DU1" }));

  assert.equal(requests[0].headers["Idempotency-Key"], "page-1");
  assert.equal(requests[0].body, '{"side":"buy"}');
});

test("one route serves them all", async () => {
  const { bridge, requests } = bridgeWith(Response.json({}), Response.json({}), Response.json({}));
  const { GET, POST, DELETE } = bridge.route.all({ authorize });
  await GET(new Request(`${APP}/accounts/DU1/positions`), params({ path: ["accounts", "DU1", "positions"] }));
  await POST(post("/orders/o1/answer", { confirm: true }), params({ path: ["orders", "o1", "answer"] }));
  await DELETE(new Request(`${APP}/orders/o1`, { method: "DELETE" }), params({ path: ["orders", "o1"] }));
  const missing = await GET(new Request(`${APP}/gateway/logout`), params({ path: ["gateway", "logout"] }));

  assert.deepEqual(requests.map((request) => `${request.method} ${request.url.replace(ACCESS.url, "")}`), [
    "GET /accounts/DU1/positions", "POST /orders/o1/answer", "DELETE /orders/o1",
  ]);
  assert.equal(missing.status, 404);
});

test("the reads of the hooks are below the one route", async () => {
  const { bridge, requests } = bridgeWith(Response.json({}), Response.json({}));
  const { GET } = bridge.route.all({ authorize });
  await GET(new Request(`${APP}/accounts`), params({ path: ["accounts"] }));
  await GET(new Request(`${APP}/history?conid=1&period=1m&bar=1d&outside_hours=true`), params({ path: ["history"] }));

  assert.deepEqual(requests.map((request) => request.url.replace(ACCESS.url, "")), [
    "/accounts", "/history?conid=1&period=1m&bar=1d&outside_hours=true",
  ]);
});

test("the app's own sign-in decides the profile, and no header of a browser", async () => {
  const { bridge, requests } = bridgeWith(Response.json({}), eventStream(""), Response.json({}));
  const profile = async (request) => request.headers.get("cookie") === "user=ben" ? "ben" : undefined;
  const { GET, POST } = bridge.route.all({ authorize, profile });
  const headers = { Cookie: "user=ben", "X-Bridge-Profile": "anna" };
  await GET(new Request(`${APP}/accounts`, { headers }), params({ path: ["accounts"] }));
  await GET(new Request(`${APP}/events`, { headers }), params({ path: ["events"] }));
  await POST(post("/accounts/DU1/orders", {}, headers), params({ path: ["accounts", "DU1", "orders"] }));
  const nobody = await GET(new Request(`${APP}/accounts`, { headers: { "X-Bridge-Profile": "ben" } }), params({ path: ["accounts"] }));

  assert.deepEqual(requests.map((request) => request.headers["X-Bridge-Profile"]), ["ben", "ben", "ben"]);
  assert.deepEqual([nobody.status, (await nobody.json()).code], [403, "insufficient_scope"]);
});

test("a bridge may be for one profile", async () => {
  const { bridge, requests } = bridgeWith(Response.json({}), Response.json({}));
  await bridge.for("ben").accounts();
  await bridge.accounts();

  assert.deepEqual(requests.map((request) => request.headers["X-Bridge-Profile"]), ["ben", undefined]);
});

test("the events are below the one route too", async () => {
  const { bridge, requests } = bridgeWith(eventStream("event: gap\ndata: {}\n\n"));
  const reply = await bridge.route.all({ authorize }).GET(new Request(`${APP}/events`), params({ path: ["events"] }));

  assert.equal(reply.headers.get("content-type"), "text/event-stream; charset=utf-8");
  assert.equal(requests[0].url, `${ACCESS.url}/events`);
});

test("a stream is passed on, with the place where it goes on", async () => {
  const { bridge, requests } = bridgeWith(eventStream('data: {"a":1}\n\n'));
  const request = new Request(`${APP}/events?topics=orders`, { headers: { "Last-Event-ID": "7" } });
  const reply = await bridge.route.events()(request);

  assert.equal(await reply.text(), 'data: {"a":1}\n\n');
  assert.deepEqual([requests[0].url, requests[0].headers["Last-Event-ID"]], [`${ACCESS.url}/events?topics=orders`, "7"]);
});
