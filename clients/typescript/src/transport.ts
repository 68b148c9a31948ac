// Sends one call: with a deadline that is longer than the bridge's own, and a read once more if that does no harm.
import { BridgeError, errorOfProblem } from "./errors.js";
import { readAccess, type BridgeOptions, type KeyName } from "./settings.js";

export type Query = Readonly<Record<string, string | number | boolean | readonly (string | number)[] | undefined>>;

export interface CallOptions {
  /** Ends the wait for the answer. What was sent may still be carried out. */
  signal?: AbortSignal | undefined;
  /** Seconds that the bridge may wait for the session or for a free slot, instead of failing at once. */
  wait?: number | undefined;
}

export interface Call extends CallOptions {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  path: string;
  query?: Query;
  body?: unknown;
  headers?: Readonly<Record<string, string>>;
}

// The bridge waits 5 s for a slot and 15 s for the head of IBKR's response. A read of the plain API may be four calls.
const READ_S = 85;
// Five reads before the order, and 80 s for an answer that comes very slowly: its outcome is worth the wait.
const ORDER_S = 185;
const MAX_REPEAT_DELAY_S = 5; // a page does not wait longer

export class Transport {
  constructor(readonly options: BridgeOptions, readonly keyName: KeyName = "IBKR_BRIDGE_KEY") {}

  /** The JSON of the answer. */
  async send<Answer>(call: Call): Promise<Answer> {
    try {
      return await this.sendOnce<Answer>(call);
    } catch (error) {
      const delay = repeatDelay(call, error);
      if (delay === null) throw error;
      await sleep(delay, call.signal);
      return this.sendOnce<Answer>(call);
    }
  }

  private async sendOnce<Answer>(call: Call): Promise<Answer> {
    const seconds = call.method === "GET" ? (this.options.readSeconds ?? READ_S) : (this.options.orderSeconds ?? ORDER_S);
    const deadline = AbortSignal.timeout((seconds + (call.wait ?? 0)) * 1000);
    const signal = call.signal ? AbortSignal.any([deadline, call.signal]) : deadline;
    const body = call.body === undefined ? null : JSON.stringify(call.body);
    const reply = await this.open({ ...call, signal }, body, deadline);
    const text = await readText(reply, call, deadline);
    if (reply.ok) return parseAnswer<Answer>(text);
    throw errorOf(reply, text);
  }

  /** Send a request and return its response, whose body is not read yet. */
  async open(call: Call, body: string | null = null, deadline?: AbortSignal): Promise<Response> {
    const { url, key } = readAccess(this.options, this.keyName);
    const headers: Record<string, string> = { ...call.headers, "X-Bridge-Key": key };
    if (this.options.profile !== undefined) headers["X-Bridge-Profile"] = this.options.profile;
    if (body !== null) headers["Content-Type"] = "application/json";
    if (call.wait !== undefined) headers["X-Bridge-Wait"] = String(call.wait);
    const init = { method: call.method, headers, body, cache: "no-store" as const, signal: call.signal ?? null };
    try {
      return await (this.options.fetch ?? fetch)(url + call.path + queryText(call.query), init);
    } catch (cause) {
      throw lostError(cause, call, deadline);
    }
  }
}

async function readText(reply: Response, call: Call, deadline: AbortSignal): Promise<string> {
  try {
    return await reply.text();
  } catch (cause) {
    throw lostError(cause, call, deadline, true);
  }
}

function parseAnswer<Answer>(text: string): Answer {
  try {
    return JSON.parse(text) as Answer;
  } catch (cause) {
    throw new BridgeError({ code: "not_this_bridge", message: "the answer is not JSON; is IBKR_BRIDGE_URL the bridge's address?", cause });
  }
}

/** The error of a response that is none of 2xx. */
export function errorOf(reply: Response, text: string): BridgeError {
  const retryAfter = reply.headers.get("retry-after");
  const error = errorOfProblem(text, retryAfter === null ? null : Number(retryAfter));
  if (error?.code === "invalid_key") {
    error.message = "the bridge does not accept the key: is IBKR_BRIDGE_KEY the same as the bridge's own?";
  }
  if (error !== null) return error;
  return new BridgeError({
    ...{ code: "not_this_bridge", status: reply.status },
    message: `something that is no bridge answered ${reply.status}; is IBKR_BRIDGE_URL the bridge's address?`,
  });
}

/** The error of a request whose answer never came. A refused connection means that nothing was sent. */
function lostError(cause: unknown, call: Call, deadline?: AbortSignal, hasHead = false): unknown {
  if (deadline?.aborted) {
    return new BridgeError({ code: "bridge_timeout", message: `no answer came in time to ${call.method} ${call.path}`, cause });
  }
  if (call.signal?.aborted) return cause; // the caller gave up
  const reason = (cause as { cause?: { code?: string } }).cause?.code ?? "";
  if (!hasHead && ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"].includes(reason)) {
    return new BridgeError({ code: "bridge_unreachable", message: "no bridge listens at IBKR_BRIDGE_URL", retryAfter: 1, cause });
  }
  return new BridgeError({ code: "bridge_connection_lost", message: `the connection broke during ${call.method} ${call.path}`, cause });
}

/** Seconds after which a call is sent once more; null if it must not be. Only reads are repeated, never orders. */
function repeatDelay(call: Call, error: unknown): number | null {
  if (call.method !== "GET" || !(error instanceof BridgeError) || call.signal?.aborted) return null;
  if (error.code === "bridge_connection_lost") return 0;
  return error.retryAfter !== null && error.retryAfter <= MAX_REPEAT_DELAY_S ? error.retryAfter : null;
}

/** Wait, but stop waiting when the caller gives up. */
export function sleep(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const giveUp = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", giveUp);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) giveUp();
    else signal?.addEventListener("abort", giveUp, { once: true });
  });
}

function queryText(query: Query = {}): string {
  const pairs = Object.entries(query).flatMap(([name, value]) => {
    if (value === undefined) return [];
    const texts = typeof value === "object" ? value.map((each) => encodeURIComponent(each)) : [encodeURIComponent(value)];
    return texts.length ? [`${name}=${texts.join(",")}`] : [];
  });
  return pairs.length ? `?${pairs.join("&")}` : "";
}
