// One flock of calls: all fly at once, rest together, and fly again on the connections that rested with them.
//
// Run as a worker, since every thread has a `fetch` with connections of its own: in a shared pool a call would take
// whichever connection came back last, and none would ever grow old.
import { subscribe } from "node:diagnostics_channel";
import { Agent, get } from "node:http";
import { setTimeout as rest } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";

const { url, key, by, seconds, width, rounds } = workerData;
const ROUTES = ["/tickle", "/health", "/iserver/auth/status", "/portfolio/accounts"];
const headers = { "X-Bridge-Key": key };
const seen = { calls: 0, failures: [], connections: 0 };

// Without a time-out of its own an Agent of Node 20 ignores the hint: at 75 s such calls do fail, now and then.
const agent = new Agent({ keepAlive: true, timeout: 90_000 });
subscribe("undici:client:connected", () => (seen.connections += by === "fetch" ? 1 : 0));

const WAYS = {
  async fetch(target) {
    const reply = await fetch(url + target, { headers, cache: "no-store" });
    await reply.arrayBuffer();
    return reply.status;
  },
  agent: (target) =>
    new Promise((resolve, reject) => {
      const asked = get(url + target, { agent, headers }, (reply) => {
        seen.connections += asked.reusedSocket ? 0 : 1;
        reply.resume().on("end", () => resolve(reply.statusCode)).on("error", reject);
      });
      asked.on("error", reject);
    }),
};

async function call(number) {
  seen.calls += 1;
  try {
    const status = await WAYS[by](ROUTES[number % ROUTES.length]);
    if (status !== 200) seen.failures.push(`status ${status}`);
  } catch (error) {
    seen.failures.push(String(error.cause?.code ?? error.code ?? error));
  }
}

for (let round = 0; round < rounds; round++) {
  if (round) await rest(seconds * 1000);
  await Promise.all(Array.from({ length: width }, (_, number) => call(number)));
}
parentPort.postMessage(seen);
agent.destroy();
