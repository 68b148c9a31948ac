// A running `bridge.py demo` on free ports, without limits on calls to IBKR unless another program is named: its address
// and key, its log, and the controls of its simulator.
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

export async function startDemo(env = {}, program = BRIDGE, words = []) {
  const home = await mkdtemp(join(tmpdir(), "ibkr-bridge-node-"));
  await writeFile(join(home, ".env"), "", { mode: 0o600 }); // otherwise the `.env` of the checkout would be read
  const clean = { PATH: process.env.PATH, HOME: home, XDG_RUNTIME_DIR: home };
  const settings = { IBKR_BRIDGE_URL: "http://127.0.0.1:0", IBKR_BRIDGE_LOG_FORMAT: "json" };
  const child = spawn(PYTHON, [program, "demo", ...words], { cwd: home, env: { ...clean, ...settings, ...env } });
  const demo = new Demo(child, home);
  createInterface(child.stderr).on("line", (line) => demo.log.push(line.startsWith("{") ? JSON.parse(line) : { line }));
  let output = "";
  for await (const line of createInterface(child.stdout)) {
    output += `${line}\n`;
    if (line.includes("trigger --help")) break;
  }
  demo.url = /The bridge listens at (http:\S+)\./.exec(output)?.[1];
  demo.key = env.IBKR_BRIDGE_KEY ?? /IBKR_BRIDGE_KEY=(\S+)/.exec(output)?.[1]; // only the demo's own key is printed
  if (!demo.url || !demo.key) child.kill();
  if (!demo.url || !demo.key) throw new Error(`the demo did not start: ${output}${JSON.stringify(demo.log)}`);
  return demo;
}

class Demo {
  log = [];

  constructor(child, home) {
    this.child = child;
    this.home = home;
  }

  // The environment of an app. The snippet reads it at each call.
  get env() {
    return { IBKR_BRIDGE_URL: this.url, IBKR_BRIDGE_KEY: this.key };
  }

  // The number of requests of one method and route that the log of the bridge has.
  async served(method, route) {
    await this.#waitForLog();
    return this.log.filter((line) => line.event === "request" && line.method === method && line.route === route).length;
  }

  // Whether the log has a line of the request with this id.
  async hasLogged(id) {
    await this.#waitForLog();
    return this.log.some((line) => line.request_id === id);
  }

  // Wait until the log has all earlier requests. Lines come in order, so a request of our own is sent and awaited.
  async #waitForLog() {
    const id = randomUUID();
    const headers = { "X-Request-ID": id, "X-Bridge-Key": this.key };
    await (await fetch(`${this.url}/nothing`, { headers })).text(); // a probe that found all well would have no line
    for (let turn = 0; turn < 2000; turn++) {
      if (this.log.some((line) => line.request_id === id)) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(`the log never had a line of the request ${id}`);
  }

  // Start a fault of the simulator, as `bridge.py trigger` does.
  async trigger(kind, options = {}) {
    await this.#control("POST", "/faults", { kind, ...options });
  }

  // End all faults, as `bridge.py trigger clear` does.
  async clear() {
    await this.#control("DELETE", "/faults");
  }

  // End all faults, sign in, and wait until the brokerage session is open.
  async repair() {
    await this.clear();
    await this.#control("POST", "/login");
    await this.until("true");
  }

  // Wait until the bridge reports the brokerage session as open ("true") or as not open ("false").
  async until(authenticated) {
    for (let turn = 0; turn < 200; turn++) {
      const reply = await fetch(`${this.url}/gateway/reconnect`, { method: "POST", headers: { "X-Bridge-Key": this.key } });
      await reply.text();
      const status = await (await fetch(`${this.url}/gateway/auth-status`)).json();
      if (String(status.authenticated) === authenticated) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`authenticated never became ${authenticated}`);
  }

  async #control(method, path, command) {
    const names = await readdir(this.home, { recursive: true });
    const socketPath = join(this.home, names.find((name) => name.endsWith(".sock")));
    const body = command ? JSON.stringify(command) : undefined;
    const sent = request({ socketPath, method, path, headers: { "Content-Type": "application/json" } });
    sent.end(body);
    const [reply] = await once(sent, "response");
    reply.resume();
    if (reply.statusCode !== 200) throw new Error(`the simulator answered ${reply.statusCode} to ${kindOf(command)}`);
    await once(reply, "end");
  }

  async stop() {
    this.child.kill("SIGINT");
    const [status] = this.child.exitCode === null ? await once(this.child, "exit") : [this.child.exitCode];
    await rm(this.home, { recursive: true, force: true });
    if (status !== 0) throw new Error(`the demo ended with status ${status}`);
  }
}

const kindOf = (command) => command?.kind ?? "a command without a fault";
