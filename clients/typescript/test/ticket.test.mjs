// An order in a page: sent once, answered by the user alone, and followed until it is over.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { answers, closePage, hooks, openPage, pause, React, requests, setHidden, show, timerCount, until } from "./page.mjs";
import { broken, problem } from "./scripted.mjs";

const PLACE = "POST /api/bridge/accounts/DU1/orders";
const READ = "GET /api/bridge/orders/o1";
const TICKET = { side: "buy", type: "market", symbol: "AAPL", quantity: 1 };
const QUESTION = { id: "q1", texts: ["Sure?"], message_ids: ["o163"], expires_at: null };
const SHORT = { seconds: 0.02 };

beforeEach(openPage);
afterEach(closePage);

const order = (state, more = {}) => ({ id: "o1", state, status: null, question: null, filled: null, ...more });
const answer = (request, ...values) => answers.set(request, () => Response.json(values.length > 1 ? values.shift() : values[0]));
const sent = () => requests.filter((request) => (request.method ?? "GET") !== "GET");
const reads = () => requests.length - sent().length;

test("a ticket is sent once, also after a double click and after an error", async () => {
  answers.set(PLACE, () => problem(503, "busy"));
  const shown = await show(() => hooks.useTicket("DU1"));
  await React.act(() => Promise.all([shown.current.place(TICKET), shown.current.place(TICKET)]));
  assert.deepEqual([requests.length, shown.current.error.code], [1, "busy"]);

  answer(PLACE, order("placed", { status: "filled" }));
  await React.act(() => shown.current.place(TICKET));
  const keys = requests.map((request) => request.headers["Idempotency-Key"]);
  assert.deepEqual([keys[0] === keys[1], shown.current.order.state, shown.current.error], [true, "placed", null]);

  await React.act(async () => shown.current.reset());
  await React.act(() => shown.current.place(TICKET));
  assert.notEqual(requests[2].headers["Idempotency-Key"], keys[0]);
});

test("a question is answered with its own id", async () => {
  answer(PLACE, order("question", { question: QUESTION }));
  answer(READ, order("question", { question: QUESTION }));
  answer("POST /api/bridge/orders/o1/answer", order("placed", { status: "filled" }));
  const shown = await show(() => hooks.useTicket("DU1"));
  await React.act(() => shown.current.place(TICKET));
  assert.equal(shown.current.question.texts[0], "Sure?");

  await React.act(() => shown.current.answer(true));
  assert.deepEqual(JSON.parse(sent()[1].body), { confirm: true, question_id: "q1" });
  assert.equal(shown.current.question, null);
});

test("an order is read until it is over", async () => {
  answer(PLACE, order("placed", { status: "pending" }));
  answer(READ, order("placed", { status: "working", filled: "0" }), order("placed", { status: "working", filled: "1" }), order("placed", { status: "filled", filled: "3" }));
  const shown = await show(() => hooks.useTicket("DU1", SHORT));
  await React.act(() => shown.current.place(TICKET));
  const seen = new Set();
  await until(() => seen.add(shown.current.order.filled) && shown.current.order.status === "filled");

  assert.ok(seen.has("0") || seen.has("1"));
  await pause();
  assert.deepEqual([reads(), sent().length, timerCount()], [3, 1, 0]);
});

test("an open question is shown again after a reload, and waits for its user", async () => {
  answer(PLACE, order("question", { question: QUESTION }));
  answer(READ, order("question", { question: QUESTION }));
  const first = await show(() => hooks.useTicket("DU1", SHORT));
  await React.act(() => first.current.place(TICKET));
  const { id } = first.current.order; // an app keeps it in the address of its page, or finds it in the list of orders

  await openPage();
  answer(READ, order("question", { question: QUESTION }));
  answer("POST /api/bridge/orders/o1/answer", order("placed", { status: "working" }));
  const second = await show(() => hooks.useTicket("DU1", { orderId: id, ...SHORT }), { isStrict: true });
  await until(() => second.current.question !== null);
  await pause();
  assert.deepEqual([second.current.question, sent()], [QUESTION, []]); // nothing was sent, and nothing was answered

  answer(READ, order("placed", { status: "filled" }));
  await React.act(() => second.current.answer(true));
  await until(() => second.current.order.status === "filled");
  assert.deepEqual([sent().length, second.current.question], [1, null]);
});

test("an order whose outcome is unknown is found, and never sent again", async () => {
  answers.set(PLACE, () => problem(502, "order_unknown", {}, { order_id: "o1" }));
  answer(READ, order("unknown"), order("unknown"), order("placed", { status: "working" }), order("placed", { status: "filled" }));
  const shown = await show(() => hooks.useTicket("DU1", SHORT));
  await React.act(() => shown.current.place(TICKET));
  assert.deepEqual([shown.current.error.code, shown.current.order.state], ["order_unknown", "unknown"]);

  await until(() => shown.current.order.state === "placed");
  assert.equal(shown.current.error, null); // it is known now
  await until(() => shown.current.order.status === "filled");
  assert.equal(sent().length, 1);
});

test("no timer stays after an unmount, and nothing is read while the page is hidden", async () => {
  answer(PLACE, order("placed", { status: "working" }));
  answer(READ, order("placed", { status: "working" }));
  const shown = await show(() => hooks.useTicket("DU1", SHORT), { isStrict: true });
  await React.act(() => shown.current.place(TICKET));
  await until(() => reads() >= 3);
  await setHidden(true);
  await pause();
  const before = reads();
  await pause();
  assert.deepEqual([reads(), timerCount()], [before, 0]);

  await setHidden(false);
  await until(() => reads() > before + 2);
  await closePage();
  const last = reads();
  await pause();
  assert.deepEqual([reads(), timerCount()], [last, 0]);
});

test("a read that began before an answer does not bring the question back", async () => {
  let finish;
  answer(PLACE, order("question", { question: QUESTION }));
  answers.set(READ, () => new Promise((resolve) => { finish = () => resolve(Response.json(order("question", { question: QUESTION }))); }));
  answer("POST /api/bridge/orders/o1/answer", order("placed", { status: "filled" }));
  const shown = await show(() => hooks.useTicket("DU1", SHORT));
  await React.act(() => shown.current.place(TICKET));
  await React.act(() => shown.current.answer(true));
  await React.act(async () => finish());
  await pause();

  assert.deepEqual([shown.current.question, shown.current.order.status], [null, "filled"]);
});

test("a cancel that IBKR refuses leaves the order as it is", async () => {
  answer(PLACE, order("placed", { status: "working" }));
  answer(READ, order("placed", { status: "working" }));
  answers.set("DELETE /api/bridge/orders/o1", () => problem(409, "order_not_working", {}, { order_id: "c1", order: { id: "c1", kind: "cancel", state: "rejected" } }));
  const shown = await show(() => hooks.useTicket("DU1", SHORT));
  await React.act(() => shown.current.place(TICKET));
  await React.act(() => shown.current.cancel());
  await pause();

  assert.deepEqual([shown.current.error.code, shown.current.order.id, shown.current.order.status], ["order_not_working", "o1", "working"]);
});

test("a new order leaves the former one", async () => {
  answer(PLACE, order("placed", { status: "working" }));
  answer(READ, order("placed", { status: "working" }));
  const shown = await show(() => hooks.useTicket("DU1", SHORT));
  await React.act(() => shown.current.place(TICKET));
  await React.act(async () => shown.current.reset());
  const before = reads();
  await pause();

  assert.deepEqual([shown.current.order, reads(), timerCount()], [null, before, 0]);
});

test("an order that does not exist is an error, and is read once", async () => {
  answers.set(READ, () => problem(404, "order_not_found"));
  const shown = await show(() => hooks.useTicket("DU1", { orderId: "o1", ...SHORT }));
  await pause();

  assert.deepEqual([shown.current.error.code, shown.current.order, reads(), timerCount()], ["order_not_found", null, 1, 0]);
});

test("a read that fails is sent again, and its error disappears", async () => {
  answers.set(READ, broken);
  const shown = await show(() => hooks.useTicket("DU1", { orderId: "o1", ...SHORT }));
  await until(() => reads() >= 2);
  assert.equal(shown.current.error.code, "bridge_unreachable");

  answer(READ, order("placed", { status: "filled" }));
  await until(() => shown.current.order !== null);
  assert.equal(shown.current.error, null);
});

test("another order is followed when the page names another one", async () => {
  let orderId; // the list of orders is not loaded yet
  answer(READ, order("placed", { status: "filled" }));
  const useIt = () => {
    const [, render] = React.useState(0);
    return { ticket: hooks.useTicket("DU1", { orderId, ...SHORT }), render };
  };
  const shown = await show(useIt);
  assert.deepEqual([shown.current.ticket.order, reads()], [null, 0]);

  orderId = "o1";
  await React.act(async () => shown.current.render(1));
  await until(() => shown.current.ticket.order !== null);
  assert.equal(shown.current.ticket.order.id, "o1");
});
