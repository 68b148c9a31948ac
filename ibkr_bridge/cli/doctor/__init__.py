"""`bridge.py doctor`: looks at each layer between an app and IBKR, and says what to do about the first broken one.

Facts are collected first, at the same time and each in bounded time. Then small pure functions turn facts into
findings, and a table says which functions there are.
"""

from ibkr_bridge.cli.doctor.command import build_parser, run

__all__ = ["build_parser", "run"]
