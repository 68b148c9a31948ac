// Route handlers for Next.js (App Router) and other servers that answer a `Request` with a `Response`.
//
//     export const GET = bridge.route.positions();
//     export const { GET, POST, PATCH, DELETE } = bridge.route.all({ authorize });
//
// The key stays on the server. A page gets the bridge's answers, and of its errors only what a page may know.
import type { Bridge } from "./bridge.js";
import { BridgeError } from "./errors.js";
import { errorOf, Transport } from "./transport.js";
import type { AssetClass, OrderChange, OrderState, OrderTicket } from "./types.js";

type Params = Readonly<Record<string, string | readonly string[] | undefined>>;
/** The second argument of a handler; Next.js 15 passes a promise of the parameters, older versions pass them. */
export interface RouteContext {
  params?: Promise<Params> | Params;
}
export type RouteHandler = (request: Request, context?: RouteContext) => Promise<Response>;

export interface ReadOptions {
  /** Whether the sender of a request may see the answer. Without it the app itself must protect the route. */
  authorize?: (request: Request) => boolean | Promise<boolean>;
  /** The account of the route, if neither its path nor its query names one. */
  account?: string;
  /**
   * The profile of the sender, as the app's own sign-in knows it; null if nobody is signed in, who is refused. Nothing
   * that a browser sends besides decides it.
   */
  profile?: ProfileOf;
}

export type ProfileOf = (request: Request) => string | null | Promise<string | null>;

export interface WriteOptions extends ReadOptions {
  /** Whether the sender of a request may trade. There is no default: an open route would trade for everybody. */
  authorize: (request: Request) => boolean | Promise<boolean>;
}

export interface RouteHandlers {
  session(options?: ReadOptions): RouteHandler;
  accounts(options?: ReadOptions): RouteHandler;
  /** The parameter `account`, or `id`, of the path or the query. */
  account(options?: ReadOptions): RouteHandler;
  balance(options?: ReadOptions): RouteHandler;
  positions(options?: ReadOptions): RouteHandler;
  trades(options?: ReadOptions): RouteHandler;
  search(options?: ReadOptions): RouteHandler;
  /** `?symbols=AAPL,MSFT&conids=265598` */
  quotes(options?: ReadOptions): RouteHandler;
  history(options?: ReadOptions): RouteHandler;
  orders(options?: ReadOptions): RouteHandler;
  order(options?: ReadOptions): RouteHandler;
  /** The events of the bridge, passed on as they arrive; a page opens it with `EventSource`. */
  events(options?: ReadOptions): RouteHandler;
  preview(options: WriteOptions): RouteHandler;
  place(options: WriteOptions): RouteHandler;
  change(options: WriteOptions): RouteHandler;
  answer(options: WriteOptions): RouteHandler;
  cancel(options: WriteOptions): RouteHandler;
  /** All of them below one path, for `app/api/bridge/[...path]/route.ts`; the hooks of `/react` use it. */
  all(options: WriteOptions): Record<"GET" | "POST" | "PATCH" | "DELETE", RouteHandler>;
}

/** One request with its parameters. */
class Incoming {
  readonly query: URLSearchParams;

  constructor(readonly request: Request, readonly params: Params, readonly options: ReadOptions) {
    this.query = new URL(request.url).searchParams;
  }

  text(name: string): string | undefined {
    const value = this.params[name] ?? this.query.get(name) ?? undefined;
    return typeof value === "string" && value !== "" ? value : undefined;
  }

  number(name: string): number | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : Number(text);
  }

  list(name: string): string[] {
    return (this.query.get(name) ?? "").split(",").map((each) => each.trim()).filter(Boolean);
  }

  need(name: string): string {
    const value = this.text(name);
    if (value === undefined) throw invalid(`${name} is missing`, name);
    return value;
  }

  get account(): string | undefined {
    return this.text("account") ?? this.options.account;
  }

  get neededAccount(): string {
    const account = this.account ?? this.text("id");
    if (account === undefined) throw invalid("account is missing", "account");
    return account;
  }

  /** The options of an order: the page's own key, so that a second click does not place a second order. */
  get orderOptions(): { idempotencyKey: string | undefined } {
    return { idempotencyKey: this.request.headers.get("idempotency-key") ?? undefined };
  }

  async body<Shape>(): Promise<Shape> {
    try {
      return (await this.request.json()) as Shape;
    } catch {
      throw invalid("the body is not JSON", null);
    }
  }
}

type Work = (bridge: Bridge, incoming: Incoming) => Promise<unknown>;
const WORK = {
  session: (bridge) => bridge.session(),
  accounts: (bridge) => bridge.accounts(),
  account: (bridge, incoming) => bridge.account(incoming.neededAccount),
  balance: (bridge, incoming) => bridge.balance(incoming.account),
  positions: (bridge, incoming) => bridge.positions(incoming.account),
  trades: (bridge, incoming) => bridge.trades(incoming.neededAccount, defined({ days: incoming.number("days") })),
  search: (bridge, incoming) =>
    bridge.search(incoming.need("symbol"), defined({ class: incoming.text("class") as AssetClass | undefined })),
  quotes: (bridge, incoming) => bridge.quotes([...incoming.list("symbols"), ...incoming.list("conids").map(Number)]),
  history: (bridge, incoming) =>
    bridge.history(defined({
      ...{ symbol: incoming.text("symbol"), conid: incoming.number("conid"), period: incoming.text("period") },
      ...{ bar: incoming.text("bar"), outsideHours: incoming.text("outside_hours") === "true" || undefined },
    })),
  orders: (bridge, incoming) =>
    bridge.orders(defined({ state: incoming.text("state") as OrderState | undefined, limit: incoming.number("limit") })),
  order: (bridge, incoming) => bridge.order(incoming.need("id")),
  preview: async (bridge, incoming) => bridge.preview(incoming.neededAccount, await incoming.body<OrderTicket>()),
  place: async (bridge, incoming) =>
    bridge.place(incoming.neededAccount, await incoming.body<OrderTicket>(), incoming.orderOptions),
  change: async (bridge, incoming) =>
    bridge.change(incoming.need("id"), await incoming.body<OrderChange>(), incoming.orderOptions),
  answer: async (bridge, incoming) => {
    const { confirm, question_id } = await incoming.body<{ confirm: unknown; question_id?: string | null }>();
    if (typeof confirm !== "boolean") throw invalid("confirm must be true or false", "confirm");
    return bridge.answer(incoming.need("id"), confirm, defined({ ...incoming.orderOptions, questionId: question_id ?? undefined }));
  },
  cancel: (bridge, incoming) => bridge.cancel(incoming.need("id"), incoming.orderOptions),
} satisfies Record<string, Work>;

const PATHS: readonly [method: string, pattern: RegExp, name: keyof typeof WORK][] = [
  ["GET", /^session$/, "session"],
  ["GET", /^accounts$/, "accounts"],
  ["GET", /^accounts\/(?<account>[^/]+)$/, "account"],
  ["GET", /^accounts\/(?<account>[^/]+)\/positions$/, "positions"],
  ["GET", /^accounts\/(?<account>[^/]+)\/trades$/, "trades"],
  ["GET", /^account\/balance$/, "balance"],
  ["GET", /^positions$/, "positions"],
  ["GET", /^instruments$/, "search"],
  ["GET", /^quotes$/, "quotes"],
  ["GET", /^history$/, "history"],
  ["GET", /^orders$/, "orders"],
  ["GET", /^orders\/(?<id>[^/]+)$/, "order"],
  ["POST", /^accounts\/(?<account>[^/]+)\/orders$/, "place"],
  ["POST", /^accounts\/(?<account>[^/]+)\/orders\/preview$/, "preview"],
  ["PATCH", /^orders\/(?<id>[^/]+)$/, "change"],
  ["POST", /^orders\/(?<id>[^/]+)\/answer$/, "answer"],
  ["DELETE", /^orders\/(?<id>[^/]+)$/, "cancel"],
];

export function routeHandlers(bridge: () => Bridge, transport: Transport): RouteHandlers {
  const of = (profile: string | undefined) => (profile === undefined ? bridge() : bridge().for(profile));
  const handler = (work: Work) => (options: ReadOptions = {}): RouteHandler => (request, context) =>
    respond(request, options, async (profile) => {
      const incoming = new Incoming(request, (await context?.params) ?? {}, options);
      return json(200, await work(of(profile), incoming));
    });
  const handlers = Object.fromEntries(Object.entries(WORK).map(([name, work]) => [name, handler(work)]));
  return {
    ...(handlers as Record<keyof typeof WORK, (options?: ReadOptions) => RouteHandler>),
    events: (options = {}) => (request) => respond(request, options, (profile) => passEvents(transport, request, profile)),
    all: (options) => {
      const route: RouteHandler = (request, context) => respond(request, options, async (profile) => {
        const path = await pathOf(context);
        return path === "events" ? passEvents(transport, request, profile) : dispatch(of(profile), request, path, options);
      });
      return { GET: route, POST: route, PATCH: route, DELETE: route };
    },
  };
}

async function pathOf(context: RouteContext | undefined): Promise<string> {
  const segments = (await context?.params)?.["path"];
  return typeof segments === "string" ? segments : (segments ?? []).join("/");
}

async function dispatch(bridge: Bridge, request: Request, path: string, options: ReadOptions): Promise<Response> {
  for (const [method, pattern, name] of PATHS) {
    const match = method === request.method ? pattern.exec(path) : null;
    if (match !== null) {
      const params = Object.fromEntries(Object.entries(match.groups ?? {}).map(([key, value]) => [key, decodeURIComponent(value)]));
      return json(200, await (WORK[name] as Work)(bridge, new Incoming(request, params, options)));
    }
  }
  throw new BridgeError({ code: "not_bridged", status: 404, message: "the app has no such route", userMessage: APP_FAULT });
}

export const APP_FAULT = "This app sent something that the trading connection does not accept.";

/** Answer a request of a page, whose sender is checked first. */
export async function respond(
  request: Request, options: SenderOptions, work: (profile: string | undefined) => Promise<Response>,
): Promise<Response> {
  try {
    return await work(await checkSender(request, options));
  } catch (error) {
    if (request.signal.aborted) return new Response(null, { status: 499 }); // nobody reads it: the page has gone
    if (!(error instanceof BridgeError)) throw error;
    return json(statusFor(error), forPage(error));
  }
}

type SenderOptions = Pick<ReadOptions, "authorize" | "profile">;

/** A page of another site must not use the sign-in of this one, and the app decides who may. Returns the profile. */
async function checkSender(request: Request, options: SenderOptions): Promise<string | undefined> {
  const site = request.headers.get("sec-fetch-site") ?? "none";
  const isAllowed = ["same-origin", "none"].includes(site) && ((await options.authorize?.(request)) ?? true);
  // A sign-in that finds nobody must not fall back to the profile of the key.
  const profile = options.profile === undefined ? undefined : (await options.profile(request)) || null;
  if (!isAllowed || profile === null) {
    throw new BridgeError({ code: "insufficient_scope", status: 403, message: "the app does not allow it", userMessage: "This is not allowed." });
  }
  return profile;
}

async function passEvents(transport: Transport, request: Request, profile: string | undefined): Promise<Response> {
  const last = request.headers.get("last-event-id");
  const ofSender = profile === undefined ? transport : new Transport({ ...transport.options, profile });
  const reply = await ofSender.open({
    ...{ method: "GET", path: `/events${new URL(request.url).search}`, signal: request.signal },
    headers: last === null ? {} : { "Last-Event-ID": last },
  });
  if (!reply.ok) throw errorOf(reply, await reply.text());
  const headers = { "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store, no-transform" };
  return new Response(reply.body, { headers: { ...headers, "X-Accel-Buffering": "no" } });
}

/** A wrong key of the server is no fault of the page's user, who would be sent to a sign-in by 401. */
function statusFor(error: BridgeError): number {
  if (error.status === 0) return error.code === "bridge_timeout" ? 504 : 503;
  return error.status === 401 ? 502 : error.status;
}

/** What a page may know of an error: no hint and no detail, which are for the developer. */
function forPage(error: BridgeError): Record<string, unknown> {
  return {
    ...{ code: error.code, status: statusFor(error), user_message: error.userMessage, action: error.action, field: error.field },
    ...{ order_id: error.orderId, request_id: error.requestId, retry_after: error.retryAfter, retryable: error.retryAfter !== null },
    ...(error.candidates.length ? { candidates: error.candidates } : {}),
    ...(error.order ? { order: error.order } : {}),
  };
}

export function json(status: number, body: unknown): Response {
  return Response.json(body, { status, headers: { "Cache-Control": "no-store" } });
}

function invalid(message: string, field: string | null): BridgeError {
  return new BridgeError({ code: "validation_failed", status: 422, message, field, userMessage: APP_FAULT });
}

/** An object without the members that are undefined. */
function defined<Shape extends object>(shape: Shape): { [Name in keyof Shape]: Exclude<Shape[Name], undefined> } {
  const members = Object.entries(shape).filter(([, value]) => value !== undefined);
  return Object.fromEntries(members) as { [Name in keyof Shape]: Exclude<Shape[Name], undefined> };
}
