"""Print a portfolio: each account with its positions, and its profit and loss.

    PYTHONPATH=. .venv/bin/python examples/python/portfolio.py

Address and key come from IBKR_BRIDGE_URL and IBKR_BRIDGE_KEY, or from `.env`.
"""

from __future__ import annotations

import sys
from decimal import Decimal

from ibkr_bridge.client import BridgeClient, ClientError
from ibkr_bridge.models.accounts import Account, Position


def money(amount: Decimal | None) -> str:
    """An amount with two places. What IBKR does not know is not zero."""
    return "unknown" if amount is None else f"{amount:,.2f}"


def print_account(account: Account) -> None:
    """The figures of one account, in its base currency."""
    mark = "  (stale)" if account.stale else ""
    print(f"{account.id}  {account.kind.value}  {account.currency}  as of {account.as_of:%H:%M:%S} UTC{mark}")
    print(f"  net liquidation {money(account.net_liquidation):>14}   cash       {money(account.cash):>14}")
    print(f"  today           {money(account.day_pnl):>14}   unrealized {money(account.unrealized_pnl):>14}")


def print_positions(positions: list[Position]) -> None:
    """One line for each position, in the currency of its instrument."""
    print(f"  {'symbol':<12}{'class':<8}{'quantity':>10}{'price':>12}{'value':>14}{'unrealized':>13}")
    for each in positions:
        print(
            f"  {each.symbol or each.conid:<12}{each.asset_class.value:<8}{each.quantity:>10}{money(each.price):>12}"
            f"{money(each.value):>14}{money(each.unrealized_pnl):>13} {each.currency or ''}"
        )


def main() -> int:
    """Print all accounts. Returns the exit status."""
    with BridgeClient() as client:
        try:
            for entry in client.accounts().accounts:
                print_account(client.account(entry.id))
                print_positions(client.positions(entry.id).positions)
                print()
        except ClientError as exc:
            print(exc.user_message, f"({exc.code}: {exc.detail})", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
