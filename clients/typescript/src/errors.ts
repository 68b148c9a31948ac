// One class for everything that goes wrong; programs switch on `code`.
import type { Action, Candidate, Order, Problem, ProblemCode } from "./types.js";

/** Codes of the client itself: the bridge could not be asked, or what answered is no bridge. */
export type ClientCode =
  | "settings_invalid" // IBKR_BRIDGE_URL or IBKR_BRIDGE_KEY is missing or wrong
  | "bridge_unreachable" // nothing was sent
  | "bridge_connection_lost" // the request was sent, and its outcome is unknown
  | "bridge_timeout" // the same, after the deadline
  | "not_this_bridge"; // something else answered at this address

export type BridgeErrorCode = ProblemCode | ClientCode;

/** What an error needs; the members are those of the bridge's problems. */
export interface ErrorDetails {
  code: BridgeErrorCode;
  message: string;
  userMessage?: string | undefined;
  status?: number | undefined;
  action?: Action | undefined;
  field?: string | null | undefined;
  hint?: string | undefined;
  requestId?: string | undefined;
  retryAfter?: number | null | undefined;
  members?: Readonly<Record<string, unknown>> | undefined;
  cause?: unknown;
}

const SORRY = "The trading connection does not answer. Try again in a moment.";

export class BridgeError extends Error {
  override readonly name = "BridgeError";
  /** What happened, for programs. */
  readonly code: BridgeErrorCode;
  /** A sentence that may be shown to a user. `message` is for developers. */
  readonly userMessage: string;
  /** The status of the response; 0 if there was none. */
  readonly status: number;
  /** What the user can do. */
  readonly action: Action;
  /** The member or parameter that is to blame; null if it is none. */
  readonly field: string | null;
  /** What a developer or an operator can do. */
  readonly hint: string;
  /** The id under which the bridge's log has the request; empty if it never came there. */
  readonly requestId: string;
  /** Seconds after which the same request may be sent again; null if waiting does not help. */
  readonly retryAfter: number | null;
  /** The key of an order that may exist: sent again with it, the same order is not placed a second time. */
  idempotencyKey: string | null = null;
  private readonly members: Readonly<Record<string, unknown>>;

  constructor(details: ErrorDetails) {
    super(details.message, { cause: details.cause });
    this.code = details.code;
    this.userMessage = details.userMessage ?? SORRY;
    this.status = details.status ?? 0;
    this.action = details.action ?? { kind: "none", url: null };
    this.field = details.field ?? null;
    this.hint = details.hint ?? "";
    this.requestId = details.requestId ?? "";
    this.retryAfter = details.retryAfter ?? null;
    this.members = details.members ?? {};
  }

  /** The instruments that an ambiguous symbol may stand for. */
  get candidates(): readonly Candidate[] {
    return (this.members["candidates"] as Candidate[] | undefined) ?? [];
  }

  /** The order of the call in the bridge's journal: `order(orderId)` shows what became of it. Null if there is none. */
  get orderId(): string | null {
    return (this.members["order_id"] as string | null | undefined) ?? null;
  }

  /** The order that was rejected or not placed; null if the error is not about one. */
  get order(): Order | null {
    return (this.members["order"] as Order | undefined) ?? null;
  }
}

/** The error of a response; null if it is none of the bridge's. */
export function errorOfProblem(text: string, retryAfter: number | null): BridgeError | null {
  const problem = parseProblem(text);
  if (problem === null) return null;
  return new BridgeError({
    ...{ code: problem.code, message: `${problem.detail ?? problem.code}`, userMessage: problem.user_message },
    ...{ status: problem.status, action: problem.action as Action, field: problem.field, hint: problem.hint },
    ...{ requestId: problem.request_id, retryAfter, members: problem as unknown as Record<string, unknown> },
  });
}

function parseProblem(text: string): Problem | null {
  try {
    const value: unknown = JSON.parse(text);
    const isProblem = typeof value === "object" && value !== null && "code" in value && "user_message" in value;
    return isProblem ? (value as Problem) : null;
  } catch {
    return null;
  }
}
