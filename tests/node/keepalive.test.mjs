// Calls spaced around every time-out there is: 4 s (Node's own, where a server gives no hint), 70 s (the bridge's hint;
// fetch lets go a second earlier), 75 s (the bridge closes). None may fail: an order that does is an order nobody knows.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Worker } from "node:worker_threads";
import { startDemo } from "./demo.mjs";

const SHORT = { width: 24, rounds: 7 };
const LONG = { width: 16, rounds: 3 };
const FLOCKS = [
  ...[3.9, 4.0, 4.1, 5.0].map((seconds) => ({ seconds, ...SHORT })),
  ...[66, 68.9, 69.5, 70, 74.9, 75, 75.1].map((seconds) => ({ seconds, ...LONG })),
];
const ALL = 2016; // both ways together
let demo;
let total = 0;

before(async () => {
  demo = await startDemo();
});

after(() => demo.stop());

function fly(by, flock) {
  return new Promise((resolve, reject) => {
    const workerData = { url: demo.url, key: demo.key, by, ...flock };
    const worker = new Worker(new URL("idle_calls.mjs", import.meta.url), { workerData });
    worker.on("message", resolve).on("error", reject);
  });
}

test("no call meets a connection that is just being closed", { concurrency: true }, async (whole) => {
  const ways = ["fetch", "agent"].flatMap((by) => FLOCKS.map((flock) => ({ by, ...flock })));
  await Promise.all(
    ways.map(({ by, ...flock }) =>
      whole.test(`${by}, ${flock.seconds} s apart`, async () => {
        const seen = await fly(by, flock);

        total += seen.calls;
        assert.deepEqual(seen.failures, []);
        assert.equal(seen.calls, flock.width * flock.rounds);
        if (flock.seconds <= 66) assert.equal(seen.connections, flock.width, "connections were not kept as long as hinted");
      }),
    ),
  );

  assert.equal(total, ALL);
});
