"""The bridge in front of a fast upstream: `bridge.py` as it is, but without the limits of IBKR and of the Gateway.

The real Gateway works on five calls at a time and IBKR accepts ten calls a second, so the bridge sends four calls at a
time and eight a second at most. Here the question is what the bridge itself costs. The product has no setting for these
limits and must not have one: this launcher replaces them in its own process alone.
"""

import functools
import sys
from collections.abc import Sequence
from types import ModuleType

from ibkr_bridge.cli import demo, main, serve
from ibkr_bridge.daemon import Bridge
from ibkr_bridge.profiles.options import ProfileOptions
from tests.unlimited import unlimited

WIDE_SLOTS = 64


def replace_name(module: ModuleType, name: str, value: object) -> None:
    """Replace a name of a module, in this process alone.

    Raises:
        AttributeError: the module does not have that name, so that replacing it would have no effect.
    """
    getattr(module, name)
    setattr(module, name, value)


def run(options: ProfileOptions, arguments: Sequence[str]) -> int:
    """Run `bridge.py` with these arguments and options, and return its exit status."""
    for command in (serve, demo):
        replace_name(command, "Bridge", functools.partial(Bridge, options=options))
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(unlimited(slots=WIDE_SLOTS), sys.argv[1:]))
