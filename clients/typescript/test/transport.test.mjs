// One call: its deadline, its repetition and its errors.
import assert from "node:assert/strict";
import { test } from "node:test";
import { BridgeError, createBridge } from "../dist/index.js";
import { ACCESS, broken, errorOf, problem, refused, scripted } from "./scripted.mjs";

const SESSION = () => Response.json({ ready: true });
// An answer that never comes. The timer keeps the process alive, as the socket of a real request does.
const never = (init) => new Promise((_, reject) => {
  const alive = setInterval(() => undefined, 1000);
  init.signal.addEventListener("abort", () => {
    clearInterval(alive);
    reject(init.signal.reason);
  });
});
const TICKET = { side: "buy", type: "market", symbol: "AAPL", quantity: 1 };

test("a read whose connection broke is sent once more", async () => {
  const { fetch, requests } = scripted(broken, SESSION());

  assert.deepEqual(await createBridge({ ...ACCESS, fetch }).session(), { ready: true });
  assert.equal(requests.length, 2);
});

test("a read is sent once more when the bridge says so, and only once", async () => {
  const busy = () => problem(503, "busy", { "Retry-After": "0" });
  const { fetch, requests } = scripted(busy(), busy(), SESSION());

  assert.equal((await errorOf(createBridge({ ...ACCESS, fetch }).session())).code, "busy");
  assert.equal(requests.length, 2);
});

test("a page does not wait for a long Retry-After", async () => {
  const { fetch, requests } = scripted(problem(429, "rate_limited", { "Retry-After": "60" }));
  const error = await errorOf(createBridge({ ...ACCESS, fetch }).session());

  assert.deepEqual([error.code, error.retryAfter, requests.length], ["rate_limited", 60, 1]);
});

for (const [name, answer] of [["a broken connection", broken], ["busy", () => problem(503, "busy", { "Retry-After": "0" })]]) {
  test(`an order is never repeated: ${name}`, async () => {
    const { fetch, requests } = scripted(answer, SESSION());
    const error = await errorOf(createBridge({ ...ACCESS, fetch }).place("DU1234567", TICKET));

    assert.ok(error instanceof BridgeError);
    assert.equal(requests.length, 1);
    assert.equal(error.idempotencyKey, requests[0].headers["Idempotency-Key"]);
  });
}

test("each order has a key of its own, unless the caller gives one", async () => {
  const order = () => Response.json({ state: "placed" });
  const { fetch, requests } = scripted(order(), order(), order());
  const bridge = createBridge({ ...ACCESS, fetch });
  await bridge.place("DU1234567", TICKET);
  await bridge.place("DU1234567", TICKET);
  await bridge.cancel("o1", { idempotencyKey: "mine", confirm: ["o163", "o354"] });
  const [first, second, third] = requests.map((request) => request.headers["Idempotency-Key"]);

  assert.match(first, /^[0-9a-f-]{36}$/);
  assert.notEqual(first, second);
  assert.deepEqual([third, requests[2].headers["X-Bridge-Confirm"]], ["mine", "o163,o354"]);
});

test("a call ends at its deadline", async () => {
  const bridge = createBridge({ ...ACCESS, fetch: scripted(never, never).fetch, readSeconds: 0.02 });

  assert.equal((await errorOf(bridge.session())).code, "bridge_timeout");
});

test("a caller that gives up gets its own reason", async () => {
  const page = new AbortController();
  const work = errorOf(createBridge({ ...ACCESS, fetch: scripted(never).fetch }).session({ signal: page.signal }));
  page.abort(new Error("the page is closed"));

  assert.equal((await work).message, "the page is closed");
});

test("an error has all that the bridge says of it", async () => {
  const more = { field: "symbol", candidates: [{ conid: 1, symbol: "ES" }], action: { kind: "sign_in", url: "https://localhost:5000" } };
  const { fetch } = scripted(problem(409, "ambiguous_symbol", {}, more));
  const error = await errorOf(createBridge({ ...ACCESS, fetch }).search("ES"));

  assert.deepEqual([error.status, error.code, error.userMessage, error.field], [409, "ambiguous_symbol", "For users.", "symbol"]);
  assert.deepEqual([error.hint, error.requestId, error.action.url], ["for developers", "r1", "https://localhost:5000"]);
  assert.equal(error.candidates[0].symbol, "ES");
  assert.equal(error.orderId, null);
});

test("an order whose outcome is unknown can be looked up", async () => {
  const { fetch, requests } = scripted(problem(502, "order_unknown", {}, { order_id: "o1" }), Response.json({ id: "o1", state: "placed" }));
  const bridge = createBridge({ ...ACCESS, fetch });
  const error = await errorOf(bridge.place("DU1234567", TICKET));
  const order = await bridge.order(error.orderId);

  assert.deepEqual([order.state, requests[1].url], ["placed", `${ACCESS.url}/orders/o1`]);
});

test("what is no bridge is named", async () => {
  const page = () => new Response("<html>", { status: 404 });
  const { fetch } = scripted(page(), new Response("<html>"));
  const bridge = createBridge({ ...ACCESS, fetch });

  assert.equal((await errorOf(bridge.session())).code, "not_this_bridge");
  assert.equal((await errorOf(bridge.session())).code, "not_this_bridge");
});

test("a bridge that does not run is named", async () => {
  const { fetch } = scripted(refused);

  assert.match((await errorOf(createBridge({ ...ACCESS, fetch }).place("DU1", TICKET))).message, /no bridge listens/);
});

for (const [options, words] of [
  [{ url: "", key: ACCESS.key }, /IBKR_BRIDGE_URL is missing/],
  [{ url: ACCESS.url, key: "" }, /IBKR_BRIDGE_KEY is missing/],
  [{ url: `${ACCESS.url}/`, key: ACCESS.key }, /a slash too many/],
  [{ url: "127.0.0.1:8000", key: ACCESS.key }, /is not an address/],
  [{ url: `${ACCESS.url}/v1/api`, key: ACCESS.key }, /must end after the port/],
  [{ url: ACCESS.url, key: "REPLACE_WITH_REAL_KEY" }, /still the example/],
  [{ url: ACCESS.url, key: '"quoted-key-of-somebody"' }, /quotes around it/],
  [{ url: ACCESS.url, key: "two words" }, /a space/],
]) {
  test(`a wrong setting is named: ${words}`, async () => {
    const error = await errorOf(createBridge({ ...options, fetch: scripted().fetch }).session());

    assert.equal(error.code, "settings_invalid");
    assert.match(error.message, words);
  });
}

test("a list of instruments becomes symbols and numbers", async () => {
  const { fetch, requests } = scripted(Response.json({}));
  await createBridge({ ...ACCESS, fetch }).quotes(["AAPL", "ES@CME", 265598]);

  assert.equal(requests[0].url, `${ACCESS.url}/quotes?symbols=AAPL,ES%40CME&conids=265598`);
});
