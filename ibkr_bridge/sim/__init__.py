"""The simulator: a Gateway made of paper, as stubborn as the real one, with a small market behind it.

    simulator.py   both halves joined, and the strings to pull
    gateway/       the Java program's twin: TLS, five slots, one cookie jar, silence
    market/        IBKR's end of the wire: sessions, accounts, quotes, orders
    faults.py      everything that can go wrong, by name
    control.py     the same strings for another process, on a private socket
    seen.py        what arrived where        clock.py  how time runs        tasks.py  who owns running work

It stands on the other side of the wire, and so knows nothing of the bridge: it imports nothing of it. A developer can
build against it without an account; its tests hold it to what was observed of the real programs.
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
    """Load a half of the house only when somebody asks for it, so that a look at `clock` stays cheap."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
