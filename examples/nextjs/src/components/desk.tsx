"use client";
import type { BridgeEvent, Order, Quote } from "@ibkr-bridge/client";
import { BridgeError, BridgePath, callRoute, useAccounts, useEvents, useOrders, useSession } from "@ibkr-bridge/client/react";
import { useState } from "react";
import { Balance } from "@/components/balance";
import { Chart } from "@/components/chart";
import { Orders } from "@/components/orders";
import { Positions } from "@/components/positions";
import { Question } from "@/components/question";
import { Quotes } from "@/components/quotes";
import { SessionBanner } from "@/components/session-banner";
import { Ticket } from "@/components/ticket";
import { ROUTES } from "@/lib/connection";

const SYMBOLS = ["AAPL", "MSFT", "IBM"];
const TOPICS = ["session", "orders", "trades", "quotes"] as const;

export function Desk() {
  return (
    <BridgePath value={ROUTES}>
      <Page />
    </BridgePath>
  );
}

function Page() {
  const [symbol, setSymbol] = useState(SYMBOLS[0]);
  const [account, setAccount] = useState("");
  const { data } = useAccounts();
  const chosen = account || data?.accounts[0]?.id;

  const session = useSession({ seconds: 2 });
  const orders = useOrders({ seconds: 3 });
  const asking = orders.data?.orders.find((order) => order.state === "question");

  const [quotes, setQuotes] = useState<Record<string, Quote>>({});
  const onEvent = (event: BridgeEvent) => {
    if (event.type === "session") void session.refresh();
    if (event.type === "orders" || event.type === "trades") void orders.refresh();
    if (event.type === "quotes") setQuotes((last) => ({ ...last, [event.data.symbol ?? event.data.conid]: event.data }));
  };
  const isLive = useEvents({ topics: TOPICS, instruments: SYMBOLS, onEvent }).connection === "live";

  const [cancelProblem, setCancelProblem] = useState<string | null>(null);
  const cancel = async (order: Order) => {
    const done = callRoute<Order>(`${ROUTES}/orders/${encodeURIComponent(order.id)}`, { method: "DELETE" });
    setCancelProblem(await done.then(() => null, (error: BridgeError) => error.userMessage));
    await orders.refresh();
  };
  return (
    <>
      <header>
        <h1>IBKR Bridge</h1>
        {data && data.accounts.length > 1 && (
          <select aria-label="Account" value={chosen} onChange={(event) => setAccount(event.target.value)}>
            {data.accounts.map(({ id, kind }) => <option key={id} value={id}>{id} ({kind})</option>)}
          </select>
        )}
      </header>
      <SessionBanner isLive={isLive} />
      <main className={session.data?.ready && !session.error ? "" : "lost"}>
        <Quotes symbols={SYMBOLS} quotes={quotes} isLive={isLive} chosen={symbol} onChoose={setSymbol} />
        <Chart symbol={symbol} quote={quotes[symbol]} />
        {chosen && (
          <>
            <Balance key={chosen} account={chosen} />
            <Ticket key={`${chosen} ${symbol}`} account={chosen} symbol={symbol} onPlaced={orders.refresh} />
            <Positions key={`positions of ${chosen}`} account={chosen} />
          </>
        )}
        <Orders list={orders} problem={cancelProblem} onCancel={cancel} />
      </main>
      {asking && <Question key={asking.id} order={asking} />}
    </>
  );
}
