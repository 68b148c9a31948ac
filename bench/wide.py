"""The bridge under test against a fast upstream: `bridge.py` as it is, but asking as fast as it is asked.

The real Gateway works on five calls at a time and IBKR takes ten a second, so the bridge sends four at most and eight a
second; those are limits of the far side, and here the question is what the bridge itself costs. The product has no
setting for it and must not have one: this launcher gives it other manners in its own process alone.
"""

import functools
import sys
from collections.abc import Sequence

from ibkr_bridge.cli import demo, main, serve
from ibkr_bridge.daemon import Bridge
from ibkr_bridge.profiles.options import ProfileOptions
from tests.unlimited import unlimited

WIDE = 64  # places


def run(options: ProfileOptions, words: Sequence[str]) -> int:
    """`bridge.py` with these words, whose bridges have these manners; its exit status."""
    for command in (serve, demo):
        command.Bridge = functools.partial(Bridge, options=options)  # type: ignore[attr-defined]
    return main(words)


if __name__ == "__main__":
    sys.exit(run(unlimited(slots=WIDE), sys.argv[1:]))
