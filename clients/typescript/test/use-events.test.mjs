// Events in a page: one EventSource, what it shows, and when it is opened and closed.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { closePage, hooks, openPage, pause, React, setHidden, show, timerCount, until } from "./page.mjs";
import { EventFeed } from "../dist/event-feed.js";

const sources = [];

// A browser's EventSource, whose events the test sends.
globalThis.EventSource = class extends EventTarget {
  CLOSED = 2;
  readyState = 0;

  constructor(url) {
    super();
    this.url = url;
    sources.push(this);
  }

  close() {
    this.readyState = this.CLOSED;
  }
};

const opened = () => sources.filter((source) => source.readyState !== 2);
const newest = () => sources.at(-1);

// What the browser reports of the newest stream.
const open = () => React.act(async () => {
  newest().readyState = 1;
  newest().onopen();
});
const fail = (readyState) => React.act(async () => {
  newest().readyState = readyState;
  newest().onerror();
});
const send = (name, data, lastEventId = "") => React.act(async () => {
  newest().dispatchEvent(Object.assign(new Event(name), { data: JSON.stringify(data), lastEventId }));
});

beforeEach(async () => {
  await openPage();
  sources.length = 0;
});
afterEach(closePage);

test("the events of a page are one stream of the app's own route", async () => {
  const shown = await show(() => hooks.useEvents({ topics: ["orders", "quotes"], instruments: ["AAPL", "ES@CME", 8314] }));
  assert.deepEqual([shown.current, sources.length], [{ connection: "connecting", latest: {} }, 1]);
  assert.equal(newest().url, "/api/bridge/events?topics=orders,quotes&symbols=AAPL,ES%40CME&conids=8314");

  await open();
  await send("orders", { id: "o1", state: "placed" });
  await send("quotes", { conid: 8314, last: "1" });
  await send("quotes", { conid: 8314, last: "2" });
  assert.deepEqual(shown.current, {
    connection: "live", latest: { orders: { id: "o1", state: "placed" }, quotes: { conid: 8314, last: "2" } },
  });
  assert.equal(sources.length, 1); // also after it was rendered again with new arrays
});

test("with onEvent each event is called, and none renders", async () => {
  const events = [];
  const shown = await show(() => hooks.useEvents({ onEvent: (event) => events.push(event) }));
  await open();
  const { renders } = shown;
  await send("session", { ready: true }, "7");
  await send("gap", {});

  assert.deepEqual(events, [{ type: "session", id: "7", data: { ready: true } }, { type: "gap" }]);
  assert.deepEqual([shown.renders, shown.current.latest], [renders, {}]);
});

test("a source is stale until it is fresh, each for itself", async () => {
  const shown = await show(() => hooks.useEvents({ instruments: [1, 2] }));
  await open();
  const states = [];
  for (const [name, data] of [
    ["stale", { reason: "topic_silent", topic: "quotes", conid: "1" }], ["stale", { reason: "topic_silent", topic: "quotes", conid: "2" }],
    ["fresh", { topic: "quotes", conid: "1" }], ["fresh", { topic: "quotes", conid: "2" }],
    ["stale", { reason: "brokerage_lost" }], ["stale", { reason: "topic_silent", topic: "orders" }], ["fresh", {}],
  ]) {
    await send(name, data);
    states.push(shown.current.connection);
  }

  assert.deepEqual(states, ["stale", "stale", "stale", "live", "stale", "stale", "live"]);
});

test("Strict Mode leaves one stream open, and an unmount none", async () => {
  await show(() => hooks.useEvents(), { isStrict: true });
  assert.equal(opened().length, 1);
  await open();
  await closePage();

  assert.deepEqual([opened().length, timerCount()], [0, 0]);
});

test("another choice is another stream", async () => {
  let instruments = ["AAPL"];
  const shown = await show(() => {
    const [, render] = React.useState(0);
    return { ...hooks.useEvents({ topics: ["quotes"], instruments }), render };
  });
  await open();
  await send("quotes", { conid: 1 });
  instruments = ["MSFT"];
  await React.act(async () => shown.current.render(1));

  assert.deepEqual(opened().map((source) => source.url), ["/api/bridge/events?topics=quotes&symbols=MSFT"]);
  assert.deepEqual([shown.current.connection, shown.current.latest], ["connecting", {}]);
});

test("a stream that breaks is stale, and the browser opens it again", async () => {
  const shown = await show(() => hooks.useEvents());
  await open();
  await send("session", { ready: true });
  await fail(0);
  assert.deepEqual([shown.current.connection, shown.current.latest.session.ready], ["stale", true]);

  await open();
  assert.deepEqual([shown.current.connection, sources.length], ["live", 1]);
});

test("a stream that is refused is opened again, later each time, after the last event", async () => {
  const feed = new EventFeed("/api/bridge/events?topics=orders", 20);
  const unsubscribe = feed.subscribe(() => undefined);
  await fail(2);
  assert.equal(feed.connection, "connecting"); // nothing is shown that could be old
  await until(() => sources.length === 2);
  await open();
  await send("orders", { id: "o1" }, "ab-7");
  await fail(2);
  assert.equal(feed.connection, "stale");
  await until(() => sources.length === 3);

  assert.equal(newest().url, "/api/bridge/events?topics=orders&lastEventId=ab-7");
  await fail(2);
  unsubscribe();
  await pause();
  assert.deepEqual([sources.length, timerCount()], [3, 0]);
});

test("a hidden page closes its stream, and opens it when it is shown", async () => {
  const shown = await show(() => hooks.useEvents());
  await open();
  await setHidden(true);
  assert.deepEqual([opened().length, shown.current.connection], [0, "stale"]);

  await setHidden(false);
  await open();
  assert.deepEqual([opened().length, shown.current.connection], [1, "live"]);
});
