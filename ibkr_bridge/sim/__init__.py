"""The simulator: a simulated Gateway that behaves as the real one does, and a small market behind it.

    simulator.py      both halves joined, and the controls
    market_stage.py   the market and its controls, behind a simulated or a real Gateway
    gateway/          what the Java program does: TLS, five slots, one cookie jar, silence
    market/           what IBKR does: sessions, accounts, quotes, orders
    api_host/         the same IBKR on its public host, reached by OAuth and without a Gateway
    faults.py         every known fault, each with a name
    control.py        the controls for another process, on a private socket
    request_log.py    what arrived where
    clock.py          how fast time runs
    tasks.py          owns the running tasks

The simulator is the other side of the wire: it imports nothing of the bridge. A developer can build against it without
an account. Its tests compare it with what was observed of the real programs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibkr_bridge.sim.clock import FastClock
    from ibkr_bridge.sim.simulator import Simulator

__all__ = ["FastClock", "Simulator"]

_MODULES = {"FastClock": "clock", "Simulator": "simulator"}


def __getattr__(name: str) -> object:
    """Import a class on first use, so that importing `clock` alone stays cheap."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
