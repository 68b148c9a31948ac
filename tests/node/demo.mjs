// A running `bridge.py demo`, which asks IBKR as often as it is asked, on free ports: its address and key, its log, and the strings of its simulator.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const BRIDGE = fileURLToPath(new URL("../without_limits.py", import.meta.url));
const PYTHON = fileURLToPath(new URL("../../.venv/bin/python", import.meta.url));

export async function startDemo(env = {}) {
  const home = await mkdtemp(join(tmpdir(), "ibkr-bridge-node-"));
  await writeFile(join(home, ".env"), "", { mode: 0o600 }); // else the checkout's own would be read
  const clean = { PATH: process.env.PATH, HOME: home, XDG_RUNTIME_DIR: home };
  const told = { IBKR_BRIDGE_URL: "http://127.0.0.1:0", IBKR_BRIDGE_LOG_FORMAT: "json" };
  const child = spawn(PYTHON, [BRIDGE, "demo"], { cwd: home, env: { ...clean, ...told, ...env } });
  const demo = new Demo(child, home);
  createInterface(child.stderr).on("line", (line) => demo.log.push(line.startsWith("{") ? JSON.parse(line) : { line }));
  let said = "";
  for await (const line of createInterface(child.stdout)) {
    said += `${line}\n`;
    if (line.includes("trigger --help")) break;
  }
  demo.url = /The bridge listens at (http:\S+)\./.exec(said)?.[1];
  demo.key = /IBKR_BRIDGE_KEY=(\S+)/.exec(said)?.[1];
  if (!demo.url || !demo.key) throw new Error(`the demo did not start: ${said}${JSON.stringify(demo.log)}`);
  return demo;
}

class Demo {
  log = [];

  constructor(child, home) {
    this.child = child;
    this.home = home;
  }

  // What an app's environment holds; the snippet reads it at each call.
  get env() {
    return { IBKR_BRIDGE_URL: this.url, IBKR_BRIDGE_KEY: this.key };
  }

  // How many requests of a kind the bridge has served, by its log.
  async served(method, route) {
    await this.#logCaughtUp();
    return this.log.filter((line) => line.event === "request" && line.method === method && line.route === route).length;
  }

  // Whether the log tells of the request with this id.
  async knows(id) {
    await this.#logCaughtUp();
    return this.log.some((line) => line.request_id === id);
  }

  // Lines come in order: once a request of our own shows, those before it have.
  async #logCaughtUp() {
    const id = randomUUID();
    await (await fetch(`${this.url}/health`, { headers: { "X-Request-ID": id } })).text();
    for (let turn = 0; turn < 2000; turn++) {
      if (this.log.some((line) => line.request_id === id)) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(`the log never told of the request ${id}`);
  }

  // Make something go wrong, as `bridge.py trigger` does.
  async trigger(kind, told = {}) {
    await this.#control("POST", "/faults", { kind, ...told });
  }

  // All is well again and somebody is signed in.
  async mend() {
    await this.#control("DELETE", "/faults");
    await this.#control("POST", "/login");
    await this.until("true");
  }

  // Wait until the brokerage session is open, or is not.
  async until(authenticated) {
    for (let turn = 0; turn < 200; turn++) {
      const reply = await fetch(`${this.url}/gateway/reconnect`, { method: "POST", headers: { "X-Bridge-Key": this.key } });
      await reply.text();
      const told = await (await fetch(`${this.url}/gateway/auth-status`)).json();
      if (String(told.authenticated) === authenticated) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`authenticated never became ${authenticated}`);
  }

  async #control(method, path, told) {
    const names = await readdir(this.home, { recursive: true });
    const socketPath = join(this.home, names.find((name) => name.endsWith(".sock")));
    const body = told ? JSON.stringify(told) : undefined;
    const asked = request({ socketPath, method, path, headers: { "Content-Type": "application/json" } });
    asked.end(body);
    const [reply] = await once(asked, "response");
    reply.resume();
    if (reply.statusCode !== 200) throw new Error(`the simulator answered ${reply.statusCode} to ${kindOf(told)}`);
    await once(reply, "end");
  }

  async stop() {
    this.child.kill("SIGINT");
    const [status] = this.child.exitCode === null ? await once(this.child, "exit") : [this.child.exitCode];
    await rm(this.home, { recursive: true, force: true });
    if (status !== 0) throw new Error(`the demo ended with status ${status}`);
  }
}

const kindOf = (told) => told?.kind ?? "an order to mend all";
