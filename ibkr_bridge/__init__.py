"""IBKR Bridge: a daemon in front of Interactive Brokers' Client Portal Gateway.

`docs/architecture.md` describes the packages; `daemon.py` builds them.
"""

VERSION = "0.1.0"
