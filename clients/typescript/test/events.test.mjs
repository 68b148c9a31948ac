// Streams: how events are read, and what happens when the connection breaks.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createBridge } from "../dist/index.js";
import { EventParser } from "../dist/events.js";
import { ACCESS, errorOf, eventStream, problem, scripted } from "./scripted.mjs";

// The first `count` events of a stream whose connections are prepared.
async function eventsOf(count, ...connections) {
  const { fetch, requests } = scripted(...connections);
  const found = [];
  for await (const event of createBridge({ ...ACCESS, fetch }).events({ topics: ["orders", "quotes"], instruments: ["AAPL", 8314] })) {
    found.push(event);
    if (found.length === count) break;
  }
  return { found, requests };
}

test("events are found however the bytes are cut", () => {
  const text = "retry: 3000\n\n: still here\n\nid: 7\ndata: {\"a\":1}\n\nevent: stale\ndata: {\"reason\":\"x\"}\n\n";
  for (let cut = 0; cut <= text.length; cut++) {
    const parser = new EventParser();
    const found = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];

    assert.deepEqual(found, [
      { name: "", id: "7", data: { a: 1 } },
      { name: "stale", id: null, data: { reason: "x" } },
    ]);
  }
});

test("a stream goes on after its last event, and says when it was old", async () => {
  const { found, requests } = await eventsOf(
    4,
    eventStream('event: orders\nid: 7\ndata: {"a":1}\n\n'),
    eventStream('event: orders\nid: 8\ndata: {"a":2}\n\n'),
  );

  assert.deepEqual(found, [
    { type: "orders", id: "7", data: { a: 1 } },
    { type: "stale", reason: "bridge_connection_lost", topic: null },
    { type: "fresh", topic: null },
    { type: "orders", id: "8", data: { a: 2 } },
  ]);
  assert.deepEqual(requests.map((request) => request.headers["Last-Event-ID"]), [undefined, "7"]);
  assert.equal(requests[0].url, `${ACCESS.url}/events?topics=orders,quotes&symbols=AAPL&conids=8314`);
});

test("the notices of the bridge keep their names", async () => {
  const { found } = await eventsOf(4, eventStream(
    'event: stale\ndata: {"reason":"stream_timeout","topic":"orders"}\n\n', 'event: fresh\ndata: {"topic":"orders"}\n\n',
    "event: gap\ndata: {}\n\n", 'event: problem\ndata: {"code":"subscription_quarantined"}\n\n',
  ));

  assert.deepEqual(found, [
    { type: "stale", reason: "stream_timeout", topic: "orders" },
    { type: "fresh", topic: "orders" },
    { type: "gap" },
    { type: "problem", data: { code: "subscription_quarantined" } },
  ]);
});

test("a refusal that will not change ends the stream", async () => {
  assert.equal((await errorOf(eventsOf(1, problem(401, "invalid_key")))).code, "invalid_key");
  assert.equal((await errorOf(eventsOf(1, eventStream('event: end\ndata: {"reason":"key_rotated"}\n\n')))).code, "invalid_key");
});

test("a bridge that restarts is asked again", async () => {
  const { found } = await eventsOf(3, problem(503, "shutting_down"), eventStream('event: session\ndata: {"a":1}\n\n'));

  assert.deepEqual(found.map((event) => event.type), ["stale", "fresh", "session"]);
});

test("the signal ends the stream and the wait for the next connection", async () => {
  const page = new AbortController();
  const { fetch } = scripted(eventStream('event: session\ndata: {"a":1}\n\n'));
  const seen = [];
  for await (const event of createBridge({ ...ACCESS, fetch }).events({ signal: page.signal })) {
    seen.push(event.type);
    if (event.type === "stale") page.abort();
  }

  assert.deepEqual(seen, ["session", "stale"]);
});
