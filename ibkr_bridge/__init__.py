"""IBKR Bridge: the guarded, truthful door in front of Interactive Brokers' Client Portal Gateway.

The map of the rooms is `docs/architecture.md`; `daemon.py` puts them together.
"""

VERSION = "0.1.0"
