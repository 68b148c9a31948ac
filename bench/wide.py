"""The bridge under test against a fast upstream: `bridge.py` as it is, but with more places at the Gateway.

The real Gateway works on five calls at a time, so the bridge sends it four at most; that is a limit of the far side,
and here the question is what the bridge itself costs. The product has no setting for it and must not have one: this
launcher widens the constant in its own process alone.
"""

import sys

from ibkr_bridge.cli import main
from ibkr_bridge.traffic import slots

WIDE = 64

if __name__ == "__main__":
    slots.PLACES = WIDE
    sys.exit(main(sys.argv[1:]))
