"""Limits: never more calls than IBKR and the Gateway accept."""
