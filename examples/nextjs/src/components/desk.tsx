"use client";
import type { AccountList, Order } from "@ibkr-bridge/client";
import { BridgePath, useOrders, useSession } from "@ibkr-bridge/client/react";
import { useCallback, useState } from "react";
import { Balance } from "@/components/balance";
import { Chart } from "@/components/chart";
import { Orders } from "@/components/orders";
import { Positions } from "@/components/positions";
import { Question } from "@/components/question";
import { Quotes } from "@/components/quotes";
import { SessionBanner } from "@/components/session-banner";
import { Ticket } from "@/components/ticket";
import { ask, useAnswer } from "@/lib/api";
import { useLive } from "@/lib/use-live";
import { useQuestion } from "@/lib/use-question";

const SYMBOLS = ["AAPL", "MSFT", "IBM"];

export function Desk() {
  return (
    <BridgePath value="/api/ibkr">
      <Page />
    </BridgePath>
  );
}

function Page() {
  const [symbol, setSymbol] = useState(SYMBOLS[0]);
  const [account, setAccount] = useState("");
  const { data } = useAnswer<AccountList>("/accounts", 60);
  const chosen = account || data?.accounts[0]?.id;

  const session = useSession({ seconds: 2 });
  const orders = useOrders({ seconds: 3 });
  const [refreshSession, refreshOrders] = [session.refresh, orders.refresh];
  const onChange = useCallback((topic: string) => {
    void (topic === "session" ? refreshSession() : refreshOrders());
  }, [refreshSession, refreshOrders]);
  const live = useLive(SYMBOLS.join(), onChange);
  const question = useQuestion(orders.data?.orders, refreshOrders);

  const [cancelProblem, setCancelProblem] = useState<string | null>(null);
  const cancel = async (order: Order) => {
    const done = ask(`/orders/${encodeURIComponent(order.id)}`, { method: "DELETE" });
    setCancelProblem(await done.then(() => null, (error: Error) => error.message));
    await refreshOrders();
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
      <SessionBanner isLive={live.isLive} />
      <main className={session.data?.ready && !session.error ? "" : "lost"}>
        <Quotes symbols={SYMBOLS} live={live} chosen={symbol} onChoose={setSymbol} />
        <Chart symbol={symbol} quote={live.quotes[symbol]} />
        {chosen && (
          <>
            <Balance key={chosen} account={chosen} />
            <Ticket key={`${chosen} ${symbol}`} account={chosen} symbol={symbol} onPlaced={question.onPlaced}
              current={(order) => orders.data?.orders.find(({ id }) => id === order.id) ?? order} />
            <Positions key={`positions of ${chosen}`} account={chosen} />
          </>
        )}
        <Orders list={orders} problem={cancelProblem} onCancel={cancel} />
      </main>
      {question.open && (
        <Question key={question.open.question.id} order={question.open} problem={question.problem} onAnswer={question.answer} />
      )}
    </>
  );
}
