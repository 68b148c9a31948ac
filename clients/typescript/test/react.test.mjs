// The hooks in a page: what they show, and that an order is sent once.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { answers, closePage, hooks, openPage, React, requests, show } from "./page.mjs";
import { problem } from "./scripted.mjs";

beforeEach(openPage);
afterEach(closePage);

test("a page may call the routes itself", async () => {
  answers.set("DELETE /api/bridge/orders/o1", () => Response.json({ id: "o1", state: "placed", status: "cancelling" }));
  const order = await hooks.callRoute("/api/bridge/orders/o1", { method: "DELETE" });

  assert.equal(order.status, "cancelling");
});

test("a value is loading, then ready", async () => {
  answers.set("GET /api/bridge/session", () => Response.json({ ready: true, state: "ready" }));
  const shown = await show(() => hooks.useSession());

  assert.deepEqual([shown.current.state, shown.current.data.ready], ["ready", true]);
});

test("a failure keeps the last value", async () => {
  answers.set("GET /api/bridge/positions", () => Response.json({ positions: [] }));
  const shown = await show(() => hooks.usePositions());
  answers.set("GET /api/bridge/positions", () => problem(503, "session_unavailable"));
  await React.act(() => shown.current.refresh());

  assert.equal(shown.current.state, "failed");
  assert.equal(shown.current.error.code, "session_unavailable");
  assert.deepEqual(shown.current.data, { positions: [] });
});

test("two components that show the same share one request", async () => {
  answers.set("GET /api/bridge/quotes?symbols=AAPL&conids=265598", () => Response.json({ quotes: [], problems: [] }));
  await show(() => [hooks.useQuotes(["AAPL", 265598]), hooks.useQuotes(["AAPL", 265598])]);

  assert.equal(requests.length, 1);
});

test("a ticket is sent once, also after a double click and after an error", async () => {
  const orders = "POST /api/bridge/accounts/DU1/orders";
  const ticket = { side: "buy", type: "market", symbol: "AAPL", quantity: 1 };
  answers.set(orders, () => problem(503, "busy"));
  const shown = await show(() => hooks.useTicket("DU1"));
  await React.act(() => Promise.all([shown.current.place(ticket), shown.current.place(ticket)]));
  assert.deepEqual([requests.length, shown.current.error.code], [1, "busy"]);

  answers.set(orders, () => Response.json({ id: "o1", state: "placed", question: null }));
  await React.act(() => shown.current.place(ticket));
  const keys = requests.map((request) => request.headers["Idempotency-Key"]);
  assert.deepEqual([keys[0] === keys[1], shown.current.order.state, shown.current.error], [true, "placed", null]);

  await React.act(async () => shown.current.reset());
  await React.act(() => shown.current.place(ticket));
  assert.notEqual(requests[2].headers["Idempotency-Key"], keys[0]);
});

test("a question is answered with its own id", async () => {
  const question = { id: "q1", texts: ["Sure?"], message_ids: ["o163"], expires_at: null };
  answers.set("POST /api/bridge/accounts/DU1/orders", () => Response.json({ id: "o1", state: "question", question }));
  answers.set("POST /api/bridge/orders/o1/answer", () => Response.json({ id: "o1", state: "placed", question: null }));
  const shown = await show(() => hooks.useTicket("DU1"));
  await React.act(() => shown.current.place({ side: "buy", type: "market", symbol: "AAPL", quantity: 1 }));
  assert.equal(shown.current.question.texts[0], "Sure?");

  await React.act(() => shown.current.answer(true));
  assert.deepEqual(JSON.parse(requests[1].body), { confirm: true, question_id: "q1" });
  assert.equal(shown.current.question, null);
});
