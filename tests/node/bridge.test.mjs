// The code of docs/nextjs.md, as a Next.js server would run it, against a real bridge in front of a simulated Gateway.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { bridge, BridgeError } from "./build/bridge.js";
import { place } from "./build/orders.js";
import { POST as tokenRoute } from "./build/route.js";
import { GET as streamRoute } from "./build/stream.js";
import { use } from "./build/use.js";
import { startDemo } from "./demo.mjs";

const ACCOUNT = "DU1234567";
const TICKET = { acctId: ACCOUNT, conid: 265598, orderType: "MKT", side: "BUY", tif: "DAY", quantity: 1 };
const ORDERS = `/iserver/account/${ACCOUNT}/orders`;
const ORDER_ROUTE = "/iserver/account/{accountId}/orders";
const READ = "/portfolio/accounts";
let demo;

before(async () => {
  demo = await startDemo();
  Object.assign(process.env, demo.env);
});

afterEach(async () => {
  Object.assign(process.env, demo.env);
  await demo.repair();
  await waitUntilNoPenalty();
});

after(() => demo.stop());

// Wait until no penalty of an earlier test is left, since it would refuse calls of the next test.
async function waitUntilNoPenalty() {
  for (;;) {
    const { penalty } = await bridge("/gateway/status");
    if (penalty.box_s === 0 && Object.keys(penalty.endpoints).length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

// Return the error that a call ends with; a call that succeeds fails the test.
async function refusal(path, options) {
  const error = await bridge(path, options).then(() => assert.fail(`${path} was answered`), (error) => error);
  assert.ok(error instanceof BridgeError, String(error));
  return error;
}

test("accounts are read and an order is placed, as the page shows", async () => {
  const { accounts, placed } = await use(ACCOUNT, { symbol: "AAPL", side: "buy", type: "market", quantity: "1" });

  assert.equal(accounts[0].id, ACCOUNT);
  assert.equal(placed.state, "placed");
});

test("an error has what a page and its form need", async () => {
  const ticket = { symbol: "AAPL", side: "buy", type: "limit", quantity: "1" };
  const error = await refusal(`/accounts/${ACCOUNT}/orders`, { method: "POST", body: ticket });

  assert.equal(error.field, "limit_price");
  assert.match(error.userMessage, /not valid/);
});

// Return the data of the first `count` events of a stream.
async function events(reply, count) {
  const found = [];
  let pending = "";
  for await (const piece of reply.body.pipeThrough(new TextDecoderStream())) {
    pending += piece;
    const parts = pending.split("\n\n");
    pending = parts.pop();
    for (const part of parts) {
      const data = /^data: (.*)$/m.exec(part);
      if (data !== null && !part.startsWith("event: ")) found.push(JSON.parse(data[1])); // events with a name carry no data of the market
    }
    if (found.length >= count) return found;
  }
  assert.fail("the stream ended");
}

test("the stream of a page is passed on as it arrives, and ends when the page is closed", async () => {
  const page = new AbortController();
  const pageRequest = new Request("http://localhost:3001/api/stream/quotes?conids=265598&fields=31", { signal: page.signal });
  const reply = await streamRoute(pageRequest, { params: Promise.resolve({ what: "quotes" }) });
  const quotes = await events(reply, 2);
  const refusedReply = await streamRoute(new Request("http://localhost:3001/api/stream/quotes"),
    { params: Promise.resolve({ what: "quotes" }) });
  page.abort();

  assert.equal(reply.headers.get("content-type"), "text/event-stream; charset=utf-8");
  assert.ok(quotes.every((event) => event.conid === 265598 && "31" in event));
  assert.deepEqual([refusedReply.status, (await refusedReply.json()).code], [400, "bad_request"]);
  for (;;) {
    const { stream } = await bridge("/gateway/status");
    if (stream.readers === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
});

test("a browser opens a websocket with a token, but only from a page of the app", async () => {
  const { token } = await (await tokenRoute()).json();
  const url = new URL(`/ws?token=${token}`, demo.env.IBKR_BRIDGE_URL);
  const { request } = await import("node:http");
  const upgrade = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" };
  const statusFrom = (origin) => new Promise((resolve) => {
    const handshake = request(url, { headers: { ...upgrade, Origin: origin } });
    handshake.on("upgrade", (reply, socket) => { socket.destroy(); resolve(reply.statusCode); });
    handshake.on("response", (reply) => { reply.resume(); resolve(reply.statusCode); });
    handshake.end();
  });

  assert.equal(await statusFrom("http://localhost:3001"), 101);
  assert.equal(await statusFrom("https://evil.example"), 403);
});

test("a page gets a token that may only read", async () => {
  const reply = await tokenRoute();
  const issued = await reply.json();
  const call = (path, method) => fetch(demo.env.IBKR_BRIDGE_URL + path,
    { method, headers: { Authorization: `Bearer ${issued.token}` } });

  assert.deepEqual([reply.status, reply.headers.get("cache-control"), issued.scope], [200, "no-store", "read"]);
  assert.equal((await call(READ, "GET")).status, 200);
  assert.equal((await call("/gateway/pause", "POST")).status, 403);
  assert.equal((await call("/auth/token", "POST")).status, 403);
});

test("a wrong key is a typed error that says what to do", async () => {
  process.env.IBKR_BRIDGE_KEY = "not-the-key-of-this-bridge-0123456789";

  const error = await refusal(READ);

  assert.deepEqual([error.name, error.status, error.code, error.retryAfter], ["BridgeError", 401, "invalid_key", undefined]);
  assert.match(error.hint, /X-Bridge-Key/);
  assert.ok(await demo.hasLogged(error.requestId), "the log has no line of the request");
});

test("an error of IBKR keeps IBKR's words", async () => {
  await demo.trigger("status", { path: READ, status: 400, body: '{"error":"Bad Request: no such thing"}' });

  const error = await refusal(READ);

  assert.deepEqual([error.status, error.code, error.message], [400, "ibkr", "Bad Request: no such thing"]);
});

test("an error page that is not JSON becomes an error with the code ibkr", async () => {
  await demo.trigger("html-500", { path: READ });

  assert.equal((await refusal(READ)).code, "ibkr");
});

test("the error of a lost login has the time to wait", async () => {
  await demo.trigger("sso-lost");
  await demo.until("false");

  const error = await refusal(ORDERS, { method: "POST", body: { orders: [TICKET] } });

  assert.deepEqual([error.status, error.code, error.retryAfter], [503, "session_unavailable", 5]);
  assert.match(error.hint, /sign in/);
});

test("a read is sent once more, after the seconds of Retry-After", async () => {
  const before = await demo.served("GET", READ);
  await demo.trigger("429", { path: READ, times: 1, headers: { "Retry-After": "1" } });
  const began = performance.now();

  const accounts = await bridge(READ);

  assert.equal(accounts[0].accountId, ACCOUNT);
  assert.ok(performance.now() - began >= 1000, "it did not wait");
  assert.equal((await demo.served("GET", READ)) - before, 2);
});

test("a read is not sent a third time", async () => {
  const before = await demo.served("GET", READ);
  await demo.trigger("429", { path: READ, headers: { "Retry-After": "1" } });

  assert.equal((await refusal(READ)).code, "rate_limited");
  assert.equal((await demo.served("GET", READ)) - before, 2);
});

test("a read that may be repeated only after more than five seconds is not repeated", async () => {
  const before = await demo.served("GET", READ);
  await demo.trigger("429", { path: READ, times: 1, headers: { "Retry-After": "6" } });

  assert.equal((await refusal(READ)).retryAfter, 6);
  assert.equal((await demo.served("GET", READ)) - before, 1);
});

for (const [kind, options, code, quantity] of [
  ["cut-before", {}, "order_unknown", 2],
  ["429", { headers: { "Retry-After": "1" } }, "rate_limited", 3], // with an equal quantity it would wait for the search of the lost order
]) {
  test(`an order that meets the fault ${kind} is sent once`, async () => {
    const before = await demo.served("POST", ORDER_ROUTE);
    await demo.trigger(kind, { path: ORDERS, times: 1, ...options });

    const error = await refusal(ORDERS, { method: "POST", body: { orders: [{ ...TICKET, quantity }] } });

    assert.equal(error.code, code);
    assert.equal((await demo.served("POST", ORDER_ROUTE)) - before, 1);
  });
}

test("an order with a cOID is placed, and a question listed before is confirmed", async () => {
  const farFromMarket = { ...TICKET, orderType: "LMT", price: 150 };

  const placed = await place(ACCOUNT, farFromMarket, "node-1", ["o163"]);

  assert.deepEqual([placed.state, placed.coid, placed.error], ["placed", "node-1", null]);
});

test("an order whose response is lost is found, and placed once", async () => {
  await demo.trigger("done-cut-before", { path: `${ORDERS}$`, times: 1 });

  const found = await place(ACCOUNT, TICKET, "node-2");
  const again = await place(ACCOUNT, TICKET, "node-2");

  assert.deepEqual([found.state, again.id], ["placed", found.id]);
});

test("the error of a refused order has its code", async () => {
  await assert.rejects(place("U1234567", TICKET, "node-3"), { name: "BridgeError", code: "paper_only" });
});

test("a cancel is sent once", async () => {
  await demo.trigger("429", { path: "/order/1", headers: { "Retry-After": "1" } });

  const error = await refusal(`/iserver/account/${ACCOUNT}/order/1`, { method: "DELETE" });

  assert.equal(error.code, "rate_limited");
  assert.equal((await demo.served("DELETE", "/iserver/account/{accountId}/order/{orderId}")), 1);
});

test("a deadline that the caller sets ends the wait", async () => {
  await demo.trigger("delay", { path: READ, times: 1, seconds: 2 });

  await assert.rejects(bridge(READ, { seconds: 0.3 }), { name: "TimeoutError" });
});
