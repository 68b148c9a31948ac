"""Reconciliation: searching IBKR's lists of orders and trades for an order whose response was lost."""
