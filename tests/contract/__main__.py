"""`make test-gateway`: run the contract and the bridge's stories against both Gateways, or print why that fails."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.contract.real_gateway import missing_for_real_gateway

HERE = Path(__file__).resolve().parent


def main(words: list[str]) -> int:
    """Run pytest with these arguments. Return its status, 0 if no Gateway was named, 1 if that one cannot be run."""
    folder = os.environ.get("CPGW_DIR", "")
    if reason := missing_for_real_gateway(folder):
        print(f"skipped: {reason}" if not folder else reason)
        return int(bool(folder))
    return pytest.main([str(HERE), str(HERE.parent / "stories"), *words])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
