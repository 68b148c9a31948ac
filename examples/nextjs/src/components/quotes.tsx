import type { Quote } from "@ibkr-bridge/client";
import { figure, signOf } from "@/lib/words";

interface Props {
  symbols: readonly string[];
  quotes: Readonly<Record<string, Quote>>;
  isLive: boolean;
  chosen: string;
  onChoose: (symbol: string) => void;
}

const KINDS = { live: "", delayed: "delayed", frozen: "market closed", closed: "market closed", none: "no price" } as const;

export function Quotes({ symbols, quotes, isLive, chosen, onChoose }: Props) {
  return (
    <section className={isLive ? "card" : "card old"} aria-label="Quotes">
      <h2>Quotes {!isLive && <small>not current</small>}</h2>
      <table>
        <thead><tr><th>Symbol</th><th>Bid</th><th>Ask</th><th>Last</th><th>Day</th></tr></thead>
        <tbody>
          {symbols.map((symbol) => {
            const quote = quotes[symbol];
            return (
              <tr key={symbol} className={symbol === chosen ? "chosen" : ""}>
                <td>
                  <button className="plain" onClick={() => onChoose(symbol)} aria-pressed={symbol === chosen}>{symbol}</button>
                  {quote && <small> {KINDS[quote.kind]}</small>}
                </td>
                <td>{figure(quote?.bid)}</td>
                <td>{figure(quote?.ask)}</td>
                <td data-last={symbol}>{figure(quote?.last)}</td>
                <td className={signOf(quote?.change)}>{quote?.change_percent ? `${figure(quote.change_percent)} %` : "–"}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}
