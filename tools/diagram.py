"""Draws the session's diagram from its table, for `docs/architecture.md`: `python -m tools.diagram`."""

from __future__ import annotations

from collections import defaultdict

from ibkr_bridge.session.machine import MOVES, Saw, State


def draw() -> str:
    """A Mermaid state diagram: one arrow for each pair of states, labelled with what leads along it."""
    arrows: dict[tuple[State, State], list[str]] = defaultdict(list)
    for (was, saw), (state, acts) in MOVES.items():
        if was is not state:
            arrows[was, state].append(saw.value + "".join(f" / {act.value}" for act in acts))
    lines = ["stateDiagram-v2", f"    [*] --> {State.STARTING.value}"]
    for state in State:
        lines += [
            f"    {was.value} --> {to.value}: {_label(labels)}" for (was, to), labels in arrows.items() if was is state
        ]
    return "\n".join(lines)


def _label(labels: list[str]) -> str:
    return ", ".join(labels) if len(labels) < len(Saw) else "anything"


if __name__ == "__main__":
    print(draw())  # noqa: T201  # it is a command
