// Values that a page reads again and again, and calls of the app's own routes.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { answers, closePage, openPage, pause, requests, setHidden, timerCount, until } from "./page.mjs";
import { callRoute, Watched } from "../dist/page.js";
import { broken, errorOf, problem } from "./scripted.mjs";

beforeEach(openPage);
afterEach(closePage);

// A value whose reads end when the test says so. Each read has a number.
function watchedByHand() {
  const reads = [];
  const value = new Watched(() => new Promise((resolve) => reads.push(() => resolve(reads.length))), 60);
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return { value, reads, settle };
}

test("a burst of refreshes is one read", async () => {
  const { value, reads, settle } = watchedByHand();
  const all = Promise.all([value.refresh(), value.refresh(), value.refresh()]);
  await settle();
  reads[0]();
  await all;

  assert.deepEqual([reads.length, value.current.data], [1, 1]);
});

test("refreshes during a read are one read after it, and resolve with its value", async () => {
  const { value, reads, settle } = watchedByHand();
  const first = value.refresh();
  await settle();
  const later = [value.refresh(), value.refresh()];
  await settle();
  assert.equal(reads.length, 1); // they never overlap

  reads[0]();
  await first;
  await settle();
  reads[1]();
  await Promise.all(later);
  await settle();
  assert.deepEqual([reads.length, value.current.data], [2, 2]);
});

test("a read that breaks does not end the reads", async () => {
  const results = [() => 1, () => { throw new TypeError("it broke"); }, () => 2];
  const value = new Watched(async () => results.shift()(), 60);
  for (const state of ["ready", "failed", "ready"]) {
    await value.refresh();
    assert.equal(value.current.state, state);
  }
});

test("nothing is read while the page is hidden, and at once when it is shown", async () => {
  let reads = 0;
  const value = new Watched(async () => ++reads, 0.02);
  const unsubscribe = value.subscribe(() => undefined);
  await until(() => reads >= 2);
  await setHidden(true);
  await pause();
  const before = reads;
  await pause();
  assert.deepEqual([reads, timerCount()], [before, 0]);

  await setHidden(false);
  assert.equal(reads, before + 1);
  unsubscribe();
  await pause();
  assert.deepEqual([reads, timerCount()], [before + 1, 0]);
});

test("a value that is rarely read is read again soon after a failure", async () => {
  let reads = 0;
  const value = new Watched(async () => { if (++reads === 1) throw new TypeError("it broke"); return reads; }, 60);
  const unsubscribe = value.subscribe(() => undefined);
  await until(() => value.current.state === "ready");
  unsubscribe();

  assert.equal(value.current.data, 2);
});

test("a route that answers with a page is named", async () => {
  answers.set("GET /api/bridge/session", () => new Response("<html>Sign in</html>"));

  assert.equal((await errorOf(callRoute("/api/bridge/session"))).code, "not_this_bridge");
});

test("a route that sends nothing is an error; the outcome of a change is then unknown", async () => {
  answers.set("GET /api/bridge/session", broken);
  answers.set("DELETE /api/bridge/orders/o1", broken);

  assert.equal((await errorOf(callRoute("/api/bridge/session"))).code, "bridge_unreachable");
  assert.equal((await errorOf(callRoute("/api/bridge/orders/o1", { method: "DELETE" }))).code, "bridge_connection_lost");
});

test("the error of a route has what the app passed on", async () => {
  answers.set("POST /api/bridge/accounts/DU1/orders", () => problem(502, "order_unknown", {}, { order_id: "o1", retry_after: 3 }));
  const error = await errorOf(callRoute("/api/bridge/accounts/DU1/orders", { method: "POST" }));

  assert.deepEqual([error.code, error.orderId, error.retryAfter, requests.length], ["order_unknown", "o1", 3, 1]);
});
