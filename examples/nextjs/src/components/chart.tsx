import type { Quote } from "@ibkr-bridge/client";
import { useHistory } from "@ibkr-bridge/client/react";
import { figure } from "@/lib/words";

const [WIDTH, HEIGHT] = [600, 200];

/** The prices of the last month; the last point moves with the quote. */
export function Chart({ symbol, quote }: { symbol: string; quote: Quote | undefined }) {
  const { data, error } = useHistory({ symbol, period: "1m", bar: "1d" });
  const closes = (data?.bars ?? []).map((bar) => Number(bar.close));
  if (quote?.last && closes.length) closes.push(Number(quote.last));
  const [low, high] = [Math.min(...closes), Math.max(...closes)];
  const x = (index: number) => (index / (closes.length - 1)) * WIDTH;
  const y = (price: number) => HEIGHT - 8 - ((price - low) / (high - low || 1)) * (HEIGHT - 16);
  const line = closes.map((price, index) => `${x(index).toFixed(1)},${y(price).toFixed(1)}`).join(" ");
  return (
    <section className="card" aria-label="Chart">
      <h2>{symbol} <small>one month</small></h2>
      {closes.length > 1 ? (
        <figure>
          <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`Prices of ${symbol}`}>
            <polygon points={`0,${HEIGHT} ${line} ${WIDTH},${HEIGHT}`} />
            <polyline points={line} />
          </svg>
          <figcaption><span>low {figure(`${low}`)}</span><span>high {figure(`${high}`)}</span></figcaption>
        </figure>
      ) : <p className="quiet">{error?.userMessage ?? "Loading …"}</p>}
    </section>
  );
}
