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
  await demo.mend();
  await forgiven();
});

after(() => demo.stop());

// What one test made IBKR angry about, the next one must not meet.
async function forgiven() {
  for (;;) {
    const { penalty } = await bridge("/gateway/status");
    if (penalty.box_s === 0 && Object.keys(penalty.endpoints).length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

// The error a call ends with; one that succeeds is a failure.
async function refusal(path, ask) {
  const error = await bridge(path, ask).then(() => assert.fail(`${path} was answered`), (error) => error);
  assert.ok(error instanceof BridgeError, String(error));
  return error;
}

test("accounts are read and an order is placed, as the page shows", async () => {
  const { accounts, placed } = await use(ACCOUNT, TICKET);

  assert.equal(accounts[0].accountId, ACCOUNT);
  assert.match(placed[0].order_id, /^\d+$/);
});

// The data of a stream, until so many events have come.
async function events(reply, count) {
  const found = [];
  let held = "";
  for await (const piece of reply.body.pipeThrough(new TextDecoderStream())) {
    held += piece;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const data = /^data: (.*)$/m.exec(part);
      if (data !== null && !part.startsWith("event: ")) found.push(JSON.parse(data[1])); // named ones are no data
    }
    if (found.length >= count) return found;
  }
  assert.fail("the stream ended");
}

test("a page's stream is passed on as it comes, and ends with the page", async () => {
  const page = new AbortController();
  const asked = new Request("http://localhost:3001/api/stream/quotes?conids=265598&fields=31", { signal: page.signal });
  const reply = await streamRoute(asked, { params: Promise.resolve({ what: "quotes" }) });
  const told = await events(reply, 2);
  const refused = await streamRoute(new Request("http://localhost:3001/api/stream/quotes"),
    { params: Promise.resolve({ what: "quotes" }) });
  page.abort();

  assert.equal(reply.headers.get("content-type"), "text/event-stream; charset=utf-8");
  assert.ok(told.every((event) => event.conid === 265598 && "31" in event));
  assert.deepEqual([refused.status, (await refused.json()).code], [400, "bad_request"]);
  for (;;) {
    const { stream } = await bridge("/gateway/status");
    if (stream.readers === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
});

test("a browser's websocket opens with a token, from a page of the app", async () => {
  const { token } = await (await tokenRoute()).json();
  const url = new URL(`/ws?token=${token}`, demo.env.IBKR_BRIDGE_URL);
  const { request } = await import("node:http");
  const upgrade = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" };
  const opened = (origin) => new Promise((resolve) => {
    const asked = request(url, { headers: { ...upgrade, Origin: origin } });
    asked.on("upgrade", (reply, socket) => { socket.destroy(); resolve(reply.statusCode); });
    asked.on("response", (reply) => { reply.resume(); resolve(reply.statusCode); });
    asked.end();
  });

  assert.equal(await opened("http://localhost:3001"), 101);
  assert.equal(await opened("https://evil.example"), 403);
});

test("a page gets a token that reads, and nothing more", async () => {
  const reply = await tokenRoute();
  const told = await reply.json();
  const ask = (path, method) => fetch(demo.env.IBKR_BRIDGE_URL + path,
    { method, headers: { Authorization: `Bearer ${told.token}` } });

  assert.deepEqual([reply.status, reply.headers.get("cache-control"), told.scope], [200, "no-store", "read"]);
  assert.equal((await ask(READ, "GET")).status, 200);
  assert.equal((await ask("/gateway/pause", "POST")).status, 403);
  assert.equal((await ask("/auth/token", "POST")).status, 403);
});

test("a wrong key is a typed error that says what to do", async () => {
  process.env.IBKR_BRIDGE_KEY = "not-the-key-of-this-bridge-0123456789";

  const error = await refusal(READ);

  assert.deepEqual([error.name, error.status, error.code, error.retryAfter], ["BridgeError", 401, "invalid_key", undefined]);
  assert.match(error.hint, /X-Bridge-Key/);
  assert.ok(await demo.knows(error.requestId), "the log does not know the request");
});

test("an answer of IBKR's own that is an error keeps its words", async () => {
  await demo.trigger("status", { path: READ, status: 400, body: '{"error":"Bad Request: no such thing"}' });

  const error = await refusal(READ);

  assert.deepEqual([error.status, error.code, error.message], [400, "ibkr", "Bad Request: no such thing"]);
});

test("an error page that is not JSON is an error too", async () => {
  await demo.trigger("html-500", { path: READ });

  assert.equal((await refusal(READ)).code, "ibkr");
});

test("a lost login is told with the time to wait", async () => {
  await demo.trigger("sso-lost");
  await demo.until("false");

  const error = await refusal(ORDERS, { method: "POST", body: { orders: [TICKET] } });

  assert.deepEqual([error.status, error.code, error.retryAfter], [503, "session_unavailable", 5]);
  assert.match(error.hint, /sign in/);
});

test("a read is asked once more, not before the time it was told", async () => {
  const before = await demo.served("GET", READ);
  await demo.trigger("429", { path: READ, times: 1, headers: { "Retry-After": "1" } });
  const began = performance.now();

  const accounts = await bridge(READ);

  assert.equal(accounts[0].accountId, ACCOUNT);
  assert.ok(performance.now() - began >= 1000, "it did not wait");
  assert.equal((await demo.served("GET", READ)) - before, 2);
});

test("a read is not asked a third time", async () => {
  const before = await demo.served("GET", READ);
  await demo.trigger("429", { path: READ, headers: { "Retry-After": "1" } });

  assert.equal((await refusal(READ)).code, "rate_limited");
  assert.equal((await demo.served("GET", READ)) - before, 2);
});

test("a read whose time is far away is left", async () => {
  const before = await demo.served("GET", READ);
  await demo.trigger("429", { path: READ, times: 1, headers: { "Retry-After": "6" } });

  assert.equal((await refusal(READ)).retryAfter, 6);
  assert.equal((await demo.served("GET", READ)) - before, 1);
});

for (const [kind, told, code, quantity] of [
  ["cut-before", {}, "order_unknown", 2],
  ["429", { headers: { "Retry-After": "1" } }, "rate_limited", 3], // an equal of an order that is being looked for would be held
]) {
  test(`an order that meets ${kind} is sent once`, async () => {
    const before = await demo.served("POST", ORDER_ROUTE);
    await demo.trigger(kind, { path: ORDERS, times: 1, ...told });

    const error = await refusal(ORDERS, { method: "POST", body: { orders: [{ ...TICKET, quantity }] } });

    assert.equal(error.code, code);
    assert.equal((await demo.served("POST", ORDER_ROUTE)) - before, 1);
  });
}

test("an order is placed by name and told, its question confirmed beforehand", async () => {
  const far = { ...TICKET, orderType: "LMT", price: 150 };

  const placed = await place(ACCOUNT, far, "node-1", ["o163"]);

  assert.deepEqual([placed.state, placed.coid, placed.error], ["placed", "node-1", null]);
});

test("an order whose answer is lost is found, and placed once", async () => {
  await demo.trigger("done-cut-before", { path: `${ORDERS}$`, times: 1 });

  const found = await place(ACCOUNT, TICKET, "node-2");
  const again = await place(ACCOUNT, TICKET, "node-2");

  assert.deepEqual([found.state, again.id], ["placed", found.id]);
});

test("an order that is refused says why", async () => {
  await assert.rejects(place("U1234567", TICKET, "node-3"), { name: "BridgeError", code: "paper_only" });
});

test("a cancel is sent once", async () => {
  await demo.trigger("429", { path: "/order/1", headers: { "Retry-After": "1" } });

  const error = await refusal(`/iserver/account/${ACCOUNT}/order/1`, { method: "DELETE" });

  assert.equal(error.code, "rate_limited");
  assert.equal((await demo.served("DELETE", "/iserver/account/{accountId}/order/{orderId}")), 1);
});

test("a deadline of one's own ends the wait", async () => {
  await demo.trigger("delay", { path: READ, times: 1, seconds: 2 });

  await assert.rejects(bridge(READ, { seconds: 0.3 }), { name: "TimeoutError" });
});
