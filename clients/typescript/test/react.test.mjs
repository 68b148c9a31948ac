// The hooks that show values.
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

test("a connection is read from its own route", async () => {
  answers.set("GET /api/bridge/connection", () => Response.json({ step: "upload" }));
  const shown = await show(() => hooks.useConnection());

  assert.equal(shown.current.data.step, "upload");
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
