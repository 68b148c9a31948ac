// The calls of the bridge as functions. `createBridge()` runs on the app's server, where the key is.
import { BridgeError } from "./errors.js";
import { readEvents, type EventOptions } from "./events.js";
import { routeHandlers, type RouteHandlers } from "./routes.js";
import type { BridgeOptions } from "./settings.js";
import type { BridgeEvent } from "./topics.js";
import { Transport, type Call, type CallOptions } from "./transport.js";
import type {
  Account, AccountList, AssetClass, Balance, History, Instrument, InstrumentSearch, IssuedToken, Order, OrderChange,
  OrderDetails, OrderList, OrderState, OrderTicket, PositionList, Preview, ProfileStatus, QuoteList, Scope, Session,
  TradeList,
} from "./types.js";

export interface OrderOptions extends CallOptions {
  /** The same call with the same key is carried out once in 24 hours. Without one, each call gets a key of its own. */
  idempotencyKey?: string | undefined;
  /** Ids of IBKR's questions that are answered with yes at once, such as `o163`. */
  confirm?: readonly string[] | undefined;
}

export interface HistoryRequest extends CallOptions {
  symbol?: string;
  conid?: number;
  period?: string;
  bar?: string;
  outsideHours?: boolean;
}

export interface Bridge {
  /** Whether an app can read and trade now, and what its user can do if not. */
  session(options?: CallOptions): Promise<Session>;
  /** Everything the bridge knows of the session and itself, for operators. */
  status(options?: CallOptions): Promise<ProfileStatus>;
  accounts(options?: CallOptions): Promise<AccountList>;
  account(id: string, options?: CallOptions): Promise<Account>;
  /** The balance of one account; it may be left out if the login has one. */
  balance(account?: string, options?: CallOptions): Promise<Balance>;
  /** What one account holds; all accounts together if it is left out. */
  positions(account?: string, options?: CallOptions): Promise<PositionList>;
  trades(account: string, options?: CallOptions & { days?: number }): Promise<TradeList>;
  /** What a symbol stands for; `ambiguous_symbol` with `candidates` if there are several. */
  search(symbol: string, options?: CallOptions & { class?: AssetClass }): Promise<InstrumentSearch>;
  instrument(conid: number, options?: CallOptions): Promise<Instrument>;
  /** Quotes of symbols (text) and of IBKR's numbers. */
  quotes(instruments: readonly (string | number)[], options?: CallOptions): Promise<QuoteList>;
  history(request: HistoryRequest): Promise<History>;
  orders(options?: CallOptions & { state?: OrderState; limit?: number }): Promise<OrderList>;
  order(id: string, options?: CallOptions): Promise<OrderDetails>;
  /** What an order would cost. Nothing is placed. */
  preview(account: string, ticket: OrderTicket, options?: CallOptions): Promise<Preview>;
  /** Place one order, once. Its state is `question` while IBKR asks something: `answer` it. */
  place(account: string, ticket: OrderTicket, options?: OrderOptions): Promise<Order>;
  change(id: string, change: OrderChange, options?: OrderOptions): Promise<Order>;
  answer(id: string, confirm: boolean, options?: OrderOptions & { questionId?: string }): Promise<Order>;
  cancel(id: string, options?: OrderOptions): Promise<Order>;
  /** Session, accounts, positions, orders, trades and quotes as they change, until the signal ends the stream. */
  events(options?: EventOptions): AsyncGenerator<BridgeEvent>;
  /** A token for a page. */
  token(options?: CallOptions & { scope?: Scope; seconds?: number }): Promise<IssuedToken>;
  /** The same calls for another profile: the key of an app reaches several users. */
  for(profile: string): Bridge;
  /** Route handlers for Next.js and other servers with the same form. */
  readonly route: RouteHandlers;
}

/** The bridge at IBKR_BRIDGE_URL, with the key IBKR_BRIDGE_KEY. Both are read at the first call. */
export function createBridge(options: BridgeOptions = {}): Bridge {
  const transport = new Transport(options);
  const calls = { ...reads(transport), ...orderCalls(transport), events: eventsOf(transport) };
  const of = (profile: string): Bridge => createBridge({ ...options, profile });
  const bridge: Bridge = Object.assign(calls, { for: of, route: routeHandlers(() => bridge, transport) });
  return bridge;
}

const at = (...segments: (string | number)[]): string => segments.map((each) => `/${encodeURIComponent(each)}`).join("");

function eventsOf(transport: Transport): Bridge["events"] {
  return (options) => readEvents(transport, options);
}

function reads(transport: Transport) {
  const get = <Answer>(path: string, options: CallOptions = {}, query: Call["query"] = {}): Promise<Answer> =>
    transport.send<Answer>({ method: "GET", path, query, signal: options.signal, wait: options.wait });
  const post = <Answer>(path: string, body: unknown, options: CallOptions = {}): Promise<Answer> =>
    transport.send<Answer>({ method: "POST", path, body, signal: options.signal, wait: options.wait });
  return {
    session: (options) => get("/session", options),
    status: (options) => get("/gateway/status", options),
    accounts: (options) => get("/accounts", options),
    account: (id, options) => get(at("accounts", id), options),
    balance: (account, options) => get("/account/balance", options, { account }),
    positions: (account, options) => get(account === undefined ? "/positions" : at("accounts", account, "positions"), options),
    trades: (account, options) => get(at("accounts", account, "trades"), options, { days: options?.days }),
    search: (symbol, options) => get("/instruments", options, { symbol, class: options?.class }),
    instrument: (conid, options) => get(at("instruments", conid), options),
    quotes: (instruments, options) => get("/quotes", options, quoteQuery(instruments)),
    history: ({ outsideHours, symbol, conid, period, bar, ...options }) =>
      get("/history", options, { symbol, conid, period, bar, outside_hours: outsideHours }),
    orders: (options) => get("/orders", options, { state: options?.state, limit: options?.limit }),
    order: (id, options) => get(at("orders", id), options),
    preview: (account, ticket, options) => post(at("accounts", account, "orders", "preview"), ticket, options),
    token: (options) => post("/auth/token", { scope: options?.scope ?? "read", expires_in: options?.seconds ?? 300 }, options),
  } satisfies Partial<Bridge>;
}

function quoteQuery(instruments: readonly (string | number)[]): Call["query"] {
  const symbols = instruments.filter((each) => typeof each === "string");
  const conids = instruments.filter((each) => typeof each === "number");
  return { symbols, conids };
}

function orderCalls(transport: Transport) {
  return {
    place: (account, ticket, options) => sendOrder(transport, "POST", at("accounts", account, "orders"), ticket, options),
    change: (id, change, options) => sendOrder(transport, "PATCH", at("orders", id), change, options),
    answer: (id, confirm, options) =>
      sendOrder(transport, "POST", at("orders", id, "answer"), { confirm, question_id: options?.questionId ?? null }, options),
    cancel: (id, options) => sendOrder(transport, "DELETE", at("orders", id), undefined, options),
  } satisfies Partial<Bridge>;
}

/** Send an order call once. If its outcome is unknown, the error has the key with which it may be sent again. */
async function sendOrder(
  transport: Transport, method: "POST" | "PATCH" | "DELETE", path: string, body: unknown, options: OrderOptions = {},
): Promise<Order> {
  const idempotencyKey = options.idempotencyKey ?? crypto.randomUUID();
  const headers: Record<string, string> = { "Idempotency-Key": idempotencyKey };
  if (options.confirm?.length) headers["X-Bridge-Confirm"] = options.confirm.join(",");
  try {
    return await transport.send<Order>({ method, path, body, headers, signal: options.signal, wait: options.wait });
  } catch (error) {
    if (error instanceof BridgeError) error.idempotencyKey = idempotencyKey;
    throw error;
  }
}
