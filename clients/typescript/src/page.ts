// What the hooks share: requests to the app's own routes, and values that are read again and again.
import { BridgeError, errorOfProblem } from "./errors.js";

/** Send a request to the app's routes of the bridge. */
export async function askApp<Answer>(path: string, init: RequestInit = {}): Promise<Answer> {
  const reply = await fetch(path, { cache: "no-store", ...init }).catch((cause: unknown) => {
    throw new BridgeError({ code: "bridge_unreachable", message: `no answer to ${path}`, cause });
  });
  const text = await reply.text();
  if (reply.ok) return JSON.parse(text) as Answer;
  const retryAfter = reply.headers.get("retry-after");
  throw errorOfProblem(text, retryAfter === null ? retryAfterOf(text) : Number(retryAfter)) ?? new BridgeError({
    ...{ code: "not_this_bridge", status: reply.status, message: `${path} answered ${reply.status} without a reason` },
  });
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

const LOADING: Loaded<never> = { state: "loading", data: null, error: null };

/** Reads a value while somebody watches it and the page is visible. All who watch the same path share one. */
export class Watched<Value> {
  current: Loaded<Value> = LOADING;
  private readonly listeners = new Set<() => void>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private turn = 0;

  constructor(private readonly load: () => Promise<Value>, private readonly seconds: number) {}

  /** Call a listener after each change, until the returned function is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    if (this.listeners.size === 1) void this.refresh();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.stop();
    };
  };

  /** Read it now. */
  readonly refresh = async (): Promise<void> => {
    const turn = ++this.turn;
    clearTimeout(this.timer);
    const next = isHidden() ? this.current : await this.read();
    if (turn !== this.turn) return; // a later refresh decides
    if (next !== this.current) this.show(next);
    if (this.listeners.size > 0) this.timer = setTimeout(() => void this.refresh(), this.delayMs());
  };

  private async read(): Promise<Loaded<Value>> {
    try {
      return { state: "ready", data: await this.load(), error: null };
    } catch (error) {
      if (!(error instanceof BridgeError)) throw error;
      return { state: "failed", data: this.current.data, error };
    }
  }

  private delayMs(): number {
    return Math.max(this.seconds, this.current.error?.retryAfter ?? 0) * 1000;
  }

  private show(next: Loaded<Value>): void {
    this.current = next;
    for (const listener of [...this.listeners]) listener();
  }

  private stop(): void {
    this.turn++;
    clearTimeout(this.timer);
  }
}

const isHidden = (): boolean => "document" in globalThis && document.hidden;
const watched = new Map<string, Watched<unknown>>();

/** The value at a path of the app, shared by all that watch it. */
export function watchedAt<Value>(path: string, seconds: number): Watched<Value> {
  const key = `${seconds} ${path}`;
  const found = watched.get(key) ?? new Watched<unknown>(() => askApp(path), seconds);
  watched.set(key, found);
  return found as Watched<Value>;
}
