"""Asks a person before a command does what cannot be undone or what may show too much."""

from __future__ import annotations

import sys

UNANSWERED = "nobody is here to confirm it: add --yes"


def confirm(question: str, *, is_confirmed: bool) -> bool:
    """Whether to go on. Without a terminal, only `--yes` is a yes.

    Args:
        question: ends with a question mark.
        is_confirmed: whether `--yes` was given.
    """
    if is_confirmed:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        print(UNANSWERED, file=sys.stderr)
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
