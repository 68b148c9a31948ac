import type { Order } from "@ibkr-bridge/client";
import { useTicket } from "@ibkr-bridge/client/react";
import { useEffect, useRef } from "react";
import { orderText } from "@/lib/words";

/** What IBKR wants to know before it accepts an order of the list, whoever placed it: this page, or another tab. */
export function Question({ order }: { order: Order }) {
  const ticket = useTicket(order.account ?? "", { orderId: order.id });
  const { question } = ticket.order ?? order;
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (dialog.current?.open === false) dialog.current.showModal();
  }, [question?.id]); // IBKR may ask another question after this one
  if (question === null) return null;

  const until = question.expires_at && new Date(question.expires_at).toLocaleTimeString("en-GB");
  const isReady = ticket.question !== null && !ticket.isSending;
  return (
    <dialog ref={dialog} aria-label="Question of IBKR" onCancel={(event) => event.preventDefault()}>
      <h2>{orderText(order)}</h2>
      {question.texts.map((text) => <p key={text}>{text}</p>)}
      {until && <p className="quiet">Without an answer the order is not placed; IBKR waits until {until}.</p>}
      {ticket.error && <p className="down" role="alert">{ticket.error.userMessage}</p>}
      <div className="row">
        <button className="main" disabled={!isReady} onClick={() => ticket.answer(true)}>Yes, place it</button>
        <button disabled={!isReady} onClick={() => ticket.answer(false)}>No</button>
      </div>
    </dialog>
  );
}
