// One group of calls. All are sent at once; after a pause they are sent again, on connections that were idle meanwhile.
//
// It runs as a worker, since each thread has a `fetch` with its own connections. In a shared pool a call would take the
// connection that was used last, so no connection would be idle for long.
import { subscribe } from "node:diagnostics_channel";
import { Agent, get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";

const { url, key, by, seconds, width, rounds } = workerData;
const ROUTES = ["/tickle", "/health", "/iserver/auth/status", "/portfolio/accounts"];
const headers = { "X-Bridge-Key": key };
const result = { calls: 0, failures: [], connections: 0 };

// Without a `timeout` an Agent of Node 20 ignores the hint of the bridge: at 75 s some of its calls fail.
const agent = new Agent({ keepAlive: true, timeout: 90_000 });
subscribe("undici:client:connected", () => (result.connections += by === "fetch" ? 1 : 0));

const WAYS = {
  async fetch(target) {
    const reply = await fetch(url + target, { headers, cache: "no-store" });
    await reply.arrayBuffer();
    return reply.status;
  },
  agent: (target) =>
    new Promise((resolve, reject) => {
      const sent = get(url + target, { agent, headers }, (reply) => {
        result.connections += sent.reusedSocket ? 0 : 1;
        reply.resume().on("end", () => resolve(reply.statusCode)).on("error", reject);
      });
      sent.on("error", reject);
    }),
};

async function call(number) {
  result.calls += 1;
  try {
    const status = await WAYS[by](ROUTES[number % ROUTES.length]);
    if (status !== 200) result.failures.push(`status ${status}`);
  } catch (error) {
    result.failures.push(String(error.cause?.code ?? error.code ?? error));
  }
}

for (let round = 0; round < rounds; round++) {
  if (round) await sleep(seconds * 1000);
  await Promise.all(Array.from({ length: width }, (_, number) => call(number)));
}
parentPort.postMessage(result);
agent.destroy();
