import type { OrderTicket } from "@ibkr-bridge/client";
import { useSession, useTicket } from "@ibkr-bridge/client/react";
import { useState, type FormEvent } from "react";
import { orderText, orderWords } from "@/lib/words";

interface Props {
  account: string;
  symbol: string;
  onPlaced: () => void;
}

export function Ticket({ account, symbol, onPlaced }: Props) {
  const session = useSession({ seconds: 2 });
  const ticket = useTicket(account); // it follows its order, so what is shown changes by itself
  const { order, error } = ticket;
  const [side, setSide] = useState<OrderTicket["side"]>("buy");
  const [quantity, setQuantity] = useState("1");
  const [price, setPrice] = useState("");
  const mayTrade = session.state === "ready" && session.data.can_trade;

  const place = async (event: FormEvent) => {
    event.preventDefault();
    const kind = price === "" ? { type: "market" as const } : { type: "limit" as const, limit_price: price };
    await ticket.place({ side, symbol, quantity, ...kind });
    onPlaced();
  };
  // Each edit begins a new order. Without one, the same ticket is the same order, however often it is sent.
  const edited = <Value,>(set: (value: Value) => void) => (value: Value) => { ticket.reset(); set(value); };
  const mark = (field: string) => (error?.field === field ? { "aria-invalid": true } : {});
  return (
    <section className="card" aria-label="Ticket">
      <h2>Order for {symbol}</h2>
      <form onSubmit={place}>
        <label>Side
          <select name="side" value={side} onChange={(event) => edited(setSide)(event.target.value as OrderTicket["side"])}>
            <option value="buy">Buy</option>
            <option value="sell">Sell</option>
          </select>
        </label>
        <label>Quantity
          <input name="quantity" inputMode="decimal" required value={quantity} {...mark("quantity")}
            onChange={(event) => edited(setQuantity)(event.target.value)} />
        </label>
        <label>Limit
          <input name="limit" inputMode="decimal" placeholder="market" value={price} {...mark("limit_price")}
            onChange={(event) => edited(setPrice)(event.target.value)} />
        </label>
        <button className="main" disabled={!mayTrade || ticket.isSending}>
          {ticket.isSending ? "Sending …" : `${side === "buy" ? "Buy" : "Sell"} ${symbol}`}
        </button>
      </form>
      <p className="quiet" role="status">
        {error?.userMessage}{" "}
        {order && (!error || order.state === "unknown") && `${orderText(order)}: ${orderWords(order)}`}
        {!mayTrade && !order && !error && "Orders can be sent as soon as the connection is back."}
      </p>
      {(order || error) && <button className="plain" onClick={ticket.reset}>New order</button>}
    </section>
  );
}
