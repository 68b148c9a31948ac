// The hooks of a page, through the routes of an app, against a real bridge in front of the simulated Gateway.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { closePage, hooks, nodeFetch, openPage, React, show, until } from "./page.mjs";
import { createBridge } from "../dist/index.js";
import { startDemo } from "../../../tests/node/demo.mjs";

const ACCOUNT = "DU1234567";
const MARKET = { side: "buy", type: "market", symbol: "AAPL", quantity: 1 };
const ASKING = { side: "buy", type: "limit", symbol: "AAPL", quantity: 1, limit_price: "150.00" };
const SHORT = { seconds: 0.2 };
let demo, sent;

before(async () => {
  demo = await startDemo();
  const routes = createBridge({ url: demo.url, key: demo.key, fetch: nodeFetch }).route.all({ authorize: () => true });
  globalThis.fetch = (path, init = {}) => {
    const url = new URL(path, "http://localhost:3000");
    const { method = "GET", headers, body } = init;
    if (method !== "GET") sent.push(`${method} ${url.pathname}`);
    return routes[method](new Request(url, { method, headers, body }), { params: { path: url.pathname.split("/").slice(3) } });
  };
});

after(() => demo.stop());

beforeEach(async () => {
  sent = [];
  await openPage();
});
afterEach(closePage);

test("accounts and prices are read through the one route", async () => {
  const accounts = await show(() => hooks.useAccounts());
  await until(() => accounts.current.state === "ready");
  assert.ok(accounts.current.data.accounts.some(({ id }) => id === ACCOUNT));

  await openPage();
  const [bySymbol, byNumber] = [{ symbol: "AAPL", period: "1m", bar: "1d" }, { conid: 265598, period: "1w", bar: "1h" }];
  const prices = await show(() => [hooks.useHistory(bySymbol), hooks.useHistory(byNumber)]);
  await until(() => prices.current.every(({ state }) => state === "ready"));
  assert.deepEqual(prices.current.map(({ data }) => [data.conid, data.period, data.bar]), [[265598, "1m", "1d"], [265598, "1w", "1h"]]);
  assert.match(prices.current[0].data.bars[0].close, /^\d+(\.\d+)?$/);
});

test("a question survives a reload, and its order is followed to its end", async () => {
  const first = await show(() => hooks.useTicket(ACCOUNT, SHORT));
  await React.act(() => first.current.place(ASKING));
  const { id, question } = first.current.order;

  await openPage();
  const second = await show(() => hooks.useTicket(ACCOUNT, { orderId: id, ...SHORT }), { isStrict: true });
  await until(() => second.current.question !== null);
  assert.equal(second.current.question.id, question.id);
  await React.act(() => second.current.answer(true));
  await until(() => second.current.order.status === "working");
  await React.act(() => second.current.cancel());
  await until(() => second.current.order.status === "cancelled");

  assert.deepEqual(sent.map((each) => each.split(" ")[0]), ["POST", "POST", "DELETE"]);
});

test("an order whose answer was lost is found", async () => {
  await demo.trigger("done-cut-before", { path: "/orders", times: 1 });
  const shown = await show(() => hooks.useTicket(ACCOUNT, SHORT));
  await React.act(() => shown.current.place(MARKET));
  await until(() => shown.current.order?.state === "placed");
  await until(() => shown.current.order.status === "filled");
  await demo.clear();

  assert.deepEqual([shown.current.order.filled, shown.current.error, sent.length], ["1", null, 1]);
});
