// The events of the bridge as an async iterator. It connects again by itself, after the last event that it had, and
// says when what is shown is old and when it is current again.
import { BridgeError } from "./errors.js";
import { eventQuery, toEvent, type BridgeEvent, type EventChoice, type SentEvent } from "./topics.js";
import { errorOf, sleep, type Transport } from "./transport.js";

export interface EventOptions extends EventChoice {
  signal?: AbortSignal | undefined;
  /** The id of the last event that an earlier connection had. */
  lastEventId?: string | undefined;
}

const OPEN = { type: "open" } as const; // the bridge has accepted the stream
const SILENCE_S = 40; // the bridge sends a comment every 15 s
const FIRST_DELAY_S = 1;
const MAX_DELAY_S = 30;
const FINAL_REASONS = new Set(["token_expired", "key_rotated"]);

/** Splits a text/event-stream into its events, however the bytes are cut. */
export class EventParser {
  private rest = "";

  push(text: string): SentEvent[] {
    const blocks = (this.rest + text).replaceAll("\r\n", "\n").split("\n\n");
    this.rest = blocks.pop() ?? "";
    return blocks.flatMap((block) => parseBlock(block) ?? []);
  }
}

function parseBlock(block: string): SentEvent | null {
  const fields = new Map(block.split("\n").map((line) => [line.split(":", 1)[0] ?? "", line.replace(/^[^:]*: ?/, "")]));
  const data = fields.get("data");
  if (data === undefined) return null;
  return { name: fields.get("event") ?? "", id: fields.get("id") ?? null, data: JSON.parse(data) as SentEvent["data"] };
}

/** The events, until the signal ends them. Throws if the bridge refuses the stream for good. */
export async function* readEvents(transport: Transport, options: EventOptions = {}): AsyncGenerator<BridgeEvent> {
  let lastId = options.lastEventId ?? null;
  let isLost = false;
  for (let failures = 0; !options.signal?.aborted; failures++) {
    try {
      for await (const event of readConnection(transport, lastId, options)) {
        if (event.type === "open") {
          if (isLost) yield { type: "fresh", topic: null }; // if the source is lost as well, the bridge says so next
          isLost = false;
          failures = 0;
          continue;
        }
        if ("id" in event) lastId = event.id ?? lastId;
        yield event;
      }
    } catch (error) {
      if (options.signal?.aborted) return;
      if (!isTemporary(error)) throw error;
    }
    if (!isLost && !options.signal?.aborted) yield { type: "stale", reason: "bridge_connection_lost", topic: null };
    isLost = true;
    await sleep(Math.min(FIRST_DELAY_S * 2 ** failures, MAX_DELAY_S), options.signal).catch(() => undefined);
  }
}

/** Whether the stream may work later: the bridge restarts, is busy, or the connection broke. */
function isTemporary(error: unknown): boolean {
  if (!(error instanceof BridgeError)) return true;
  return error.status === 0 ? error.code !== "settings_invalid" : error.status === 429 || error.status >= 500;
}

async function* readConnection(
  transport: Transport, lastId: string | null, options: EventOptions,
): AsyncGenerator<BridgeEvent | typeof OPEN> {
  const silence = new AbortController();
  const signal = options.signal ? AbortSignal.any([silence.signal, options.signal]) : silence.signal;
  const headers = lastId === null ? {} : { "Last-Event-ID": lastId };
  const reply = await transport.open({ method: "GET", path: "/events", query: eventQuery(options), headers, signal });
  if (!reply.ok || reply.body === null) throw errorOf(reply, await reply.text());
  yield OPEN;
  try {
    for await (const sent of readBody(reply.body, () => silence.abort())) {
      if (sent.name === "end") return checkEnd(String(sent.data["reason"]));
      yield toEvent(sent);
    }
  } finally {
    silence.abort(); // a reader that stops early must not keep the connection
  }
}

async function* readBody(body: ReadableStream<Uint8Array>, onSilence: () => void): AsyncGenerator<SentEvent> {
  const reader = body.getReader();
  const [decoder, parser] = [new TextDecoder(), new EventParser()];
  let timer = setTimeout(onSilence, SILENCE_S * 1000);
  try {
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
      clearTimeout(timer);
      timer = setTimeout(onSilence, SILENCE_S * 1000);
      yield* parser.push(decoder.decode(chunk.value, { stream: true }));
    }
  } finally {
    clearTimeout(timer);
  }
}

function checkEnd(reason: string): void {
  if (FINAL_REASONS.has(reason)) {
    throw new BridgeError({ code: "invalid_key", status: 401, message: `the bridge ended the stream: ${reason}` });
  }
}
