// Hooks for the pages of an app whose server has `bridge.route.all()` at `/api/bridge/[...path]`.
"use client";
import { useContext, useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { BridgePath } from "./bridge-path.js";
import { EventFeed, eventPath, NO_EVENTS, type ConnectionState, type LatestEvents } from "./event-feed.js";
import { watchedAt, type Loaded } from "./page.js";
import type { BridgeEvent, EventChoice } from "./topics.js";
import type { Account, AccountList, Connection, History, OrderList, PositionList, QuoteList, Session } from "./types.js";

export { BridgePath } from "./bridge-path.js";
export { callbackProblem } from "./callback-problem.js";
export { BridgeError } from "./errors.js";
export type { ConnectionState, LatestEvents } from "./event-feed.js";
export { callRoute, type Loaded } from "./page.js";
export { useTicket, type Ticketing, type TicketOptions } from "./ticket.js";

/** A value that is read again and again, and a function that reads it now. */
export type Watching<Value> = Loaded<Value> & { refresh: () => Promise<void> };

function useWatched<Value>(path: string, seconds: number): Watching<Value> {
  const source = watchedAt<Value>(useContext(BridgePath) + path, seconds);
  const read = () => source.current;
  return { ...useSyncExternalStore(source.subscribe, read, read), refresh: source.refresh };
}

export interface WatchOptions {
  /** Seconds between two reads. The bridge answers from its cache, so a short time costs no call of IBKR's. */
  seconds?: number;
}

/** Whether the app can read and trade now, and what its user can do if not. */
export function useSession({ seconds = 5 }: WatchOptions = {}): Watching<Session> {
  return useWatched("/session", seconds);
}

/** How far the user is who connects to IBKR: reads `/connection`, the route of `admin.route.connection()`. */
export function useConnection({ seconds = 3 }: WatchOptions = {}): Watching<Connection> {
  return useWatched("/connection", seconds);
}

/** The accounts of the login. */
export function useAccounts({ seconds = 60 }: WatchOptions = {}): Watching<AccountList> {
  return useWatched("/accounts", seconds);
}

/** One account with its balances. */
export function useAccount(account: string, { seconds = 5 }: WatchOptions = {}): Watching<Account> {
  return useWatched(`/accounts/${encodeURIComponent(account)}`, seconds);
}

/** What one account holds; all accounts together if it is left out. */
export function usePositions(account?: string, { seconds = 5 }: WatchOptions = {}): Watching<PositionList> {
  return useWatched(account === undefined ? "/positions" : `/accounts/${encodeURIComponent(account)}/positions`, seconds);
}

/** Quotes of symbols (text) and of IBKR's numbers. */
export function useQuotes(instruments: readonly (string | number)[], { seconds = 2 }: WatchOptions = {}): Watching<QuoteList> {
  const list = (kind: string) => instruments.filter((each) => typeof each === kind).map(encodeURIComponent).join(",");
  return useWatched(`/quotes?symbols=${list("string")}&conids=${list("number")}`, seconds);
}

/** The orders of the last day and those that are open. */
export function useOrders({ seconds = 5 }: WatchOptions = {}): Watching<OrderList> {
  return useWatched("/orders", seconds);
}

/** The prices of one instrument, named by its symbol or by IBKR's number. */
export type HistoryQuery = ({ symbol: string } | { conid: number }) & {
  /** How far back, such as `1m`. */
  period?: string | undefined;
  /** The length of one bar, such as `1d`. */
  bar?: string | undefined;
  outsideHours?: boolean | undefined;
};

/** The prices of an instrument in the past. */
export function useHistory({ outsideHours, ...query }: HistoryQuery, { seconds = 60 }: WatchOptions = {}): Watching<History> {
  const members = Object.entries({ ...query, outside_hours: outsideHours }).filter(([, value]) => value !== undefined);
  return useWatched(`/history?${new URLSearchParams(members.map(([name, value]) => [name, String(value)]))}`, seconds);
}

export interface EventsOptions extends EventChoice {
  /** Gets each event. The component is then rendered only when `connection` changes, and `latest` stays empty. */
  onEvent?: ((event: BridgeEvent) => void) | undefined;
}

export interface Events {
  connection: ConnectionState;
  /** The last event of each topic. Quotes of several instruments need `onEvent`. */
  latest: LatestEvents;
}

/** The events of the bridge as they come. Each use of this hook is a connection of the browser, so use it once in a page. */
export function useEvents({ onEvent, ...choice }: EventsOptions = {}): Events {
  const url = useContext(BridgePath) + eventPath(choice);
  const feed = useMemo(() => new EventFeed(url), [url]);
  const handler = useRef(onEvent);
  useEffect(() => { handler.current = onEvent; });
  useEffect(() => feed.subscribe((event) => { if (event !== null) handler.current?.(event); }), [feed]);
  const connection = useSyncExternalStore(feed.subscribe, () => feed.connection, () => "connecting" as const);
  const readLatest = () => (onEvent === undefined ? feed.latest : NO_EVENTS);
  const latest = useSyncExternalStore(feed.subscribe, readLatest, () => NO_EVENTS);
  return { connection, latest };
}
