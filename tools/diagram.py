"""Draws the state diagrams of the docs from the tables they show: `python -m tools.diagram [orders]`."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable

from ibkr_bridge.orders.journal import transitions
from ibkr_bridge.session.state_machine import TRANSITIONS, Observation, SessionState

Arrows = dict[tuple[str, str], list[str]]


def draw() -> str:
    """The session's states, for `docs/architecture.md`: one arrow for each pair, labelled with what leads along it."""
    arrows: Arrows = defaultdict(list)
    for (was, saw), (state, acts) in TRANSITIONS.items():
        if was is not state:
            arrows[was.value, state.value].append(saw.value + "".join(f" / {act.value}" for act in acts))
    anything = {pair: ["anything"] if len(labels) == len(Observation) else labels for pair, labels in arrows.items()}
    return _drawn([SessionState.STARTING.value], (state.value for state in SessionState), anything)


def draw_orders() -> str:
    """The states of an order, for `docs/orders.md`."""
    arrows: Arrows = defaultdict(list)
    for (was, what), state in transitions.TRANSITIONS.items():
        arrows[was.value if was else "[*]", state.value].append(what.value)
    return _drawn([], ("[*]", *(state.value for state in transitions.OrderState)), arrows)


def _drawn(first: Iterable[str], states: Iterable[str], arrows: Arrows) -> str:
    lines = ["stateDiagram-v2", *(f"    [*] --> {state}" for state in first)]
    for state in states:
        lines += [f"    {was} --> {to}: {', '.join(labels)}" for (was, to), labels in arrows.items() if was == state]
    return "\n".join(lines)


if __name__ == "__main__":
    print(draw_orders() if sys.argv[1:] == ["orders"] else draw())  # noqa: T201  # it is a command
