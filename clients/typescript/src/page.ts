// What the hooks share: requests to the app's own routes, and values that are read again and again.
import { BridgeError, errorOfProblem } from "./errors.js";

/**
 * Call one of the app's own routes of the bridge, such as `callRoute("/api/bridge/orders/o1", { method: "DELETE" })`.
 *
 * Throws a BridgeError. Only a GET is safe to send again: the connection of any other call may have broken after the
 * app received it (`bridge_connection_lost`).
 */
export async function callRoute<Answer>(path: string, init: RequestInit = {}): Promise<Answer> {
  const { reply, text } = await fetchText(path, init);
  if (reply.ok) return parseAnswer<Answer>(path, text);
  const retryAfter = reply.headers.get("retry-after");
  throw errorOfProblem(text, retryAfter === null ? retryAfterOf(text) : Number(retryAfter)) ?? new BridgeError({
    ...{ code: "not_this_bridge", status: reply.status, message: `${path} answered ${reply.status} without a reason` },
  });
}

async function fetchText(path: string, init: RequestInit): Promise<{ reply: Response; text: string }> {
  try {
    const reply = await fetch(path, { cache: "no-store", ...init });
    return { reply, text: await reply.text() };
  } catch (cause) {
    if (init.signal?.aborted) throw cause; // the caller gave up
    const isRead = (init.method ?? "GET") === "GET";
    const code = isRead ? "bridge_unreachable" : "bridge_connection_lost";
    throw new BridgeError({ code, message: `no complete answer to ${path}`, cause });
  }
}

/** An app that sends its sign-in page instead is a usual reason for an answer that is not JSON. */
function parseAnswer<Answer>(path: string, text: string): Answer {
  try {
    return JSON.parse(text) as Answer;
  } catch (cause) {
    throw new BridgeError({ code: "not_this_bridge", message: `${path} did not answer with JSON`, cause });
  }
}

function retryAfterOf(text: string): number | null {
  try {
    return (JSON.parse(text) as { retry_after?: number | null }).retry_after ?? null;
  } catch {
    return null;
  }
}

/** A value that is read again and again: what is known of it now. */
export type Loaded<Value> =
  | { state: "loading"; data: null; error: null }
  | { state: "ready"; data: Value; error: null }
  | { state: "failed"; data: Value | null; error: BridgeError }; // `data` is the last good value

const FAILURE_DELAY_S = 3; // a value that is read once a minute must not be missing for a minute
const LOADING: Loaded<never> = { state: "loading", data: null, error: null };

/** Reads a value while somebody watches it and the page is visible. All who watch the same path share one. */
export class Watched<Value> {
  current: Loaded<Value> = LOADING;
  private readonly listeners = new Set<() => void>();
  private stopWatchingPage: () => void = () => undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private lastRead: Promise<void> = Promise.resolve();
  private nextRead: Promise<void> | null = null; // it has not begun

  constructor(private readonly load: () => Promise<Value>, private readonly seconds: number) {}

  /** Call a listener after each change, until the returned function is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    if (this.listeners.size === 1) this.start();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.stop();
    };
  };

  /** Read it now. Resolves when the page shows a value whose read began after this call. Reads never overlap. */
  readonly refresh = (): Promise<void> => {
    this.nextRead ??= this.lastRead = this.lastRead.then(() => this.readAndShow());
    return this.nextRead;
  };

  private async readAndShow(): Promise<void> {
    this.nextRead = null; // who calls refresh from now on wants a later value
    clearTimeout(this.timer);
    if (isHidden()) return; // it is read when the page is visible again
    this.show(await this.read());
    if (this.listeners.size > 0) this.timer = setTimeout(this.refresh, this.delayMs());
  }

  private async read(): Promise<Loaded<Value>> {
    try {
      return { state: "ready", data: await this.load(), error: null };
    } catch (error) {
      return { state: "failed", data: this.current.data, error: error as BridgeError }; // callRoute throws no other
    }
  }

  private delayMs(): number {
    const { error } = this.current;
    if (error === null) return this.seconds * 1000;
    return Math.max(Math.min(this.seconds, FAILURE_DELAY_S), error.retryAfter ?? 0) * 1000;
  }

  private show(next: Loaded<Value>): void {
    this.current = next;
    for (const listener of [...this.listeners]) listener();
  }

  private start(): void {
    this.stopWatchingPage = onVisibilityChange(this.refresh);
    void this.refresh();
  }

  private stop(): void {
    this.stopWatchingPage();
    clearTimeout(this.timer);
  }
}

/** Call a listener when the page is hidden or shown, until the returned function is called. */
export function onVisibilityChange(listener: () => void): () => void {
  if (!("document" in globalThis)) return () => undefined;
  document.addEventListener("visibilitychange", listener);
  return () => document.removeEventListener("visibilitychange", listener);
}

export const isHidden = (): boolean => "document" in globalThis && document.hidden;
const watched = new Map<string, Watched<unknown>>();

/** The value at a path of the app, shared by all that watch it. */
export function watchedAt<Value>(path: string, seconds: number): Watched<Value> {
  const key = `${seconds} ${path}`;
  const found = watched.get(key) ?? new Watched<unknown>(() => callRoute(path), seconds);
  watched.set(key, found);
  return found as Watched<Value>;
}
