// The example app as `next build` and `next start` make it, on a free port.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

export const APP = fileURLToPath(new URL("../../examples/nextjs/", import.meta.url));
const NEXT = `${APP}node_modules/next/dist/bin/next`;
const ENV = { PATH: process.env.PATH, HOME: process.env.HOME, NEXT_TELEMETRY_DISABLED: "1" };

export function buildApp(env) {
  execFileSync("node", [NEXT, "build"], { cwd: APP, env: { ...ENV, ...env }, stdio: ["ignore", "pipe", "inherit"] });
}

export async function startApp(env, port) {
  port ??= await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = spawn("node", [NEXT, "start", "--hostname", "127.0.0.1", "--port", port], {
    cwd: APP, env: { ...ENV, ...env }, stdio: ["ignore", "ignore", "inherit"],
  });
  for (let turn = 0; turn < 300; turn++) {
    if (child.exitCode !== null) throw new Error(`the app ended with status ${child.exitCode}`);
    if (await fetch(url).then((reply) => reply.ok, () => false)) return { url, stop: () => stop(child) };
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("the app did not start");
}

async function stop(child) {
  child.kill();
  if (child.exitCode === null) await once(child, "exit");
}

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return String(port);
}
