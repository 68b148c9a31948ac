// Figures and states in words.
import type { Order } from "@ibkr-bridge/client";

/** A figure as people write it; a dash if nobody knows it. */
export function figure(value: string | null | undefined, digits = 2): string {
  if (value === null || value === undefined) return "–";
  return Number(value).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: Math.max(digits, 4) });
}

export function money(value: string | null | undefined, currency: string | null | undefined): string {
  const digits = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return value == null ? "–" : `${Number(value).toLocaleString("en-US", digits)} ${currency ?? ""}`;
}

export const signOf = (value: string | null | undefined): "up" | "down" | "" =>
  Number(value ?? 0) > 0 ? "up" : Number(value ?? 0) < 0 ? "down" : "";

const PLACED = {
  pending: "Sent, not yet working", working: "Working", cancelling: "Being cancelled", filled: "Filled",
  cancelled: "Cancelled", inactive: "Inactive at IBKR",
} as const;

const isOver = ({ status }: Order): boolean => ["filled", "cancelled", "inactive"].includes(status ?? "");

/** What became of an order. Without a current list of IBKR, nobody knows whether an open order has ended since. */
export function orderWords(order: Order, isCurrent = true): string {
  switch (order.state) {
    case "sending": return "Being sent";
    case "question": return "Waits for your answer";
    case "unknown": return "Unknown: the answer was lost, so it may be at IBKR. Do not send it again; the bridge is looking for it.";
    case "not_placed": return "Not placed";
    case "rejected": return `Rejected: ${order.error ?? "IBKR gave no reason"}`;
    case "refused": return `Refused: ${order.error ?? "no reason was given"}`;
    case "placed": return order.status === null || (!isCurrent && !isOver(order)) ? "At IBKR; its list cannot be read now" : PLACED[order.status];
  }
}

export function orderText(order: Order): string {
  const price = order.limit_price === null ? "at the market" : `at ${figure(order.limit_price)}`;
  return `${order.side === "sell" ? "Sell" : "Buy"} ${order.quantity ?? "?"} ${order.symbol ?? order.conid ?? ""} ${price}`;
}
