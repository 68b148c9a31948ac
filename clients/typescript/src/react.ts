// Hooks for the pages of an app whose server has `bridge.route.all()` at `/api/bridge/[...path]`.
"use client";
import { createContext, useCallback, useContext, useRef, useState, useSyncExternalStore } from "react";
import { BridgeError } from "./errors.js";
import { callRoute, watchedAt, type Loaded } from "./page.js";
import type { Account, OpenQuestion, Order, OrderList, OrderTicket, PositionList, Preview, QuoteList, Session } from "./types.js";

export { BridgeError } from "./errors.js";
export { callRoute } from "./page.js";
export type { Loaded } from "./page.js";

/** Where the app has the routes of the bridge. */
export const BridgePath = createContext("/api/bridge");

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

/** One order from the ticket to its end. While `question` is not null, IBKR waits for `answer`. */
export interface Ticketing {
  order: Order | null;
  question: OpenQuestion | null;
  error: BridgeError | null;
  isSending: boolean;
  preview: (ticket: OrderTicket) => Promise<Preview | null>;
  /** Place the order. A second call with the same ticket, after an error, places no second order. */
  place: (ticket: OrderTicket) => Promise<Order | null>;
  answer: (confirm: boolean) => Promise<Order | null>;
  cancel: () => Promise<Order | null>;
  /** Begin a new order. */
  reset: () => void;
}

interface TicketState {
  order: Order | null;
  error: BridgeError | null;
  isSending: boolean;
}

const EMPTY: TicketState = { order: null, error: null, isSending: false };

/** Places one order for an account, and answers IBKR's question about it. */
export function useTicket(account: string): Ticketing {
  const base = useContext(BridgePath);
  const [state, setState] = useState(EMPTY);
  const sent = useRef<{ text: string; key: string } | null>(null);
  const busy = useRef(false);

  const send = useCallback(async <Answer>(path: string, init: RequestInit, isOrder: boolean): Promise<Answer | null> => {
    if (busy.current) return null; // the second click of a double click
    busy.current = true;
    setState((before) => ({ ...before, error: null, isSending: true }));
    try {
      const answer = await callRoute<Answer>(base + path, init);
      setState((before) => ({ ...before, isSending: false, ...(isOrder ? { order: answer as Order } : {}) }));
      return answer;
    } catch (error) {
      if (!(error instanceof BridgeError)) throw error;
      setState((before) => ({ order: error.order ?? before.order, error, isSending: false }));
      return null;
    } finally {
      busy.current = false;
    }
  }, [base]);

  const place = useCallback((ticket: OrderTicket) => {
    const text = JSON.stringify(ticket);
    if (sent.current?.text !== text) sent.current = { text, key: crypto.randomUUID() };
    const headers = { ...JSON_HEADERS, "Idempotency-Key": sent.current.key };
    return send<Order>(`/accounts/${encodeURIComponent(account)}/orders`, { method: "POST", headers, body: text }, true);
  }, [account, send]);

  const preview = useCallback((ticket: OrderTicket) =>
    send<Preview>(`/accounts/${encodeURIComponent(account)}/orders/preview`, posted(ticket), false), [account, send]);

  const id = state.order?.id;
  const question = state.order?.question ?? null;
  const answer = useCallback(async (confirm: boolean) => {
    if (id === undefined || question === null) return null;
    return send<Order>(`/orders/${encodeURIComponent(id)}/answer`, posted({ confirm, question_id: question.id }), true);
  }, [id, question, send]);

  const cancel = useCallback(async () => {
    return id === undefined ? null : send<Order>(`/orders/${encodeURIComponent(id)}`, { method: "DELETE" }, true);
  }, [id, send]);

  const reset = useCallback(() => {
    sent.current = null;
    setState(EMPTY);
  }, []);

  return { ...state, question, preview, place, answer, cancel, reset };
}

const JSON_HEADERS = { "Content-Type": "application/json" };
const posted = (body: unknown): RequestInit => ({ method: "POST", headers: JSON_HEADERS, body: JSON.stringify(body) });
