import { useAccount } from "@ibkr-bridge/client/react";
import { money, signOf } from "@/lib/words";

export function Balance({ account }: { account: string }) {
  const { data, error } = useAccount(account);
  const isOld = error !== null || data?.stale === true;
  return (
    <section className={isOld ? "card old" : "card"} aria-label="Balance">
      <h2>Balance {isOld && data && <small>not current</small>}</h2>
      <dl>
        <dt>Net liquidation</dt><dd>{money(data?.net_liquidation, data?.currency)}</dd>
        <dt>Cash</dt><dd>{money(data?.cash, data?.currency)}</dd>
        <dt>Buying power</dt><dd>{money(data?.buying_power, data?.currency)}</dd>
        <dt>Today</dt><dd className={signOf(data?.day_pnl)}>{money(data?.day_pnl, data?.currency)}</dd>
      </dl>
    </section>
  );
}
