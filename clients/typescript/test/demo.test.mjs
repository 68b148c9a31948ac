// Against a real bridge in front of the simulated Gateway.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createBridge } from "../dist/index.js";
import { startDemo } from "../../../tests/node/demo.mjs";
import { errorOf } from "./scripted.mjs";

const ACCOUNT = "DU1234567";
const LIMIT = { side: "buy", type: "limit", symbol: "AAPL", quantity: 1, limit_price: "150.00" };
let demo;
const bridge = createBridge();

before(async () => {
  demo = await startDemo();
  Object.assign(process.env, demo.env);
});

after(() => demo.stop());

test("reads have the shapes that their types promise", async () => {
  const session = await bridge.session();
  const { accounts } = await bridge.accounts();
  const { positions } = await bridge.positions(ACCOUNT);
  const { quotes } = await bridge.quotes(["AAPL", 272093]);

  assert.equal(session.ready && session.mode, "paper");
  assert.ok(accounts.some((account) => account.id === ACCOUNT));
  assert.match(positions[0].quantity, /^-?\d+(\.\d+)?$/);
  assert.deepEqual(quotes.map((quote) => quote.conid), [265598, 272093]);
});

test("an order is placed after its question is answered, and then cancelled", async () => {
  const asked = await bridge.place(ACCOUNT, LIMIT);
  assert.equal(asked.state, "question");
  assert.match(asked.question.texts[0], /price/);

  const placed = await bridge.answer(asked.id, true);
  assert.deepEqual([placed.state, placed.id], ["placed", asked.id]);

  const cancelled = await bridge.cancel(asked.id);
  assert.match(cancelled.status, /cancel/);
});

test("the same order with the same key is placed once", async () => {
  const market = { side: "buy", type: "market", symbol: "AAPL", quantity: 1 };
  const first = await bridge.place(ACCOUNT, market, { idempotencyKey: "once" });
  const second = await bridge.place(ACCOUNT, market, { idempotencyKey: "once" });

  assert.equal(second.id, first.id);
});

test("an unknown symbol is an error with a sentence for the user", async () => {
  const error = await errorOf(bridge.search("NOSUCHSYMBOL"));

  assert.deepEqual([error.status, error.code, error.field], [404, "instrument_not_found", "symbol"]);
  assert.match(error.userMessage, /does not know/);
});

test("a wrong key is named", async () => {
  const error = await errorOf(createBridge({ key: "another-key-0123456789-0123456789-01" }).session());

  assert.equal(error.code, "invalid_key");
  assert.match(error.message, /IBKR_BRIDGE_KEY/);
});

test("the events begin with the present state, and follow an order", async () => {
  const market = { side: "buy", type: "market", symbol: "MSFT", quantity: 1, client_order_id: "followed" };
  const seen = new Set();
  for await (const event of bridge.events({ instruments: ["AAPL"] })) {
    if (event.type === "session" && !seen.has("session")) await bridge.place(ACCOUNT, market);
    if (event.type === "quotes") assert.equal(event.data.symbol, "AAPL");
    if (event.type === "trades" && event.data.client_order_id === "followed") seen.add("the trade");
    seen.add(event.type);
    if (["session", "account", "positions", "orders", "quotes", "the trade"].every((name) => seen.has(name))) break;
  }
});
