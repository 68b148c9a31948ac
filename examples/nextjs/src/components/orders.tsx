import type { Order, OrderList } from "@ibkr-bridge/client";
import type { Watching } from "@ibkr-bridge/client/react";
import { orderText, orderWords } from "@/lib/words";

interface Props {
  list: Watching<OrderList>;
  problem: string | null;
  onCancel: (order: Order) => void;
}

const OPEN: readonly (string | null)[] = ["pending", "working"];

export function Orders({ list, problem, onCancel }: Props) {
  const orders = list.data?.orders.filter((order) => order.kind === "place");
  const isOld = list.error !== null || list.data?.stale === true;
  return (
    <section className={isOld ? "card wide old" : "card wide"} aria-label="Orders">
      <h2>Orders {isOld && orders && <small>IBKR&apos;s list cannot be read now</small>}</h2>
      {problem && <p className="down" role="alert">{problem}</p>}
      <ul>
        {orders?.map((order) => (
          <li key={order.id} data-state={order.state} data-status={order.status}>
            <strong>{orderText(order)}</strong>
            <span className={order.state === "unknown" ? "warn" : ""}>{orderWords(order, !isOld)}</span>
            {order.state === "placed" && OPEN.includes(order.status) && <button onClick={() => onCancel(order)}>Cancel</button>}
          </li>
        ))}
      </ul>
      {orders?.length === 0 && <p className="quiet">No orders today.</p>}
      {!orders && <p className="quiet">{list.error?.userMessage ?? "Loading …"}</p>}
    </section>
  );
}
