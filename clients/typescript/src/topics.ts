// The events of the bridge: what each topic sends, and how an event is read. The app's server and its pages use it.
import type { Account, Order, PositionList, Quote, Session, Trade } from "./types.js";

/** What each topic sends. */
export interface Topics {
  session: Session;
  account: Account;
  positions: PositionList;
  orders: Order;
  trades: Trade;
  quotes: Quote;
}

export type Topic = keyof Topics;
type Data = { [Name in Topic]: { type: Name; id: string | null; data: Topics[Name] } }[Topic];
/** A value of a topic, or what is to be known of the stream: `stale` values are old until they are `fresh` again. */
export type BridgeEvent =
  | Data
  | { type: "stale"; reason: string; topic: Topic | null }
  | { type: "fresh"; topic: Topic | null }
  | { type: "gap" } // events were missed that the bridge no longer has; the present state follows
  | { type: "problem"; data: Readonly<Record<string, unknown>> };

/** Which events a stream has. */
export interface EventChoice {
  /** All but quotes if it is left out; with `instruments`, quotes as well. */
  topics?: readonly Topic[] | undefined;
  /** Symbols (text) and IBKR's numbers of the quotes. */
  instruments?: readonly (string | number)[] | undefined;
}

/** One event as it was sent. */
export interface SentEvent {
  name: string;
  id: string | null;
  data: Readonly<Record<string, unknown>>;
}

/** The topics that need no instrument. */
export const PLAIN_TOPICS: readonly Topic[] = ["session", "account", "positions", "orders", "trades"];

/** The query of a stream. */
export function eventQuery({ topics, instruments = [] }: EventChoice): Record<string, readonly (string | number)[]> {
  const quoted = instruments.length > 0 ? [...PLAIN_TOPICS, "quotes"] : PLAIN_TOPICS;
  const symbols = instruments.filter((each) => typeof each === "string");
  const conids = instruments.filter((each) => typeof each === "number");
  return { topics: topics ?? quoted, symbols, conids };
}

/** An event for the app. */
export function toEvent({ name, id, data }: SentEvent): BridgeEvent {
  const topic = typeof data["topic"] === "string" ? (data["topic"] as Topic) : null;
  if (name === "stale") return { type: "stale", reason: String(data["reason"]), topic };
  if (name === "fresh") return { type: "fresh", topic };
  if (name === "gap") return { type: "gap" };
  return name === "problem" ? { type: "problem", data } : ({ type: name, id, data } as unknown as Data);
}
