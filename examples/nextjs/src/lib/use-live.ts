// The events of the bridge: quotes as they move, and the moment at which something else has to be read again.
import type { Quote } from "@ibkr-bridge/client";
import { useEffect, useState } from "react";

export interface Live {
  quotes: Readonly<Record<string, Quote>>;
  /** Whether the quotes are current. */
  isLive: boolean;
}

const REOPEN_MS = 2000;
const TOLD = ["session", "orders", "trades"] as const;
type Told = (typeof TOLD)[number];

/** Quotes of symbols. `onChange` hears of the other topics. */
export function useLive(symbols: string, onChange: (topic: Told) => void): Live {
  const [quotes, setQuotes] = useState<Record<string, Quote>>({});
  const [isLive, setLive] = useState(false);
  useEffect(() => {
    const stale = new Set<string>();
    let source: EventSource | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const close = () => {
      clearTimeout(timer);
      source?.close();
    };
    const open = () => {
      close();
      if (document.hidden) return; // a browser opens six connections to one address, for all tabs together
      const opened = new EventSource(`/api/ibkr/events?topics=${TOLD.join()},quotes&symbols=${encodeURIComponent(symbols)}`);
      source = opened;
      opened.onopen = () => {
        stale.clear();
        setLive(true);
        for (const topic of TOLD) onChange(topic);
      };
      opened.onerror = () => {
        setLive(false);
        // After an answer that is no stream, such as 503, a browser does not try again.
        if (opened.readyState === EventSource.CLOSED) timer = setTimeout(open, REOPEN_MS);
      };
      opened.addEventListener("quotes", ({ data }) => {
        const quote = JSON.parse(data) as Quote;
        setQuotes((last) => ({ ...last, [quote.symbol ?? quote.conid]: quote }));
      });
      for (const topic of TOLD) opened.addEventListener(topic, () => onChange(topic));
      for (const name of ["stale", "fresh"]) {
        opened.addEventListener(name, ({ data }) => {
          const topic = (JSON.parse(data) as { topic?: string }).topic ?? "";
          if (name === "stale") stale.add(topic);
          else if (topic === "") stale.clear();
          else stale.delete(topic);
          setLive(stale.size === 0);
        });
      }
    };
    open();
    document.addEventListener("visibilitychange", open);
    return () => {
      document.removeEventListener("visibilitychange", open);
      close();
    };
  }, [symbols, onChange]);
  return { quotes, isLive };
}
