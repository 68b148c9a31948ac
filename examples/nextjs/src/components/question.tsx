import type { OpenQuestion, Order } from "@ibkr-bridge/client";
import { useEffect, useRef } from "react";
import { orderText } from "@/lib/words";

interface Props {
  order: Order & { question: OpenQuestion };
  problem: string | null;
  onAnswer: (confirm: boolean) => void;
}

/** What IBKR wants to know before it accepts an order. */
export function Question({ order, problem, onAnswer }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (!dialog.current?.open) dialog.current?.showModal();
  }, []);
  const until = order.question.expires_at && new Date(order.question.expires_at).toLocaleTimeString("en-GB");
  return (
    <dialog ref={dialog} aria-label="Question of IBKR" onCancel={(event) => event.preventDefault()}>
      <h2>{orderText(order)}</h2>
      {order.question.texts.map((text) => <p key={text}>{text}</p>)}
      {until && <p className="quiet">Without an answer the order is not placed; IBKR waits until {until}.</p>}
      {problem && <p className="down" role="alert">{problem}</p>}
      <div className="row">
        <button className="main" onClick={() => onAnswer(true)}>Yes, place it</button>
        <button onClick={() => onAnswer(false)}>No</button>
      </div>
    </dialog>
  );
}
