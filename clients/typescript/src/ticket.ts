// One order from its ticket to its end. It is sent once, only the user answers IBKR's question, and it is read again and
// again until it is over, so that what the page shows changes by itself.
import { useCallback, useContext, useEffect, useRef, useState } from "react";
import { BridgePath } from "./bridge-path.js";
import type { BridgeError } from "./errors.js";
import { callRoute, Watched, type Loaded } from "./page.js";
import type { OpenQuestion, Order, OrderDetails, OrderTicket, Preview } from "./types.js";

export interface TicketOptions {
  /** An order that exists, such as one whose question was open when the page was loaded again. It is read and followed. */
  orderId?: string | undefined;
  /** Seconds between two reads of an order that is not over. */
  seconds?: number;
}

/** One order from the ticket to its end. While `question` is not null, IBKR waits for `answer`. */
export interface Ticketing {
  /** The order as it was last read; its `status` and `filled` change until it is over. */
  order: Order | null;
  question: OpenQuestion | null;
  /** Why the last call failed. `order_unknown` disappears when it is known what became of the order. */
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
  /** The order to read. It is known before `order` after `order_unknown`, and when an order is resumed. */
  followedId: string | null;
  error: BridgeError | null;
  readError: BridgeError | null;
  isSending: boolean;
  /** Changes with each call. What was read under an earlier version may be older than the answer to the call. */
  version: number;
}

const EMPTY: TicketState = { order: null, followedId: null, error: null, readError: null, isSending: false, version: 0 };
const OVER: ReadonlySet<string | null> = new Set(["refused", "rejected", "not_placed", "filled", "cancelled", "inactive"]);
const UNDECIDED: ReadonlySet<string> = new Set(["sending", "unknown"]);

const isOver = (order: Order | null): boolean => order !== null && (OVER.has(order.state) || OVER.has(order.status));

type Call = "preview" | "place" | "answer" | "cancel";

function withNewOrder(before: TicketState, followedId: string | null): TicketState {
  return { ...EMPTY, followedId, isSending: before.isSending, version: before.version + 1 };
}

function withCall(before: TicketState): TicketState {
  return { ...before, error: null, isSending: true, version: before.version + 1 };
}

function withAnswer(before: TicketState, call: Call, answer: unknown): TicketState {
  if (call === "preview") return { ...before, isSending: false };
  const order = answer as Order;
  return { ...before, isSending: false, order, followedId: order.id };
}

function withError(before: TicketState, call: Call, error: BridgeError): TicketState {
  const failed = { ...before, isSending: false, error };
  if (call === "preview" || call === "cancel") return failed; // the order of such an error is the cancel, not what it cancels
  if (call === "answer") return { ...failed, order: error.order ?? before.order };
  const followedId = error.order?.id ?? error.orderId ?? before.followedId;
  const known = followedId === before.followedId ? before.order : null;
  return { ...failed, followedId, order: error.order ?? known };
}

function withRead(before: TicketState, version: number, read: Loaded<OrderDetails>): TicketState {
  if (before.version !== version) return before;
  if (read.state !== "ready") return withReadError(before, read.error);
  const isExplained = before.error?.orderId === before.followedId && !UNDECIDED.has(read.data.state);
  const error = before.error?.code === "order_unknown" && isExplained ? null : before.error;
  return { ...before, order: read.data, readError: null, error };
}

function withReadError(before: TicketState, readError: BridgeError | null): TicketState {
  const isMissing = readError?.status === 404; // to read it again would not help
  return { ...before, readError, followedId: isMissing ? null : before.followedId };
}

/** Places one order for an account, follows it until it is over, and answers IBKR's question about it. */
export function useTicket(account: string, { orderId, seconds = 3 }: TicketOptions = {}): Ticketing {
  const base = useContext(BridgePath);
  const [state, setState] = useState<TicketState>({ ...EMPTY, followedId: orderId ?? null });
  const [resumedId, setResumedId] = useState(orderId);
  const sent = useRef<{ text: string; key: string } | null>(null);
  const busy = useRef(false);

  if (orderId !== resumedId) {
    setResumedId(orderId);
    if (orderId !== undefined && orderId !== state.followedId) setState((before) => withNewOrder(before, orderId));
  }

  const { followedId, isSending, version } = state;
  const isFollowed = followedId !== null && !isSending && !isOver(state.order);
  useEffect(() => {
    if (!isFollowed) return;
    const path = `${base}/orders/${encodeURIComponent(followedId)}`;
    const source = new Watched(() => callRoute<OrderDetails>(path), seconds);
    return source.subscribe(() => setState((before) => withRead(before, version, source.current)));
  }, [base, followedId, isFollowed, version, seconds]);

  const send = useCallback(async <Answer>(call: Call, path: string, init: RequestInit): Promise<Answer | null> => {
    if (busy.current) return null; // the second click of a double click
    busy.current = true;
    setState(withCall);
    try {
      const answer = await callRoute<Answer>(base + path, init);
      setState((before) => withAnswer(before, call, answer));
      return answer;
    } catch (error) {
      setState((before) => withError(before, call, error as BridgeError)); // callRoute throws no other
      return null;
    } finally {
      busy.current = false;
    }
  }, [base]);

  const place = useCallback((ticket: OrderTicket) => {
    const text = JSON.stringify(ticket);
    if (sent.current?.text !== text) sent.current = { text, key: crypto.randomUUID() };
    const headers = { ...JSON_HEADERS, "Idempotency-Key": sent.current.key };
    return send<Order>("place", `/accounts/${encodeURIComponent(account)}/orders`, { method: "POST", headers, body: text });
  }, [account, send]);

  const preview = useCallback((ticket: OrderTicket) =>
    send<Preview>("preview", `/accounts/${encodeURIComponent(account)}/orders/preview`, posted(ticket)), [account, send]);

  const id = state.order?.id;
  const question = state.order?.question ?? null;
  const answer = useCallback(async (confirm: boolean) => {
    if (id === undefined || question === null) return null;
    const body = posted({ confirm, question_id: question.id });
    return send<Order>("answer", `/orders/${encodeURIComponent(id)}/answer`, body);
  }, [id, question, send]);

  const cancel = useCallback(async () => {
    return id === undefined ? null : send<Order>("cancel", `/orders/${encodeURIComponent(id)}`, { method: "DELETE" });
  }, [id, send]);

  const reset = useCallback(() => {
    sent.current = null;
    setState((before) => withNewOrder(before, null));
  }, []);

  const error = state.error ?? (state.order === null ? state.readError : null);
  return { order: state.order, question, error, isSending, preview, place, answer, cancel, reset };
}

const JSON_HEADERS = { "Content-Type": "application/json" };
const posted = (body: unknown): RequestInit => ({ method: "POST", headers: JSON_HEADERS, body: JSON.stringify(body) });
