// Hooks for the pages of an app whose server has `bridge.route.all()` at `/api/bridge/[...path]`.
"use client";
import { useContext, useSyncExternalStore } from "react";
import { BridgePath } from "./bridge-path.js";
import { watchedAt, type Loaded } from "./page.js";
import type { Account, OrderList, PositionList, QuoteList, Session } from "./types.js";

export { BridgePath } from "./bridge-path.js";
export { BridgeError } from "./errors.js";
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
