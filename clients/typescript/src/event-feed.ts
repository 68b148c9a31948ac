// One EventSource on the app's own route of events: it is open while the page is visible, opens again after any failure,
// and says whether what came last is current.
import { isHidden, onVisibilityChange } from "./page.js";
import { eventQuery, PLAIN_TOPICS, toEvent, type BridgeEvent, type EventChoice, type Topics } from "./topics.js";

/** `connecting` until the first stream is open, `live` while values are current, `stale` while they are old. */
export type ConnectionState = "connecting" | "live" | "stale";
/** The last event of each topic. */
export type LatestEvents = { readonly [Name in keyof Topics]?: Topics[Name] };
/** Called with each event, and with null when only the state of the connection has changed. */
type FeedListener = (event: BridgeEvent | null) => void;

export const NO_EVENTS: LatestEvents = {};
const EVENT_NAMES = [...PLAIN_TOPICS, "quotes", "stale", "fresh", "gap", "problem"];
const FIRST_DELAY_MS = 1000;
const MAX_DELAY_MS = 30_000;

/** The path and the query of the route. Equal choices have equal text. */
export function eventPath(choice: EventChoice): string {
  const query = Object.entries(eventQuery(choice)).filter(([, values]) => values.length > 0);
  return `/events?${query.map(([name, values]) => `${name}=${values.map(encodeURIComponent).join(",")}`).join("&")}`;
}

export class EventFeed {
  connection: ConnectionState = "connecting";
  latest = NO_EVENTS;
  private readonly listeners = new Set<FeedListener>();
  private readonly staleSources = new Set<string>(); // a topic, a quote of one instrument, or "" for all
  private source: EventSource | null = null;
  private lastId = "";
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private stopWatchingPage: () => void = () => undefined;

  constructor(private readonly url: string, private readonly firstDelayMs = FIRST_DELAY_MS) {}

  /** Follow the events until the returned function is called. The stream is open while somebody follows it. */
  readonly subscribe = (listener: FeedListener): (() => void) => {
    this.listeners.add(listener);
    if (this.listeners.size === 1) this.start();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.stop();
    };
  };

  private start(): void {
    this.stopWatchingPage = onVisibilityChange(this.open);
    this.open();
  }

  private stop(): void {
    this.stopWatchingPage();
    this.close();
    [this.connection, this.latest, this.lastId, this.failures] = ["connecting", NO_EVENTS, "", 0];
  }

  /** Open the stream anew. A hidden page closes it: a browser has six connections to one address, for all its tabs. */
  private readonly open = (): void => {
    this.close();
    if (isHidden()) return this.onLost();
    const resume = this.lastId === "" ? "" : `&lastEventId=${encodeURIComponent(this.lastId)}`;
    const source = new EventSource(this.url + resume);
    source.onopen = () => this.onOpen();
    source.onerror = () => this.onError(source);
    for (const name of EVENT_NAMES) {
      source.addEventListener(name, (sent) => this.onEvent(name, sent as MessageEvent<string>));
    }
    this.source = source;
  };

  private close(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  private onOpen(): void {
    this.failures = 0;
    this.staleSources.clear(); // if a source is lost now, the bridge says so next
    this.setConnection("live");
  }

  /** A broken stream is opened again by the browser. After an answer that is no stream, such as 503, it is not. */
  private onError(source: EventSource): void {
    this.onLost();
    if (source.readyState !== source.CLOSED) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(this.open, Math.min(this.firstDelayMs * 2 ** this.failures++, MAX_DELAY_MS));
  }

  private onLost(): void {
    if (this.connection !== "connecting") this.setConnection("stale");
  }

  private onEvent(name: string, sent: MessageEvent<string>): void {
    const data = JSON.parse(sent.data) as Record<string, unknown>;
    const event = toEvent({ name, id: sent.lastEventId || null, data });
    this.lastId = sent.lastEventId || this.lastId;
    if (event.type === "stale" || event.type === "fresh") this.markSource(event.type, data);
    else if (event.type !== "gap" && event.type !== "problem") this.latest = { ...this.latest, [event.type]: event.data };
    this.notify(event);
  }

  private markSource(state: "stale" | "fresh", { topic = "", conid = "" }: Record<string, unknown>): void {
    const name = `${topic} ${conid}`.trim();
    if (state === "stale") this.staleSources.add(name);
    else if (name === "") this.staleSources.clear(); // all topics are current again, also those that were stale alone
    else this.staleSources.delete(name);
    this.setConnection(this.staleSources.size > 0 ? "stale" : "live");
  }

  private setConnection(connection: ConnectionState): void {
    if (connection === this.connection) return;
    this.connection = connection;
    this.notify(null);
  }

  private notify(event: BridgeEvent | null): void {
    for (const listener of [...this.listeners]) listener(event);
  }
}
