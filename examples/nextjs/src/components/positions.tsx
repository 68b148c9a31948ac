import type { Position } from "@ibkr-bridge/client";
import { usePositions } from "@ibkr-bridge/client/react";
import { figure, signOf } from "@/lib/words";

// IBKR ends the description of an option with its code: "AAPL DEC2027 200 C [AAPL 271217C00200000 100]".
const nameOf = (position: Position): string => (position.description ?? position.symbol ?? "").replace(/ \[.*/, "");

export function Positions({ account }: { account: string }) {
  const { data, error } = usePositions(account);
  const isOld = error !== null || data?.stale === true;
  return (
    <section className={isOld ? "card wide old" : "card wide"} aria-label="Positions">
      <h2>Positions {isOld && data && <small>not current</small>}</h2>
      <div className="scroll">
        <table>
          <thead><tr><th>Instrument</th><th>Quantity</th><th>Price</th><th>Value</th><th>Profit</th></tr></thead>
          <tbody>
            {data?.positions.map((position) => (
              <tr key={position.conid}>
                <td>{nameOf(position)}</td>
                <td>{figure(position.quantity, 0)}</td>
                <td>{figure(position.price)}</td>
                <td>{figure(position.value)} <small>{position.currency}</small></td>
                <td className={signOf(position.unrealized_pnl)}>{figure(position.unrealized_pnl)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {data?.positions.length === 0 && <p className="quiet">Nothing is held.</p>}
      {!data && <p className="quiet">{error?.userMessage ?? "Loading …"}</p>}
    </section>
  );
}
