// The question that IBKR waits for an answer to, whoever placed the order: this page, before it was reloaded, or another
// tab. The list of orders has it; the answer to a placement has it a moment earlier.
import type { OpenQuestion, Order } from "@ibkr-bridge/client";
import { useRef, useState } from "react";
import { ask } from "@/lib/api";

type Asking = Order & { question: OpenQuestion };
const isAsking = (order: Order | null | undefined): order is Asking => order?.state === "question";

export function useQuestion(listed: readonly Order[] | undefined, onAnswered: () => void) {
  const [latest, setLatest] = useState<Order | null>(null);
  const [answered, setAnswered] = useState<readonly string[]>([]);
  const [problem, setProblem] = useState<string | null>(null);
  const isSending = useRef(false);

  const known = latest && listed?.find((order) => order.id === latest.id);
  const isOver = known && !["question", "sending"].includes(known.state); // it was answered in another tab, or expired
  const open = [isOver ? null : latest, ...(listed ?? [])].filter(isAsking).find((order) => !answered.includes(order.question.id));

  const answer = async (confirm: boolean) => {
    if (!open || isSending.current) return;
    isSending.current = true;
    const body = JSON.stringify({ confirm, question_id: open.question.id });
    const init = { method: "POST", headers: { "Content-Type": "application/json" }, body };
    try {
      setLatest(await ask<Order>(`/orders/${encodeURIComponent(open.id)}/answer`, init)); // IBKR may ask another question
      setAnswered((before) => [...before, open.question.id]);
      setProblem(null);
    } catch (error) {
      setProblem((error as Error).message);
    } finally {
      isSending.current = false;
      onAnswered();
    }
  };
  return { open: open ?? null, problem, answer, onPlaced: setLatest };
}
