// Compiled and never run: the compiler must accept the good lines and refuse the others.
import { createBridge, BridgeError, type Order } from "../src/index.js";

export async function useIt(order: Order): Promise<string> {
  const bridge = createBridge();
  if (order.state === "question") return order.question.texts.join(" "); // it is not null here
  if (order.state === "placed") return order.status ?? "unknown";
  // @ts-expect-error  an order in another state has no question
  order.question.texts;
  const session = await bridge.session();
  if (!session.ready && session.action.kind === "sign_in") return session.action.url.toLowerCase();
  // @ts-expect-error  only a sign-in has an address
  if (!session.ready) session.action.url.toLowerCase();
  // @ts-expect-error  there is no such type of order
  await bridge.place("DU1234567", { side: "buy", type: "limitt", symbol: "AAPL", quantity: 1 });
  // @ts-expect-error  a route that trades must say who may
  bridge.route.place();
  await bridge.place("DU1234567", { side: "buy", type: "limit", symbol: "AAPL", quantity: "1", limit_price: 190.25 });
  return "";
}

export function explain(error: unknown): string {
  if (!(error instanceof BridgeError)) throw error;
  switch (error.code) {
    case "ambiguous_symbol":
      return error.candidates.map((each) => each.symbol).join(", ");
    case "order_unknown":
      return error.orderId?.toUpperCase() ?? "";
    case "bridge_unreachable":
      return error.userMessage;
    // @ts-expect-error  there is no such code
    case "bridge_gone":
      return "";
    default:
      return error.action.kind;
  }
}
