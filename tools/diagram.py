"""Draw the state diagrams of the docs from the tables of the state machines: `python -m tools.diagram [orders]`."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable

from ibkr_bridge.orders.journal import transitions
from ibkr_bridge.session.state_machine import TRANSITIONS, Observation, SessionState

Arrows = dict[tuple[str, str], list[str]]


def draw() -> str:
    """The states of the session for `docs/architecture.md`: an arrow for each pair, labelled with its observations."""
    arrows: Arrows = defaultdict(list)
    for (former, observation), (state, actions) in TRANSITIONS.items():
        if former is not state:
            label = observation.value + "".join(f" / {action.value}" for action in actions)
            arrows[former.value, state.value].append(label)
    short = {pair: ["anything"] if len(labels) == len(Observation) else labels for pair, labels in arrows.items()}
    return _to_mermaid([SessionState.STARTING.value], (state.value for state in SessionState), short)


def draw_orders() -> str:
    """The states of an order for `docs/orders.md`."""
    arrows: Arrows = defaultdict(list)
    for (former, event), state in transitions.TRANSITIONS.items():
        arrows[former.value if former else "[*]", state.value].append(event.value)
    return _to_mermaid([], ("[*]", *(state.value for state in transitions.OrderState)), arrows)


def _to_mermaid(initial: Iterable[str], states: Iterable[str], arrows: Arrows) -> str:
    lines = ["stateDiagram-v2", *(f"    [*] --> {state}" for state in initial)]
    for state in states:
        lines += [
            f"    {state} --> {to}: {', '.join(labels)}" for (origin, to), labels in arrows.items() if origin == state
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(draw_orders() if sys.argv[1:] == ["orders"] else draw())  # noqa: T201  # a command prints
