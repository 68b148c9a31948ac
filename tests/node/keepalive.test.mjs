// Calls with pauses around each time-out: 4 s (Node closes, if a server gives no hint), 70 s (the hint of the bridge;
// fetch closes one second earlier), 75 s (the bridge closes). None may fail, since a failed order may exist all the same.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Worker } from "node:worker_threads";
import { startDemo } from "./demo.mjs";

const SHORT = { width: 24, rounds: 7 };
const LONG = { width: 16, rounds: 3 };
const GROUPS = [
  ...[3.9, 4.0, 4.1, 5.0].map((seconds) => ({ seconds, ...SHORT })),
  ...[66, 68.9, 69.5, 70, 74.9, 75, 75.1].map((seconds) => ({ seconds, ...LONG })),
];
const ALL = 2016; // calls of fetch and of the agent together
let demo;
let total = 0;

before(async () => {
  demo = await startDemo();
});

after(() => demo.stop());

function runGroup(by, group) {
  return new Promise((resolve, reject) => {
    const workerData = { url: demo.url, key: demo.key, by, ...group };
    const worker = new Worker(new URL("idle_calls.mjs", import.meta.url), { workerData });
    worker.on("message", resolve).on("error", reject);
  });
}

test("no call fails because its connection is being closed", { concurrency: true }, async (whole) => {
  const ways = ["fetch", "agent"].flatMap((by) => GROUPS.map((group) => ({ by, ...group })));
  await Promise.all(
    ways.map(({ by, ...group }) =>
      whole.test(`${by}, ${group.seconds} s apart`, async () => {
        const result = await runGroup(by, group);

        total += result.calls;
        assert.deepEqual(result.failures, []);
        assert.equal(result.calls, group.width * group.rounds);
        if (group.seconds <= 66) assert.equal(result.connections, group.width, "connections were closed before the hint");
      }),
    ),
  );

  assert.equal(total, ALL);
});
